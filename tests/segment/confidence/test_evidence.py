"""Evidence: sums against loops by hand and scikit-image, both kernels alike, no numbering in it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage
from skimage.measure import regionprops_table

from profiler.segment.confidence.belief import Belief, Maps, as_maps
from profiler.segment.confidence.evidence import Evidence, Sums, add_up, most_nuclei, weigh
from profiler.segment.confidence.evidence_cpu import add_up_cpu

MOST = 12


def field(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rectangles that touch one another and the border, and two random maps in bytes."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((40, 50), np.int32)
    for number, (y, x) in enumerate(rng.integers(0, 36, (9, 2)), 1):
        labels[y : y + rng.integers(5, 12), x : x + rng.integers(5, 12)] = number
    maps = rng.integers(0, 256, (2, *labels.shape)).astype(np.uint8)
    return labels, *maps


def on_device(labels, foreground, depth) -> Sums:
    return add_up(jnp.asarray(labels), Maps(jnp.asarray(foreground), jnp.asarray(depth)), most=MOST)


@pytest.mark.parametrize("seed", range(4))
def test_both_kernels_agree_to_the_last_bit(seed):
    host, device = add_up_cpu(*field(seed), most=MOST), on_device(*field(seed))
    for name, one, other in zip(Sums._fields, host, device, strict=True):
        np.testing.assert_array_equal(one, other, err_msg=name)
        assert one.dtype == other.dtype == np.uint32


def test_sums_are_those_of_scipy():
    labels, foreground, depth = field()
    sums, ids = add_up_cpu(labels, foreground, depth, most=MOST), np.arange(1, MOST + 1)
    deep = depth.astype(int)
    np.testing.assert_array_equal(sums.area, np.bincount(labels.ravel(), minlength=MOST + 1)[1:])
    np.testing.assert_array_equal(sums.foreground, ndimage.sum(foreground, labels, ids))
    np.testing.assert_array_equal(sums.depth, ndimage.sum(deep, labels, ids))
    np.testing.assert_array_equal(sums.depth_squared, ndimage.sum(deep**2 // 255, labels, ids))


def test_sides_are_counted_by_what_lies_beyond_them():
    labels = np.array([[1, 1, 0], [1, 2, 2], [0, 2, 2]], np.int32)
    depth = np.full((3, 3), 10, np.uint8)
    depth[1, 1] = 100  # touches 1 above and to the left
    sums = add_up_cpu(labels, depth, depth, most=2)
    assert sums.sides.tolist() == [8, 8]  # four at the border, two at the background, two shared
    assert sums.wall.tolist() == [20, 200]


def test_the_perimeter_is_that_of_scikit_image_on_rectangles():
    labels = np.zeros((30, 40), np.int32)
    labels[3:10, 5:17], labels[15:25, 20:30] = 1, 2
    sums = add_up_cpu(labels, *np.zeros((2, 30, 40), np.uint8), most=2)
    boxes = regionprops_table(labels, properties=("bbox",))
    high, wide = boxes["bbox-2"] - boxes["bbox-0"], boxes["bbox-3"] - boxes["bbox-1"]
    np.testing.assert_array_equal(sums.sides, 2 * (high + wide))


def test_evidence_of_a_square_by_hand():
    labels = np.zeros((20, 20), np.int32)
    labels[5:15, 5:15] = 1
    foreground = np.where(labels > 0, 204, 0).astype(np.uint8)  # 0.8
    depth = np.zeros((20, 20), np.uint8)
    depth[5:15, 5:10] = 255
    found = weigh(add_up_cpu(labels, foreground, depth, most=1))
    inside = 0.01 + 0.98 * 0.8
    assert found.inside[0] == pytest.approx(np.log(inside / (1 - inside)), rel=1e-5)
    assert found.relief[0] == pytest.approx(0.5)
    assert found.outline[0] == pytest.approx(np.log(4.0))
    assert found.wall[0] == 0.0


def test_a_wall_is_high_where_the_network_sees_no_edge_between_two():
    labels = np.zeros((20, 40), np.int32)
    labels[5:15, 5:15], labels[5:15, 15:25] = 1, 2
    edge, none = np.zeros((2, 20, 40), np.uint8)
    none[labels > 0] = 255
    split, doubted = (weigh(add_up_cpu(labels, none, depth, most=2)) for depth in (edge, none))
    assert split.wall.tolist() == [0.0, 0.0]
    np.testing.assert_allclose(doubted.wall, 0.25)  # a quarter of either's perimeter


def evidence(labels, foreground, depth) -> np.ndarray:
    return np.stack(weigh(add_up_cpu(*map(np.ascontiguousarray, (labels, foreground, depth)),
                                     most=MOST)), 1)  # fmt: skip


@pytest.mark.parametrize("turn", [np.fliplr, np.flipud, np.transpose, np.rot90])
def test_evidence_does_not_change_when_the_field_is_turned(turn):
    labels, *maps = field()
    np.testing.assert_array_equal(evidence(labels, *maps), evidence(turn(labels), *map(turn, maps)))


def test_evidence_goes_with_the_nucleus_not_with_its_number():
    labels, *maps = field()
    order = np.random.default_rng(1).permutation(MOST)
    renumbered = np.concatenate([[0], order + 1])[labels].astype(np.int32)
    np.testing.assert_array_equal(evidence(labels, *maps), evidence(renumbered, *maps)[order])


def test_evidence_hardly_changes_with_the_magnification():
    y, x = np.mgrid[:120, :120]
    away = np.hypot(y - 60, x - 60)

    def disc(radius):
        labels = (away < radius).astype(np.int32)
        depth = np.clip(255 * (1 - away / radius), 0, 255).astype(np.uint8)
        return evidence(labels, (255 * labels).astype(np.uint8), depth)[0]

    np.testing.assert_allclose(disc(10), disc(50), atol=0.03)


def test_a_nucleus_is_judged_by_its_own_pixels_alone():
    labels, *maps = field()
    alone = np.where(labels == 5, 5, 0).astype(np.int32)
    both = [evidence(each, *maps)[4] for each in (labels, alone)]
    free = [i for i, name in enumerate(Evidence._fields) if name != "wall"]
    np.testing.assert_array_equal(both[0][free], both[1][free])


def test_labels_that_are_absent_have_no_evidence():
    empty = np.zeros((8, 8), np.int32)
    found = weigh(add_up_cpu(empty, *np.zeros((2, 8, 8), np.uint8), most=3))
    assert all(np.isnan(part).all() for part in found)


def test_beliefs_become_bytes_at_the_fields_resolution():
    fine = jnp.asarray([[0.0, 0.5], [1.0, 2.0]])
    maps = as_maps(Belief(fine, jnp.ones((1, 1))), (2, 2))
    assert maps.foreground.tolist() == [[0, 128], [255, 255]]
    assert maps.depth.tolist() == [[255, 255], [255, 255]]


def test_a_field_has_room_for_all_nuclei_that_are_no_specks():
    assert most_nuclei(1080 * 1080, 25) == 46_656
    assert most_nuclei(10, 25) == 1


def test_a_batch_on_the_device_is_its_fields_one_by_one():
    fields = [field(seed) for seed in range(3)]
    stacked = [jnp.stack([jnp.asarray(each[i]) for each in fields]) for i in range(3)]
    together = jax.jit(jax.vmap(on_device))(*stacked)
    for i, each in enumerate(fields):
        for one, other in zip(add_up_cpu(*each, most=MOST), together, strict=True):
            np.testing.assert_array_equal(one, other[i])
