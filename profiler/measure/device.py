"""Measuring fields on an accelerator: the same objects and signals as on the CPU, traced."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from profiler.measure.family import COMPARTMENTS, IMAGE, FeatureFamily, Over
from profiler.measure.plan import Plan, Run
from profiler.measure.quantile import quantile
from profiler.shapes import Image, Labels, Plane

T = TypeVar("T")


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

    def once(self, make: Callable[..., T], **options: object) -> T:
        """What `make(objects, **options)` returns; the compiler sees that it is the same work."""
        return make(self, **options)

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

    def once(self, make: Callable[..., T], **options: object) -> T:
        """What `make(plane, **options)` returns: it is not repeated for every compartment."""
        return make(self.plane, **options)

    def derive(self, make: Callable[..., T], **options: object) -> T:
        """What `make(signal, **options)` returns."""
        return make(self, **options)

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
    def shift(self) -> Float[Array, "2 cell"]:
        """From each object's centre to its mean row and column weighted by intensity."""
        # From the lowest: in a constant object exactly 0, and no digits lost in a bright one.
        above = self.values - self.objects.spread(self.objects.lowest(self.values))
        weighted = self.objects.centred * above[None]
        return jax.vmap(self.objects.total)(weighted) / self.total[None]

    @property
    def centre(self) -> Float[Array, "2 cell"]:
        """Mean row and column, weighted by intensity, as in `Objects.centre`."""
        return self.objects.centre + self.shift

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


class FieldTables(NamedTuple):
    """What was measured in a batch of fields.

    Attributes:
        features: Of the cells, by the plan's device runs one after another.
        image: Of the fields themselves, likewise.
        area: Of each compartment's objects.
    """

    features: Float[Array, "*batch cell column"]
    image: Float[Array, "*batch image_column"]
    area: Int[Array, "*batch compartment cell"]


@partial(jax.jit, static_argnames="plan")
def measure_fields(
    images: Float[Array, "batch height width channel"],
    labels: dict[str, Int[Array, "batch height width"]],
    *,
    plan: Plan,
) -> FieldTables:
    """Measure a batch by the plan's device runs."""
    stack = jnp.stack([labels[name] for name in COMPARTMENTS], axis=1)
    return jax.vmap(partial(_measure_field, plan=plan))(images, stack)


def _measure_field(
    image: Image, labels: Int[Array, "compartment height width"], *, plan: Plan
) -> FieldTables:
    objects = jax.vmap(partial(pack, max_cells=plan.max_cells))(labels)
    planes = jnp.moveaxis(image, -1, 0)
    area = jnp.diff(objects.offsets, axis=-1)
    of_cells = [run for run in plan.device_runs if run.compartment != IMAGE]
    families = {run.family: run for run in of_cells}
    blocks = {
        family: _in_cells(family, run, objects, planes, area) for family, run in families.items()
    }
    features = [jnp.empty((0, plan.max_cells), jnp.float32)]
    for run in of_cells:
        cells_in = [name for name in run.family.reported_for if name != IMAGE]
        features.append(blocks[run.family][cells_in.index(run.compartment)])
    of_image = [
        _in_image(run, objects, planes) for run in plan.device_runs if run.compartment == IMAGE
    ]
    empty = jnp.empty(0, jnp.float32)
    return FieldTables(jnp.concatenate(features).T, jnp.concatenate([empty, *of_image]), area)


def _in_cells(
    family: FeatureFamily, run: Run, objects: Objects, planes: Array, area: Array
) -> Float[Array, "compartment column cell"]:
    """Run a family in all its compartments and channels: few programs, fat operations."""
    names = [name for name in family.reported_for if name != IMAGE]
    at = jnp.array([COMPARTMENTS.index(name) for name in names])
    if family.over is Over.CELL:
        found = _over_picks(run, planes, objects)[None]
    else:
        chosen = objects if len(names) == len(COMPARTMENTS) else _taken(objects, at)
        found = jax.vmap(partial(_over_picks, run, planes))(chosen)
    flat = found.reshape(len(names), -1, found.shape[-1])
    return jnp.where(jnp.isfinite(flat) & (area[at, None] > 0), flat, jnp.nan)


def _in_image(run: Run, objects: Objects, planes: Array) -> Float[Array, " column"]:
    """Run a family in the whole field, or over the compartments for the whole field."""
    if run.family.over is not Over.CELL:
        objects = pack(jnp.ones(planes.shape[1:], jnp.int32), max_cells=1)
    found = _over_picks(run, planes, objects).ravel()
    return jnp.where(jnp.isfinite(found), found, jnp.nan)


def _over_picks(run: Run, planes: Array, objects: Objects) -> Float[Array, "pick feature cell"]:
    picks = jnp.array(run.picks, jnp.int32)
    return jax.vmap(lambda pick: _call(run.family, objects, planes[pick]))(picks)


def _taken(objects: Objects, at: Array | int) -> Objects:
    return jax.tree.map(lambda leaf: leaf[at], objects)


def _call(family: FeatureFamily, objects: Objects, planes: Array) -> Array:
    assert family.jax is not None
    if family.over is Over.OBJECTS:
        given = (objects,)
    elif family.over is Over.CELL:
        given = tuple(Signal(_taken(objects, i), planes[0]) for i in range(len(COMPARTMENTS)))
    else:
        given = tuple(Signal(objects, planes[i]) for i in range(planes.shape[0]))
    found = family.jax(*given)
    if isinstance(found, jax.Array):
        return found.astype(jnp.float32)
    return jnp.stack([jnp.asarray(column, jnp.float32) for column in found])
