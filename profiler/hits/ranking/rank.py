"""Wells, ranked by their effect."""

from dataclasses import dataclass
from typing import Literal

import polars as pl

from plates.errors import lookup
from profiler.hits.scores.score import LEAST_CONTROLS, LEAST_NEGATIVE
from profiler.profile.controls import has_controls

SCORES = {  # what to rank by -> column, and whether either sign is an effect
    "readout": ("readout_z", True),
    "profile": ("profile_score", False),
}


@dataclass(frozen=True)
class HitRule:
    """What makes a hit.

    Attributes:
        rank_by: "readout" or "profile".
        threshold: Robust sds from the negative controls at which a well is a hit.
        toxic_below: Fraction of the negative controls' cells below which a well is toxic.
    """

    rank_by: Literal["readout", "profile"] | str = "readout"
    threshold: float = 3.0
    toxic_below: float = 0.5

    def __post_init__(self) -> None:
        """Refuse a threshold that every well reaches."""
        if not self.threshold > 0:
            raise ValueError(
                f"The threshold is {self.threshold:g}; it must be above 0, as every well reaches "
                "0. Give the robust sds from which a well is a hit, such as 3."
            )


DEFAULT = HitRule()


def effect(rank_by: str) -> pl.Expr:
    """Give the signed score that a ranking looks at, as column `effect`.

    Args:
        rank_by: A name in `SCORES`.

    Raises:
        UnknownName: It is none.
    """
    column, _ = lookup(SCORES, kind="ranking", name=rank_by)
    return pl.col(column).alias("effect")


def is_two_sided(rank_by: str) -> bool:
    """Whether an effect of either sign counts; a profile can only be more or less far away."""
    return lookup(SCORES, kind="ranking", name=rank_by)[1]


def strength_of(column: str, rank_by: str) -> pl.Expr:
    """Give what a ranking sorts by: the size of an effect, or its value if one-sided."""
    return pl.col(column).abs() if is_two_sided(rank_by) else pl.col(column)


def rank_wells(scores: pl.DataFrame, *, rule: HitRule = HitRule()) -> pl.DataFrame:
    """Rank the wells of a run, all plates together.

    Args:
        scores: From `score_wells`.
        rule: What to rank by, and when a well is a hit or toxic.

    Returns:
        The same rows, best first, with

        - is_hit: the effect reaches the threshold, in either direction for a readout
        - is_toxic: `viability` is below `toxic_below`; toxic hits stay hits
        - rank: from 1, ties by plate and well; rank_status: "ranked", or why there
          is no rank and no verdict: the well's QC status, "no_controls" (its plate has
          fewer than two negative ones with cells, or than three if ranked by profile),
          "no_value" (the feature is undefined there) or "no_scale" (the controls do not vary)

    Raises:
        UnknownName: `rule.rank_by` is no ranking.
    """
    column, _ = lookup(SCORES, kind="ranking", name=rule.rank_by)
    size = strength_of(column, rule.rank_by)
    order = [size, "Metadata_Plate", pl.col("Metadata_Well").str.len_chars(), "Metadata_Well"]
    ranked = scores.sort(order, descending=[True, False, False, False], nulls_last=True)
    position = pl.int_range(1, pl.len() + 1, dtype=pl.Int64)
    return ranked.with_columns(
        is_hit=size >= rule.threshold,
        is_toxic=pl.col("viability") < rule.toxic_below,
        rank=pl.when(size.is_not_null()).then(position),
        rank_status=_rank_status(scores, rule),
    )


def _rank_status(scores: pl.DataFrame, rule: HitRule) -> pl.Expr:
    reason = pl.lit("no_scale")
    if rule.rank_by == "readout":
        reason = (
            pl.when(pl.col("readout_value").is_null()).then(pl.lit("no_value")).otherwise(reason)
        )
    if "Metadata_Role" in scores.columns:
        needed = LEAST_CONTROLS if rule.rank_by == "profile" else LEAST_NEGATIVE
        comparable = has_controls(scores, role="negative", at_least=needed)
        reason = pl.when(~comparable).then(pl.lit("no_controls")).otherwise(reason)
    if "Metadata_QC_Status" in scores.columns:
        status = pl.col("Metadata_QC_Status")
        reason = pl.when(status != "ok").then(status).otherwise(reason)
    return pl.when(effect(rule.rank_by).is_not_null()).then(pl.lit("ranked")).otherwise(reason)
