"""Keep a few extreme features from deciding what a profile looks like."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import polars as pl

from plates.errors import BadRecipe, lookup
from profiler.profile.features import finite
from profiler.profile.options import Positive, named
from profiler.profile.outcome import Normalised, infinite_values, lost_table, whole_table

LIMIT = 5.0  # robust standard deviations


def _clip(values: pl.Expr, limit: float) -> pl.Expr:
    return values.clip(-limit, limit)


def _asinh(values: pl.Expr, limit: float) -> pl.Expr:
    return (values / limit).arcsinh() * limit


SHAPES: Mapping[str, Callable[[pl.Expr, float], pl.Expr]] = {"clip": _clip, "asinh": _asinh}


def compress(
    table: pl.DataFrame,
    *,
    features: Sequence[str],
    shape: Annotated[str, named(SHAPES, kind="shape")] = "clip",
    limit: Positive = LIMIT,
) -> Normalised:
    """Bring far values near, leaving those below the limit much as they are.

    Args:
        table: Wells, normalised.
        features: Columns to compress.
        shape: "clip" at plus and minus the limit, or "asinh": limit · asinh(value / limit),
            which goes on growing as a logarithm.
        limit: Above 0, in the features' units.

    Returns:
        The table with `features` compressed, in float64; an infinite value is null and told.

    Raises:
        UnknownName: `shape` is none.
        BadRecipe: `limit` is not above 0.
    """
    change = lookup(SHAPES, kind="shape", name=shape)
    if limit <= 0:
        raise BadRecipe(f"limit is {limit:g}; it must be above 0.")
    lost = infinite_values(table, features, [whole_table(table, ())])
    changed = table.with_columns(change(finite(features), limit))
    report = lost_table(lost, [whole_table(table, ())], table=table, within=())
    return Normalised(changed, list(features), report)
