"""Well profiles in, ranked hits out: statistics, dose-response, scores, ranks."""

from collections.abc import Sequence
from typing import NamedTuple

import polars as pl

from plates.errors import lookup
from profiler.hits.compounds import rank_compounds
from profiler.hits.dose import fit_curves
from profiler.hits.rank import DEFAULT, SCORES, HitRule, rank_wells
from profiler.hits.score import score_wells
from profiler.hits.statistics import best_readout, plate_statistics
from profiler.profile.compounds import check_compounds
from profiler.profile.controls import require_controls
from profiler.profile.features import feature_columns

__all__ = [
    "HitRule",
    "Hits",
    "best_readout",
    "call_hits",
    "fit_curves",
    "plate_statistics",
    "rank_compounds",
    "rank_wells",
    "score_wells",
]

LEAST_NEGATIVE = 2  # one has no spread


class Hits(NamedTuple):
    """What `call_hits` found.

    Attributes:
        statistics: One row per plate and readout, from `plate_statistics`.
        curves: One row per compound and readout, from `fit_curves`, with `scale`: "raw",
            or "robust_z" of the plate, on which curves over several plates are fitted.
        hits: One row per well, from `rank_wells`.
        compounds: One row per compound and role, from `rank_compounds`.
        readout: The ranked one: named, or else the best found; none without either.
        best: The best readout found; none without positive controls.
        ranked_by: "readout" or "profile"; the latter also where there is no readout.
    """

    statistics: pl.DataFrame
    curves: pl.DataFrame
    hits: pl.DataFrame
    compounds: pl.DataFrame
    readout: str | None
    best: str | None
    ranked_by: str


def call_hits(
    wells: pl.DataFrame,
    profiles: pl.DataFrame,
    *,
    readout: str | Sequence[str] | None = None,
    rank_by: str = DEFAULT.rank_by,
    threshold: float = DEFAULT.threshold,
    toxic_below: float = DEFAULT.toxic_below,
) -> Hits:
    """Rank the wells and compounds of a run.

    Args:
        wells: Annotated wells, with features in their own units.
        profiles: The same wells with features as robust z of the negative controls.
        readout: Feature to rank by, or several: the first ranks, and all get curves, as
            does the one with the best Z', which ranks if none is named. Without
            positive controls there is no best, and wells are ranked by profile.
        rank_by: "readout" or "profile".
        threshold: Robust sds from the negative controls at which a well is a hit.
        toxic_below: Fraction of the negative controls' cells below which a well is toxic.

    Returns:
        All tables; `Hits.readout` and `Hits.ranked_by` say what was chosen.

    Raises:
        NoControls: A plate has fewer than two negative controls with cells.
        UnknownName: A readout is no feature of `wells`, or `rank_by` no ranking.
        BadLayout: One compound under two names or units.
        ProfilingError: The ranked readout is infinite in some well.
    """
    named = [readout] if isinstance(readout, str) else list(readout or [])
    features = feature_columns(wells)
    _check(wells, named, features, rank_by=rank_by)
    statistics = plate_statistics(wells, readouts=features)
    best = best_readout(statistics)
    chosen = [*named, best][0]
    rule = HitRule(rank_by if chosen else "profile", threshold, toxic_below)
    curves = _curves(wells, profiles, [name for name in dict.fromkeys([*named, best]) if name])
    hits = rank_wells(score_wells(wells, profiles, readout=chosen), rule=rule)
    compounds = rank_compounds(hits, curves=curves, profiles=profiles, rule=rule)
    return Hits(statistics, curves, hits, compounds, chosen, best, rule.rank_by)


def _check(wells: pl.DataFrame, readouts: list[str], features: list[str], *, rank_by: str) -> None:
    require_controls(
        wells, role="negative", at_least=LEAST_NEGATIVE, why="know what no effect looks like"
    )
    check_compounds(wells)
    lookup(SCORES, kind="ranking", name=rank_by)
    for name in readouts:
        lookup(dict.fromkeys(features), kind="readout", name=name)


def _curves(wells: pl.DataFrame, profiles: pl.DataFrame, readouts: list[str]) -> pl.DataFrame:
    """Fit in raw units on one plate, and on several on the scale that they share."""
    is_one = wells["Metadata_Plate"].n_unique() == 1
    curves = fit_curves(wells if is_one else profiles, readouts=readouts)
    return curves.with_columns(scale=pl.lit("raw" if is_one else "robust_z"))
