"""The cells most like a cell: by the angle between their vectors, every pair looked at."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

MOST_BYTES = 2**25  # of cosines in memory together


class NearestCells(NamedTuple):
    """The nearest of some known cells, row i for query i, the nearest first.

    Attributes:
        row: Of the known cells; -1 where there are no more.
        cosine: Of the angle; NaN there.
    """

    row: Int[np.ndarray, "query rank"]
    cosine: Float[np.ndarray, "query rank"]


def nearest_cells(
    queries: Float[np.ndarray, "query feature"],
    known: Float[np.ndarray, "known feature"],
    *,
    n: int,
    apart: tuple[np.ndarray, np.ndarray] | None = None,
) -> NearestCells:
    """Find the known cells at the smallest angle to each query.

    Args:
        queries: Vectors of cells. Take the mean of the controls off first, of both sides:
            otherwise all cells look alike, since each is mostly what all cells share.
        known: Vectors of labelled or reference cells.
        n: How many of each.
        apart: The well of each query and of each known cell, by any name: those of its own well
            are then none of a cell's neighbours.

    Returns:
        `n` columns; equal cosines in the order of the known cells. A vector of length 0 is like
        nothing.
    """
    row = np.full((len(queries), n), -1)
    cosine = np.full((len(queries), n), np.nan)
    ours, theirs = _unit(queries), _unit(known)
    step = max(1, MOST_BYTES // (8 * max(len(known), 1)))
    for start in range(0, len(queries), step):
        part = slice(start, start + step)
        likeness = ours[part] @ theirs.T
        if apart is not None:
            likeness[apart[0][part, None] == apart[1][None]] = np.nan
        order = np.argsort(-likeness, axis=1, kind="stable")[:, :n]
        found = np.take_along_axis(likeness, order, axis=1)
        row[part, : order.shape[1]] = np.where(np.isfinite(found), order, -1)
        cosine[part, : order.shape[1]] = found
    return NearestCells(row, cosine)


def _unit(vectors: Float[np.ndarray, "row feature"]) -> Float[np.ndarray, "row feature"]:
    """Vectors of length 1; NaN for those of none."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(length > 0, length, np.nan)
