"""What is frozen is seen, in training, as it will be seen when it is used."""

import itertools
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from profiler.embed.crops import CropConfig
from profiler.embed.network.build import SIZES, build
from profiler.embed.network.config import EncoderConfig, ModelConfig
from profiler.embed.predict import make_look
from profiler.embed.training.augment import AugmentConfig
from profiler.embed.training.events import Learnt, Started
from profiler.embed.training.learn import Lesson, learn
from profiler.embed.training.objectives import OBJECTIVES, ObjectiveConfig
from profiler.embed.training.objectives.dino import dino
from profiler.embed.training.objectives.objective import Batch
from profiler.embed.training.pair import begin_pair
from profiler.embed.training.step import Schedule, Task, begin
from profiler.embed.training.thaw import count_levels, depth_of, graphs_by_start
from profiler.embed.weights import load_model

CELLS = 48
PLAIN = ObjectiveConfig(smoothing=0.0)
NO_OFFSETS = jnp.zeros(3)
# One for all that thaw by levels: each of its stages is a program.
THAWED = Schedule(steps=4, batch=24, warmup=1, thaw=(0, 1, 3), save_every=2, report_every=1)


@pytest.fixture
def as_they_are(monkeypatch):
    """Have crops learnt from without turning or mirroring, which no setting leaves out."""
    plain = "profiler.embed.training.objectives.objective.augment"
    monkeypatch.setattr(plain, lambda key, crops, *, config: crops)


@pytest.fixture
def one_level(config):
    return replace(config, encoder=replace(config.encoder, widths=(8,), blocks=(1,)))


def started(config):
    """A model whose running averages are far from what the crops give."""
    model = build(config, rngs=nnx.Rngs(0))
    draw = np.random.default_rng(0)
    for _, part in nnx.iter_modules(model):
        if isinstance(part, nnx.BatchNorm):
            part.mean[...] = jnp.asarray(draw.uniform(-0.2, 0.2, part.mean.shape), jnp.float32)
            part.var[...] = jnp.asarray(draw.uniform(0.2, 3.0, part.var.shape), jnp.float32)
    return model


def norms_of(graph, like):
    """By path, whether each BatchNorm normalises by its running averages."""
    _, numbers = nnx.split(like)
    model = nnx.merge(graph, numbers)
    parts = nnx.iter_modules(model)
    return {p: part.use_running_average for p, part in parts if isinstance(part, nnx.BatchNorm)}


def test_a_new_head_learns_what_the_saved_model_sees(one_level, shapes, as_they_are, tmp_path):
    out, examples = tmp_path / "head.safetensors", shapes(CELLS)
    is_wrong = np.random.default_rng(1).random(CELLS) < 0.4  # else no regression has an optimum
    labels = np.where(is_wrong, (examples.labels + 1) % 3, examples.labels).astype(np.int32)
    schedule = Schedule(
        steps=600,
        batch=CELLS,
        warmup=10,
        learning_rate=0.1,
        weight_decay=0.0,
        average=0.0,
        frozen=600,
        report_every=599,
    )
    lesson = Lesson(examples._replace(labels=labels), PLAIN, schedule)
    model = started(one_level)
    told = [
        event.loss for event in learn(model, one_level, lesson, out=out) if type(event) is Learnt
    ]
    done, loaded, _ = load_model(out)
    seen = make_look(done, loaded)(examples.crops)
    loss = -log_softmax(seen.logits, axis=1)[np.arange(CELLS), labels].mean()
    assert loss == pytest.approx(told[-1], rel=1e-3)
    vectors = make_look(model, one_level)(examples.crops).vectors
    np.testing.assert_allclose(seen.vectors, vectors, rtol=1e-4, atol=1e-5)
    # No head can be better than the one without a penalty, and one with a penalty is worse.
    best, good = (LogisticRegression(C=c, max_iter=10_000).fit(vectors, labels) for c in (1e6, 1.0))
    losses = [log_loss(labels, head.predict_proba(vectors)) for head in (best, good)]
    assert losses[0] - 1e-4 < loss < losses[1]
    accuracy = (seen.logits.argmax(1) == labels).mean()
    assert accuracy > good.score(vectors, labels) - 0.05


