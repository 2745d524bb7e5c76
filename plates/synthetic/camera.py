"""From light to counts: optics, uneven illumination, photons and electronics."""

from functools import lru_cache

import numpy as np
from jaxtyping import Float32, UInt16

from plates.synthetic.noise import blur, convolve

OFFSET = 100.0  # counts of a camera in the dark
READ_NOISE = 2.5  # counts
PHOTONS_PER_COUNT = 1.5
WHITE = 4095  # 12 bits
PSF_SIGMA_PX = 0.9
HALO_SIGMA_PX, HALO_SHARE = 7.0, 0.07  # light from out of focus
VIGNETTE = 0.22  # light lost in the corners
MEDIUM = 25.0  # counts that medium and plastic add


def expose(
    rng: np.random.Generator,
    light: Float32[np.ndarray, "canvas_height canvas_width"],
    *,
    margin: int,
) -> UInt16[np.ndarray, "height width"]:
    """Take one picture.

    Args:
        rng: Source of the noise.
        light: Counts that an ideal camera with even light would record.
        margin: Width of the rim that gives light to the field but is not seen.

    Returns:
        Counts of a 12-bit camera in uint16, the rim cut off.
    """
    seen = (convolve(light, _optics(light.shape)) + MEDIUM)[margin:-margin, margin:-margin]
    photons = np.maximum(seen * illumination(len(seen)), 0) * PHOTONS_PER_COUNT
    counts = rng.poisson(photons) / PHOTONS_PER_COUNT + OFFSET
    counts += READ_NOISE * rng.standard_normal(counts.shape, dtype=np.float32)
    return np.clip(np.rint(counts), 0, WHITE).astype(np.uint16)


@lru_cache(maxsize=8)
def _optics(shape: tuple[int, int]) -> np.ndarray:
    sharp = (1 - HALO_SHARE) * blur(shape, PSF_SIGMA_PX)
    return sharp + HALO_SHARE * blur(shape, HALO_SIGMA_PX)


@lru_cache(maxsize=8)
def illumination(size: int) -> Float32[np.ndarray, "height width"]:
    """How much light each pixel gets: 1 near the middle, less towards the corners.

    The same for every field, because it belongs to the microscope.
    """
    y, x = np.mgrid[:size, :size] / size
    squared = (x - 0.46) ** 2 + (y - 0.53) ** 2
    return (1 - VIGNETTE * squared / 0.5).astype(np.float32)
