"""Sieving an image: what is left of it once every bright area below a size is taken away.

An area goes in step k if k erosions by a cross wipe it out; one that survives comes back whole,
by reconstruction: the image of step k is the largest that grows from its k-fold erosion, from
neighbour to neighbour, without rising above the original anywhere.
"""

import math
from typing import no_type_check

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from profiler.measure import cpu, device
from profiler.measure.granularity.foreground import eroded

LANES = 16  # steps that a CPU does at once
STRIDE = 16  # steps of growth between two looks at whether it has ended


def sieved_jax(image: Float[Array, "height width"], *, length: int) -> Float[Array, "step y x"]:
    """What is left of an image of no negative value after each step, on an accelerator."""

    def restore(above: Array, marker: Array) -> tuple[Array, Array]:
        # All that is left after a step is left after the steps before it: a head start.
        left = _reconstructed(jnp.maximum(marker, above), image)
        return left, left

    def erode(marker: Array, _: None) -> tuple[Array, Array]:
        return (eroded(marker, 1),) * 2

    _, markers = lax.scan(erode, image, length=length)
    return lax.scan(restore, jnp.zeros_like(image), markers, reverse=True)[1]


def _reconstructed(marker: Array, mask: Array) -> Array:
    """Grow the marker under the mask until nothing changes."""

    def grow(image: Array) -> Array:
        around = [device.shifted(image, dy, dx, 0) for dy, dx in device.CROSS]
        return jnp.minimum(mask, jnp.stack([image, *around]).max(axis=0))

    def stride(state: tuple[Array, Array]) -> tuple[Array, Array]:
        near = lax.fori_loop(0, STRIDE - 1, lambda _, image: grow(image), state[0])
        far = grow(near)
        return far, (far > near).any()

    return lax.while_loop(lambda state: state[1], stride, (marker, jnp.array(True)))[0]


def sieved_cpu(image: np.ndarray, *, length: int) -> np.ndarray:
    """What is left of an image of no negative value after each step, on the CPU.

    Returns:
        [height, width, step]; the last axis is padded to whole `LANES`.
    """
    image = np.ascontiguousarray(image, np.float32)
    flat = image.reshape(-1)
    rising = _rising(flat, flat.view(np.uint32))
    parents = _parents(rising, *image.shape)
    markers = _markers(image, math.ceil(length / LANES) * LANES)
    left = _left(flat, rising, parents, markers.reshape(len(markers), -1).T)
    return left.reshape(*image.shape, -1)


@no_type_check
@cpu.compiled()
def _markers(image, length):
    """The image after 1, 2, ... erosions by a cross, [step, height, width]."""
    height, width = image.shape
    framed = np.full((length + 1, height + 2, width + 2), np.inf, np.float32)
    framed[0, 1:-1, 1:-1] = image
    for step in range(length):
        near, lowest = framed[step], framed[step + 1]
        for y in range(1, height + 1):
            for x in range(1, width + 1):
                beside = min(near[y, x], near[y, x - 1], near[y, x + 1])
                lowest[y, x] = min(beside, near[y - 1, x], near[y + 1, x])
    return framed[1:, 1:-1, 1:-1]


# The connected areas of an image above all its levels are a tree: each pixel's parent is the
# highest pixel at which its area, of all that is as high as it, meets lower ground. It is built
# once for all steps, with the union-find of Najman and Couprie (2006).


@no_type_check
@cpu.compiled()
def _rising(values, bits):
    """Indices of the pixels above 0, by value: a radix sort by 11 of their bits at a time."""
    rising = np.flatnonzero(values > 0).astype(np.int32)
    spare = np.empty_like(rising)
    for shift in (0, 11, 22):
        first = np.zeros(2049, np.int64)
        for pixel in rising:
            first[((bits[pixel] >> shift) & 2047) + 1] += 1
        first = np.cumsum(first)
        for pixel in rising:
            digit = (bits[pixel] >> shift) & 2047
            spare[first[digit]] = pixel
            first[digit] += 1
        rising, spare = spare, rising
    return rising


@no_type_check
@cpu.compiled()
def _parents(rising, height, width):
    """The pixel below each pixel in the tree; for a root the ground, one past the last pixel."""
    parents = np.full(height * width, height * width, np.int32)
    above = np.full(height * width, -1, np.int32)  # towards the representative of its area
    size = np.ones(height * width, np.int32)
    lowest = np.empty(height * width, np.int32)  # of a representative's area
    steps = ((-1, 0), (0, -1), (0, 1), (1, 0))
    for pixel in rising[::-1]:
        y, x = pixel // width, pixel % width
        top = above[pixel] = lowest[pixel] = pixel
        for dy, dx in steps:
            near = pixel + dy * width + dx
            if not (0 <= y + dy < height and 0 <= x + dx < width) or above[near] < 0:
                continue
            while above[near] != near:
                above[near] = above[above[near]]
                near = above[near]
            if near == top:
                continue
            parents[lowest[near]] = pixel
            if size[near] > size[top]:
                near, top = top, near
            size[top] += size[near]
            above[near] = top
            lowest[top] = pixel
    return parents


@no_type_check
@cpu.compiled()
def _left(values, rising, parents, markers):
    """The highest level, up to its own, at which each pixel's area holds a marker as high."""
    pixels, steps = markers.shape
    left = np.zeros((pixels + 1, steps), np.float32)  # the last row is the ground
    left[:pixels] = markers
    for pixel in rising[::-1]:
        below = parents[pixel]
        for first in range(0, steps, LANES):
            for step in range(first, first + LANES):  # of known length: vector instructions
                left[below, step] = max(left[below, step], left[pixel, step])
    left[pixels] = 0
    for pixel in rising:
        below, value = parents[pixel], values[pixel]
        for first in range(0, steps, LANES):
            for step in range(first, first + LANES):
                held = min(left[pixel, step], value)
                left[pixel, step] = max(held, left[below, step])
    return left[:pixels]
