"""How large and how round each object is: area, box, outline, and the ellipse of its moments."""

from itertools import product
from typing import Any, NamedTuple, no_type_check

import jax
import jax.numpy as jnp
import numpy as np

from profiler.measure import cpu, device
from profiler.measure.family import FeatureFamily, Over


class AreaShape(NamedTuple):
    """Size and shape of an object's mask, in pixels unless said otherwise.

    The ellipse is the one with the object's second moments.

    Source: CellProfiler 4.2.8, MeasureObjectSizeShape, whose definitions are scikit-image's.

    Attributes:
        Area: Pixels of the object.
        BoundingBoxArea: Pixels of its box.
        BoundingBoxMinimum_X: First column.
        BoundingBoxMaximum_X: Column after the last.
        BoundingBoxMinimum_Y: First row.
        BoundingBoxMaximum_Y: Row after the last.
        Center_X: Mean column.
        Center_Y: Mean row.
        Perimeter: Length of the line through the centres of the outline's pixels (4-connected
            interior), with corners weighted as by Benkrid and Crookes; 0 for a single pixel.
        FormFactor: 4 pi Area / Perimeter^2, 1 for a disc; NaN where Perimeter is 0.
        Compactness: Perimeter^2 / (4 pi Area).
        Extent: Area / BoundingBoxArea.
        EulerNumber: Parts minus holes, 8-connected.
        EquivalentDiameter: Diameter of the disc of the same area.
        Eccentricity: Of the ellipse, 0 for a circle, to 1 for a line; 0 for a single pixel.
        MajorAxisLength: Of the ellipse, full length.
        MinorAxisLength: Likewise.
        Orientation: Degrees, -90 to 90, from the y axis to the major axis; 45 where the axes are
            equal. Where only the variances in x and y are equal, CellProfiler 4.2.8 has the
            other sign, which scikit-image has corrected since.
    """

    Area: Any
    BoundingBoxArea: Any
    BoundingBoxMinimum_X: Any
    BoundingBoxMaximum_X: Any
    BoundingBoxMinimum_Y: Any
    BoundingBoxMaximum_Y: Any
    Center_X: Any
    Center_Y: Any
    Perimeter: Any
    FormFactor: Any
    Compactness: Any
    Extent: Any
    EulerNumber: Any
    EquivalentDiameter: Any
    Eccentricity: Any
    MajorAxisLength: Any
    MinorAxisLength: Any
    Orientation: Any


def _step_lengths() -> np.ndarray:
    """Length that an outline pixel adds, by its neighbours on the outline: [4-near, diagonal].

    Source: K. Benkrid, D. Crookes, "Design and FPGA Implementation of a Perimeter Estimator".
    """
    lengths = np.zeros((5, 5))
    for straight in ((2, 0), (3, 0), (2, 1), (3, 1), (2, 2), (3, 2)):
        lengths[straight] = 1
    for diagonal in ((0, 2), (1, 3)):
        lengths[diagonal] = np.sqrt(2)
    for mixed in ((1, 1), (1, 2)):
        lengths[mixed] = (1 + np.sqrt(2)) / 2
    return lengths


STEP_LENGTHS = _step_lengths()
ROUND = 1e-6  # of the trace: moments nearer to each other are equal


def _finish(objects: Any, outline: Any, moments: Any) -> AreaShape:
    """From sums to features.

    Args:
        objects: Of either kind.
        outline: Perimeter and Euler number, [2, cell].
        moments: Second central moments yy, xx, yx by area, [3, cell].
    """
    xp = moments.__array_namespace__()
    area = objects.area
    top, left, bottom, right = objects.boxes
    y, x = objects.boxes[:2] + objects.centre
    perimeter, euler = outline
    yy, xx, yx = moments
    spread = xp.hypot(yy - xx, 2 * yx)
    major, minor = (yy + xx + spread) / 2, xp.clip((yy + xx - spread) / 2, 0, None)
    box = (bottom - top) * (right - left)
    # Rounding must not turn 90 degrees into -90.
    across = xp.where(abs(yx) > ROUND * (yy + xx), yx, 0)
    tilt = xp.rad2deg(xp.atan2(2 * across, yy - xx) / 2)
    return AreaShape(
        area,
        box,
        left,
        right,
        top,
        bottom,
        x,
        y,
        perimeter,
        4 * np.pi * area / perimeter**2,
        perimeter**2 / (4 * np.pi * area),
        area / box,
        euler,
        xp.sqrt(4 * area / np.pi),
        xp.where(major > 0, xp.sqrt(1 - minor / major), 0),
        4 * xp.sqrt(major),
        4 * xp.sqrt(minor),
        xp.where(spread > ROUND * (yy + xx), tilt, 45.0),
    )


