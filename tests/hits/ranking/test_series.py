"""Runs of neighbouring doses: by hand, by simulation of the null, at the limits."""

import numpy as np
import polars as pl
import pytest
from scipy import stats

from profiler.hits.ranking.series import agreeing_doses, run_threshold

SIDES = 2


def series(*effects: float | None) -> pl.DataFrame:
    return pl.DataFrame({"series": "a", "dose": range(len(effects)), "effect": effects})


@pytest.mark.parametrize(
    ("effects", "run", "expected"),
    [
        ((0.0, 1.0, 5.0, 4.0, 9.0), 2, 4.0),
        ((0.0, 1.0, 5.0, 4.0, 9.0), 3, 4.0),
        ((9.0, 0.0, 9.0, 0.0), 2, 0.0),
        ((-5.0, -6.0, 1.0), 2, 5.0),
        ((-5.0, 6.0), 2, -5.0),
        ((3.0,), 2, None),
    ],
)
def test_the_weakest_of_the_best_run_by_hand(effects, run, expected):
    found = agreeing_doses(series(*effects), run=run, is_two_sided=True)
    assert found["strength"].to_list() == [expected]


def test_one_sided_effects_count_upwards_only():
    found = agreeing_doses(series(-5.0, -6.0, 1.0, 2.0), run=2, is_two_sided=False)
    assert found["strength"].to_list() == [1.0]


def test_the_order_of_rows_does_not_matter_and_series_are_apart():
    both = pl.concat(
        [series(1.0, 2.0, 7.0, 8.0), series(0.0, 0.5).with_columns(series=pl.lit("b"))]
    )
    found = agreeing_doses(both.sample(fraction=1, shuffle=True, seed=0), run=2, is_two_sided=True)
    assert dict(found.iter_rows()) == {"a": 7.0, "b": 0.0}


def test_with_endless_controls_and_one_run_it_is_the_normal_quantile():
    found = run_threshold(3.0, run=2, doses=2, controls=10**7, sides=1)
    assert found == pytest.approx(stats.norm.isf(np.sqrt(stats.norm.sf(3.0))), rel=1e-3)


def test_thresholds_fall_with_controls_and_run_length_and_rise_with_doses():
    def limit(**changes):
        return run_threshold(3.0, **{"run": 2, "doses": 8, "controls": 12, "sides": 2} | changes)

    assert limit(controls=6) > limit() > limit(controls=40)
    assert limit(run=2) > limit(run=3)
    assert limit(doses=16) > limit()
    assert limit(doses=1) == np.inf


@pytest.mark.parametrize("controls", [6, 12])
@pytest.mark.parametrize("run", [2, 3])
def test_chance_reaches_it_as_rarely_as_promised(run, controls):
    doses, trials, promise = 8, 40_000, 2.0
    rng = np.random.default_rng(run * controls)
    negative = rng.normal(size=(trials, controls))
    scale = negative.std(axis=1, ddof=1, keepdims=True)
    z = (rng.normal(size=(trials, doses)) - np.median(negative, axis=1, keepdims=True)) / scale
    limit = run_threshold(promise, run=run, doses=doses, controls=controls, sides=SIDES)
    windows = np.lib.stride_tricks.sliding_window_view(z, run, axis=1)
    reached = np.maximum(windows.min(-1), -windows.max(-1)).max(1) >= limit
    assert 0.5 < reached.mean() / (SIDES * stats.norm.sf(promise)) < 1.1
