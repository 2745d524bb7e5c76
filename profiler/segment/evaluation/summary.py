"""From counts of fields to scores with intervals."""

from collections.abc import Callable

import numpy as np
import polars as pl

from profiler.segment.evaluation.field import Counts
from profiler.segment.score import THRESHOLDS

DRAWS = 1_000  # bootstrap samples of the images
COLUMNS = ("metric", "pooled", "low", "high", "image_mean", "image_low", "image_high")

Metric = Callable[[Counts], np.ndarray]


def _ratio(part: np.ndarray, whole: np.ndarray, *, empty: float | np.ndarray = 1.0) -> np.ndarray:
    part, whole, empty = np.broadcast_arrays(*(np.asarray(a, float) for a in (part, whole, empty)))
    return np.divide(part, whole, out=empty.copy(), where=whole > 0)


def _of_one_side(hits: np.ndarray, side: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Share of a side's objects that have a partner; of none undefined, unless nothing is there."""
    return _ratio(hits, side, empty=np.where(np.asarray(other) == 0, 1.0, np.nan))


def _at(threshold: int, score: Callable[[np.ndarray, Counts], np.ndarray]) -> Metric:
    return lambda counts: score(counts.matched[..., threshold], counts)


def _f1(hits: np.ndarray, counts: Counts) -> np.ndarray:
    return _ratio(2 * hits, counts.true + counts.found)


def _average_precision(hits: np.ndarray, counts: Counts) -> np.ndarray:
    return _ratio(hits, counts.true + counts.found - hits)


def _mean_average_precision(counts: Counts) -> np.ndarray:
    metrics = [_at(index, _average_precision) for index in range(len(THRESHOLDS))]
    return np.mean([metric(counts) for metric in metrics], axis=0)


def _per_100(name: str) -> Metric:
    return lambda counts: 100 * _ratio(getattr(counts, name), counts.true, empty=np.nan)


METRICS: dict[str, Metric] = {
    "precision@.50": _at(0, lambda hits, at: _of_one_side(hits, at.found, at.true)),
    "recall@.50": _at(0, lambda hits, at: _of_one_side(hits, at.true, at.found)),
    "F1@.50": _at(0, _f1),
    **{
        f"AP@{threshold:.2f}".replace("@0", "@"): _at(index, _average_precision)
        for index, threshold in enumerate(THRESHOLDS)
    },
    "AP@[.50:.95]": _mean_average_precision,
    "PQ": lambda counts: _ratio(2 * counts.overlap, counts.true + counts.found),
    "matched IoU": lambda counts: _ratio(counts.overlap, counts.matched[..., 0], empty=np.nan),
    "splits per 100": _per_100("split"),
    "merges per 100": _per_100("merged"),
    "missed per 100": _per_100("missed"),
    "spurious per 100": _per_100("spurious"),
    "count bias": lambda counts: _ratio(counts.found - counts.true, counts.true, empty=np.nan),
}


def summarise(table: Counts, *, seed: int = 0) -> pl.DataFrame:
    """Score fields together, with 95% bootstrap intervals over the fields; one has none.

    Args:
        table: Of several fields, [field] each.
        seed: Decides which fields each bootstrap sample holds.

    Returns:
        One row per metric of `METRICS`, columns `COLUMNS`: `pooled` adds up the objects of all
        fields, `image_mean` gives every field the same weight and leaves out those where the metric
        is undefined. Undefined is null: precision where there are objects and none is found
        (StarDist's `matching` says 0), recall where there are none and some are found, rates per
        100 objects where there are none. F1, AP and PQ are 0 where one side alone is empty. A field
        without objects in which none is found scores 1 in all of these.
    """
    n = len(table.true)
    weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=DRAWS)
    drawn = Counts(*(weights @ values for values in table))
    together = Counts(*(values.sum(0, keepdims=True) for values in table))
    rows = [
        (
            name,
            *_interval(metric(together)[0], metric(drawn), fields=n),
            *_mean(metric(table), weights),
        )
        for name, metric in METRICS.items()
    ]
    return pl.DataFrame(rows, schema=COLUMNS, orient="row").with_columns(
        pl.col(COLUMNS[1:]).fill_nan(None)
    )


def _mean(values: np.ndarray, weights: np.ndarray) -> tuple[float, float, float]:
    known = ~np.isnan(values)
    if not known.any():
        return np.nan, np.nan, np.nan
    drawn = _ratio(weights[:, known] @ values[known], weights[:, known].sum(1), empty=np.nan)
    return _interval(values[known].mean(), drawn, fields=int(known.sum()))


def _interval(value: float, drawn: np.ndarray, *, fields: int) -> tuple[float, float, float]:
    """A score and its interval, which a single field does not have: drawn again it is the same."""
    defined = drawn[~np.isnan(drawn)]
    has_spread = defined.size > 0 and fields > 1
    low, high = np.quantile(defined, (0.025, 0.975)) if has_spread else (np.nan, np.nan)
    return float(value), float(low), float(high)
