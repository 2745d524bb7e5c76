"""Choose features: each step names those to drop, with what it saw in them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from plates.errors import lookup
from profiler.profile.options import require_options
from profiler.profile.selection.judge import (
    DROPPED,
    blocklist,
    drop_na_columns,
    drop_outliers,
    drop_positions,
    frequency_threshold,
    noise_removal,
    variance_threshold,
)
from profiler.profile.selection.redundancy import correlation_threshold

STEPS: Mapping[str, Callable[..., pl.DataFrame]] = {
    "drop_na_columns": drop_na_columns,
    "variance_threshold": variance_threshold,
    "frequency_threshold": frequency_threshold,
    "correlation_threshold": correlation_threshold,
    "drop_outliers": drop_outliers,
    "blocklist": blocklist,
    "noise_removal": noise_removal,
    "drop_positions": drop_positions,
}


class Selection(NamedTuple):
    """What is kept, and why the rest is not.

    Attributes:
        features: The features kept, in their order.
        report: One row per feature dropped, in the order of the steps: step, feature,
            value (what the step judged), partner (the feature it repeats, if so)
            and reason, a sentence's end.
    """

    features: list[str]
    report: pl.DataFrame


def select(
    table: pl.DataFrame,
    *,
    features: Sequence[str],
    steps: str | Sequence[str] | Mapping[str, Mapping[str, Any]],
) -> Selection:
    """Drop features that carry nothing, repeat another, or are not to be trusted.

    Args:
        table: Cells or wells; the rows to judge by, so filter them first.
        features: Columns to choose from.
        steps: Names in `STEPS`, or these with their options, in the order in which
            they are taken; each sees what the one before has left. Or one name.

    Raises:
        UnknownName: A step, or what it names, does not exist.
        BadRecipe: A step has no such option, or the value is out of its range.

    Source:
        pycytominer 1.7.1's `feature_select` (tests/profile/selection/test_select.py). An
        infinite value is missing here, but to "drop_outliers".

    >>> table = pl.DataFrame({"x": [1.0, 2.0, 4.0], "y": [2.0, 4.0, 8.0], "flat": [1.0, 1.0, 1.0]})
    >>> found = select(table, features=["x", "y", "flat"], steps=list(STEPS)[:3])
    >>> found.features, found.report.select("feature", "reason").row(0)
    (['x', 'y'], ('flat', 'its variance is 0, not above 1e-06'))
    """
    kept, reports = list(features), []
    for name, settings in find_selection(steps=steps).items():
        dropped = STEPS[name](table, features=kept, **settings)
        gone = set(dropped["feature"])
        kept = [feature for feature in kept if feature not in gone]
        reports.append(dropped.select(pl.lit(name).alias("step"), *DROPPED))
    empty = pl.DataFrame(schema={"step": pl.String, **DROPPED})
    return Selection(kept, pl.concat([empty, *reports]))


def find_selection(
    *, steps: str | Sequence[str] | Mapping[str, Mapping[str, Any]]
) -> Mapping[str, Mapping[str, Any]]:
    """Give every step of `select` its options, and check that it has these.

    Raises:
        UnknownName: A step is none.
        BadRecipe: A step has no such option.

    >>> find_selection(steps="drop_outliers")
    {'drop_outliers': {}}
    """
    names = [steps] if isinstance(steps, str) else steps
    options = names if isinstance(names, Mapping) else {name: {} for name in names}
    for name, settings in options.items():
        require_options(lookup(STEPS, kind="selection step", name=name), settings, name=name)
    return options
