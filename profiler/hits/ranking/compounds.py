"""Compounds, ranked by their best dose."""

import numpy as np
import polars as pl
from scipy import stats

from profiler.hits.ranking.rank import DEFAULT, HitRule, effect, is_two_sided, strength_of
from profiler.hits.ranking.series import RUNS, agreeing_doses, run_threshold
from profiler.profile.controls import is_role
from profiler.profile.features import (
    feature_columns,
    feature_matrix,
    finite,
    named_features,
)
from profiler.profile.scaling.control_spread import control_spread, furthest

KEY = ["Metadata_Plate", "Metadata_Well"]
COMPOUND, ROLE, DOSE = "Metadata_Compound", "Metadata_Role", "Metadata_Concentration"
UNIT = "Metadata_Unit"
STATUS = "Metadata_QC_Status"
PER = [COMPOUND, ROLE]
TOP_FEATURES = 5
RULES = 1 + len(RUNS)  # ways for a dose series to be a hit, which share its false positive rate
COLUMNS = (
    *("rank", *PER, "is_hit", "is_toxic", "score", "direction", "best_concentration", UNIT),
    *("percent_effect", "viability", "n_wells", "n_missing", "n_hits", "n_doses", "threshold"),
    *("ec50", "ec50_low", "ec50_high", "curve_status", "top_features", "top_z"),
)


def dose_threshold(
    threshold: float,
    *,
    doses: np.ndarray,
    plates: np.ndarray,
    controls: np.ndarray,
    sides: int = 2,
    share: float | np.ndarray = 1.0,
) -> np.ndarray:
    """Raise a threshold for the doses tried and for the few controls it rests on.

    A threshold of 3 promises the false positive rate of 3 normal sds. Trying the
    best of several doses breaks that promise, and so does a scale estimated from
    few controls. To keep it, the rate is shared among the doses (Šidák 1967) and,
    as most of the plates with the best dose must agree, among these (by the
    binomial); then read off Student's t with one degree of freedom fewer than
    controls. Replicates on one plate share its scale and count once.

    Args:
        threshold: In robust sds, above 0.
        doses: Number of doses tried, from 1.
        plates: Number of plates that hold the best dose, from 1.
        controls: Number of negative control wells on a plate, from 2.
        sides: 2 if an effect of either sign counts, else 1.
        share: Of the false positive rate that this rule may use up.

    Returns:
        The threshold for each entry of the arrays, never below the one given.

    >>> one, many = np.ones(2, int), np.full(2, 10**6)
    >>> raised = dose_threshold(3.0, doses=np.array([1, 9]), plates=one, controls=many)
    >>> raised.round(2).tolist()
    [3.0, 3.62]
    """
    rate = sides * stats.norm.sf(threshold) * share
    per_dose = -np.expm1(np.log1p(-rate) / np.maximum(doses, 1))
    plates = np.maximum(plates, 1)
    needed = plates // 2 + 1
    per_plate = stats.beta.ppf(per_dose, needed, plates - needed + 1)
    raised = stats.t.isf(per_plate / sides, np.maximum(controls - 1, 1))
    return np.maximum(raised, threshold)


def rank_compounds(
    hits: pl.DataFrame,
    *,
    curves: pl.DataFrame,
    profiles: pl.DataFrame,
    rule: HitRule = DEFAULT,
) -> pl.DataFrame:
    """Rank compounds, and controls among them, by their best dose.

    A compound is a hit when, at the dose whose replicates have the largest median
    effect, this median and more than half of the replicates reach the threshold,
    and two wells in all do, in the same direction, if it has two. The threshold is
    raised by `dose_threshold` for the doses tried and for few controls. Of compounds
    without effect fewer than 5% become hits (tests/hits/ranking/test_compounds.py).

    A compound with a dose series is a hit also when two or three neighbouring doses all
    reach the lower threshold for such runs (`profiler.hits.ranking.series`).

    Args:
        hits: From `rank_wells`.
        curves: From `fit_curves`.
        profiles: Wells with features as robust z, for `top_features`.
        rule: The rule the wells were ranked by.

    Returns:
        One row per compound and role, best first: n_wells (ranked ones), n_missing,
        n_hits (wells), n_doses, score (the median effect at the best dose), direction
        (up or down, of the readout), best_concentration, Metadata_Unit, percent_effect
        and viability at that dose (of all its wells that could be looked at, those without
        cells too; of all doses where none could be ranked), threshold (the raised one),
        is_hit, is_toxic, the
        EC50 of the ranked readout with interval and curve_status, top_features (the
        five whose median robust z at that dose is furthest out relative to the spread of the
        negative controls, see `control_spread`; embeddings are not among them: their numbers
        explain nothing) and top_z (these medians),
        and rank (ties by name), null if no well could be ranked.
    """
    wells = _at_best_dose(_prepared(hits, rule), rule)
    table = wells.group_by(PER).agg(*_counts(), *_at_best(), _is_hit(rule), _fewest_controls())
    table = table.with_columns(is_hit=pl.col("is_hit") | _is_hit_by_run(table, wells, rule))
    controls = hits.filter(is_role("negative")) if ROLE in hits.columns else hits.clear()
    top = _top_features(wells, profiles, controls=controls)
    table = table.join(top, on=PER, how="left", nulls_equal=True)
    table = table.join(_ec50(hits, curves), on=PER, how="left", nulls_equal=True)
    return _ordered(table, rule)


