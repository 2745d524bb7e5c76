"""Cells and wells that no known phenotype explains, with the chance that a known one were as odd.

Every score of `outliers` becomes a p-value: the share of known cells, held apart from all
training, that are as unlike. A cell's novelty is one less the mean of its p-values, and that is
held once more against the novelty of the known cells, since p-values of related scores do not
simply multiply. On MitoCheck's development movies the mean told new classes better than Fisher's
product, which lets the loudest score decide.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Float, Int, Shaped

from profiler.classify.trust.outliers import Known, angle, energy, mahalanobis, place
from profiler.classify.trust.shapes import Logits, PerCell, Vectors
from profiler.classify.trust.well_means import known_wells, well_p_value

LEVEL = 0.05  # a cell with a p-value below it counts as new in `Novelty_Share`

Scores = Mapping[str, PerCell]
Reference = Float[np.ndarray, " reference"]
KnownScores = Mapping[str, Reference]
Wells = Shaped[np.ndarray, " cell"]


class Novelty(NamedTuple):
    """How new each cell is.

    Attributes:
        score: From 0, amid the known cells, to 1, beyond all of them.
        p_value: Share of the known cells, and the cell itself, with a score as high; uniform, or
            larger, for a cell drawn as they are.
    """

    score: PerCell
    p_value: PerCell


def novelty_scores(vectors: Vectors, logits: Logits, known: Known) -> dict[str, PerCell]:
    """The three scores that are combined: distance, direction and the classifier's energy."""
    places = place(vectors, known)
    return {
        "mahalanobis": mahalanobis(places, known),
        "angle": angle(places, known),
        "energy": energy(logits),
    }


def p_values(scores: PerCell, reference: Reference) -> PerCell:
    """The chance that a cell drawn as the reference has a score as high: (1 + b) / (1 + n)."""
    return (1 + _as_high(scores, reference)) / (1 + len(reference))


def cell_novelty(scores: Scores, reference: KnownScores) -> Novelty:
    """Combine scores into one novelty per cell.

    Args:
        scores: Of the cells in question, by name; large is unlike what is known.
        reference: The same scores of known cells that trained neither the classifier nor the
            detector, and come from other movies or plates than those did.

    Returns:
        Scores and p-values, in the order of the cells.

    Raises:
        ValueError: No reference cells, or other scores than theirs.

    Source:
        Conformal p-values, Vovk et al. 2005; that they are valid is shown by simulation in
        tests/classify/trust/test_novelty.py.
    """
    own = reference_score(reference)
    _check_names(scores, reference)
    each = [p_values(values, reference[name]) for name, values in scores.items()]
    score = 1 - np.mean(each, axis=0)
    return Novelty(score, p_values(score, own))


def reference_score(reference: KnownScores) -> Reference:
    """The novelty score of the known cells, each among the others.

    A cell that joins them can only make a known one look less odd, never more, so p-values
    against these are never too small.

    Raises:
        ValueError: No scores, or no reference cells.
    """
    if not reference or not all(len(values) for values in reference.values()):
        raise ValueError(
            "Found no known cells to compare with; expected some that were held apart from "
            "training, of movies or plates of their own."
        )
    each = [_as_high(values, values) / (1 + len(values)) for values in reference.values()]
    return 1 - np.mean(each, axis=0)


def well_novelty(
    cells: Novelty,
    wells: Wells,
    reference: Reference,
    *,
    reference_wells: Shaped[np.ndarray, " reference"] | None = None,
    permutations: int = 999,
    seed: int = 0,
) -> pl.DataFrame:
    """Test whether the cells of each well are newer than known cells.

    Args:
        cells: From `cell_novelty`.
        wells: Name of each cell's well.
        reference: From `reference_score`.
        reference_wells: Well of each known cell, where it is known.
        permutations: How often a well's cells are exchanged at random for known ones.
        seed: It alone decides which; other wells and the order of cells do not.

    Returns:
        One row per well, sorted by name: `Well`, `Cells`, mean `Novelty`, `Novelty_Share` of cells
        with a p-value below .05, and two tests, both (1 + b) / (1 + n). `Novelty_p_value`: how
        often as many cells, drawn from the well's and the known together, have such a mean; it
        takes cells for independent, which those of a well are not quite. `Novelty_p_value_by_well`:
        how many known wells have such a mean, given how many cells each mean is of; null with
        fewer than ten known wells. See `well_means`.
    """
    known = None if reference_wells is None else known_wells(reference, reference_wells)
    rows = []
    for well in np.unique(wells):
        own = np.sort(cells.score[wells == well])
        mean = float(own.mean())
        p_value = _permutation_p(own, reference, permutations=permutations, seed=(seed, str(well)))
        by_well = well_p_value(mean, len(own), known) if known else None
        share = float((cells.p_value[wells == well] < LEVEL).mean())
        rows.append((str(well), len(own), mean, share, p_value, by_well))
    schema = {"Well": pl.String, "Cells": pl.Int64, "Novelty": pl.Float64}
    schema |= {"Novelty_Share": pl.Float64, "Novelty_p_value": pl.Float64}
    return pl.DataFrame(rows, schema=schema | {"Novelty_p_value_by_well": pl.Float64}, orient="row")


def _permutation_p(
    own: PerCell, reference: Reference, *, permutations: int, seed: tuple[int, str]
) -> float:
    """Share of random exchanges, and the well as it is, with a mean as high."""
    random = np.random.default_rng([seed[0], *seed[1].encode()])
    pooled = np.concatenate([own, np.sort(reference)])
    total = own.sum() * (1 - 1e-12)  # sums in another order differ in their last digit
    drawn = [
        pooled[random.choice(len(pooled), len(own), replace=False, shuffle=False)].sum()
        for _ in range(permutations)
    ]
    return (1 + int((np.array(drawn) >= total).sum())) / (1 + permutations)


def _as_high(scores: PerCell, reference: Reference) -> Int[np.ndarray, " cell"]:
    """How many of the reference are at least as high."""
    return len(reference) - np.searchsorted(np.sort(reference), scores, side="left")


def _check_names(scores: Scores, reference: KnownScores) -> None:
    if set(scores) != set(reference):
        raise ValueError(
            f"Found the scores {', '.join(scores)}, and of the known cells "
            f"{', '.join(reference)}; expected the same."
        )
