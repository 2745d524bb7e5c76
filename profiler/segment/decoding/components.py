"""Connected components and steepest ascent on the device, by pointer jumping.

Every pixel points at another pixel of its own object (a flat index); replacing each
pointer by its target's pointer halves all paths, so that a few rounds reach the roots,
however large the objects are. `size` (one past the last pixel) stands for "nowhere".
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

Pointers = Int[Array, " pixel"]


def components(mask: Bool[Array, "height width"]) -> Pointers:
    """Find the 8-connected components of a mask.

    Returns:
        For each pixel, flattened, the smallest flat index in its component; `mask.size`
        in the background.

    Source:
        Min-label propagation with hooking and pointer jumping (Shiloach & Vishkin 1982);
        checked against scipy.ndimage.label in tests/segment/test_components.py.
    """
    shape, size = mask.shape, mask.size
    inside = mask.ravel()
    start = jnp.where(inside, jnp.arange(size, dtype=jnp.int32), size)

    def improve(state):
        roots, _ = state
        nearest = lax.reduce_window(roots.reshape(shape), size, lax.min, (3, 3), (1, 1), "SAME")
        nearest = jnp.where(inside, nearest.ravel(), size)
        hooked = _nowhere(roots, size).at[roots].min(nearest)
        hooked = hooked.at[:-1].min(nearest)
        jumped = hooked[hooked]
        jumped = jumped[jumped][:-1]
        return jumped, jnp.any(jumped != roots)

    return lax.while_loop(lambda state: state[1], improve, (start, jnp.array(True)))[0]


def ascend(height: Float[Array, "height width"], mask: Bool[Array, "height width"]) -> Pointers:
    """Follow the steepest way up from every pixel of a mask.

    Args:
        height: The landscape.
        mask: Pixels that may be walked on.

    Returns:
        For each pixel, flattened, the flat index of the local maximum (in its 3x3
        neighbourhood; ties go to the smaller index) that it climbs to; `mask.size`
        outside the mask.
    """
    size = mask.size
    here = jnp.arange(size, dtype=jnp.int32).reshape(mask.shape)
    land = jnp.where(mask, height, -jnp.inf)
    best, target = land, here
    for dy, dx in NEIGHBOURS:
        other, index = _shift(land, dy, dx, -jnp.inf), _shift(here, dy, dx, size)
        higher = (other > best) | ((other == best) & (index < target) & jnp.isfinite(other))
        best, target = jnp.where(higher, other, best), jnp.where(higher, index, target)
    return follow(jnp.where(mask, target, size).ravel())


def follow(pointers: Pointers) -> Pointers:
    """Jump along pointers until each pixel points at its root."""

    def jump(state):
        now, _ = state
        later = now
        for _ in range(3):  # few and fat rounds: each one costs the host a look
            later = _nowhere(later, pointers.size)[later]
        return later, jnp.any(later != now)

    return lax.while_loop(lambda state: state[1], jump, (pointers, jnp.array(True)))[0]


NEIGHBOURS = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx)


def _nowhere(pointers: Pointers, size: int) -> Int[Array, " pixel+1"]:
    """Append the background's pointer, which points at itself."""
    return jnp.append(pointers, jnp.int32(size))


def _shift(plane: Array, dy: int, dx: int, fill: int | float) -> Array:
    """Look `dy` rows down and `dx` columns right; `fill` beyond the border."""
    padded = jnp.pad(plane, 1, constant_values=fill)
    height, width = plane.shape
    return lax.dynamic_slice(padded, (1 + dy, 1 + dx), (height, width))
