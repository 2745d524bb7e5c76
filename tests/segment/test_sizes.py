"""One nuclear size: which scale, how it is estimated, and that a field comes back as it was."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plates.errors import BadModel, BadRecipe
from profiler.segment.catalogue import MODELS
from profiler.segment.decoding.nuclei import Nuclei
from profiler.segment.heads import HEADS
from profiler.segment.heads.watershed import Prediction, decode, targets
from profiler.segment.segmenter import SegmentConfig, load_segmenter
from profiler.segment.sizes import find_scale, scale_for, see_at, typical_diameter


def discs(radius: float, size: int = 96, spacing: int = 32) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    labels = np.zeros((size, size), np.int32)
    grid = np.mgrid[spacing // 2 : size : spacing, spacing // 2 : size : spacing]
    for number, (cy, cx) in enumerate(grid.reshape(2, -1).T, 1):
        labels[np.hypot(y - cy, x - cx) < radius] = number
    return labels


@pytest.mark.parametrize("diameter", np.geomspace(6.0, 130.0, 30))
def test_what_is_left_after_scaling_is_at_most_a_fourth_root_of_two(diameter):
    left = scale_for(diameter, trained_px=28.0) * diameter / 28.0
    assert 2**-0.26 < left < 2**0.26


def test_scales_are_few_and_bounded():
    scales = {scale_for(d, trained_px=28.0) for d in np.geomspace(0.1, 5000, 400)}
    assert len(scales) == 9
    assert (min(scales), max(scales)) == (0.25, 4.0)


def test_the_typical_diameter_is_not_moved_by_specks():
    labels = discs(10.0)
    specked = labels.copy()
    specked[0, ::2] = np.arange(100, 148)
    assert typical_diameter(labels) == pytest.approx(20, rel=0.03)
    assert typical_diameter(specked) == typical_diameter(labels)
    assert typical_diameter(0 * labels) is None


@pytest.mark.parametrize("scale", [0.5, 2**-0.5, 2**0.5, 2.0])
def test_a_field_seen_at_another_scale_gives_labels_of_its_own(scale):
    labels = discs(10.0)
    plane = jnp.asarray(labels > 0, jnp.float32)
    seen = []

    def ideal(scaled):  # what a perfect network says of the scaled field
        seen.append(scaled.shape)
        truth = targets(np.asarray(jax.image.resize(labels, scaled.shape, "nearest")))
        return Prediction(jnp.asarray(20 * truth.foreground - 10), jnp.asarray(truth.distance))

    found = see_at(ideal, plane, HEADS["watershed"], scale=scale).nuclei
    assert seen == [(round(96 * scale), round(96 * scale))]
    assert found.labels.shape == labels.shape
    assert found.count == 9
    agree = (np.asarray(found.labels) > 0) == (labels > 0)
    assert agree.mean() > 0.95  # of the shrunk field, edges are known to half a coarse pixel


def test_scale_one_is_the_plain_decoder():
    labels = discs(10.0)
    truth = targets(labels)
    said = Prediction(jnp.asarray(20 * truth.foreground - 10), jnp.asarray(truth.distance))
    head = HEADS["watershed"]
    plain = decode(said, head.settings)
    scaled = see_at(lambda _: said, jnp.zeros((96, 96)), head, scale=1.0)
    np.testing.assert_array_equal(plain.labels, scaled.labels)


class Finder:
    """A network that sees nuclei of `radius` px only between two scales, else nothing."""

    def __init__(self, radius: float, low: float = 0.0, high: float = 99.0):
        self.labels, self.low, self.high = discs(radius), low, high
        self.looked: list[float] = []

    def __call__(self, plane, scale):
        self.looked.append(scale)
        labels = self.labels * (self.low <= scale <= self.high)
        return Nuclei(jnp.asarray(labels), jnp.int32(labels.max()), jnp.int32(0))


PLANE = jnp.zeros((96, 96))


def test_nuclei_of_the_trained_size_cost_one_look():
    finder = Finder(14.0)
    assert find_scale(finder, PLANE, trained_px=28.0).count == 9
    assert finder.looked == [1.0]


def test_small_nuclei_are_looked_at_again_enlarged():
    finder = Finder(5.0)
    find_scale(finder, PLANE, trained_px=28.0)
    assert finder.looked == [1.0, 2.0**1.5]


def test_where_nothing_is_found_larger_then_smaller_is_tried():
    blind = Finder(14.0, low=9.0)
    assert find_scale(blind, PLANE, trained_px=28.0).count == 0
    assert blind.looked == [1.0, 2.0, 0.5]
    only_small = Finder(40.0, high=0.6)
    assert find_scale(only_small, PLANE, trained_px=28.0).count > 0


def test_the_shipped_network_finds_the_same_nuclei_in_a_magnified_field():
    labels = discs(14.0, size=128, spacing=42)
    rng = np.random.default_rng(0)
    plane = (100 * (labels > 0) + rng.normal(10, 3, labels.shape)).astype(np.float32)
    small = jax.image.resize(plane, (64, 64), "linear")
    auto = load_segmenter(SegmentConfig(diameter_px="auto"))
    assert auto.nuclei(jnp.asarray(plane)).count == 9
    assert auto.nuclei(small).count == 9
    given = load_segmenter(SegmentConfig(diameter_px=14.0)).nuclei(small)
    np.testing.assert_array_equal(given.labels, auto.nuclei(small).labels)


@pytest.mark.parametrize("backend", ["cpu", "other"])
def test_fields_of_two_sizes_are_each_scaled_in_one_batch(backend):
    def field(radius):
        labels = discs(radius, spacing=48)
        return 0.5 * (labels > 0) + np.random.default_rng(1).normal(0.05, 0.01, labels.shape)

    images = np.stack([field(14.0), field(6.0)])[..., None].astype(np.float32)
    segmenter = load_segmenter(SegmentConfig(diameter_px="auto", max_cells=16), backend=backend)
    found = segmenter.segment(jnp.asarray(images))
    assert found.count.tolist() == [4, 4]
    for image, labels in zip(images, found.nuclei, strict=True):
        alone = segmenter.nuclei(jnp.asarray(image[..., 0])).labels
        np.testing.assert_array_equal(alone, labels)


def test_a_diameter_beyond_all_scales_is_refused():
    told = "diameter_px is {}; the model 'nuclei' serves nuclei of 5.9 to 133 px.*or {} the images"
    for asked, remedy in ((3, "enlarge"), (300, "bin")):
        with pytest.raises(BadRecipe, match=told.format(asked, remedy)):
            load_segmenter(SegmentConfig(diameter_px=float(asked)))


@pytest.mark.parametrize("wanted", [20.0, "auto"])
def test_a_model_of_mixed_sizes_cannot_be_scaled_to(tmp_path, wanted):
    path = tmp_path / "old.safetensors"
    shutil.copy(MODELS["nuclei"], path)
    card = json.loads(MODELS["nuclei"].with_suffix(".json").read_text())
    card.pop("diameter_px", None)
    path.with_suffix(".json").write_text(json.dumps(card))
    with pytest.raises(BadModel, match="trained on nuclei of mixed sizes"):
        load_segmenter(SegmentConfig(model=str(path), diameter_px=wanted))
    assert load_segmenter(SegmentConfig(model=str(path)))
