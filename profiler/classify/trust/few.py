"""How far few labels go: small sets that are drawn fairly, and curves of what more would bring."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Int
from numpy.typing import ArrayLike

from plates.errors import ProfilingError
from profiler.classify.trust.folds import Groups, group_folds
from profiler.classify.trust.label_errors import Classifier
from profiler.classify.trust.shapes import Classes, Vectors

Rows = Int[np.ndarray, " row"]

MOST_NAMES = 5  # listed in a message


class SharedGroups(ProfilingError, ValueError):
    """Movies or plates with cells both to learn from and to be judged by."""


class Split(NamedTuple):
    """Rows to learn from and rows to be judged by, no movie or plate on both sides."""

    train: Rows
    test: Rows


def check_groups(groups: Groups, split: Split) -> None:
    """Refuse a split that would judge a classifier by cells of a movie it has seen.

    Raises:
        SharedGroups: Some groups are on both sides; the message names them.
    """
    both = np.intersect1d(groups[split.train], groups[split.test])
    if not len(both):
        return
    more = f" and {len(both) - MOST_NAMES} more" if len(both) > MOST_NAMES else ""
    raise SharedGroups(
        f"{len(both)} movies or plates have cells in both training and test: "
        f"{', '.join(map(str, both[:MOST_NAMES]))}{more}. Cells of one image resemble one another "
        "whatever they show, so scores would be too good: put each on one side, as "
        "`split_by_group` does."
    )


def split_by_group(labels: Classes, groups: Groups, *, parts: int = 4, seed: int = 0) -> Split:
    """Set whole groups apart to judge by, with classes in about the same shares.

    Args:
        labels: Classes of the cells.
        groups: Movie or plate of each.
        parts: One in so many of the cells is set apart, about.
        seed: It alone decides which.

    Raises:
        SharedGroups: There are fewer groups than parts.
    """
    found = len(np.unique(groups))
    if found < parts:
        raise SharedGroups(
            f"Found {found} movies or plates; expected at least {parts}, to set one in {parts} "
            "apart whole. Label cells of more of them, or set a larger share apart."
        )
    return Split(*next(group_folds(labels, groups, parts=parts, seed=seed)))


def k_shot(labels: Classes, rows: Rows, *, shots: int, seed: int = 0) -> Int[np.ndarray, " drawn"]:
    """Draw as many cells of every class.

    Args:
        labels: Classes of all cells.
        rows: Those to draw from: the training side of a split.
        shots: How many of each class; all of a class that has fewer.
        seed: It alone decides which. A larger draw of the same seed holds every smaller one.

    Returns:
        The rows drawn, sorted.
    """
    order = np.random.default_rng(seed).permutation(rows)
    drawn = [order[labels[order] == each][:shots] for each in np.unique(labels[rows])]
    return np.sort(np.concatenate(drawn)) if drawn else rows


def label_curve(
    vectors: Vectors,
    labels: Classes,
    groups: Groups,
    split: Split,
    *,
    classify: Classifier,
    draws: Iterable[tuple[int, int]],
) -> pl.DataFrame:
    """Score classifiers that learned from few cells of each class, and from all.

    Args:
        vectors: One row per cell.
        labels: Their classes.
        groups: Movie or plate of each.
        split: Rows to learn from and to be judged by, as from `split_by_group`.
        classify: As for `label_errors.out_of_fold`.
        draws: How many cells of each class, and the seed that draws them.

    Returns:
        One row per draw: `Shots` (null for all cells), `Seed`, `Labels` (cells learned from),
        `Short` (classes with fewer cells than asked for), `Accuracy`, `F1_weighted`, `F1_macro`.

    Raises:
        SharedGroups: A movie or plate is on both sides of the split.
    """
    check_groups(groups, split)
    drawn_rows = [(k, seed, k_shot(labels, split.train, shots=k, seed=seed)) for k, seed in draws]
    rows = []
    for k, seed, drawn in [*drawn_rows, (None, None, split.train)]:
        counts = np.bincount(labels[drawn], minlength=1)
        short = int((counts[np.unique(labels[split.train])] < (k or 0)).sum())
        known, codes = np.unique(labels[drawn], return_inverse=True)
        found = known[classify(vectors[drawn], codes, vectors[split.test]).argmax(axis=1)]
        rows.append((k, seed, len(drawn), short, *_scores(labels[split.test], found)))
    names = ("Shots", "Seed", "Labels", "Short", "Accuracy", "F1_weighted", "F1_macro")
    return pl.DataFrame(rows, schema=list(names), orient="row", infer_schema_length=None)


def labels_needed(counts: ArrayLike, scores: ArrayLike, *, goal: float) -> float:
    """How many labels it takes until a curve reaches a goal and stays there.

    Args:
        counts: Labels, rising.
        scores: What each count scored.
        goal: The score to reach.

    Returns:
        The number between the counts on both sides, by a straight line; NaN for a curve that
        ends below the goal.

    >>> labels_needed([10, 20, 40], [0.5, 0.75, 1.0], goal=0.875)
    30.0
    """
    x, y = np.asarray(counts, float), np.asarray(scores, float)
    below = np.flatnonzero(y < goal)
    if not len(below):
        return float(x[0])
    last = int(below[-1])
    if last == len(y) - 1:
        return float("nan")
    share = (goal - y[last]) / (y[last + 1] - y[last])
    return float(x[last] + share * (x[last + 1] - x[last]))


def _scores(truth: Classes, found: Classes) -> tuple[float, float, float]:
    from sklearn.metrics import accuracy_score, f1_score  # takes a second to import

    weighted, macro = (
        float(f1_score(truth, found, average=each, labels=np.unique(truth)))
        for each in ("weighted", "macro")
    )
    return float(accuracy_score(truth, found)), weighted, macro
