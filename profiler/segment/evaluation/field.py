"""What is right and wrong in one field, counted."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from scipy import sparse

from profiler.segment.score import THRESHOLDS, match

SHARE = 0.1  # of an object that a piece must hold to be a piece of it, not a stray speck


class Counts(NamedTuple):
    """Counts of one field; of several, [field] each, or sums of them.

    Attributes:
        true: Objects there are.
        found: Objects that were found.
        matched: Pairs at each of `THRESHOLDS`, [..., threshold].
        overlap: Sum of the intersections over union of the pairs at the first threshold.
        split: True objects that were found in several pieces.
        merged: Found objects that hold several true ones.
        missed: True objects that lie in no found object for the larger part.
        spurious: Found objects that lie in no true object for the larger part.
    """

    true: np.ndarray
    found: np.ndarray
    matched: np.ndarray
    overlap: np.ndarray
    split: np.ndarray
    merged: np.ndarray
    missed: np.ndarray
    spurious: np.ndarray


def count(truth: np.ndarray, found: np.ndarray) -> Counts:
    """Count what is right and wrong in one field.

    A piece of a true object is a found one that lies in it for more than half of its own area and
    covers at least a tenth of it; two pieces make a split. A merge is the same the other way round.

    Args:
        truth: Label image, [height, width], 0 background, ids in any order.
        found: Label image of the same shape.

    Source:
        Splits and merges after Caicedo et al. 2019 (Cytometry A 95:952), with shares of area in
        place of overlaps; worked by hand in tests/segment/evaluation/test_field.py.
    """
    shared, area_true, area_found = _shared(truth, found)
    union = area_true[:, None] + area_found[None] - shared
    iou = shared / union
    of_true, of_found = shared / area_true[:, None], shared / area_found[None]
    hits = [match(iou, threshold=threshold).true_positive for threshold in THRESHOLDS]
    parts = (
        *iou.shape,
        hits,
        iou[iou > THRESHOLDS[0]].sum(),
        (_pieces(of_found, of_true).sum(1) > 1).sum(),
        (_pieces(of_true, of_found).sum(0) > 1).sum(),
        (of_true.sum(1) < 0.5).sum(),
        (of_found.sum(0) < 0.5).sum(),
    )
    return Counts(*map(np.asarray, parts))


def of_fields(counts: Iterable[Counts]) -> Counts:
    """Put the counts of several fields side by side, [field] each."""
    return Counts(*(np.stack(values) for values in zip(*counts, strict=True)))


def _pieces(inside: np.ndarray, covered: np.ndarray) -> np.ndarray:
    return (inside > 0.5) & (covered >= SHARE)


def _shared(truth: np.ndarray, found: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels that every true and found object share, and the area of each."""
    ids_true, true = np.unique(truth, return_inverse=True)
    ids_found, guess = np.unique(found, return_inverse=True)
    shape = (len(ids_true), len(ids_found))
    pairs = (true.ravel(), guess.ravel())
    shared = sparse.coo_matrix((np.ones(truth.size), pairs), shape).toarray()
    real_true, real_found = ids_true > 0, ids_found > 0
    area_true, area_found = shared.sum(1)[real_true], shared.sum(0)[real_found]
    return shared[real_true][:, real_found], area_true, area_found
