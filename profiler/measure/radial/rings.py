"""How each object's intensity is spread from its centre to its edge."""

from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, NamedTuple, no_type_check

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from plates.errors import BadRecipe
from profiler.measure import cpu, device
from profiler.measure.family import FeatureFamily, Over
from profiler.measure.radial.paths import SIDE, UNREACHED, paths_cpu, paths_jax
from profiler.measure.shape.radius import depths_cpu, depths_jax

WEDGES = 8
MAX_BINS, MAX_RADIUS_PX = 100, 10_000  # more than a cell has pixels in a row, and an image
MARGIN = 0.001  # of a pixel, which CellProfiler adds to the whole way


class RadialDistribution(NamedTuple):
    """Intensity in rings around an object's centre, one value for each ring.

    The centre is the pixel farthest from other objects and the background; of equals, the first
    in raster order, where CellProfiler's choice depends on how the image happens to sort.
    Pixels are as far from it as the shortest way inside the object is long, 1 for a side and √2
    for a corner; those that no way leads to are left out. Scaled rings, 1 to n, are of equal
    width in the share that this is of the whole way, from the centre to the pixel and on to the
    nearest pixel of the image outside the object. Unscaled ones are of equal width in pixels,
    with Overflow for all beyond the last. Without intensity in an object, FracAtD and MeanFrac
    are NaN; all three are, if it fills the image.

    Source: CellProfiler 4.2.8, MeasureObjectIntensityDistribution.

    Attributes:
        FracAtD: Share of the object's intensity that is in the ring.
        MeanFrac: The same, divided by the share of its pixels: 1 where intensity is even; 0 in a
            ring without pixels, as in CellProfiler.
        RadialCV: Coefficient of variation of the mean intensities of the ring's parts in those of
            8 wedges that have any; 0 in a ring without pixels or intensity, as in CellProfiler.
    """

    FracAtD: Any
    MeanFrac: Any
    RadialCV: Any


@dataclass(frozen=True)
class Rings:
    """Into how many rings an object is cut, and how.

    Attributes:
        bins: How many, without the overflow.
        radius_px: Outer radius of the last; None to scale them to the object.
    """

    bins: int
    radius_px: int | None

    @property
    def names(self) -> tuple[str, ...]:
        """Last parts of the columns' names."""
        names = tuple(f"{ring + 1}of{self.bins}" for ring in range(self.bins))
        return names if self.radius_px is None else (*names, "Overflow")

    @property
    def slots(self) -> int:
        """Parts that an object is cut into: wedges of rings, and of the overflow."""
        return (self.bins + 1) * WEDGES


class Slots(NamedTuple):
    """Where each pixel belongs.

    Attributes:
        slot: Ring * 8 + wedge of each pixel; `Rings.slots` for those left out, [pixel].
        pixels: How many are in each, [cell, ring, wedge].
    """

    slot: Any
    pixels: Any


def radial_distribution(
    *, bins: Any = 4, scaled: Any = True, maximum_radius_px: Any = 100
) -> FeatureFamily:
    """Measure how intensity is spread from the centre of objects to their edge.

    Args:
        bins: How many rings, 2 to 100.
        scaled: Whether they are scaled to each object.
        maximum_radius_px: Outer radius of the last, if they are not.

    Returns:
        The family, the same for the same options.

    Raises:
        BadRecipe: An option of another type or out of range.
    """
    _check("bins", bins, 2, MAX_BINS)
    _check("maximum_radius_px", maximum_radius_px, 1, MAX_RADIUS_PX)
    if not isinstance(scaled, bool):
        raise BadRecipe(f"RadialDistribution's scaled is {scaled!r}; expected true or false.")
    return _family(Rings(bins, None if scaled else maximum_radius_px))


def _check(name: str, value: Any, least: int, most: int) -> None:
    if type(value) is not int or not least <= value <= most:
        raise BadRecipe(
            f"RadialDistribution's {name} is {value!r}; expected a whole number from {least} to "
            f"{most}."
        )


@lru_cache
def _family(rings: Rings) -> FeatureFamily:
    kinds = RadialDistribution._fields
    return FeatureFamily(
        "RadialDistribution",
        Over.CHANNEL,
        tuple(f"{kind}_{{}}_{name}" for kind in kinds for name in rings.names),
        cpu=partial(radial_cpu, rings=rings),
        jax=partial(radial_jax, rings=rings),
        about=RadialDistribution.__doc__ or "",
    )


def _features(above: Any, pixels: Any, lowest: Any, *, rings: Rings) -> Any:
    """Features from sums; with numpy, or traced.

    Args:
        above: Sum of intensities above the lowest, [cell, ring, wedge].
        pixels: How many were summed, likewise.
        lowest: An intensity for each object, [cell].
        rings: Those to keep.

    Returns:
        [feature, cell].
    """
    xp = above.__array_namespace__()
    lowest = lowest[:, None]
    area = pixels.sum(axis=2)
    part = area / area.sum(axis=1, keepdims=True)
    light = above.sum(axis=2) + lowest * area
    share = light / light.sum(axis=1, keepdims=True)
    # CellProfiler's: nothing of no pixels is 0.
    mean_share = share / (part + np.finfo(np.float64).eps)

    wedges = (pixels > 0).sum(axis=2)
    means = xp.where(pixels > 0, above / pixels, 0)
    mean = means.sum(axis=2) / wedges
    off = xp.where(pixels > 0, means - mean[..., None], 0)
    deviation = xp.sqrt((off**2).sum(axis=2) / wedges)
    is_dark = (wedges == 0) | (mean + lowest == 0)
    cv = xp.where(is_dark, 0 * part, deviation / (mean + lowest))
    kept = [values[:, : len(rings.names)].T for values in (share, mean_share, cv)]
    return xp.concatenate(kept)


