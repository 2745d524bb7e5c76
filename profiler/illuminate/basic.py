"""BaSiC: the light of a plate from its images alone, as low-rank plus sparse.

Each image is taken to be flat field x its own brightness + dark field + whatever is sparse: the
cells. Flat and dark field are smooth, so that few coefficients of their cosine transforms differ
from 0.

Source: Peng et al. 2017, Nature Communications 8:14836, "A BaSiC tool for background and shading
correction of optical microscopy images", with the constants of its authors' MATLAB program.
Checked against a transcription in float64 in tests/illuminate/test_basic.py, and against BaSiCPy
in benchmarks/illumination.py.
"""

from functools import lru_cache, partial
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Float32
from scipy import fft

MOST_STEPS = 500
MOST_ROUNDS = 10  # of weighting again
ENOUGH = 1e-6  # residual, relative to the images, at which the steps end
STEADY = 1e-3  # change of flat and dark field, relative, at which the rounds end
FIRST_MU, GROWTH, MOST_MU = 12.5, 1.5, 1e7  # penalty: start (over the norm), factor, limit
DARK_STEP = 10.0  # how much slower the dark field moves
FLOOR = 0.1  # a residual of a tenth of the mean weighs half as much as none
FLAT_WEIGHT, DARK_WEIGHT = 0.5 / 400, 0.2 / 400  # of the cosine coefficients of the mean image
FAINT = 1e-6

Stack: TypeAlias = Float[Array, "image row column"]
Surface: TypeAlias = Float[Array, "row column"]


class Light(NamedTuple):
    """What all images share: `image = flat * brightness + dark + cells`."""

    flat: Float32[np.ndarray, "row column"]
    dark: Float32[np.ndarray, "row column"]


class _Parts(NamedTuple):
    """The decomposition as it stands."""

    cosines: Surface  # of the flat field
    brightness: Float[Array, " image"]
    dark: Surface  # about a mean of 0
    level: Float[Array, ""]  # of the dark field, in flat fields
    sparse: Stack
    multiplier: Stack
    mu: Float[Array, ""]
    residual: Float[Array, ""]
    steps: Array


class _Weights(NamedTuple):
    """What the decomposition is held to."""

    sparse: Stack
    flat: Float[Array, ""]
    dark: Float[Array, ""]


def fit_basic(
    images: Float[np.ndarray, "image row column"], *, smoothness: float = 1.0, has_dark: bool = True
) -> Light:
    """Find flat and dark field of images that were taken with the same light.

    Args:
        images: Shrunk, as by `mean.blocks`, in any unit; dozens of them, of different places.
        smoothness: Factor on the weights that keep both fields smooth.
        has_dark: Whether a dark field is looked for; without one it is 0.

    Returns:
        The flat field, mean 1, and the dark field in the images' unit. Of black images 1 and 0.
    """
    scale = float(np.mean(images, dtype=np.float64))
    if not scale > 0:
        flat = np.ones(images.shape[1:], np.float32)
        return Light(flat, np.zeros_like(flat))
    # Sorted at each pixel: the darkest of all places make up the first image, and so on.
    stack = np.sort(images / scale, axis=0).astype(np.float32)
    flat_rows = stack.reshape(len(stack), -1).astype(np.float64)
    norm = float(np.sqrt(np.linalg.eigvalsh(flat_rows @ flat_rows.T)[-1]))
    amount = smoothness * float(
        np.abs(np.asarray(fft.dctn(stack.mean(axis=0), norm="ortho"))).sum()
    )
    with jax.default_matmul_precision("highest"):
        flat, dark = _in_rounds(
            jnp.asarray(stack), jnp.float32(norm), jnp.float32(amount), has_dark=has_dark
        )
    return Light(np.asarray(flat), np.asarray(dark) * np.float32(scale))


@partial(jax.jit, static_argnames="has_dark")
def _in_rounds(
    stack: Stack, norm: Array, amount: Array, *, has_dark: bool
) -> tuple[Surface, Surface]:
    """Decompose again and again: what was sparse before weighs less the next time."""

    def once(state: tuple) -> tuple:
        weight, flat, dark, _, rounds = state
        weights = _Weights(weight, FLAT_WEIGHT * amount, DARK_WEIGHT * amount)
        parts = _decomposed(stack, weights, norm, has_dark=has_dark)
        shape = _from_cosines(parts.cosines)
        mean = jnp.maximum(_low_rank(parts).mean(axis=(1, 2), keepdims=True), FAINT)
        weight = 1 / (jnp.abs(parts.sparse) / mean + FLOOR)
        now, offset = shape / jnp.maximum(shape.mean(), FAINT), parts.dark + parts.level * shape
        moved = jnp.maximum(_change(flat, now), _change(dark, offset))
        return weight / weight.mean(), now, offset, moved, rounds + 1

    even = jnp.ones_like(stack[0])
    start = (jnp.ones_like(stack), even, 0 * even, jnp.float32(jnp.inf), jnp.int32(0))
    go_on = lambda state: (state[3] > STEADY) & (state[4] < MOST_ROUNDS)  # noqa: E731
    _, flat, dark, _, _ = lax.while_loop(go_on, once, start)
    return flat, dark


