"""Measuring fields on an accelerator: the same objects and signals as on the CPU, traced."""

from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from profiler.measure.family import COMPARTMENTS, FeatureFamily, Over
from profiler.measure.plan import Plan, Run
from profiler.measure.quantile import quantile
from profiler.shapes import Image, Labels, Plane


class Objects(NamedTuple):
    """One compartment's objects; "pixel" runs over the whole image, in raster order.

    Attributes:
        labels: The label image, [height, width] int32, 0 also for labels without a row.
        owner: Row of each pixel; the number of rows for background, [pixel].
        offsets: Where each object begins in arrays sorted by owner, [cell + 1].
        boxes: First row, first column, and the row and column after the last, [4, cell].
    """

    labels: Int[Array, "height width"]
    owner: Int[Array, " pixel"]
    offsets: Int[Array, " cells_and_end"]
    boxes: Int[Array, "4 cell"]

    @property
    def area(self) -> Int[Array, " cell"]:
        """Pixels of each object; 0 for an absent label."""
        return jnp.diff(self.offsets)

    @property
    def is_edge(self) -> Bool[Array, " pixel"]:
        """Whether a pixel has one of its 4 neighbours, inside the image, elsewhere."""
        around = (shifted(self.labels, dy, dx, -1) for dy, dx in CROSS)
        edge = [(near != self.labels) & (near >= 0) for near in around]
        return (jnp.stack(edge).any(axis=0) & (self.labels > 0)).ravel()

    def total(self, values: Array) -> Array:
        """Sum [pixel] values over each object, [cell]."""
        return jax.ops.segment_sum(values, self.owner, len(self.offsets) - 1)

    def lowest(self, values: Array) -> Array:
        """The smallest of each object's [pixel] values, [cell]."""
        return jax.ops.segment_min(values, self.owner, len(self.offsets) - 1)

    def spread(self, values: Array) -> Array:
        """Give each pixel its object's [cell] value, and background 0; [pixel]."""
        return values.at[self.owner].get(mode="fill", fill_value=0)

    @property
    def places(self) -> Float[Array, "2 pixel"]:
        """Row and column of each pixel from the corner of its object's box."""
        at = jnp.indices(self.labels.shape, self.labels.dtype).reshape(2, -1)
        return (at - jax.vmap(self.spread)(self.boxes[:2])).astype(jnp.float32)

    @property
    def centre(self) -> Float[Array, "2 cell"]:
        """Mean row and column of each object from the corner of its box."""
        return jax.vmap(self.total)(self.places) / self.area[None]

    @property
    def centred(self) -> Float[Array, "2 pixel"]:
        """Row and column of each pixel from its object's centre.

        From the image's corner, second moments in float32 would be wrong by percents.
        """
        return self.places - jax.vmap(self.spread)(self.centre)

    def ordered(self, values: Array) -> Array:
        """Sort [pixel] values by owner, and within each object."""
        # Two sorts by one key: GPUs have a radix sort for those, and none for pairs of keys.
        values, owner = lax.sort((values, self.owner), num_keys=1)
        return lax.sort((owner, values), num_keys=1, is_stable=True)[1]


CROSS = ((-1, 0), (0, -1), (0, 1), (1, 0))


@dataclass(frozen=True)
class Signal:
    """One channel, seen through one compartment's objects."""

    objects: Objects
    plane: Plane

    @property
    def values(self) -> Float[Array, " pixel"]:
        """The intensity of each pixel."""
        return self.plane.ravel()

    @cached_property
    def ordered(self) -> Float[Array, " pixel"]:
        """The values, sorted by owner and within each object."""
        return self.objects.ordered(self.values)

    @cached_property
    def total(self) -> Float[Array, " cell"]:
        """Integrated intensity."""
        return self.objects.total(self.values)

    @property
    def centre(self) -> Float[Array, "2 cell"]:
        """Mean row and column, weighted by intensity, as in `Objects.centre`."""
        weighted = self.objects.places * self.values[None]
        return jax.vmap(self.objects.total)(weighted) / self.total[None]

    @property
    def brightest(self) -> Int[Array, " cell"]:
        """Index in the flat image of each object's first brightest pixel."""
        highest = -self.objects.lowest(-self.values)
        pixel = jnp.arange(self.values.shape[0], dtype=jnp.int32)
        is_brightest = self.values == self.objects.spread(highest)
        return self.objects.lowest(jnp.where(is_brightest, pixel, pixel.shape[0]))

    def quantile(self, fraction: float) -> Float[Array, " cell"]:
        """CellProfiler's quantile of each object's values."""
        return quantile(self.ordered, self.objects.offsets, fraction)


