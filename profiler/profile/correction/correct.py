"""Corrections by name, for what the plate, the count and the batch do to profiles."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl

from plates.errors import lookup
from profiler.profile.correction.align import coral, tvn
from profiler.profile.correction.compress import compress
from profiler.profile.correction.harmony import harmony
from profiler.profile.correction.position import median_polish, position_means
from profiler.profile.correction.regress import regress_out
from profiler.profile.groups import ALL
from profiler.profile.options import require_options
from profiler.profile.outcome import Corrected, Normalised

CORRECTIONS: Mapping[str, Callable[..., Normalised | Corrected]] = {
    "median_polish": median_polish,
    "position_means": position_means,
    "regress_out": regress_out,
    "compress": compress,
    "coral": coral,
    "tvn": tvn,
    "harmony": harmony,
}


def correct(
    table: pl.DataFrame,
    *,
    features: Sequence[str],
    method: str,
    reference: pl.Expr = ALL,
    within: str | Sequence[str] | None = None,
    options: Mapping[str, Any] = {},
) -> Normalised | Corrected:
    """Take an influence out of profiles that is none of the treatment's.

    Args:
        table: Wells.
        features: Columns to correct.
        method: A name in `CORRECTIONS`: "median_polish" (plate rows and columns),
            "position_means" (the same well of all plates), "regress_out" (cell count or
            other covariates), "compress" (extreme values), "coral", "tvn" and "harmony"
            (batches).
        reference: Which wells show the influence alone; "harmony" looks at all.
        within: Columns whose values name a plate, or for "position_means", "coral", "tvn"
            and "harmony" a batch; "compress" needs none. By default the method's own.
        options: Further arguments of the method.

    Returns:
        The table, the features that hold the result and what is lost; for
        "median_polish" and "regress_out" the effects, too.

    Raises:
        UnknownName: `method` is none, or the table lacks a column of `within`.
        BadRecipe: The method has no such option.
        BadLayout: "median_polish" found a well twice on a plate.
    """
    change = find_correction(method=method, options=options)
    known = inspect.signature(change).parameters
    shared = {"reference": reference, "within": within}
    shared = {name: value for name, value in shared.items() if name in known and value is not None}
    return change(table, features=features, **shared, **options)


def find_correction(
    *, method: str, options: Mapping[str, Any] = {}
) -> Callable[..., Normalised | Corrected]:
    """Find a method of `correct`, and check that it has these options.

    Raises:
        UnknownName: `method` is none.
        BadRecipe: The method has no such option.
    """
    change = lookup(CORRECTIONS, kind="correction", name=method)
    require_options(change, options, name=method)
    return change
