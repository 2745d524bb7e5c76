"""What is right and wrong in one field, counted."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from scipy import sparse

from profiler.segment.score import THRESHOLDS, is_match

SHARE = 0.1  # of an object's largest piece that another must exceed: less is a stray speck


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

    A piece of a true object is a found one that lies in it for more than half of its own area, and
    shares more than a tenth as many pixels with it as the one that shares most; two pieces make a
    split, however many there are. A merge is the same the other way round.

    Args:
        truth: Label image, [height, width], 0 background, ids in any order.
        found: Label image of the same shape.

    Source:
        Splits and merges after Caicedo et al. 2019 (Cytometry A 95:952), with shares of area in
        place of overlaps; worked by hand in tests/segment/evaluation/test_field.py.
    """
    pairs = _pairs(truth, found)
    n_true, n_found = len(pairs.area_true), len(pairs.area_found)
    area_true, area_found = pairs.area_true[pairs.true], pairs.area_found[pairs.found]
    of_true, of_found = pairs.shared / area_true, pairs.shared / area_found
    iou = pairs.shared / (area_true + area_found - pairs.shared)
    split = _in_pieces(pairs.true, pairs.shared, is_inside=of_found > 0.5, objects=n_true)
    merged = _in_pieces(pairs.found, pairs.shared, is_inside=of_true > 0.5, objects=n_found)
    parts = (
        n_true,
        n_found,
        [is_match(iou, threshold=threshold).sum() for threshold in THRESHOLDS],
        iou[is_match(iou, threshold=THRESHOLDS[0])].sum(),
        split,
        merged,
        (np.bincount(pairs.true, of_true, n_true) < 0.5).sum(),
        (np.bincount(pairs.found, of_found, n_found) < 0.5).sum(),
    )
    return Counts(*map(np.asarray, parts))


def of_fields(counts: Iterable[Counts]) -> Counts:
    """Put the counts of several fields side by side, [field] each."""
    return Counts(*(np.stack(values) for values in zip(*counts, strict=True)))


class _Pairs(NamedTuple):
    """Objects that share pixels; of the many pairs that share none nothing is kept.

    Attributes:
        true: Index of the true object of each pair.
        found: Of the found one.
        shared: Pixels that both hold.
        area_true: Pixels of every true object.
        area_found: Of every found one.
    """

    true: np.ndarray
    found: np.ndarray
    shared: np.ndarray
    area_true: np.ndarray
    area_found: np.ndarray


def _pairs(truth: np.ndarray, found: np.ndarray) -> _Pairs:
    true, area_true = _numbered(truth)
    guess, area_found = _numbered(found)
    is_both = (true >= 0) & (guess >= 0)
    shape = (len(area_true), len(area_found))
    places = (true[is_both], guess[is_both])
    table = sparse.coo_matrix((np.ones(len(places[0])), places), shape).tocsr().tocoo()
    return _Pairs(table.row, table.col, table.data, area_true, area_found)


def _numbered(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which object each pixel is of, from 0 by ascending ids, -1 for none; and their areas."""
    ids, numbers = np.unique(labels, return_inverse=True)
    first = int(np.searchsorted(ids, 1))
    return numbers.ravel() - first, np.bincount(numbers.ravel())[first:].astype(float)


def _in_pieces(
    owner: np.ndarray, shared: np.ndarray, *, is_inside: np.ndarray, objects: int
) -> int:
    """How many objects hold two pieces or more."""
    largest = np.zeros(objects)
    np.maximum.at(largest, owner, shared)
    is_piece = is_inside & (shared > SHARE * largest[owner])
    return int((np.bincount(owner[is_piece], minlength=objects) > 1).sum())
