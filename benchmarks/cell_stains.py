"""Stains of drawn cells, with the grain of real ones. Host side, NumPy.

See `benchmarks/cell_scenes.py`, which draws whole fields.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import ndimage

Draw = np.random.Generator


class Textures(NamedTuple):
    """What real fields lend to drawn ones.

    Attributes:
        grain: Stains less what is smooth in them; mean 0, deviation 1.
        slow: What is smooth in them, likewise.
        fibres: Streaks of the same kind in several directions, [direction, side, side], 0 and up.
    """

    grain: list[np.ndarray]
    slow: list[np.ndarray]
    fibres: np.ndarray


class Anatomy(NamedTuple):
    """Where in its cell each pixel lies.

    Attributes:
        cells: Labels.
        nucleus: 1 in nuclei, 0 outside, soft between.
        depth: Distance to the cell's outline, px.
        height: The same as a share of the cell's deepest.
        way: 0 at the nucleus, 1 at the end of the cell's reach.
    """

    cells: np.ndarray
    nucleus: np.ndarray
    depth: np.ndarray
    height: np.ndarray
    way: np.ndarray


Style = Callable[[Anatomy, Textures, Draw], np.ndarray]


def textures_of(planes: list[np.ndarray]) -> Textures:
    """Take the grain out of real stains; streaks are drawn, always the same."""
    return Textures(
        [_unit(plane / ndimage.gaussian_filter(plane, 3)) for plane in planes],
        [_unit(np.log(ndimage.gaussian_filter(plane, 15))) for plane in planes],
        _fibres(np.random.default_rng(0)),
    )


def _unit(plane: np.ndarray) -> np.ndarray:
    return np.clip((plane - plane.mean()) / plane.std(), -3, 5).astype(np.float32)


def _fibres(rng: Draw, *, side: int = 256, directions: int = 6) -> np.ndarray:
    streaks = []
    for turn in range(directions):
        noise = ndimage.gaussian_filter(rng.normal(size=(2 * side, 2 * side)), (6, 0.7))
        turned = ndimage.rotate(noise, 180 * turn / directions, reshape=False, order=1)
        middle = slice(side // 2, side // 2 + side)
        streaks.append(np.maximum(_unit(turned[middle, middle]), 0))
    return np.stack(streaks)


def smooth_noise(rng: Draw, shape: tuple[int, ...], sigma: float) -> np.ndarray:
    """Waves of deviation 1 and about the length `sigma`, px."""
    coarse = max(1, int(sigma // 2))
    small = rng.normal(size=[side // coarse + 2 for side in shape])
    waves = ndimage.gaussian_filter(small, sigma / coarse, mode="wrap")
    whole = ndimage.zoom(waves, coarse, order=1, grid_mode=True, mode="nearest")
    return (whole[: shape[0], : shape[1]] / waves.std()).astype(np.float32)


def anatomy_of(cells: np.ndarray, nuclei: np.ndarray, way: np.ndarray) -> Anatomy:
    """Measure where in its cell each pixel lies; `way` comes from growing it."""
    edge = np.zeros(cells.shape, bool)
    for axis in (0, 1):
        steps = np.diff(cells, axis=axis) != 0
        edge |= np.pad(steps, [(0, 1) if a == axis else (0, 0) for a in (0, 1)])
        edge |= np.pad(steps, [(1, 0) if a == axis else (0, 0) for a in (0, 1)])
    depth = np.asarray(ndimage.distance_transform_edt(~edge)) if edge.any() else 1.0 + 0 * way
    deepest = ndimage.maximum(depth, cells, np.arange(cells.max() + 1))
    height = depth / np.maximum(np.atleast_1d(deepest), 1)[cells]
    soft = ndimage.gaussian_filter((nuclei > 0).astype(np.float32), 0.7)
    return Anatomy(cells, soft, depth, height, np.clip(way, 0, 1))


# ------------------------------------------------------------------------------------ one stain


def _each(anatomy: Anatomy, rng: Draw, middle: float, spread: float) -> np.ndarray:
    """A lognormal factor for each cell, [height, width]."""
    return (middle * rng.lognormal(0, spread, anatomy.cells.max() + 1))[anatomy.cells]


def _own(plane: np.ndarray, cells: np.ndarray, rng: Draw) -> np.ndarray:
    """Give each cell its own piece of a texture, so that grain breaks where cells meet."""
    plane = np.rot90(plane, int(rng.integers(4)))
    y, x = np.indices(cells.shape)
    dy, dx = rng.integers(0, 4096, (2, cells.max() + 1))
    return plane[(y + dy[cells]) % plane.shape[0], (x + dx[cells]) % plane.shape[1]]


def _grain(anatomy: Anatomy, textures: Textures, rng: Draw) -> np.ndarray:
    """Real grain, or drawn grain, deviation 1."""
    if rng.random() < 0.7:
        plane = textures.grain[rng.integers(len(textures.grain))]
        return _own(plane, anatomy.cells, rng)
    return smooth_noise(rng, anatomy.cells.shape, rng.uniform(0.6, 1.6))


def _nuclear(anatomy: Anatomy, rng: Draw, low: float, high: float) -> np.ndarray:
    """Factor that makes nuclei darker, brighter or invisible: differs from cell to cell."""
    middle = np.exp(rng.uniform(np.log(low), np.log(high)))
    factor = _each(anatomy, rng, middle, rng.choice([0.0, 0.15, 0.5]))
    return 1 + (factor - 1) * anatomy.nucleus


def _fall(anatomy: Anatomy, rng: Draw) -> np.ndarray:
    """Thick in the middle and thin at the edge."""
    edge, power = rng.uniform(0.08, 0.9), rng.uniform(0.4, 2.2)
    share = rng.random()
    dome = share * anatomy.height + (1 - share) * (1 - anatomy.way)
    core = rng.choice([0.0, rng.uniform(0, 2.5)]) * np.exp(-anatomy.way / rng.uniform(0.1, 0.4))
    core = core * np.minimum(anatomy.depth / 3, 1)
    return edge + (1 - edge) * np.maximum(dome, 0) ** power + core


def cytoplasm(anatomy: Anatomy, textures: Textures, rng: Draw) -> np.ndarray:
    """A soluble protein, as GFP: smooth, and in or out of the nucleus."""
    grain = 1 + rng.uniform(0, 0.25) * _grain(anatomy, textures, rng)
    return _fall(anatomy, rng) * grain * _nuclear(anatomy, rng, 0.25, 4)


def rna(anatomy: Anatomy, textures: Textures, rng: Draw) -> np.ndarray:
    """Smooth cytoplasm, and nucleoli."""
    spots = smooth_noise(rng, anatomy.cells.shape, 1.3) - rng.uniform(0.8, 1.6)
    nucleoli = rng.uniform(0.2, 1.0) * np.maximum(spots, 0) * anatomy.nucleus
    return cytoplasm(anatomy, textures, rng) * _nuclear(anatomy, rng, 0.6, 1.2) + nucleoli


def reticulum(anatomy: Anatomy, textures: Textures, rng: Draw) -> np.ndarray:
    """Granular, densest around the nucleus, and outside it."""
    around = np.exp(-rng.uniform(0.3, 2.5) * anatomy.way) * _fall(anatomy, rng)
    grain = np.maximum(1 + rng.uniform(0.2, 0.5) * _grain(anatomy, textures, rng), 0.1)
    return around * grain * _nuclear(anatomy, rng, 0.2, 0.9)


def actin(anatomy: Anatomy, textures: Textures, rng: Draw) -> np.ndarray:
    """Bright outlines and fibres; dim inside."""
    cortex = np.exp(-((anatomy.depth - 1) ** 2) / rng.uniform(1, 5))
    turn = rng.integers(0, len(textures.fibres), anatomy.cells.max() + 1)[anatomy.cells]
    y, x = np.indices(anatomy.cells.shape) % textures.fibres.shape[1]
    patchy = np.maximum(smooth_noise(rng, anatomy.cells.shape, 6) + rng.uniform(0, 1.5), 0)
    fibres = textures.fibres[turn, y, x] * _each(anatomy, rng, 1, 0.7) * patchy
    inside = rng.uniform(0.15, 0.8) * _fall(anatomy, rng) * _nuclear(anatomy, rng, 0.6, 1.3)
    uneven = np.maximum(1 + 0.5 * smooth_noise(rng, anatomy.cells.shape, 3), 0.1)
    drawn = rng.uniform(0.1, 1.5) * cortex * uneven + rng.uniform(0, 0.2) * fibres
    return inside * (1 + 0.2 * _grain(anatomy, textures, rng)) + drawn


def mitochondria(anatomy: Anatomy, textures: Textures, rng: Draw) -> np.ndarray:
    """Dots and threads around the nucleus."""
    around = np.exp(-rng.uniform(0.8, 3.5) * anatomy.way) * np.minimum(anatomy.depth / 2, 1)
    dots = np.maximum(_grain(anatomy, textures, rng) + rng.uniform(0, 1), 0)
    haze = rng.uniform(0.15, 0.5)
    return (haze + around * dots) * (0.2 + around) * _nuclear(anatomy, rng, 0.2, 0.8)


def golgi(anatomy: Anatomy, textures: Textures, rng: Draw) -> np.ndarray:
    """Actin, membranes and a bright patch beside the nucleus, as wheat germ agglutinin gives."""
    patches = np.maximum(smooth_noise(rng, anatomy.cells.shape, 4) - 0.5, 0)
    beside = patches * np.exp(-((anatomy.way - 0.15) ** 2) / 0.03) * (1 - anatomy.nucleus)
    rest = 0.6 * actin(anatomy, textures, rng) + 0.6 * cytoplasm(anatomy, textures, rng)
    return rest + rng.uniform(0.3, 1.2) * beside


STYLES: dict[str, Style] = {
    "cytoplasm": cytoplasm,
    "rna": rna,
    "reticulum": reticulum,
    "actin": actin,
    "mitochondria": mitochondria,
    "golgi": golgi,
}
SHARES = (0.36, 0.15, 0.15, 0.14, 0.07, 0.13)


def stain(anatomy: Anatomy, textures: Textures, rng: Draw) -> tuple[str, np.ndarray]:
    """Stain the cells of a scene in one style, or in a mix of two.

    Returns:
        The style's name, and light before optics, about 1 in a bright cell, 0 outside cells.
    """
    names = rng.choice(list(STYLES), 2, replace=False, p=SHARES)
    light = STYLES[names[0]](anatomy, textures, rng)
    if rng.random() < 0.3:
        other = STYLES[names[1]](anatomy, textures, rng)
        light = light + rng.uniform(0.2, 0.8) * other
    else:
        names = names[:1]
    light = np.maximum(light, 0.02) * _brightness(anatomy, rng) * _seams(anatomy, rng)
    light = np.where(anatomy.cells > 0, light, 0)
    bright = np.percentile(light[anatomy.cells > 0], 95) if light.any() else 1.0
    return "+".join(names), light / bright


def _brightness(anatomy: Anatomy, rng: Draw) -> np.ndarray:
    """Cells differ, small ones being thicker."""
    area = np.bincount(anatomy.cells.ravel()).astype(float)
    thin = (np.maximum(area, 30) / np.median(area[1:] if len(area) > 1 else area)) ** -rng.uniform(
        0, 0.5
    )
    return _each(anatomy, rng, 1, rng.choice([0.1, 0.35, 0.65])) * thin[anatomy.cells]


def _seams(anatomy: Anatomy, rng: Draw) -> np.ndarray:
    """Where cells touch there may be a bright line, a dark one, or none."""
    cells = anatomy.cells
    least = ndimage.minimum_filter(np.where(cells > 0, cells, cells.max() + 1), 3)
    touching = (cells > 0) & (least != ndimage.maximum_filter(cells, 3)) & (anatomy.depth < 2)
    size = rng.choice([0.0, rng.uniform(0.1, 0.9), -rng.uniform(0.1, 0.6)], p=[0.35, 0.3, 0.35])
    uneven = np.clip(1 + 0.6 * smooth_noise(rng, cells.shape, 4), 0, 2)
    return 1 + size * uneven * touching


# ------------------------------------------------------------------------------------ microscope


def expose(light: np.ndarray, ground: np.ndarray, textures: Textures, rng: Draw) -> np.ndarray:
    """Take a picture: blur, haze, background, debris and noise.

    Args:
        light: See `stain`.
        ground: A real field's background, mean 0, about 1 wide; it may lie under the cells.
        textures: Lend their smooth parts to the background.
        rng: Draws everything.
    """
    shape = light.shape
    blur = rng.uniform(0.4, 1.8) if rng.random() < 0.88 else rng.uniform(1.8, 3)
    sharp = ndimage.gaussian_filter(light, blur)
    haze = rng.choice([0.0, rng.uniform(0.05, 0.5)]) * ndimage.gaussian_filter(
        light, rng.uniform(4, 18)
    )
    slow = textures.slow[rng.integers(len(textures.slow))]
    slow = np.pad(slow, [(0, side) for side in shape], mode="symmetric")
    y, x = (rng.integers(0, have - side + 1) for have, side in zip(slow.shape, shape, strict=True))
    slope = np.tensordot(rng.normal(0, 1, 2), np.indices(shape) / max(shape) - 0.5, 1)
    level = rng.uniform(0.02, 0.5)
    under = level * (
        1 + 0.2 * slope + rng.uniform(0, 0.15) * slow[y : y + shape[0], x : x + shape[1]]
    )
    under = under + rng.choice([0.0, rng.uniform(0.01, 0.06)]) * ground
    vignette = 1 + rng.uniform(0, 0.3) * smooth_noise(rng, shape, 80).clip(-1.5, 1.5)
    seen = (sharp + haze + _debris(shape, rng)) * vignette + np.maximum(under, 0)
    dim = float(np.percentile(light[light > 0], 10)) if light.any() else 1.0
    return _noisy(seen, dim, float(np.median(under)), rng)


def _debris(shape: tuple[int, ...], rng: Draw) -> np.ndarray:
    """Specks that are no cells."""
    specks = np.zeros(shape, np.float32)
    for _ in range(int(rng.integers(1, 12)) if rng.random() < 1 / 3 else 0):
        one = np.zeros(shape, np.float32)
        y, x = (rng.integers(0, side) for side in shape)
        sigma = rng.uniform(0.5, 1.8)
        box = tuple(slice(max(at - 8, 0), at + 9) for at in (y, x))
        rows, columns = np.mgrid[box][:, : shape[0] - box[0].start, : shape[1] - box[1].start]
        lump = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * sigma**2))
        one[box] = rng.uniform(0.2, 3) * lump
        specks += one
    return specks


def _noisy(seen: np.ndarray, dim: float, under: float, rng: Draw) -> np.ndarray:
    """Shot noise, read noise and, at times, a full well.

    A pixel of dim cytoplasm keeps a signal to noise of about 1 or more: what no eye finds is not
    asked of a network.
    """
    photons = max(10 ** rng.uniform(1.6, 3.6), (dim + max(under, 0)) / max(dim, 1e-3) ** 2)
    noisy = rng.poisson(np.maximum(seen, 0) * photons) / photons
    noisy = noisy + rng.normal(0, min(rng.uniform(0.001, 0.02), dim), seen.shape)
    full = rng.choice([np.inf, rng.uniform(1.1, 2.2)], p=[0.85, 0.15])
    return np.minimum(noisy, full).astype(np.float32)
