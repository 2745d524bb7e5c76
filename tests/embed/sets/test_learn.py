"""Training: it learns what it is shown, comes out the same, and NumPy computes the same."""

import hashlib
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
from flax import nnx

from plates.errors import BadModel, BadRecipe
from profiler.embed.sets.examples import Deal, Sets
from profiler.embed.sets.learn import SetLesson, SetSchedule, learn_sets, save_sets
from profiler.embed.sets.network import DeepSets, SetConfig
from profiler.embed.training.events import Learnt, Started, Trained
from profiler.nets.finite import Diverged
from profiler.profile.wells.cell_scale import Scale
from profiler.profile.wells.sets import aggregate_sets, load_aggregator

FEATURES = tuple(f"Embedding_{i:04d}" for i in range(6))
NETWORK = SetConfig((16, 8), (12, 4))


def screen(seed=0, wells=24, cells=30) -> Sets:
    """Half of the labels have a fifth of their cells far out on axis 0, half on axis 1."""
    random = np.random.default_rng(seed)
    labels = np.arange(wells) % 4
    found = random.normal(size=(wells, cells, 6))
    found[:, :6, 0] += 6 * (labels % 2)[:, None]
    found[:, :6, 1] += 6 * (labels // 2)[:, None]
    starts = np.arange(wells + 1) * cells
    return Sets(found.reshape(-1, 6).astype(np.float32), starts, labels, np.arange(wells) // 12)


def lesson(seed=0, steps=120) -> SetLesson:
    rate = {"learning_rate": 1e-2, "dropout": 0.0}
    schedule = SetSchedule(steps=steps, warmup=5, report_every=40, **rate)
    deal = Deal(plates=2, labels=4, cells=16)
    return SetLesson(screen(), FEATURES, network=NETWORK, deal=deal, schedule=schedule, seed=seed)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("sets") / "agg.safetensors"
    return out, list(learn_sets(lesson(), out=out))


def test_the_loss_falls_and_all_is_told(trained):
    out, events = trained
    assert events[0] == Started(720, 2, 0, 120)
    assert events[-1] == Trained(out, 120)
    losses = [event.loss for event in events if isinstance(event, Learnt)]
    assert len(losses) == 3
    assert losses[-1] < losses[0] - 0.2


def test_the_same_seed_gives_the_same_file(trained, tmp_path):
    out, _ = trained
    for seed in (0, 1):
        list(learn_sets(lesson(seed), out=tmp_path / f"{seed}.safetensors"))
    digest = {
        p: hashlib.sha256(p.read_bytes()).hexdigest() for p in [out, *tmp_path.glob("*.saf*")]
    }
    assert digest[out] == digest[tmp_path / "0.safetensors"] != digest[tmp_path / "1.safetensors"]


def test_the_card_says_what_it_takes_and_was_taught_on(trained):
    card = load_aggregator(trained[0]).card
    assert (card.features, card.phi, card.rho) == (FEATURES, NETWORK.phi, NETWORK.rho)
    assert card.embedder is None
    assert (card.about["treatments"], card.about["plates"], card.about["wells"]) == (4, 2, 24)
    assert card.columns == [f"Embedding_Set_{i:04d}" for i in range(4)]


@pytest.mark.parametrize("network", [NETWORK, SetConfig((), (3,)), SetConfig((5,), ())])
def test_profiles_are_what_the_network_says(network, tmp_path):
    model = DeepSets(6, network, rngs=nnx.Rngs(1))
    own = SetLesson(screen(), FEATURES, network=network)
    save_sets(tmp_path / "a.safetensors", model, own)
    cells = own.sets.cells[:30]
    found = load_aggregator(tmp_path / "a.safetensors")(cells)
    np.testing.assert_allclose(found, model(jnp.asarray(cells)[None])[0], atol=1e-5)


def test_a_well_by_its_table(trained):
    sets = screen()
    table = pl.DataFrame(sets.cells[:60], schema=list(FEATURES)).with_columns(
        Metadata_Plate=pl.lit("P"), Metadata_Well=pl.Series(["A01"] * 30 + ["A02"] * 30)
    )
    aggregator = load_aggregator(trained[0])
    scales = {"P": Scale(np.zeros(6), np.ones(6))}
    wells = aggregate_sets(table, aggregator=aggregator, scales=scales)
    near = (5 * np.arcsinh(sets.cells[:30] / 5)).astype(np.float32)
    expected = aggregator(near)
    np.testing.assert_allclose(wells.row(0)[2:], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "name", "message"),
    [
        (
            {"temperature": 0.0},
            "a.safetensors",
            r"SetSchedule\.temperature = 0\.0; expected a finite",
        ),
        ({"dropout": 1.0}, "a.safetensors", r"dropout = 1\.0; expected 0 to below 1"),
        ({"report_every": 0}, "a.safetensors", "report_every = 0; expected a whole number"),
        ({"learning_rate": 1e30}, "a.safetensors", "After 40 steps the loss or a weight is NaN or"),
        ({}, "a.txt", r"a\.txt ends in '\.txt'; expected NAME\.safetensors"),
    ],
)
def test_what_ends_in_no_network_is_refused_or_stopped(change, name, message, tmp_path):
    own = lesson()
    own = replace(own, schedule=replace(own.schedule, **change))
    with pytest.raises((BadModel, BadRecipe, Diverged), match=message):
        list(learn_sets(own, out=tmp_path / name))
    assert not list(tmp_path.iterdir())


def test_a_batch_without_replicates_is_refused(tmp_path):
    own = replace(lesson(), deal=Deal(wells=1))
    with pytest.raises(BadRecipe, match=r"Deal\.wells = 1; expected a whole number, 2 or more"):
        next(learn_sets(own, out=tmp_path / "a.safetensors"))
