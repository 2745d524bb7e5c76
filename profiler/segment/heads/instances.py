"""A fixed number of nuclei of a crop, for losses that look at one nucleus at a time."""

import numpy as np
from scipy import ndimage


def consecutive(labels: np.ndarray) -> np.ndarray:
    """Renumber labels from 1 in the order of their ids, int32."""
    ids, numbered = np.unique(labels, return_inverse=True)
    numbered = numbered.reshape(labels.shape) + (0 if ids[0] == 0 else 1)
    return numbered.astype(np.int32)


def in_one_piece(labels: np.ndarray) -> np.ndarray:
    """Give every further 8-connected piece of a label an id of its own.

    Windows mirror a field at its border, and crops cut bent nuclei: what is seen in two places
    is two objects.
    """
    apart, last = labels.copy(), int(labels.max())
    for label, box in enumerate(ndimage.find_objects(labels), 1):
        if box is None:
            continue
        pieces = np.empty(labels[box].shape, np.int32)
        ndimage.label(labels[box] == label, np.ones((3, 3)), output=pieces)
        further = pieces > 1
        apart[box][further] = last + pieces[further] - 1
        last += max(int(pieces.max()) - 1, 0)
    return apart


def chosen(count: int, *, most: int) -> np.ndarray:
    """Ids of at most so many of `count` nuclei, spread evenly; 0 after the last.

    >>> chosen(3, most=5), chosen(9, most=3)
    (array([1, 2, 3, 0, 0], dtype=int32), array([1, 5, 9], dtype=int32))
    """
    ids = np.zeros(most, np.int32)
    picked = np.linspace(1, count, min(count, most)).round()
    ids[: len(picked)] = picked
    return ids
