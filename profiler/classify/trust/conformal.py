"""Sets of classes that hold the true one as often as stated, whatever the classifier is worth.

The score of a class is one less its probability (LAC, "least ambiguous"). It gives the smallest
sets that reach the coverage, and an empty set where no known class is likely, which is what a new
phenotype deserves. APS sets are larger, never empty, and random unless they cover too much; what
they are liked for, coverage that does not hide behind the easy classes, is here given exactly by a
threshold for each class.
"""

from math import ceil
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Int

from profiler.classify.trust.shapes import (
    Classes,
    PerCell,
    PerClass,
    Probabilities,
    Sets,
    check_classes,
    counts_of,
)


class Conformal(NamedTuple):
    """Thresholds learned from cells with known classes.

    Attributes:
        thresholds: A class is in the set of a cell where one less its probability is at most
            this; infinite where too few examples say anything, so that it is in every set.
        coverage: The share of cells whose set is to hold their class.
        examples: Cells that each threshold was learned from.
    """

    thresholds: PerClass
    coverage: float
    examples: Int[np.ndarray, " class"]

    @property
    def too_few(self) -> Int[np.ndarray, " rare"]:
        """Classes that are in every set, because their examples are fewer than `needed`."""
        return np.flatnonzero(np.isinf(self.thresholds))


def needed(coverage: float) -> int:
    """How many examples a threshold takes at least.

    >>> needed(0.9), needed(0.95)
    (9, 19)
    """
    return ceil(round(coverage / (1 - coverage), 9))


def fit_conformal(
    probabilities: Probabilities,
    labels: Classes,
    *,
    coverage: float = 0.9,
    per_class: bool = True,
) -> Conformal:
    """Learn how unlikely a class may be and yet belong to the set.

    Args:
        probabilities: Of cells that the classifier was not trained on, drawn as the cells to come.
        labels: Their true classes.
        coverage: Share of cells whose set is to hold their class, between 0 and 1.
        per_class: Whether this is to hold for the cells of every class (Mondrian), or only for
            all together, where frequent classes may make up for rare ones.

    Returns:
        Thresholds. Sets then hold the truth with a probability of at least `coverage`, and at
        most 1 / (examples + 1) more where no two probabilities are equal.

    Raises:
        ValueError: A coverage that is not between 0 and 1, or labels that name no column.

    Source:
        Sadinle, Lei & Wasserman 2019, JASA 114:223; Vovk et al. 2005, section 4.5. Checked by
        hand and by simulation in tests/classify/trust/test_conformal.py.
    """
    if not 0 < coverage < 1:
        raise ValueError(f"Found a coverage of {coverage}; expected a share between 0 and 1.")
    classes = probabilities.shape[1]
    check_classes(labels, classes=classes)
    scores = 1 - probabilities[np.arange(len(labels)), labels]
    if not per_class:
        threshold = _quantile(scores, coverage)
        return Conformal(np.full(classes, threshold), coverage, np.full(classes, len(labels)))
    thresholds = [_quantile(scores[labels == each], coverage) for each in range(classes)]
    return Conformal(np.array(thresholds), coverage, counts_of(labels, classes=classes))


def prediction_sets(probabilities: Probabilities, conformal: Conformal) -> Sets:
    """Say which classes each cell may be of; none for a cell unlike all of them."""
    return 1 - probabilities <= conformal.thresholds


def coverage_table(sets: Sets, labels: Classes) -> pl.DataFrame:
    """Tabulate what sets hold, to compare with what was promised.

    Returns:
        A row for all cells together (`Class` null), then one for each class: `Cells`, the share
        `Covered` whose set holds their class, the mean `Size` of sets, the shares `Single` and
        `Empty`; null for a class without cells.
    """
    classes = sets.shape[1]
    check_classes(labels, classes=classes)
    size = sets.sum(axis=1)
    per_cell = pl.DataFrame(
        {
            "Class": labels,
            "Covered": sets[np.arange(len(labels)), labels],
            "Size": size,
            "Single": size == 1,
            "Empty": size == 0,
        }
    )
    summary = [pl.len().cast(pl.Int64).alias("Cells"), pl.exclude("Class").cast(pl.Float64).mean()]
    by_class = per_cell.group_by("Class").agg(summary)
    every = pl.DataFrame({"Class": np.arange(classes)}).join(by_class, on="Class", how="left")
    whole = per_cell.select(pl.lit(None, pl.Int64).alias("Class"), *summary)
    return pl.concat([whole, every.sort("Class").with_columns(pl.col("Cells").fill_null(0))])


def _quantile(scores: PerCell, coverage: float) -> float:
    """The threshold that one more score, drawn as these, stays within often enough."""
    rank = ceil(round((len(scores) + 1) * coverage, 9))  # 0.9 * 10 must not become 10
    return float(np.sort(scores)[rank - 1]) if rank <= len(scores) else np.inf