def pack(labels: Labels, *, max_cells: int) -> Objects:
    """Describe the objects of each label up to max_cells of one field."""
    labels = jnp.where((labels > 0) & (labels <= max_cells), labels, 0).astype(jnp.int32)
    owner = jnp.where(labels > 0, labels - 1, max_cells).ravel()
    y, x = (jnp.ravel(index).astype(jnp.int32) for index in jnp.indices(labels.shape))
    per_cell = {"segment_ids": owner, "num_segments": max_cells}
    area = jax.ops.segment_sum(jnp.ones_like(owner), **per_cell)
    first = [jax.ops.segment_min(at, **per_cell) for at in (y, x)]
    last = [jax.ops.segment_max(at, **per_cell) + 1 for at in (y, x)]
    offsets = jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.cumsum(area)])
    return Objects(labels, owner, offsets, jnp.stack([*first, *last]))


def shifted(image: Array, dy: int, dx: int, fill: int) -> Array:
    """What each pixel sees (dy, dx) away, by at most one step; `fill` outside the image."""
    height, width = image.shape
    padded = jnp.pad(image, 1, constant_values=fill)
    return padded[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]


@partial(jax.jit, static_argnames="plan")
def measure_fields(
    images: Float[Array, "batch height width channel"],
    labels: dict[str, Int[Array, "batch height width"]],
    *,
    plan: Plan,
) -> tuple[Float[Array, "batch cell column"], Int[Array, "batch compartment cell"]]:
    """Measure a batch by the plan's device runs.

    Returns:
        The runs' columns one after another, and the area of each compartment's objects.
    """
    stack = jnp.stack([labels[name] for name in COMPARTMENTS], axis=1)
    return jax.vmap(partial(_measure_field, plan=plan))(images, stack)


def _measure_field(
    image: Image, labels: Int[Array, "compartment height width"], *, plan: Plan
) -> tuple[Array, Array]:
    objects = jax.vmap(partial(pack, max_cells=plan.max_cells))(labels)
    planes = jnp.moveaxis(image, -1, 0)
    area = jnp.diff(objects.offsets, axis=-1)
    families = {run.family: run for run in plan.device_runs}
    blocks = {
        family: _family(family, run, objects, planes, area) for family, run in families.items()
    }
    done = [
        blocks[run.family][run.family.reported_for.index(run.compartment)]
        for run in plan.device_runs
    ]
    empty = jnp.empty((0, plan.max_cells), jnp.float32)
    return jnp.concatenate([empty, *done]).T, area


def _family(
    family: FeatureFamily, run: Run, objects: Objects, planes: Array, area: Array
) -> Float[Array, "compartment column cell"]:
    """Run a family in all its compartments and channels: few programs, fat operations."""
    picks = jnp.array(run.picks, jnp.int32)
    at = [COMPARTMENTS.index(name) for name in family.reported_for]

    def over_picks(objects: Objects) -> Array:
        return jax.vmap(lambda pick: _call(family, objects, planes[pick]))(picks)

    if family.over is Over.CELL:
        found = over_picks(objects)[None]
    else:
        chosen = jax.tree.map(lambda leaf: leaf[jnp.array(at)], objects)
        found = jax.vmap(over_picks)(objects if len(at) == len(COMPARTMENTS) else chosen)
    flat = found.reshape(len(at), -1, found.shape[-1])
    return jnp.where(jnp.isfinite(flat) & (area[jnp.array(at), None] > 0), flat, jnp.nan)


def _call(family: FeatureFamily, objects: Objects, planes: Array) -> Array:
    assert family.jax is not None
    if family.over is Over.OBJECTS:
        given = (objects,)
    elif family.over is Over.CELL:
        each = (jax.tree.map(lambda leaf, i=i: leaf[i], objects) for i in range(len(COMPARTMENTS)))
        given = tuple(Signal(one, planes[0]) for one in each)
    else:
        given = tuple(Signal(objects, planes[i]) for i in range(planes.shape[0]))
    return jnp.stack([jnp.asarray(column, jnp.float32) for column in family.jax(*given)])