def _change(before: Surface, after: Surface) -> Array:
    moved = jnp.abs(after - before).sum()
    return jnp.where(moved < FAINT, 0, moved / jnp.maximum(jnp.abs(before).sum(), FAINT))


def _decomposed(stack: Stack, weights: _Weights, norm: Array, *, has_dark: bool) -> _Parts:
    """Tell flat field, dark field and cells apart, with the penalty growing step by step."""
    nothing, whole = jnp.zeros_like(stack), jnp.linalg.norm(stack)
    start = _Parts(
        jnp.zeros_like(stack[0]),
        jnp.ones(len(stack), stack.dtype),
        jnp.zeros_like(stack[0]),
        jnp.zeros((), stack.dtype),
        nothing,
        nothing,
        FIRST_MU / norm,
        jnp.full((), jnp.inf, stack.dtype),
        jnp.int32(0),
    )

    def step(parts: _Parts) -> _Parts:
        return _step(stack, weights, parts, most_mu=MOST_MU * FIRST_MU / norm, has_dark=has_dark)

    return lax.while_loop(
        lambda parts: (parts.residual > ENOUGH * whole) & (parts.steps < MOST_STEPS), step, start
    )


def _step(
    stack: Stack, weights: _Weights, parts: _Parts, *, most_mu: Array, has_dark: bool
) -> _Parts:
    """Move every part once; the cells take what the light leaves."""
    mu, push = parts.mu, parts.multiplier / parts.mu
    gap = (stack - _low_rank(parts) - parts.sparse + push).mean(axis=0)
    parts = parts._replace(cosines=_shrunk(parts.cosines + _cosines(gap), weights.flat / mu))
    low_rank = _low_rank(parts)
    sparse = _shrunk(stack - low_rank + push, weights.sparse / mu)
    rest = stack - sparse
    brightness = jnp.maximum(rest.mean(axis=(1, 2)) / jnp.maximum(rest.mean(), FAINT), 0)
    parts = parts._replace(sparse=sparse, brightness=brightness)
    if has_dark:
        parts = _with_dark(parts, rest, weight=weights.dark / (DARK_STEP * mu), most=stack.min())
    left = stack - low_rank - sparse
    return parts._replace(
        multiplier=parts.multiplier + mu * left,
        mu=jnp.minimum(mu * GROWTH, most_mu),
        residual=jnp.linalg.norm(left),
        steps=parts.steps + 1,
    )


def _with_dark(parts: _Parts, rest: Stack, *, weight: Array, most: Array) -> _Parts:
    """Find the dark field by the images darker than the mean, where it shows most.

    Its level is where a line through the images' shading against their brightness meets 0.
    """
    flat, is_dim = _from_cosines(parts.cosines), parts.brightness < 1
    middle, count = jnp.maximum(flat.mean(), FAINT), jnp.maximum(is_dim.sum(), 1)
    bright = flat > middle - FAINT
    dim = flat < middle + FAINT
    over = (rest * bright[None]).sum(axis=(1, 2)) / jnp.maximum(bright.sum(), 1)
    under = (rest * dim[None]).sum(axis=(1, 2)) / jnp.maximum(dim.sum(), 1)
    shading = jnp.where(is_dim, (over - under) / jnp.maximum(rest.mean(), FAINT), 0)
    own = jnp.where(is_dim, parts.brightness, 0)
    squares, total, shaded = (own**2).sum(), own.sum(), shading.sum()
    both = (own * shading).sum()
    below = total * shaded - count * both
    level = jnp.where(below == 0, 0, (squares * shaded - total * both) / below)
    level = jnp.clip(level, 0, jnp.maximum(most / middle, 0))
    tilt = level * (middle - flat)
    share = is_dim[:, None, None]
    offset = jnp.where(share, rest, 0).sum(axis=0) / count - total / count * flat
    smooth = _from_cosines(_shrunk(_cosines(offset - offset.mean() - tilt), weight))
    return parts._replace(dark=_shrunk(smooth, weight) + tilt, level=level)


def _low_rank(parts: _Parts) -> Stack:
    flat = _from_cosines(parts.cosines)
    return flat[None] * parts.brightness[:, None, None] + parts.dark[None]


def _shrunk(values: Array, by: Array) -> Array:
    return jnp.sign(values) * jnp.maximum(jnp.abs(values) - by, 0)


def _cosines(surface: Surface) -> Surface:
    rows, columns = (_basis(size) for size in surface.shape)
    return jnp.asarray(rows) @ surface @ columns.T


def _from_cosines(cosines: Surface) -> Surface:
    rows, columns = (_basis(size) for size in cosines.shape)
    return jnp.asarray(rows.T) @ cosines @ columns


@lru_cache
def _basis(size: int) -> np.ndarray:
    """The orthonormal cosine transform as a matrix: small, exact, and fast everywhere."""
    return np.asarray(fft.dct(np.eye(size), axis=0, norm="ortho"), np.float32)
