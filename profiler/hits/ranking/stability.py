"""How sure the order of the compounds is: ranks under replicates drawn anew."""

from typing import NamedTuple, TypeAlias, no_type_check

import numpy as np
import polars as pl
from jaxtyping import Float, Int32, Int64

from profiler.hits.compiled import compiled
from profiler.hits.ranking.rank import DEFAULT, HitRule, effect, is_two_sided
from profiler.profile.controls import is_role

DRAWS = 500
ENOUGH_REPLICATES = 3  # fewer say too little of their own noise
COMPOUND, ROLE, DOSE = "Metadata_Compound", "Metadata_Role", "Metadata_Concentration"
PER = [COMPOUND, ROLE]
WELL = ("Metadata_Plate", "Metadata_Well")

PerWell: TypeAlias = Float[np.ndarray, " well"]


class _Series(NamedTuple):
    """Wells in order of compound and dose.

    Attributes:
        effect: Of each well.
        bounds: Wells `bounds[i]` to `bounds[i + 1]` are those of dose i.
        compound: Of each dose.
        is_two_sided: Whether an effect of either sign counts.
    """

    effect: PerWell
    bounds: Int64[np.ndarray, " bound"]
    compound: Int64[np.ndarray, " dose"]
    is_two_sided: bool


def rank_uncertainty(
    hits: pl.DataFrame,
    *,
    rule: HitRule = DEFAULT,
    level: float = 0.95,
    top: int = 10,
    seed: int = 0,
) -> pl.DataFrame:
    """Rank the compounds again and again, with wells drawn anew, and see how ranks vary.

    Each time the wells of every dose are drawn with replacement. A dose with fewer than
    three is kept, and its wells given the noise of a negative control: two replicates that
    happen to agree do not make an effect sure. Compounds are ranked as `rank_compounds`
    does, by the largest median effect of a dose.

    Args:
        hits: From `rank_wells`.
        rule: The rule the wells were ranked by.
        level: Share of the draws within the interval.
        top: How many first places to count.
        seed: Alone decides what is drawn, whatever the order of the wells.

    Returns:
        One row per compound and role that could be ranked, best first: `rank` (as in
        `rank_compounds`), `rank_low`, `rank_median`, `rank_high` and `top_share`, the share of
        draws in which it came among the first `top`. The interval says how far the place
        would move with other replicates; it leans towards the middle for the very
        first, which owe their place in part to luck.

    Raises:
        UnknownName: `rule.rank_by` is no ranking.

    Source:
        Goldstein & Spiegelhalter 1996, J R Stat Soc A 159:385; Efron 1979, Annals of
        Statistics 7:1. Coverage in tests/hits/ranking/test_stability.py.
    """
    wells = hits.with_columns(effect(rule.rank_by)).filter(pl.col("effect").is_not_null())
    wells = wells.sort(name for name in WELL if name in wells.columns)
    noise = _control_noise(wells)
    if COMPOUND not in wells.columns:
        wells = wells.clear().with_columns(pl.lit(None, dtype=pl.String).alias(COMPOUND))
    columns = [*PER, *([DOSE] if DOSE in wells.columns else [])]
    wells = wells.filter(pl.col(COMPOUND).is_not_null(), ~is_role("empty"))
    wells = wells.sort(columns, maintain_order=True)
    wells = wells.with_columns(dose=pl.struct(columns).rle_id(), compound=pl.struct(PER).rle_id())
    doses = wells.group_by("dose", maintain_order=True).agg(pl.len(), pl.col("compound").first())
    series = _Series(
        wells["effect"].to_numpy().astype(np.float64),
        np.concatenate([[0], np.cumsum(doses["len"].to_numpy())]).astype(np.int64),
        doses["compound"].to_numpy().astype(np.int64),
        is_two_sided(rule.rank_by),
    )
    names = wells.select(PER).unique(maintain_order=True)
    random = np.random.default_rng(seed)
    ranks = np.empty((DRAWS, names.height), dtype=np.int32)
    for draw in ranks:
        uniform = random.random(len(series.effect))
        draw[:] = _ranked(_strength(*series, uniform, random.choice(noise, len(uniform))))
    own = _ranked(_strength(*series, np.empty(0), noise))
    return _table(names.with_columns(rank=own), ranks, level=level, top=top)


def _control_noise(wells: pl.DataFrame) -> PerWell:
    """Effects of the negative controls about their plate's median; 0 if there is none."""
    about = pl.col("effect") - pl.col("effect").median().over("Metadata_Plate")
    noise = wells.filter(is_role("negative")).select(about).to_series().to_numpy()
    return noise.astype(np.float64) if len(noise) else np.zeros(1)


def _ranked(strength: Float[np.ndarray, " compound"]) -> Int64[np.ndarray, " compound"]:
    """Places from 1, ties by order."""
    ranks = np.empty(len(strength), dtype=np.int64)
    ranks[np.argsort(-strength, kind="stable")] = np.arange(1, len(strength) + 1)
    return ranks


def _table(
    names: pl.DataFrame, ranks: Int32[np.ndarray, "draw compound"], *, level: float, top: int
) -> pl.DataFrame:
    tails = [(1 - level) / 2, 0.5, (1 + level) / 2]
    low, middle, high = np.quantile(ranks, tails, axis=0, method="nearest").astype(np.int64)
    return names.with_columns(
        rank_low=low,
        rank_median=middle,
        rank_high=high,
        top_share=(ranks <= top).mean(axis=0),
    ).sort("rank")


@no_type_check
@compiled()
def _strength(effect, bounds, compound, is_two_sided, uniform, noise):
    """How strong each compound is at its best dose; as observed if `uniform` is empty."""
    n_doses = len(bounds) - 1
    strength = np.full(compound[-1] + 1 if n_doses else 0, -np.inf)
    for dose in range(n_doses):
        first, last = bounds[dose], bounds[dose + 1]
        some = effect[first:last].copy()
        if len(uniform):
            n = last - first
            for i in range(n):
                if n >= ENOUGH_REPLICATES:
                    some[i] = effect[first + int(uniform[first + i] * n)]
                else:
                    some[i] += noise[first + i]
        size = np.median(some)
        if is_two_sided:
            size = abs(size)
        strength[compound[dose]] = max(strength[compound[dose]], size)
    return strength
