"""Smooth random surfaces, the stuff that outlines and textures are made of."""

from functools import lru_cache

import numpy as np
from jaxtyping import Float32

Surface = Float32[np.ndarray, "height width"]


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, int], *, scale_px: int | float
) -> Surface:
    """Gaussian noise whose bumps are about `scale_px` in radius.

    Args:
        rng: Source of the randomness.
        shape: Height and width.
        scale_px: Standard deviation of the Gaussian that smooths white noise.

    Returns:
        Mean 0, standard deviation 1 (both in expectation), wrapping round at the borders.
    """
    white = rng.standard_normal(shape, dtype=np.float32)
    return convolve(white, _unit_variance(shape, scale_px))


def convolve(plane: Surface, transfer: np.ndarray) -> Surface:
    """Apply a transfer function, one that `blur` made or a sum of such."""
    return np.fft.irfft2(np.fft.rfft2(plane) * transfer, s=plane.shape)


def blur(shape: tuple[int, int], sigma_px: int | float) -> np.ndarray:
    """Transfer function of a Gaussian blur, for `convolve`; wraps round at the borders."""
    y = np.fft.fftfreq(shape[0])[:, None]
    x = np.fft.rfftfreq(shape[1])[None, :]
    return np.exp(-2 * (np.pi * sigma_px) ** 2 * (y**2 + x**2)).astype(np.float32)


@lru_cache(maxsize=16)
def _unit_variance(shape: tuple[int, int], scale_px: int | float) -> np.ndarray:
    """The blur, scaled to keep the variance of white noise, its mean taken out."""
    transfer = blur(shape, scale_px)
    transfer[0, 0] = 0
    full = np.concatenate([transfer, transfer[:, 1 : (shape[1] + 1) // 2]], axis=1)
    return transfer / np.sqrt(np.mean(full.astype(np.float64) ** 2)).astype(np.float32)
