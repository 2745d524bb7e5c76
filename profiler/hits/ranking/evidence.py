"""What else speaks for a compound, or against it, beside the effect that it is ranked by."""

from typing import NamedTuple

import polars as pl

from profiler.hits.precision.activity import strongest

COMPOUND, ROLE, DOSE = "Metadata_Compound", "Metadata_Role", "Metadata_Concentration"
PER = [COMPOUND, ROLE]
AT_BEST = ("b_score", "adjusted_z", "mahalanobis")
RANKS = ("rank_low", "rank_median", "rank_high", "top_share")
SERIES = (
    *("shape", "area_under_curve", "benchmark_concentration", "benchmark_outside_range"),
    *("is_biphasic", "toxic_from", "is_toxic_only"),
)
ACTIVITY = {
    "mean_average_precision": "mean_average_precision",
    "p_value": "activity_p",
    "q_value": "activity_q",
    DOSE: "active_concentration",
}
REPLICATES = {"correlation": "replicate_correlation", "is_replicating": "is_replicating"}


class Evidence(NamedTuple):
    """Tables to draw on.

    Attributes:
        hits: From `rank_wells`, with the columns `AT_BEST`.
        curves: From `fit_curves`, with the columns of `describe_curves`.
        ranks: From `rank_uncertainty`.
        activity: From `activity`; none where it could not be tested.
        replicates: From `replicate_correlation`; none likewise.
    """

    hits: pl.DataFrame
    curves: pl.DataFrame
    ranks: pl.DataFrame
    activity: pl.DataFrame | None
    replicates: pl.DataFrame | None


def add_evidence(compounds: pl.DataFrame, *, evidence: Evidence) -> pl.DataFrame:
    """Add to every ranked compound what else is known of it.

    Args:
        compounds: From `rank_compounds`.
        evidence: What to add.

    Returns:
        The same rows, with

        - rank_low, rank_median, rank_high, top_share: from `rank_uncertainty`
        - b_score, adjusted_z, mahalanobis: medians over the wells of the best dose
        - mean_average_precision, activity_p, activity_q, active_concentration: of the most
          active dose, p and q for the best of several (`strongest`)
        - replicate_correlation, is_replicating: at the best dose
        - shape, area_under_curve, benchmark_concentration, benchmark_outside_range,
          is_biphasic, toxic_from, is_toxic_only: of the ranked readout's dose series
    """
    tables = [
        evidence.ranks.select(*PER, *RANKS),
        _scores(compounds, evidence.hits),
        _activity(evidence.activity),
        _replicates(compounds, evidence.replicates),
        _series(evidence.curves, readouts=evidence.hits["readout"]),
    ]
    for table in tables:
        compounds = compounds.join(
            table, on=PER, how="left", nulls_equal=True, maintain_order="left", validate="1:1"
        )
    return compounds


def _scores(compounds: pl.DataFrame, hits: pl.DataFrame) -> pl.DataFrame:
    return _at_best(compounds, hits).group_by(PER).agg(pl.col(AT_BEST).median())


def _activity(table: pl.DataFrame | None) -> pl.DataFrame:
    best = None if table is None else strongest(table, per=PER)
    return _renamed(best, ACTIVITY)


def _replicates(compounds: pl.DataFrame, table: pl.DataFrame | None) -> pl.DataFrame:
    best = None if table is None else _at_best(compounds, table)
    # A control may be given in two units at one dose.
    return _renamed(best, REPLICATES).unique(PER, keep="first", maintain_order=True)


def _series(curves: pl.DataFrame, *, readouts: pl.Series) -> pl.DataFrame:
    mine = curves.filter(pl.col("readout").is_in(readouts.drop_nulls().unique().implode()))
    return mine.select(COMPOUND, pl.lit("treatment").alias(ROLE), *SERIES)


def _at_best(compounds: pl.DataFrame, table: pl.DataFrame) -> pl.DataFrame:
    """The rows of a table that are of a compound's best dose."""
    absent = [name for name in PER if name not in table.columns]
    table = table.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in absent)
    best = compounds.select(*PER, pl.col("best_concentration").alias(DOSE))
    on = [*PER, DOSE] if DOSE in table.columns else PER
    return table.join(best, on=on, how="semi", nulls_equal=True)


def _renamed(table: pl.DataFrame | None, names: dict[str, str]) -> pl.DataFrame:
    """The columns wanted, under their names here; null where there are none."""
    if table is None:
        table = pl.DataFrame(schema=dict.fromkeys(PER, pl.String))
    absent = [
        pl.lit(None, dtype=pl.Float64).alias(name) for name in names if name not in table.columns
    ]
    return table.with_columns(absent).select(*PER, *names).rename(names)
