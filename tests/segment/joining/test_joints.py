"""Joints: found and weighed as loops over pixels do it, alike in a batch, blind to numbering."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from profiler.segment.confidence.belief import Maps
from profiler.segment.joining.joints import Evidence, Pixels, Sums, add_up, grey_of, weigh
from profiler.segment.joining.joints_cpu import add_up_cpu

MOST = 20


def field(seed: int = 0) -> tuple[np.ndarray, np.ndarray, Maps]:
    """Rectangles that touch one another and the border, a stain and two maps in bytes."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((40, 52), np.int32)
    for number, (y, x) in enumerate(rng.integers(0, 40, (14, 2)), 1):
        labels[y : y + rng.integers(5, 12), x : x + rng.integers(5, 12)] = number
    plane = rng.uniform(-0.5, 2.5, labels.shape).astype(np.float32)
    return labels, plane, Maps(*rng.integers(0, 256, (2, *labels.shape)).astype(np.uint8))


def by_loops(labels, plane, maps, scale) -> dict[tuple[int, int], list[float]]:
    """Evidence of each pair of labels, side after side."""
    grey = np.round(np.clip(plane, 0, 2) * 127.5)
    smooth, deep = (
        ndimage.uniform_filter(np.asarray(each, float), 3, mode="constant")
        for each in (grey, maps.depth)
    )
    sides = {}
    for y, x in np.ndindex(labels.shape):
        for v, u in ((y + 1, x), (y, x + 1)):
            if v < labels.shape[0] and u < labels.shape[1]:
                pair = sorted((int(labels[y, x]), int(labels[v, u])))
                if pair[0] > 0 and pair[0] != pair[1]:
                    sides.setdefault(tuple(pair), []).append(((y, x), (v, u)))
    return {
        pair: weighed(pair, those, labels, (grey, smooth, deep, maps.foreground), scale)
        for pair, those in sides.items()
    }


def weighed(pair, sides, labels, planes, scale) -> list[float]:
    grey, smooth, deep, foreground = planes
    depth, bright, sure = (
        np.array([(each[one] * 1.0 + each[other]) / 2 for one, other in sides])
        for each in (deep, smooth, foreground)
    )
    pixels = np.array(sides).reshape(-1, 2)
    areas = [(labels == each).sum() for each in pair]
    means = [grey[labels == each].mean() for each in pair]
    middles = [np.argwhere(labels == each).mean(0) for each in pair]
    return [
        depth.max() / 255,
        depth.mean() / 255,
        depth.min() / 255,
        sure.min() / 255,
        scale * min(areas) ** 0.5,
        scale * max(areas) ** 0.5,
        np.hypot(*(np.ptp(pixels, axis=0) + 1)) / min(areas) ** 0.5,
        bright.min() / max(min(means), 1),
        (max(means) - min(means)) / max(means),
        np.hypot(*(middles[0] - middles[1])) / sum(areas) ** 0.5,
        np.log(len(sides)),
    ]


def pixels(labels, plane, maps) -> Pixels:
    return Pixels(jnp.asarray(labels), grey_of(jnp.asarray(plane)), jax.tree.map(jnp.asarray, maps))


def on_host(seen: Pixels) -> Sums:
    return add_up_cpu(jax.tree.map(np.asarray, seen), most=MOST)


def found(labels, plane, maps, *, scale=1.0) -> dict[tuple[int, int], list[float]]:
    joints = weigh(add_up(pixels(labels, plane, maps), most=MOST), scale=scale)
    rows = np.flatnonzero(joints.is_there)
    table = np.stack([np.asarray(each) for each in joints.evidence], axis=1)
    return {(int(joints.low[row]), int(joints.high[row])): table[row].tolist() for row in rows}


@pytest.mark.parametrize("seed", range(4))
def test_both_kernels_agree_to_the_last_bit(seed):
    host, device = on_host(pixels(*field(seed))), add_up(pixels(*field(seed)), most=MOST)
    rows = np.asarray(device.high) > 0
    assert (host.high > 0).sum() == rows.sum()
    assert rows.sum() > 5
    real = host.high > 0
    for name, one, other in zip(Sums._fields, host, device, strict=True):
        np.testing.assert_array_equal(one[real], other[rows], err_msg=name)
        assert one.dtype == other.dtype == np.int32


@pytest.mark.parametrize(("seed", "scale"), [(0, 1.0), (1, 2.0), (2, 0.5)])
def test_every_joint_has_the_evidence_that_loops_find(seed, scale):
    expected, seen = by_loops(*field(seed), scale), found(*field(seed), scale=scale)
    assert list(seen) == sorted(expected)
    for pair, numbers in expected.items():
        for name, one, other in zip(Evidence._fields, seen[pair], numbers, strict=True):
            assert one == pytest.approx(other, rel=1e-5, abs=1e-6), (pair, name)


def test_nuclei_that_touch_at_a_corner_or_not_at_all_have_no_joint():
    labels, plane, maps = field()
    labels[:] = 0
    labels[2:8, 2:8], labels[8:14, 8:14], labels[2:8, 9:14] = 1, 2, 3
    assert list(found(labels, plane, maps)) == [(2, 3)]  # one above the other
    assert found(np.zeros_like(labels), plane, maps) == {}


def test_numbering_and_mirrors_change_no_evidence():
    labels, plane, maps = field(3)
    seen = found(labels, plane, maps)
    order = np.append(0, 1 + np.random.default_rng(0).permutation(14)).astype(np.int32)
    renumbered = found(order[labels], plane, maps)
    for (low, high), numbers in seen.items():
        pair = sorted((int(order[low]), int(order[high])))
        np.testing.assert_allclose(renumbered[tuple(pair)], numbers, rtol=1e-5, atol=1e-6)
    flipped = found(labels[:, ::-1], plane[:, ::-1], Maps(*(each[:, ::-1] for each in maps)))
    assert list(flipped) == list(seen)
    for pair, numbers in seen.items():
        np.testing.assert_allclose(flipped[pair], numbers, rtol=1e-5, atol=1e-6)


def test_a_field_in_a_batch_has_the_joints_that_it_has_alone():
    fields = [pixels(*field(seed)) for seed in range(3)]
    stacked = jax.tree.map(lambda *each: jnp.stack(each), *fields)
    many = jax.jit(jax.vmap(lambda one: weigh(add_up(one, most=MOST), scale=1.0)))
    together = many(stacked)
    for row, one in enumerate(fields):
        alone = weigh(add_up(one, most=MOST), scale=1.0)
        is_there = np.asarray(alone.is_there)
        np.testing.assert_array_equal(together.is_there[row], is_there)
        for seen, expected in zip(together.evidence, alone.evidence, strict=True):
            np.testing.assert_allclose(seen[row][is_there], expected[is_there], rtol=1e-6)


def test_more_sides_than_there_is_room_for_leave_the_lowest_out():
    labels = np.arange(1, 257, dtype=np.int32).reshape(16, 16)  # each pixel a nucleus
    maps = Maps(*np.zeros((2, 16, 16), np.uint8))
    seen = pixels(labels, np.zeros((16, 16), np.float32), maps)
    device = add_up(seen, most=256)
    host = add_up_cpu(jax.tree.map(np.asarray, seen), most=256)
    np.testing.assert_array_equal(host.high, device.high)
    pairs = list(zip(device.low.tolist(), device.high.tolist(), strict=True))
    assert len(set(pairs)) == 16 * 16 // 2  # of 480
    assert {(1, 2), (1, 17), (64, 80)} <= set(pairs)
    assert max(low for low, _ in pairs) == 66
