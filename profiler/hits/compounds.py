"""Compounds, ranked by their best dose."""

import numpy as np
import polars as pl
from scipy import stats

from profiler.hits.rank import HitRule, effect, is_two_sided, strength
from profiler.profile.controls import is_role
from profiler.profile.features import feature_columns, finite, phenotype_features

KEY = ["Metadata_Plate", "Metadata_Well"]
COMPOUND, ROLE, DOSE = "Metadata_Compound", "Metadata_Role", "Metadata_Concentration"
PER = [COMPOUND, ROLE]
TOP_FEATURES = 5


def dose_threshold(
    threshold: float, *, doses: np.ndarray, controls: np.ndarray, two_sided: bool
) -> np.ndarray:
    """Raise a threshold for the doses tried and for the few controls it rests on.

    A threshold of 3 promises the false positive rate of 3 normal sds. Trying the
    best of several doses breaks that promise, and so does a scale estimated from
    few controls; this keeps it: the rate is shared among the doses (Šidák 1967)
    and read off Student's t with one degree of freedom fewer than controls.

    Args:
        threshold: In robust sds, above 0.
        doses: Number of doses tried, from 1.
        controls: Number of negative control wells on the plate, from 2.
        two_sided: Whether an effect of either sign counts.

    Returns:
        The threshold for every pair of `doses` and `controls`.

    >>> one, many = np.array([1, 9]), np.array([10**6, 10**6])
    >>> dose_threshold(3.0, doses=one, controls=many, two_sided=True).round(2).tolist()
    [3.0, 3.62]
    """
    sides = 2 if two_sided else 1
    rate = sides * stats.norm.sf(threshold)
    per_dose = -np.expm1(np.log1p(-rate) / np.maximum(doses, 1))
    return stats.t.isf(per_dose / sides, np.maximum(controls - 1, 1))


def rank_compounds(
    hits: pl.DataFrame,
    *,
    curves: pl.DataFrame,
    profiles: pl.DataFrame,
    rule: HitRule = HitRule(),  # noqa: B008
) -> pl.DataFrame:
    """Rank compounds, and controls among them, by their best dose.

    A compound is a hit when, at the dose whose replicates have the largest median
    effect, this median and at least half of the replicates reach the threshold,
    and two wells in all do, in the same direction, if it has two. The threshold is
    raised for the number of doses by `dose_threshold`. Of compounds without
    effect fewer than 5% become hits (tests/hits/test_compounds.py).

    Args:
        hits: From `rank_wells`.
        curves: From `fit_curves`.
        profiles: Wells with features as robust z, for `top_features`.
        rule: The rule the wells were ranked by.

    Returns:
        One row per compound and role, best first: n_wells (ranked ones), n_missing,
        n_hits (wells), n_doses, score (the median effect at the best dose), direction
        (up or down, of the readout), best_concentration, Metadata_Unit, percent_effect
        and viability at that dose, threshold (the raised one), is_hit, is_toxic, the
        EC50 of the ranked readout with interval and curve_status, top_features (the
        five with the largest median |robust z| at that dose), and rank (ties by
        name), null if no well could be ranked.
    """
    if COMPOUND not in hits.columns:
        hits = hits.with_columns(pl.lit(None, dtype=pl.String).alias(COMPOUND))
    missing = [name for name in (DOSE, "Metadata_Unit") if name not in hits.columns]
    wells = hits.with_columns(pl.lit(None).alias(name) for name in missing)
    wells = wells.with_columns(effect(rule.rank_by)).filter(
        pl.col(COMPOUND).is_not_null(), ~is_role("empty")
    )
    doses = _doses(wells.drop_nulls("effect"))
    best = _best_dose(doses)
    compounds = _counts(wells).join(best, on=PER, how="left", nulls_equal=True)
    compounds = compounds.with_columns(_thresholds(compounds, hits, wells, rule))
    compounds = compounds.with_columns(_verdict(compounds, wells, rule))
    compounds = compounds.join(_top_features(wells, best, profiles), on=PER, how="left", nulls_equal=True)
    return _ordered(compounds.join(_ec50(hits, curves), on=COMPOUND, how="left"), rule)
