"""What nothing can be learnt from is refused before the first step, and said."""

from dataclasses import fields, replace

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from plates.errors import BadLabels, BadModel, BadRecipe
from profiler.embed.network.build import build
from profiler.embed.training.augment import AugmentConfig
from profiler.embed.training.checks import ASKED, PACE, VARIED, check_examples, check_settings
from profiler.embed.training.learn import Lesson, learn
from profiler.embed.training.objectives import OBJECTIVES, ObjectiveConfig
from profiler.embed.training.objectives.supcon import supcon
from profiler.embed.training.ranges import COUNT
from profiler.embed.training.step import Schedule


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"temperature": 0.0},
            r"ObjectiveConfig\.temperature = 0\.0; expected a finite number abo",
        ),
        ({"smoothing": 2.0}, r"smoothing = 2\.0; expected 0 to below 1. Its default is 0\.1"),
        ({"balance": -3.0}, r"balance = -3\.0; expected 0 to 1"),
        ({"prior": np.nan}, "prior = nan; expected a finite number, 0 or more"),
        ({"robustness": 0.0}, r"robustness = 0\.0; expected above 0, to 1"),
        (
            {"batch": 0},
            r"Schedule\.batch = 0; expected a whole number, 1 or more. Its default is 64",
        ),
        ({"steps": 0}, "steps = 0; expected a whole number, 1 or more"),
        ({"save_every": 0}, "save_every = 0; expected a whole number, 1 or more"),
        ({"learning_rate": np.inf}, "learning_rate = inf; expected a finite number above 0"),
        ({"average": 1.0}, r"average = 1\.0; expected 0 to below 1"),
        ({"warmup": -1}, "warmup = -1; expected a whole number, 0 or more"),
        ({"zoom": 0.0}, r"AugmentConfig\.zoom = 0\.0; expected a finite factor, 1 or more"),
        ({"noise": np.nan}, "noise = nan; expected a finite number, 0 or more"),
    ],
)
def test_numbers_out_of_range(change, message):
    def changed(part):
        return replace(part, **{key: value for key, value in change.items() if hasattr(part, key)})

    parts = (changed(ObjectiveConfig()), changed(Schedule()), changed(AugmentConfig()))
    with pytest.raises(BadRecipe, match=message):
        check_settings(*parts, objective=OBJECTIVES["cross_entropy"])


def test_every_number_of_the_settings_has_a_range():
    words = {"name", "apart_by_source", "bfloat16", "thaw"}
    for kind, ranges in ((ObjectiveConfig, ASKED), (Schedule, PACE), (AugmentConfig, VARIED)):
        assert {field.name for field in fields(kind)} - words == set(ranges)


def test_counts_are_whole_numbers():
    assert COUNT.holds(1)
    assert COUNT.holds(np.int64(8))
    assert not any(map(COUNT.holds, (0, 8.5, np.nan, np.inf)))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_defaults_are_in_range(name):
    config = ObjectiveConfig(name)
    check_settings(config, Schedule(), AugmentConfig(), objective=OBJECTIVES[name])


def test_crops_that_are_compared_come_in_twos():
    one = Schedule(batch=1)
    settings = (ObjectiveConfig(), one, AugmentConfig())
    check_settings(*settings, objective=OBJECTIVES["cross_entropy"])
    with pytest.raises(BadRecipe, match="batch = 1; expected a whole number, 2 or more"):
        check_settings(*settings, objective=OBJECTIVES["simclr"])


ODD = {
    "no crops": (lambda own: own.at(np.arange(0)), "Found no crops"),
    "fewer labels": (
        lambda own: own._replace(labels=own.labels[:30]),
        r"labels of shape \(30,\) for 40 crops; expected one of each",
    ),
    "fewer groups": (
        lambda own: own._replace(groups=own.groups[:30]),
        r"groups of shape \(30,\) for 40 crops",
    ),
    "more weights": (
        lambda own: own._replace(weights=np.ones(41)),
        r"weights of shape \(41,\) for 40 cells",
    ),
    "labels that are floats": (
        lambda own: own._replace(labels=own.labels.astype(np.float32)),
        "labels of type float32; expected integers",
    ),
    "a label below -1": (
        lambda own: own._replace(labels=np.where(np.arange(40) == 7, -9, own.labels)),
        "label -9 for cell 7; expected the index of a class, from 0, or -1",
    ),
    "grey levels as floats": (
        lambda own: own._replace(crops=own.crops.astype(np.float32)),
        r"pixels from .* \(float32\), out of range or NaN in 40 of 40 crops, such as crop 0",
    ),
    "a pixel of NaN": (
        lambda own: own._replace(crops=_with_nan(own.crops)),
        "NaN in 1 of 40 crops, such as crop 3; expected finite floats from 0 to 1",
    ),
    "integers as programs count": (
        lambda own: own._replace(crops=own.crops.astype(np.int64)),
        "pixels of type int64; expected uint8, uint16 or floats from 0 to 1",
    ),
    "negative integers": (
        lambda own: own._replace(crops=own.crops.astype(np.int16) - 300),
        r"\(int16\), out of range",
    ),
}