def radial_jax(signal: device.Signal, *, rings: Rings) -> Any:
    """Measure the rings of every object in one channel, on an accelerator."""
    objects = signal.objects
    slots = objects.once(_slots_jax, rings=rings)
    # From the lowest: an even object varies by exactly 0.
    lowest = objects.lowest(signal.values)
    above = signal.values - objects.spread(lowest)
    totals = _totals_jax(objects, slots.slot, above, rings)
    return _features(totals, slots.pixels, lowest, rings=rings)


def _slots_jax(objects: device.Objects, *, rings: Rings) -> Slots:
    paths, width = objects.once(paths_jax), objects.labels.shape[1]
    length = paths.length.astype(jnp.float32) / SIDE
    if rings.radius_px is None:
        depth = jnp.sqrt(objects.once(depths_jax))
        ring = (length / (length + depth + MARGIN) * rings.bins).astype(jnp.int32)
    else:
        starts = jnp.array(_starts(rings), jnp.int32)
        ring = jnp.searchsorted(starts, paths.length, side="right", method="compare_all")
    pixel = jnp.arange(len(objects.owner), dtype=jnp.int32)
    centre = objects.spread(paths.centre)
    dy, dx = pixel // width - centre // width, pixel % width - centre % width
    wedge = (dy > 0) + 2 * (dx > 0) + 4 * (jnp.abs(dy) > jnp.abs(dx))
    slot = jnp.where(paths.length < UNREACHED, ring * WEDGES + wedge, rings.slots)
    return Slots(slot, _totals_jax(objects, slot, jnp.ones_like(length), rings))


def _starts(rings: Rings) -> list[int]:
    """The shortest way to each unscaled ring but the first, as CellProfiler's floats round it."""
    assert rings.radius_px is not None
    starts = []
    for ring in range(1, rings.bins + 1):
        near = ring * rings.radius_px * int(SIDE) // rings.bins
        starts.append(
            next(
                length
                for length in range(near - 1, near + 3)
                if length / int(SIDE) / rings.radius_px * rings.bins >= ring
            )
        )
    return starts


def _totals_jax(
    objects: device.Objects,
    slot: Int[Array, " pixel"],
    values: Float[Array, " pixel"],
    rings: Rings,
) -> Float[Array, "cell ring wedge"]:
    # One id for object and slot: a scatter of many columns is slow.
    ids = len(objects.area) * rings.slots
    own = jnp.where(slot < rings.slots, objects.owner * rings.slots + slot, ids)
    return jax.ops.segment_sum(values, own, ids).reshape(-1, rings.bins + 1, WEDGES)


def radial_cpu(signal: cpu.Signal, *, rings: Rings) -> Any:
    """Measure the rings of every object in one channel, on the CPU."""
    objects = signal.objects
    slots = objects.once(_slots_cpu, rings=rings)
    totals = _totals_cpu(objects, slots.slot, signal.values, rings)
    # Sums of float32 in float64: an even object varies by exactly 0.
    return _features(totals, slots.pixels, np.zeros(len(totals)), rings=rings)


def _slots_cpu(objects: cpu.Objects, *, rings: Rings) -> Slots:
    depths, (centre, length) = objects.once(depths_cpu), objects.once(paths_cpu)
    width = objects.labels.shape[1]
    centre = np.stack([centre // width, centre % width]) - objects.boxes[:2]
    cut = rings.bins, rings.radius_px or 0
    slot = _slot(length, depths, objects.places, objects.offsets, centre, cut)
    return Slots(slot, _totals_cpu(objects, slot, np.ones(len(slot), np.float32), rings))


@no_type_check
@cpu.compiled()
def _slot(length, depths, places, offsets, centre, cut):
    bins, radius = cut
    slot = np.full(len(length), (bins + 1) * WEDGES, np.int16)
    for cell in range(len(offsets) - 1):
        y, x = centre[:, cell]
        for i in range(offsets[cell], offsets[cell + 1]):
            if length[i] == UNREACHED:
                continue
            way = length[i] / SIDE
            whole = way + np.sqrt(np.float64(depths[i])) + MARGIN
            ring = min(int(way / (radius or whole) * bins), bins)
            dy, dx = places[0, i] - y, places[1, i] - x
            slot[i] = ring * WEDGES + (dy > 0) + 2 * (dx > 0) + 4 * (abs(dy) > abs(dx))
    return slot


def _totals_cpu(
    objects: cpu.Objects, slot: np.ndarray, values: np.ndarray, rings: Rings
) -> np.ndarray:
    totals = _totals(values, slot, objects.offsets, rings.slots)
    return totals.reshape(-1, rings.bins + 1, WEDGES)


@no_type_check
@cpu.compiled()
def _totals(values, slot, offsets, slots):
    totals = np.empty((len(offsets) - 1, slots))
    own = np.empty(slots + 1)  # and those left out
    for cell in range(len(totals)):
        own[:] = 0
        for i in range(offsets[cell], offsets[cell + 1]):
            own[slot[i]] += values[i]
        totals[cell] = own[:-1]
    return totals
