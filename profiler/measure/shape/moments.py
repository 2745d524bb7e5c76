"""Moments of each object's mask: in its box, about its centre, by its area, free of rotation."""

from itertools import product
from typing import Any, no_type_check

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from profiler.measure import cpu, device
from profiler.measure.blocks import blocks
from profiler.measure.family import FeatureFamily, Over
from profiler.measure.rows import rows

ABOUT = """Moments of the pixels of an object's mask, p of rows and q of columns.

NormalizedMoment_0_0, _0_1 and _1_0 are NaN, as they are defined from p + q = 2 on.

Source: CellProfiler 4.2.8, MeasureObjectSizeShape with advanced features, whose definitions are
scikit-image's; M. K. Hu, "Visual pattern recognition by moment invariants", 1962.

Attributes:
    SpatialMoment_p_q: Sum of y^p x^q from the corner of the object's box.
    CentralMoment_p_q: The same from the object's centre; 0 for p + q = 1, where CellProfiler
        has what rounding leaves.
    NormalizedMoment_p_q: CentralMoment_p_q / Area^(1 + (p + q) / 2), whatever the object's size.
    HuMoment_k: Hu's invariants, whatever the object's rotation too; the sign of the last tells
        an object from its mirror image.
    InertiaTensor_i_j: Of the object, by its area, in pixels^2.
    InertiaTensorEigenvalues_k: The larger one and the smaller one.
"""

POWERS = 4  # 0 to 3
ORDERS = [(p, q) for p in range(POWERS) for q in range(POWERS)]
BELOW_3 = ORDERS[: 3 * POWERS]  # those of rows that CellProfiler reports
FEATURES = (
    *(f"SpatialMoment_{p}_{q}" for p, q in BELOW_3),
    *(f"CentralMoment_{p}_{q}" for p, q in BELOW_3),
    *(f"NormalizedMoment_{p}_{q}" for p, q in ORDERS),
    *(f"HuMoment_{k}" for k in range(7)),
    *(f"InertiaTensor_{i}_{j}" for i, j in product(range(2), repeat=2)),
    *(f"InertiaTensorEigenvalues_{k}" for k in range(2)),
)


def _finish(raw: Any, central: Any) -> Any:
    """From both kinds of moments, [p, q, cell], to features, [feature, cell]."""
    xp = raw.__array_namespace__()
    area = raw[0, 0]
    normal = {(p, q): central[p, q] / area ** (1 + (p + q) / 2) for p, q in ORDERS}
    features = (
        *(raw[order] for order in BELOW_3),
        *(central[order] if sum(order) != 1 else 0 * area for order in BELOW_3),
        *(normal[order] if sum(order) > 1 else np.nan * area for order in ORDERS),
        *_hu(normal),
        *_inertia(*(central[p, q] / area for p, q in ((2, 0), (1, 1), (0, 2)))),
    )
    return xp.stack(features)


def _hu(normal: dict[tuple[int, int], Any]) -> tuple[Any, ...]:
    spread, skew = normal[2, 0] - normal[0, 2], 2 * normal[1, 1]
    bend, lean = normal[3, 0] - 3 * normal[1, 2], 3 * normal[2, 1] - normal[0, 3]
    y, x = normal[3, 0] + normal[1, 2], normal[2, 1] + normal[0, 3]
    thrice_y, thrice_x = y * (y**2 - 3 * x**2), x * (3 * y**2 - x**2)
    return (
        normal[2, 0] + normal[0, 2],
        spread**2 + skew**2,
        bend**2 + lean**2,
        y**2 + x**2,
        bend * thrice_y + lean * thrice_x,
        spread * (y**2 - x**2) + 2 * skew * y * x,
        lean * thrice_y - bend * thrice_x,
    )


def _inertia(yy: Any, yx: Any, xx: Any) -> tuple[Any, ...]:
    xp = yy.__array_namespace__()
    middle, apart = (yy + xx) / 2, xp.hypot((yy - xx) / 2, yx)
    return xx, -yx, -yx, yy, middle + apart, xp.clip(middle - apart, 0, None)


def moments_cpu(objects: cpu.Objects) -> Any:
    """Measure the moments of every object, on the CPU."""
    top_left = objects.boxes[:2].astype(float)
    places = (objects.order, objects.labels.shape[1], objects.once(rows))
    raw = _sums(places, top_left)
    return _finish(raw, _sums(places, top_left + raw[[1, 0], [0, 1]] / raw[0, 0]))


@no_type_check
@cpu.compiled(fastmath={"reassoc", "contract"})
def _sums(places, origin):
    """Sums of y^p x^q from each object's origin, [p, q, cell]."""
    order, width, (rows_y, starts, offsets) = places
    found = np.zeros((POWERS, POWERS, len(offsets) - 1))
    for cell in range(len(offsets) - 1):
        y0, x0 = origin[0, cell], origin[1, cell]
        for row in range(offsets[cell], offsets[cell + 1]):
            first = rows_y[row] * width + x0
            square = cube = 0.0
            count, total = 0.0, 0.0
            for i in range(starts[row], starts[row + 1]):
                x = order[i] - first
                count += 1
                total += x
                square += x * x
                cube += x * x * x
            power = 1.0
            for p in range(POWERS):
                found[p, 0, cell] += power * count
                found[p, 1, cell] += power * total
                found[p, 2, cell] += power * square
                found[p, 3, cell] += power * cube
                power *= rows_y[row] - y0
    return found


def moments_jax(objects: device.Objects) -> Any:
    """Measure the moments of every object, on an accelerator."""
    # Where a moment is near 0, float32 would keep nothing of it.
    with jax.enable_x64(True):
        top_left = objects.boxes[:2].astype(jnp.float64)
        raw = _sums_jax(objects, top_left)
        centre = top_left + jnp.stack([raw[1, 0], raw[0, 1]]) / raw[0, 0][None]
        return _finish(raw, _sums_jax(objects, centre)).astype(jnp.float32)


def _sums_jax(objects: device.Objects, origin: jax.Array) -> jax.Array:
    """Sums of y^p x^q from each object's origin, [p, q, cell]."""
    parts = objects.once(blocks)
    height, width = objects.labels.shape
    y = parts.pixel // width - parts.spread(origin[0])
    x = parts.pixel % width - parts.spread(origin[1])

    def sums(chunk: tuple[jax.Array, ...]) -> jax.Array:
        y, x, weight = chunk
        down, along = (jnp.stack([place**p for p in range(POWERS)]) for place in (y, x))
        return jnp.einsum("pbs,qbs->pqb", down * weight[None], along).reshape(POWERS**2, -1)

    weight = (parts.pixel < height * width).astype(jnp.float64)
    return parts.total(lax.map(sums, (y, x, weight))).reshape(POWERS, POWERS, -1)


MOMENTS = FeatureFamily(
    "AreaShape",
    Over.OBJECTS,
    FEATURES,
    cpu=moments_cpu,
    jax=moments_jax,
    about=ABOUT,
)