def _prepared(hits: pl.DataFrame, rule: HitRule) -> pl.DataFrame:
    """Wells of compounds, with their effect and the number of controls behind it."""
    types = {COMPOUND: pl.String, ROLE: pl.String, DOSE: pl.Float64, UNIT: pl.String}
    absent = [
        pl.lit(None, dtype=kind).alias(c) for c, kind in types.items() if c not in hits.columns
    ]
    wells = hits.with_columns(*absent, effect(rule.rank_by))
    controls = (is_role("negative") & pl.col("effect").is_not_null()).sum()
    wells = wells.with_columns(controls.over("Metadata_Plate").alias("controls"))
    return wells.filter(pl.col(COMPOUND).is_not_null(), ~is_role("empty"))


def _at_best_dose(wells: pl.DataFrame, rule: HitRule) -> pl.DataFrame:
    """Add what the verdict needs: the best dose of each compound, and its threshold."""
    ranked = pl.col("effect").is_not_null()
    size = strength_of("dose_effect", rule.rank_by)
    wells = wells.with_columns(
        dose_effect=pl.col("effect").median().over([*PER, DOSE]),
        n_doses=pl.col(DOSE).filter(ranked).n_unique().over(PER),
        controls=pl.col("controls").filter(ranked).min().over(PER).fill_null(0),
    )
    wells = wells.with_columns(is_best=ranked & (size == size.max().over(PER)))
    lowest = pl.col(DOSE).filter("is_best").min().over(PER)  # of doses that tie
    at_best = pl.col(DOSE).eq_missing(lowest) | ~pl.col("is_best").any().over(PER)
    wells = wells.with_columns(
        is_best=pl.col("is_best") & pl.col(DOSE).eq_missing(lowest),
        counts_cells=at_best & _looked_at(wells),
    )
    on = pl.col("Metadata_Plate").filter("is_best").n_unique().over(PER).alias("plates")
    counts = wells.select("n_doses", on, "controls").cast(pl.Int64).to_numpy().T
    doses, plates, controls = counts
    sides = 2 if is_two_sided(rule.rank_by) else 1
    threshold = dose_threshold(
        rule.threshold,
        doses=doses,
        plates=plates,
        controls=controls,
        sides=sides,
        share=np.where(doses > 1, 1 / RULES, 1.0),
    )
    return wells.with_columns(pl.Series("threshold", threshold, dtype=pl.Float64))


def _looked_at(wells: pl.DataFrame) -> pl.Expr:
    """Wells whose cells were counted: a dead well has no effect, and yet a viability."""
    if STATUS not in wells.columns:
        return pl.lit(value=True)
    return pl.col(STATUS).is_in(["ok", "no_cells"])


def _counts() -> list[pl.Expr]:
    unit = pl.col(UNIT).drop_nulls()
    return [
        pl.col("effect").count().cast(pl.Int64).alias("n_wells"),
        pl.col("effect").null_count().cast(pl.Int64).alias("n_missing"),
        pl.col("is_hit").sum().cast(pl.Int64).alias("n_hits"),
        pl.col("n_doses").first().cast(pl.Int64),
        pl.col("threshold").first(),
        pl.when(unit.n_unique() == 1).then(unit.first()),
    ]


def _at_best() -> list[pl.Expr]:
    best = pl.col("is_best")
    return [
        pl.col("dose_effect").filter(best).first().alias("score"),
        pl.col(DOSE).filter(best).first().alias("best_concentration"),
        pl.col("percent_effect").filter(best).median(),
        pl.col("viability").filter("counts_cells").median(),
    ]


