"""The mean of many fields, smoothed: what CellProfiler's CorrectIlluminationCalculate fits.

Source: CellProfiler 4.2.8, CorrectIlluminationCalculate, "Regular", all images averaged, "Fit
Polynomial"; there the polynomial has degree 2, and a Gaussian or median filter may take its place,
which bends the light at the borders. Checked against numpy.polynomial in
tests/illuminate/test_mean.py.
"""

import numpy as np
from jaxtyping import Float, Float32
from numpy.polynomial import legendre

ROUNDS = 10  # of weighting again
WIDTH = 1.345  # of the robust weights, in standard deviations: Huber's, 95% efficient
MAD_TO_SD = 1.4826
SIDE = 128  # blocks that images are shrunk to: light has no finer detail


def fit_mean(
    image: Float[np.ndarray, "height width"], *, degree: int = 4
) -> Float32[np.ndarray, "height width"]:
    """Smooth the mean of many fields into the light they share.

    Args:
        image: Mean of the fields, less what the camera shows in the dark.
        degree: Of the polynomial in both axes together: 2 is a bowl, 4 has the edges of optics.

    Returns:
        The flat field, mean 1; of a black image 1 everywhere. Cells that happen to crowd at a
        place weigh less (Huber's weights).
    """
    scale = float(image.mean(dtype=np.float64))
    if not scale > 0:
        return np.ones(image.shape, np.float32)
    terms = [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]
    small = blocks(image / scale)
    down, across = (_legendre(size, degree) for size in image.shape)
    basis = _products(averaged(down), averaged(across), terms)
    weight = np.ones(small.size)
    for _ in range(ROUNDS):
        root = np.sqrt(weight)
        found = np.linalg.lstsq(basis * root[:, None], small.ravel() * root, rcond=None)[0]
        away = np.abs(small.ravel() - basis @ found)
        width = WIDTH * MAD_TO_SD * np.median(away)
        weight = np.where(away > width, width / np.maximum(away, width), 1) if width else weight
    light = (_products(down, across, terms) @ found).reshape(image.shape)
    return (light / light.mean()).astype(np.float32)


def blocks(
    image: Float[np.ndarray, "height width"], *, most: int = SIDE
) -> Float[np.ndarray, "rows columns"]:
    """Means of nearly equal blocks, at most so many a side."""
    return averaged(averaged(image, most=most).T, most=most).T


def averaged(rows: Float[np.ndarray, "size any"], *, most: int = SIDE) -> np.ndarray:
    """Means of nearly equal groups of neighbouring rows, at most so many."""
    edges = block_edges(len(rows), most=most)
    return np.add.reduceat(rows, edges[:-1], axis=0) / np.diff(edges)[:, None]


def block_edges(size: int, *, most: int = SIDE) -> np.ndarray:
    """Where each block starts, and where the last ends."""
    return np.linspace(0, size, min(size, most) + 1).astype(int)


def _legendre(size: int, degree: int) -> np.ndarray:
    """Legendre polynomials at the middles of pixels, [size, degree + 1]."""
    return legendre.legvander((2 * np.arange(size) + 1) / size - 1, degree)


def _products(down: np.ndarray, across: np.ndarray, terms: list[tuple[int, int]]) -> np.ndarray:
    """[pixel, term]; the mean of a product over a block is the product of the means."""
    return np.stack([np.outer(down[:, i], across[:, j]).ravel() for i, j in terms], axis=1)