def _with_nan(crops):
    crops = crops.astype(np.float32) / 255
    crops[3, 5, 5] = np.nan
    return crops


@pytest.mark.parametrize("name", ODD)
def test_examples_that_do_not_fit(name, shapes, config):
    change, message = ODD[name]
    with pytest.raises((BadLabels, BadRecipe), match=message):
        check_examples(change(shapes(40)), config)


def test_floats_from_0_to_1_and_integers_are_taken(shapes, config):
    own = shapes(40)
    for crops in (own.crops / 255, own.crops.astype(np.uint16), own.crops > 99):
        check_examples(own._replace(crops=crops), config)


@pytest.mark.parametrize("objective", ["cross_entropy", "simclr"])
@pytest.mark.parametrize("name", ODD)
def test_whatever_is_learnt_nothing_is_begun(name, objective, shapes, config, tmp_path):
    lesson = Lesson(ODD[name][0](shapes(40)), ObjectiveConfig(objective))
    model = build(config, rngs=nnx.Rngs(0))
    with pytest.raises((BadLabels, BadRecipe)):
        next(learn(model, config, lesson, out=tmp_path / "none.safetensors"))
    assert not list(tmp_path.iterdir())


def test_labels_that_are_trusted_must_include_some(shapes, config, tmp_path):
    own = shapes(40)
    labels = np.where(np.arange(40) < 9, -1, own.labels)
    unheard = own._replace(labels=labels, weights=(labels < 0).astype(float))
    with pytest.raises(BadLabels, match="weight of 0 for every cell"):
        next(
            learn(
                build(config, rngs=nnx.Rngs(0)),
                config,
                Lesson(unheard),
                out=tmp_path / "x.safetensors",
            )
        )


def test_names_that_no_model_is_read_by_and_seeds(shapes, config, tmp_path):
    model, lesson = build(config, rngs=nnx.Rngs(0)), Lesson(shapes(40))
    with pytest.raises(BadModel, match=r"o\.txt ends in '\.txt'; expected NAME\.safetensors"):
        next(learn(model, config, lesson, out=tmp_path / "o.txt"))
    with pytest.raises(BadRecipe, match="seed = -1; expected 0 or more"):
        next(learn(model, config, replace(lesson, seed=-1), out=tmp_path / "o.safetensors"))


def test_labels_that_are_not_trusted_are_not_mixed_into_others(shapes, config, tmp_path):
    """A crop of weight 0 would teach its label through the crop that it is mixed with."""
    own = shapes(40)
    lesson = Lesson(own._replace(weights=np.ones(40)), ObjectiveConfig(mixup=0.5))
    with pytest.raises(BadRecipe, match="how far the label of each cell is trusted, and mixup"):
        next(learn(build(config, rngs=nnx.Rngs(0)), config, lesson, out=tmp_path / "x.safetensors"))


def test_crops_that_are_all_alike_teach_nothing(shapes, config, tmp_path):
    """The loss is least where all vectors are one: nothing pushes crops of one label apart."""
    views = jnp.asarray(np.random.default_rng(0).normal(size=(2, 6, 4)), jnp.float32)
    same, one = jnp.ones_like(views), jnp.zeros(6, jnp.int32)
    asked = ObjectiveConfig("supcon", outputs=8)
    assert (
        supcon(*same, one, one, config=asked).sum() < supcon(*views, one, one, config=asked).sum()
    )

    def begun(labels, groups, **settings):
        own = shapes(40)._replace(labels=np.array(labels, np.int32), groups=np.array(groups))
        lesson = Lesson(own, replace(asked, **settings))
        out = tmp_path / "x.safetensors"
        return next(learn(build(config, rngs=nnx.Rngs(0)), config, lesson, out=out))

    movies, apart = ["a:1"] * 20 + ["b:1"] * 20, {"apart_by_source": True}
    with pytest.raises(BadLabels, match="All 40 crops have the label 2: 'supcon' would learn to m"):
        begun([2] * 40, movies)
    with pytest.raises(BadLabels, match="All 20 crops of the source 'b' have the label 1"):
        begun([0, 1] * 10 + [1] * 20, movies, **apart)
    begun([0, 1] * 10 + [1] * 20, movies)  # those of the other source are rivals
    begun([0, 1] * 10 + [1] * 19 + [-1], movies, **apart)
    begun([-1] * 40, movies)


def test_a_class_whose_labels_all_weigh_nothing(shapes, config, tmp_path):
    own = shapes(40)
    weights = np.where(own.labels == 1, 0.0, 1.0)
    lesson = Lesson(own._replace(weights=weights))
    with pytest.raises(BadLabels, match="1 classes have labels that all weigh 0, .*: ring. Trust"):
        next(learn(build(config, rngs=nnx.Rngs(0)), config, lesson, out=tmp_path / "x.safetensors"))