def test_a_level_goes_by_its_batch_from_its_step_on(one_level, shapes):
    examples = shapes(THAWED.batch)
    batch = Batch(*map(jnp.asarray, examples[:2]), jnp.zeros(THAWED.batch, jnp.int32))
    task = Task(PLAIN, THAWED, AugmentConfig(), 0)

    def after(at, *, shifted=None):
        model = started(one_level)
        backbone = model.encoder.backbone
        if shifted is not None:
            norm = (backbone.levels[0][0].first if shifted == "level" else backbone.stem).norm
            norm.mean[...] += 0.5
        state, step = begin(model, task, offsets=NO_OFFSETS)
        before = np.asarray(backbone.stem.norm.mean[...])
        state, loss = step(state._replace(step=jnp.int32(at)), batch, at=at)
        moved = state.statistics["encoder"]["backbone"]["stem"]["norm"]["mean"][...]
        return float(loss), bool(np.any(np.asarray(moved) != before))

    for at, of_level, of_stem in (
        (0, True, True),
        (1, False, True),
        (2, False, True),
        (3, False, False),
    ):
        loss, has_moved = after(at)
        assert (after(at, shifted="level")[0] != loss) == of_level
        assert (after(at, shifted="stem")[0] != loss) == of_stem
        assert has_moved != of_stem


def test_what_never_thaws_goes_by_its_running_averages_to_the_end(one_level):
    graphs = graphs_by_start(started(one_level), (0, 2, 99))
    last = norms_of(graphs[max(first for first in graphs if first <= 60)], started(one_level))
    assert {path[2] for path, is_running in last.items() if is_running} == {"stem"}
    assert {path[2] for path, is_running in last.items() if not is_running} == {"levels"}


@pytest.mark.parametrize("name", [name for name in SIZES if SIZES[name].kind != "vit"])
def test_every_norm_of_every_backbone_thaws_with_its_level(name):
    config = ModelConfig(SIZES[name], CropConfig(64), classes=("a", "b"))
    model = nnx.eval_shape(lambda: build(config, rngs=nnx.Rngs(0)))
    levels = count_levels(nnx.state(model, nnx.Param))
    starts = tuple(range(0, 10 * (levels + 2), 10))
    graphs = graphs_by_start(model, starts)
    assert tuple(graphs) == starts
    for first, graph in graphs.items():
        norms = norms_of(graph, model)
        assert norms == {path: depth_of(path, levels) * 10 > first for path in norms}
        assert len(norms) > levels
    # Where all learn from the start there is one program, and none of it is frozen.
    assert not any(norms_of(graphs_by_start(model, (0, 0))[0], model).values())


def test_a_network_without_running_averages_is_one_program():
    encoder = EncoderConfig("vit", widths=(16,), blocks=(1,))
    model = build(ModelConfig(encoder, CropConfig(16), classes=("a", "b")), rngs=nnx.Rngs(0))
    assert len(set(graphs_by_start(model, (0, 2, 4)).values())) == 1


def test_two_that_learn_side_by_side_thaw_as_one_does(one_level):
    task = Task(replace(PLAIN, forget=0.2), Schedule(thaw=(0, 2, 4)), AugmentConfig(), 0)
    model = started(one_level)
    _, alone = begin(model, task, offsets=NO_OFFSETS)
    _, both = begin_pair(model, started(one_level), task, offsets=NO_OFFSETS)
    assert both.graphs == alone.graphs
    assert list(both.graphs) == [0, 2, 4]
    assert len(set(both.graphs.values())) == 3


def test_pupil_and_teacher_see_by_the_same_frozen_encoder(one_level, shapes, as_they_are):
    config, asked = replace(one_level, classes=()), ObjectiveConfig("dino", outputs=8)
    examples = shapes(CELLS)
    prepare = OBJECTIVES["dino"].prepare
    assert prepare
    model = prepare(started(config), config, asked, nnx.Rngs(0))
    task = Task(asked, Schedule(batch=CELLS, frozen=5), AugmentConfig(), 0)
    state, step = begin(model, task, offsets=jnp.zeros(0))
    batch = Batch(*map(jnp.asarray, examples[:2]), jnp.zeros(CELLS, jnp.int32))
    _, loss = step(state, batch, at=0)
    bare = started(config)
    bare.eval()
    vectors = bare.encoder(jnp.asarray(examples.crops, jnp.float32) / 255)
    model.train()  # of which the head alone is asked
    both = jnp.concatenate([vectors, vectors])
    one, other = jnp.split(model.head(both), 2)
    taught = model.head(vectors)
    expected = (
        dino(one, taught, jnp.zeros(8), asked) + dino(other, taught, jnp.zeros(8), asked)
    ) / 2
    assert float(loss) == pytest.approx(float(expected.mean()), rel=1e-3)


def test_a_thaw_goes_on_in_the_stage_where_it_stopped(one_level, shapes, tmp_path):
    lesson = Lesson(shapes(CELLS), PLAIN, THAWED)
    whole, parts = tmp_path / "whole.safetensors", tmp_path / "parts.safetensors"
    list(learn(started(one_level), one_level, lesson, out=whole))
    list(itertools.islice(learn(started(one_level), one_level, lesson, out=parts), 4))
    assert next(learn(started(one_level), one_level, lesson, out=parts)) == Started(CELLS, 4, 2, 4)
    list(learn(started(one_level), one_level, lesson, out=parts))
    assert whole.read_bytes() == parts.read_bytes()