def shape_jax(objects: device.Objects) -> AreaShape:
    """Measure the shape of every object, on an accelerator."""
    y, x = objects.centred
    moments = jax.vmap(objects.total)(jnp.stack([y * y, x * x, y * x])) / objects.area[None]
    return _finish(objects, _outline(objects), moments)


def _outline(objects: device.Objects) -> jax.Array:
    labels = objects.labels
    same = {
        (dy, dx): device.shifted(labels, dy, dx, -1) == labels
        for dy, dx in product((-1, 0, 1), repeat=2)
    }
    rim = (labels > 0) & ~jnp.stack([same[step] for step in device.CROSS]).all(axis=0)

    def rim_neighbours(steps: tuple[tuple[int, int], ...]) -> jax.Array:
        near = [device.shifted(rim, *step, 0) & same[step] for step in steps]
        return jnp.stack(near).sum(axis=0, dtype=jnp.int32)

    diagonal = ((-1, -1), (-1, 1), (1, -1), (1, 1))
    lengths = jnp.asarray(STEP_LENGTHS, jnp.float32)
    length = rim * lengths[rim_neighbours(device.CROSS), rim_neighbours(diagonal)]
    founds = ~(same[-1, 0] | same[-1, -1] | same[0, -1])
    joins = ~same[-1, 0] & same[-1, 1]
    euler = founds.astype(jnp.float32) - joins
    return jnp.stack([objects.total(length.ravel()), objects.total(euler.ravel())])


def shape_cpu(objects: cpu.Objects) -> AreaShape:
    """Measure the shape of every object, on the CPU."""
    framed = np.pad(objects.labels, 1)  # no neighbour is outside
    outline = _walk(framed, _rim(framed), objects.order, objects.offsets, STEP_LENGTHS)
    with np.errstate(divide="ignore", invalid="ignore"):
        moments = _moments(objects.places, objects.centre, objects.offsets) / objects.area
    return _finish(objects, outline, moments)


@no_type_check
@cpu.compiled()
def _rim(framed):
    rim = np.zeros(framed.shape, np.bool_)
    for y in range(1, framed.shape[0] - 1):
        for x in range(1, framed.shape[1] - 1):
            own = framed[y, x]
            rim[y, x] = own > 0 and not (
                framed[y - 1, x] == own
                and framed[y, x - 1] == own
                and framed[y, x + 1] == own
                and framed[y + 1, x] == own
            )
    return rim


@no_type_check
@cpu.compiled()
def _walk(framed, rim, order, offsets, lengths):
    """Perimeter and Euler number of each object."""
    found = np.zeros((2, len(offsets) - 1))
    width = framed.shape[1] - 2
    for cell in range(len(offsets) - 1):
        for i in range(offsets[cell], offsets[cell + 1]):
            y, x = order[i] // width + 1, order[i] % width + 1
            if not rim[y, x]:
                continue
            own, near, diagonal = framed[y, x], 0, 0
            for dy in range(-1, 2):
                for dx in range(-1, 2):
                    if rim[y + dy, x + dx] and framed[y + dy, x + dx] == own:
                        near += abs(dy) + abs(dx) == 1
                        diagonal += abs(dy) + abs(dx) == 2
            found[0, cell] += lengths[near, diagonal]
            # Parts minus holes, by corners, edges and faces that the raster scan meets first.
            above = framed[y - 1, x] == own
            founds = not (above or framed[y - 1, x - 1] == own or framed[y, x - 1] == own)
            joins = not above and framed[y - 1, x + 1] == own
            found[1, cell] += int(founds) - int(joins)
    return found


@no_type_check
@cpu.compiled()
def _moments(places, centre, offsets):
    """Sums of the squares and the product of the distances from each object's centre."""
    found = np.zeros((3, len(offsets) - 1))
    for cell in range(len(offsets) - 1):
        for i in range(offsets[cell], offsets[cell + 1]):
            dy, dx = places[0, i] - centre[0, cell], places[1, i] - centre[1, cell]
            found[0, cell] += dy * dy
            found[1, cell] += dx * dx
            found[2, cell] += dy * dx
    return found


SHAPE = FeatureFamily(
    "AreaShape",
    Over.OBJECTS,
    AreaShape._fields,
    cpu=shape_cpu,
    jax=shape_jax,
    about=AreaShape.__doc__ or "",
)