def _is_hit(rule: HitRule) -> pl.Expr:
    score = pl.col("dose_effect").filter("is_best").first()
    reaches = strength_of("effect", rule.rank_by) >= pl.col("threshold")
    passes = reaches & (pl.col("effect").sign() == score.sign())
    at_best = pl.col("is_best").sum()
    by_replicates = 2 * (passes & pl.col("is_best")).sum() > at_best
    by_wells = passes.sum() >= pl.min_horizontal(pl.lit(2), pl.col("effect").count())
    size = score.abs() if is_two_sided(rule.rank_by) else score
    return (by_replicates & by_wells & (size >= pl.col("threshold").first())).alias("is_hit")


def _fewest_controls() -> pl.Expr:
    return pl.col("controls").min().cast(pl.Int64)


def _is_hit_by_run(table: pl.DataFrame, wells: pl.DataFrame, rule: HitRule) -> pl.Series:
    """Whether neighbouring doses agree, for every row of `table`."""
    two_sided = is_two_sided(rule.rank_by)
    doses = wells.filter(pl.col("dose_effect").is_not_null(), pl.col(DOSE).is_not_null())
    effects = doses.select(
        pl.struct(PER).alias("series"), pl.col(DOSE).alias("dose"), effect="dose_effect"
    ).unique()
    series = table.select(pl.struct(PER).alias("series"), "n_doses", "controls")
    verdict = pl.repeat(False, table.height, dtype=pl.Boolean, eager=True)
    for run in RUNS:
        best = agreeing_doses(effects, run=run, is_two_sided=two_sided)
        rows = series.join(best, on="series", how="left", maintain_order="left")
        limit = [
            _run_limit(rule, run, n, controls)
            for n, controls in rows.select("n_doses", "controls").iter_rows()
        ]
        verdict |= (rows["strength"] >= pl.Series(limit, dtype=pl.Float64)).fill_null(False)
    return verdict


def _run_limit(rule: HitRule, run: int, doses: int, controls: int) -> float:
    sides = 2 if is_two_sided(rule.rank_by) else 1
    rate = stats.norm.sf(rule.threshold) / RULES
    return run_threshold(
        float(stats.norm.isf(rate)), run=run, doses=doses, controls=controls, sides=sides
    )


def _top_features(
    wells: pl.DataFrame, profiles: pl.DataFrame, *, controls: pl.DataFrame
) -> pl.DataFrame:
    """The features that moved most at the best dose, relative to the spread of the controls."""
    features = named_features(feature_columns(profiles))
    numbers = profiles.select(*KEY, finite(features))
    usual = numbers.join(controls, on=KEY, how="semi")
    plate = usual["Metadata_Plate"].to_numpy()
    spread = control_spread(feature_matrix(usual, features), plate=plate)
    best = wells.filter("is_best").select(*PER, *KEY)
    table = best.join(numbers, on=KEY).group_by(PER).agg(pl.col(features).median())
    values = np.nan_to_num(feature_matrix(table, features))
    first = [furthest(size, spread, most=TOP_FEATURES) for size in values]
    top = [[i for i in row if size[i] != 0] for row, size in zip(first, values, strict=True)]
    names = [[features[i] for i in row] for row in top]
    sizes = [size[row].tolist() for row, size in zip(top, values, strict=True)]
    return table.select(
        *PER,
        pl.Series("top_features", names, dtype=pl.List(pl.String)),
        pl.Series("top_z", sizes, dtype=pl.List(pl.Float64)),
    )


def _ec50(hits: pl.DataFrame, curves: pl.DataFrame) -> pl.DataFrame:
    readout = hits["readout"].drop_nulls().unique()
    mine = curves.filter(pl.col("readout").is_in(readout.implode()))
    columns = ["ec50", "ec50_low", "ec50_high", pl.col("status").alias("curve_status")]
    return mine.select(COMPOUND, pl.lit("treatment").alias(ROLE), *columns)


def _ordered(table: pl.DataFrame, rule: HitRule) -> pl.DataFrame:
    size = strength_of("score", rule.rank_by)
    table = table.sort(size, COMPOUND, ROLE, descending=[True, False, False], nulls_last=True)
    sign = pl.col("score").sign().replace_strict({1: "up", -1: "down"}, default=None)
    is_ranked = pl.col("score").is_not_null()
    table = table.with_columns(
        rank=pl.when(is_ranked).then(pl.int_range(1, pl.len() + 1, dtype=pl.Int64)),
        direction=pl.when(is_two_sided(rule.rank_by)).then(sign),
        is_hit=pl.when(is_ranked).then("is_hit"),
        is_toxic=pl.col("viability") < rule.toxic_below,
    )
    return table.select(COLUMNS)
