"""How well found objects match true ones. Host side, NumPy."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from scipy import sparse

THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
SPECK_PX = 25  # smaller objects are specks, in truth and found: public labels hold stray pixels


class Matches(NamedTuple):
    """Counts at one threshold, added up over fields."""

    true_positive: int
    false_positive: int
    false_negative: int

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + FP + FN); 1 where there is nothing to find and nothing found."""
        return _ratio(2 * self.true_positive, self.false_positive + self.false_negative)

    @property
    def average_precision(self) -> float:
        """TP / (TP + FP + FN), as the 2018 Data Science Bowl defines it; 1 as for `f1`."""
        return _ratio(self.true_positive, self.false_positive + self.false_negative)


def _ratio(found: int, wrong: int) -> float:
    return found / (found + wrong) if found + wrong else 1.0


def overlaps(truth: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Intersection over union of every true with every found object.

    Args:
        truth: Label image, [height, width], ids in any order.
        found: Label image of the same shape.

    Returns:
        [true objects, found objects], float64, ids ascending.
    """
    ids_true, true = np.unique(truth, return_inverse=True)
    ids_found, guess = np.unique(found, return_inverse=True)
    shape = (len(ids_true), len(ids_found))
    pairs = (true.ravel(), guess.ravel())
    shared = sparse.coo_matrix((np.ones(truth.size), pairs), shape).toarray()
    union = shared.sum(1, keepdims=True) + shared.sum(0, keepdims=True) - shared
    return (shared / union)[ids_true > 0][:, ids_found > 0]


def best_overlaps(truth: np.ndarray, found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The largest of `overlaps` for each object, without a table of all pairs.

    Returns:
        Of every true and of every found object, ids ascending; 0 where nothing is shared.
    """
    ids_true, true = np.unique(truth, return_inverse=True)
    ids_found, guess = np.unique(found, return_inverse=True)
    shape = (len(ids_true), len(ids_found))
    pairs = (true.ravel(), guess.ravel())
    shared = sparse.coo_matrix((np.ones(truth.size), pairs), shape).tocsr().tocoo()
    area_true, area_found = (np.bincount(each) for each in pairs)
    iou = shared.data / (area_true[shared.row] + area_found[shared.col] - shared.data)
    iou[(ids_true[shared.row] <= 0) | (ids_found[shared.col] <= 0)] = 0.0
    best = np.zeros(shape[0]), np.zeros(shape[1])
    np.maximum.at(best[0], shared.row, iou)
    np.maximum.at(best[1], shared.col, iou)
    return best[0][ids_true > 0], best[1][ids_found > 0]


def match(iou: np.ndarray, *, threshold: float) -> Matches:
    """Count the pairs whose overlap exceeds a threshold of at least one half.

    Above one half an object has at most one partner, so counting is the optimal
    assignment (proved in Kirillov et al. 2019, arXiv:1801.00868).
    """
    hits = int(is_match(iou, threshold=threshold).sum())
    return Matches(hits, iou.shape[1] - hits, iou.shape[0] - hits)


def is_match(iou: np.ndarray, *, threshold: float) -> np.ndarray:
    """Which overlaps make a pair.

    Raises:
        ValueError: The threshold is below one half.
    """
    if threshold < 0.5:
        raise ValueError(f"threshold is {threshold}; below 0.5 matches are not unique")
    return iou > threshold if threshold == 0.5 else iou >= threshold


def where_known(
    labels: np.ndarray, known: np.ndarray, *, truth: np.ndarray | None = None
) -> np.ndarray:
    """Cut labels to the known pixels, without objects that lie mostly outside them.

    Args:
        labels: Found objects, [height, width].
        known: Where somebody has looked, bool of the same shape.
        truth: True objects there; one that the edge of the known pixels cuts may leave the
            smaller part of itself, and what was found of it is kept: more than half of their
            union must be shared.
    """
    area = np.bincount(labels.ravel())
    inside = np.bincount(labels[known], minlength=len(area))
    is_kept = 2 * inside >= area
    if truth is not None and not is_kept.all():
        cut = np.where(known, labels, 0)
        ids = np.unique(cut[cut > 0])
        is_kept[ids[best_overlaps(truth, cut)[1] > THRESHOLDS[0]]] = True
    return np.where(known & is_kept[labels], labels, 0)


def drop_specks(labels: np.ndarray, *, below: int) -> np.ndarray:
    """Remove objects of fewer than `below` pixels."""
    area = np.bincount(labels.ravel())
    return np.where(area[labels] >= below, labels, 0)


class Scores(NamedTuple):
    """Mean over fields of each field's score, at every threshold of `THRESHOLDS`."""

    f1: np.ndarray
    average_precision: np.ndarray


def score(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> Scores:
    """Score (truth, found) label images; each field counts the same."""
    tables = [overlaps(truth, found) for truth, found in pairs]
    counts = [[match(iou, threshold=t) for t in THRESHOLDS] for iou in tables]
    return Scores(
        np.array([[m.f1 for m in row] for row in counts]).mean(0),
        np.array([[m.average_precision for m in row] for row in counts]).mean(0),
    )
