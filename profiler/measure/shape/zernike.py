"""Zernike moments: each object's shape, and its intensities, as waves in the circle around it."""

from math import comb, factorial
from typing import Any, no_type_check

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from numpy.polynomial import Polynomial

from profiler.measure import cpu, device
from profiler.measure.family import FeatureFamily, Over
from profiler.measure.rows import rows
from profiler.measure.shape.circle import rim_cpu
from profiler.measure.shape.disc import Disc, disc_jax

DEGREE = 9
INDEXES = tuple((n, m) for n in range(DEGREE + 1) for m in range(n % 2, n + 1, 2))


def _radial(n: int, m: int) -> Polynomial:
    """The radial polynomial over r^m, in r^2."""
    return Polynomial(
        [
            (-1) ** k * factorial(n - k)
            // (factorial(k) * factorial((n + m) // 2 - k) * factorial((n - m) // 2 - k))
            for k in range((n - m) // 2, -1, -1)
        ]
    )  # fmt: skip


def _expansion() -> np.ndarray:
    """Coefficients of y^a x^b in each R(r) exp(i m phi), phi from the y axis: [a, b, (n, m)]."""
    table = np.zeros((DEGREE + 1, DEGREE + 1, len(INDEXES)), complex)
    for which, (n, m) in enumerate(INDEXES):
        for k, coefficient in enumerate(_radial(n, m).coef):  # of (y^2 + x^2)^k (y + ix)^m
            for i in range(k + 1):
                for j in range(m + 1):
                    part = coefficient * comb(k, i) * comb(m, j) * 1j**j
                    table[2 * i + m - j, 2 * (k - i) + j, which] += part
    return table


EXPANSION = _expansion()


def _horner() -> np.ndarray:
    """Coefficients of the radial polynomials over r^m, highest first, [power, (n, m)].

    In 2 r^2 - 1, from -1 to 1, they are small: nothing cancels in float32.
    """
    table = np.zeros((DEGREE // 2 + 1, len(INDEXES)), np.float32)
    for which, (n, m) in enumerate(INDEXES):
        radial = _radial(n, m)(Polynomial([0.5, 0.5]))
        table[: len(radial.coef), which] = radial.coef
    return table[::-1]


HORNER = _horner()
ABOUT = """Zernike moments of an object's mask: how like it is to each wave in the circle around it.

The circle is the smallest around the centres of the object's pixels; n and m are the wave's degree
and its periods around the centre. Rotation, reflection and size change little. NaN for a single
pixel.

Pixels on the circle that float64 arithmetic puts outside do not count; CellProfiler's do not.

Source: CellProfiler 4.2.8, MeasureObjectSizeShape, and its centrosome.zernike; M. V. Boland et al.,
"Automated recognition of patterns characteristic of subcellular structures in fluorescence
microscopy images", Cytometry 33, 1998.

Attributes:
    Zernike_n_m: Magnitude of the sum of the wave over the pixels, by the circle's area.
"""
RADIAL_ABOUT = """Zernike moments of the intensities of an object's pixels.

The circle and the pixels that count are those of AreaShape_Zernike. NaN for a single pixel.

Source: CellProfiler 4.2.8, MeasureObjectIntensityDistribution.

Attributes:
    ZernikeMagnitude_n_m: Magnitude of the sum of intensity times wave over the pixels, by the
        object's area, in the units of the image.
    ZernikePhase_n_m: Angle of that sum in radians, -pi to pi, from the imaginary axis, where x is,
        to the real one; for m = 0, pi / 2 with the sum's sign; 0 where the sum is 0.
"""


def zernike_cpu(objects: cpu.Objects) -> Any:
    """Measure the Zernike moments of every object's mask, on the CPU."""
    whole = np.ones(len(objects.order), np.float32)
    circles = objects.once(rim_cpu).circles
    return abs(_moments_cpu(objects, whole)) / (np.pi * circles.radius**2)


def radial_zernike_cpu(signal: cpu.Signal) -> Any:
    """Measure the Zernike moments of every object in one channel, on the CPU."""
    moments = _moments_cpu(signal.objects, signal.values)
    return np.concatenate(
        [abs(moments) / signal.objects.area, np.arctan2(np.real(moments), np.imag(moments))]
    )


def _moments_cpu(objects: cpu.Objects, values: np.ndarray) -> np.ndarray:
    """Sum values times polynomials over each object, [(n, m), cell] complex."""
    circles, outside = objects.once(rim_cpu)
    kept = values.copy()
    kept[outside] = 0
    places = (objects.order, objects.labels.shape[1], objects.once(rows))
    return _moments(kept, places, (*circles.centre, circles.radius))


@no_type_check
@cpu.compiled(fastmath={"reassoc", "contract"})
def _moments(values, places, circles):
    """By the sums of values times y^a x^b: in float64, these lose nothing that counts.

    Along a row only powers of x differ, so that a pixel costs a product for each.
    """
    order, width, (rows_y, starts, offsets) = places
    found = np.zeros((EXPANSION.shape[-1], len(offsets) - 1), np.complex128)
    x, term = np.empty(width), np.empty(width)
    for cell in range(len(offsets) - 1):
        if not circles[2][cell] > 0:
            found[:, cell] = np.nan
            continue
        cy, cx, scale = circles[0][cell], circles[1][cell], 1 / circles[2][cell]
        powers = np.zeros((DEGREE + 1, DEGREE + 1))
        for row in range(offsets[cell], offsets[cell + 1]):
            start, count = starts[row], starts[row + 1] - starts[row]
            y = (rows_y[row] - cy) * scale
            for i in range(count):
                x[i] = (order[start + i] - rows_y[row] * width - cx) * scale
                term[i] = values[start + i]
            for b in range(DEGREE + 1):
                total = 0.0
                for i in range(count):
                    total += term[i]
                    term[i] *= x[i]
                for a in range(DEGREE + 1 - b):
                    powers[b, a] += total
                    total *= y
        for a in range(DEGREE + 1):
            for b in range(DEGREE + 1 - a):
                found[:, cell] += EXPANSION[a, b] * powers[b, a]
    return found


def zernike_jax(objects: device.Objects) -> Any:
    """Measure the Zernike moments of every object's mask, on an accelerator."""
    disc = objects.once(disc_jax)
    moments = _moments_jax(disc, jnp.ones(objects.labels.size, jnp.float32))
    return jnp.hypot(*moments) / (np.pi * disc.radius[None] ** 2)


def radial_zernike_jax(signal: device.Signal) -> Any:
    """Measure the Zernike moments of every object in one channel, on an accelerator."""
    real, imaginary = _moments_jax(signal.objects.once(disc_jax), signal.values)
    magnitude = jnp.hypot(real, imaginary) / signal.objects.area[None]
    return jnp.concatenate([magnitude, jnp.arctan2(real, imaginary)])


def _moments_jax(disc: Disc, values: jax.Array) -> jax.Array:
    """Sum values times polynomials over each object, [2, (n, m), cell], real and imaginary."""
    kept = jnp.where(disc.is_inside, disc.parts.gather(values), 0)

    def sums(chunk: tuple[jax.Array, ...]) -> jax.Array:
        y, x, value = chunk
        return jnp.einsum("fbs,bs->fb", _polynomials(y, x), value, precision=lax.Precision.HIGHEST)

    found = disc.parts.total(lax.map(sums, (disc.y, disc.x, kept)))
    return found.reshape(2, len(INDEXES), -1)


def _polynomials(y: jax.Array, x: jax.Array) -> jax.Array:
    """The real parts of all polynomials at each point, then the imaginary ones."""
    waves = [(jnp.ones_like(y), jnp.zeros_like(y))]  # (y + ix)^m
    for _ in range(DEGREE):
        real, imaginary = waves[-1]
        waves.append((real * y - imaginary * x, real * x + imaginary * y))
    along = 2 * (y * y + x * x) - 1
    radial = jnp.zeros((len(INDEXES), *y.shape), y.dtype)
    for step in HORNER:
        radial = radial * along[None] + step[:, None, None]
    around = jnp.stack([jnp.stack(part) for part in zip(*waves, strict=True)])
    periods = np.array([m for _, m in INDEXES])
    return (radial[None] * around[:, periods]).reshape(-1, *y.shape)


ZERNIKE = FeatureFamily(
    "AreaShape",
    Over.OBJECTS,
    tuple(f"Zernike_{n}_{m}" for n, m in INDEXES),
    cpu=zernike_cpu,
    jax=zernike_jax,
    about=ABOUT,
)
RADIAL_ZERNIKE = FeatureFamily(
    "RadialDistribution",
    Over.CHANNEL,
    tuple(f"Zernike{part}_{{}}_{n}_{m}" for part in ("Magnitude", "Phase") for n, m in INDEXES),
    cpu=radial_zernike_cpu,
    jax=radial_zernike_jax,
    about=RADIAL_ABOUT,
)
