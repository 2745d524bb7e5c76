"""How unlike every known phenotype a well is, with the chance that a known one were as unlike."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Bool, Float

from profiler.phenotype.counts import PerWell
from profiler.phenotype.space import Points
from profiler.profile.fdr import q_values

N_NEAREST = 3
LEAST_KNOWN = 10  # wells; fewer give no test worth the name
MOST_BYTES = 2**25  # of distances in memory together
TIE = 1e-9  # relative difference of two distances; below it they tie

Known = Bool[np.ndarray, " row"]


class Strangeness(NamedTuple):
    """How far each row lies from the known ones.

    Attributes:
        distance: Mean distance to its three nearest known rows, itself not counted, over
            the median of that of the known rows themselves; NaN where that median is 0.
        p_value: Share of the known rows, and the row itself, that are as far.
    """

    distance: Float[np.ndarray, " row"]
    p_value: Float[np.ndarray, " row"]


def novelty(points: Points, *, is_known: Known, log_count: PerWell | None = None) -> pl.DataFrame:
    """Hold wells against the known phenotypes.

    Args:
        points: Profiles as points, one row per well with a profile.
        is_known: Which of them show a known phenotype, at least ten: controls, and
            treatments with a known mechanism.
        log_count: Their cell counts, for the baseline.

    Returns:
        One row per point, in order: Novelty and Novelty_p_value (see `strangeness`),
        Novelty_q_value, over the wells that are not known, null for known ones; and
        Novelty_p_value_by_count: the same test on the cell count alone. All null with
        fewer than ten known wells. A p-value is never below 1 / (known wells + 1).
    """
    found = strangeness(points, is_known=is_known)
    asked = np.where(is_known, np.nan, found.p_value)
    by_count = np.full(len(points), np.nan)
    if log_count is not None:
        rows = np.flatnonzero(np.isfinite(log_count))
        counted = strangeness(log_count[rows, None], is_known=is_known[rows])
        by_count[rows] = counted.p_value
    columns = {
        "Novelty": found.distance,
        "Novelty_p_value": found.p_value,
        "Novelty_q_value": q_values(asked),
        "Novelty_p_value_by_count": by_count,
    }
    return pl.DataFrame([pl.Series(name, x, nan_to_null=True) for name, x in columns.items()])


def strangeness(points: Points, *, is_known: Known) -> Strangeness:
    """Measure how far rows are from the known ones, and test each as one more known row.

    Args:
        points: Rows by axes.
        is_known: Which rows are known.

    Returns:
        Distances, and p-values that are uniform at most for a row that is drawn as the known
        ones are: the row joins them, and its rank among their distances within this company
        decides. NaN throughout with fewer than ten known rows.

    Source:
        Full conformal prediction, Vovk, Gammerman & Shafer 2005, chapter 2, with the
        nearest-neighbour score; q-values of such p-values: Bates et al. 2023, Ann Stat 51:149.
    """
    known = points[is_known]
    n_known = len(known)
    distance, p_value = np.full((2, len(points)), np.nan)
    if n_known < LEAST_KNOWN:
        return Strangeness(distance, p_value)
    own = np.vstack([_nearest_of_known(gap) for _, gap in _gaps(known, known, is_same=True)])
    total, farthest = own.sum(axis=1), own[:, -1]
    usual = float(np.median(total)) / N_NEAREST
    distance[is_known] = own.mean(axis=1)
    p_value[is_known] = [(total >= each * (1 - TIE)).mean() for each in total]
    rows = np.flatnonzero(~is_known)
    for part, gap in _gaps(points[rows], known, is_same=False):
        mine = _nearest_of_known(gap).sum(axis=1)
        theirs = total - np.maximum(farthest - gap, 0.0)  # where the row comes among the nearest
        as_far = (theirs >= mine[:, None] * (1 - TIE)).sum(axis=1)
        distance[rows[part]] = mine / N_NEAREST
        p_value[rows[part]] = (as_far + 1) / (n_known + 1)
    return Strangeness(distance / usual if usual > 0 else np.full_like(distance, np.nan), p_value)


def _nearest_of_known(gap: Float[np.ndarray, "row known"]) -> Float[np.ndarray, "row nearest"]:
    return np.sort(np.partition(gap, N_NEAREST - 1, axis=1)[:, :N_NEAREST], axis=1)


def _gaps(
    points: Points, known: Float[np.ndarray, "known axis"], *, is_same: bool
) -> Iterator[tuple[slice, Float[np.ndarray, "row known"]]]:
    """Distances of rows to known rows, a few at a time; infinite from a row to itself."""
    from scipy.spatial.distance import cdist

    step = max(1, MOST_BYTES // (8 * len(known)))
    for start in range(0, len(points), step):
        part = slice(start, min(start + step, len(points)))
        gap = cdist(points[part], known)
        if is_same:
            own = np.arange(part.start, part.stop)
            gap[own - part.start, own] = np.inf
        yield part, gap
