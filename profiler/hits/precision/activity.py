"""Which compounds do something: whether their replicates are more alike than chance."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from profiler.hits.precision.average import DEFAULT, features_of, in_order, well_precision
from profiler.hits.precision.exchange import UNTESTED, Test, Verdict, exchange_tests, lay_out
from profiler.hits.precision.matching import (
    Matching,
    Rows,
    Sides,
    in_fixed_order,
    read_matching,
    rows_by_value,
)
from profiler.hits.precision.retrieval import Unit, has_profile, unit_profiles
from profiler.hits.seeds import generator
from profiler.profile.fdr import q_values


def activity(
    profiles: pl.DataFrame,
    *,
    matching: Matching = DEFAULT,
    features: Sequence[str] | None = None,
    seed: int = 0,
) -> pl.DataFrame:
    """Test whether the replicates of each compound (and dose) are more alike than chance.

    Against the negative controls of the same plate this asks whether a compound does
    anything; against other compounds, whether it does something of its own.

    Plates should be on one scale and without position effects (`profiler.hits.scores.b_score`):
    replicates in the same well of several plates share its position, and so look alike. For the
    same reason, centre plates on all wells rather than on few controls if replicates share a
    plate: what the controls' median is off by, they share too.

    Args:
        profiles: As for `average_precision`.
        matching: Which wells are replicates, and what they are ranked against.
        features: Columns that make a profile; all of a phenotype if not given.
        seed: Alone decides what is drawn: not the order of the table, nor other compounds.

    Returns:
        One row per compound, best first (ties by name): the columns of `matching.same`;
        `n_wells` with an average precision, `n_left_out` without; `mean_average_precision`;
        `chance_precision`; `p_value` of `exchange_test`; `n_sets` tried for it; `q_value` over
        all rows; `status`: ok, or why no well has a precision, as in `average_precision`. Of
        more than 16 replicates 16 are tested, among at most 512 wells.

    Raises:
        UnknownName: The table lacks a column of the matching.

    Source:
        Mean average precision for profiles: Kalinin et al. 2025, Nature Communications 16:5181.
    """
    profiles = in_fixed_order(profiles)
    wells = well_precision(profiles, matching=matching, features=features)
    per = matching.columns_same(profiles)
    table = summary(wells, per)
    sides = read_matching(profiles, matching)
    unit = unit_profiles(profiles, features_of(profiles, features))
    verdicts = _verdicts(profiles.select(per), unit, sides, seed=seed)
    found = [verdicts.get(key, UNTESTED) for key in table.select(per).iter_rows()]
    return in_order(with_verdicts(table, found), per)


def strongest(table: pl.DataFrame, *, per: Sequence[str]) -> pl.DataFrame:
    """Keep each compound's most active dose, and make its p-value that of the best of several.

    Args:
        table: From `activity`, with a row per compound and dose.
        per: Columns that name a compound.

    Returns:
        One row per compound, in the order of `activity`: `n_doses` that were tested, `p_value`
        after Šidák 1967, and `q_value` over all compounds. A compound without a tested dose
        keeps one row.
    """
    kept = table.sort("p_value", nulls_last=True, maintain_order=True)
    kept = kept.with_columns(n_doses=pl.col("p_value").count().over(per).cast(pl.Int64))
    kept = kept.unique(per, keep="first", maintain_order=True)
    p_value = -(((-pl.col("p_value")).log1p() * pl.col("n_doses")).exp() - 1)
    kept = kept.with_columns(p_value=pl.when(pl.col("n_doses") > 0).then(p_value))
    return in_order(kept.with_columns(q_value=q_values(kept["p_value"])), per)


def with_verdicts(table: pl.DataFrame, verdicts: Sequence[Verdict]) -> pl.DataFrame:
    """Add the p-value of each row, its q-value, and how many sets stand behind it."""
    p_value = pl.Series("p_value", [each.p_value for each in verdicts], dtype=pl.Float64)
    n_sets = pl.Series("n_sets", [each.n_sets for each in verdicts], dtype=pl.Int64)
    p_value = p_value.fill_nan(None)
    return table.with_columns(p_value, q_values(p_value), n_sets)


def _verdicts(keys: pl.DataFrame, unit: Unit, sides: Sides, *, seed: int) -> dict[tuple, Verdict]:
    """Test every compound that has wells with a profile."""
    is_usable = has_profile(unit)
    around = rows_by_value(np.where(is_usable & sides.is_other, sides.pool, -1))
    groups = rows_by_value(np.where(is_usable & sides.is_query, sides.group, -1))
    by_plates = sorted(groups.values(), key=lambda rows: sorted(sides.pool[rows].tolist()))
    names = [keys.row(int(rows[0])) for rows in by_plates]
    tests = (
        _test(rows, around, sides, random=generator(seed, name))
        for name, rows in zip(names, by_plates, strict=True)
    )
    return dict(zip(names, exchange_tests(unit, tests), strict=True))


def _test(
    rows: Rows, around: dict[int, Rows], sides: Sides, *, random: np.random.Generator
) -> Test:
    pools = np.unique(sides.pool[rows]).tolist()
    own = [rows[sides.pool[rows] == pool] for pool in pools]
    near = [around.get(pool, rows[:0]) for pool in pools]
    others = [some[sides.group[some] != sides.group[rows[0]]] for some in near]
    return lay_out(own, others, apart=sides.apart, random=random)


def summary(wells: pl.DataFrame, per: Sequence[str]) -> pl.DataFrame:
    """One row per compound: means, counts and, if there is no mean, the commonest reason."""
    is_ok = pl.col("status") == "ok"
    reason = pl.col("status").filter(~is_ok).sort().mode(maintain_order=True).first()
    return wells.group_by(list(per)).agg(
        is_ok.sum().cast(pl.Int64).alias("n_wells"),
        (~is_ok).sum().cast(pl.Int64).alias("n_left_out"),
        pl.col("average_precision").mean().alias("mean_average_precision"),
        pl.col("chance_precision").mean(),
        pl.when(is_ok.any()).then(pl.lit("ok")).otherwise(reason).alias("status"),
    )
