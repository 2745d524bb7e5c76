"""Treatments, each with one profile, ready to be compared by cosine."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int

from plates.errors import lookup
from profiler.phenotype.counts import log_counts
from profiler.phenotype.space import compressed, has_profile
from profiler.profile.consensus import consensus
from profiler.profile.features import feature_matrix
from profiler.profile.groups import column_values

KEYS = ("Metadata_Compound", "Metadata_Concentration")
BATCH = "Metadata_Batch"
SMALLEST = 1e-10  # difference of two cosines; below it they tie
SMALLEST_COUNT = 1e-9  # likewise of two log counts
MOST_BYTES = 2**25  # of likeness in memory together

Likeness: TypeAlias = Float[np.ndarray, "query treatment"]


class Treatments(NamedTuple):
    """One row per compound and concentration, sorted by these.

    Attributes:
        table: `KEYS`, n_wells, log2_count_ratio, `known` mechanism (null: none, or the
            wells disagree), batches (a list; null where the wells name none).
        compound: Number of each compound.
        unit: Profiles of length one; all 0 without profile.
        has_profile: Whether there is one.
        count: Median log count of the wells, see `counts.log_counts`; NaN without.
    """

    table: pl.DataFrame
    compound: Int[np.ndarray, " treatment"]
    unit: Float[np.ndarray, "treatment feature"]
    has_profile: Bool[np.ndarray, " treatment"]
    count: Float[np.ndarray, " treatment"]


def find_treatments(
    profiles: pl.DataFrame,
    *,
    features: Sequence[str],
    mechanism: str | None = None,
    batch: str = BATCH,
) -> Treatments:
    """Make one profile, the median, of the wells of each treatment.

    Args:
        profiles: Annotated wells, normalised to the controls. Negative controls, empty
            wells and wells without compound are none.
        features: The columns that make a profile.
        mechanism: Column that names the mechanism of action, if one does.
        batch: Column that names the batch, if the table has it.

    Raises:
        UnknownName: There is no column `mechanism`.
    """
    if mechanism is not None:
        lookup(profiles.schema, kind="column", name=mechanism)
    wells = _treated(profiles)
    values = consensus(wells, features=features, by=KEYS, how="median")
    table = _facts(wells, mechanism=mechanism, batch=batch)
    matrix = feature_matrix(values, features)
    unit = compressed(matrix)
    length = np.linalg.norm(unit, axis=1)
    is_whole = has_profile(matrix) & (length > 0)
    unit = np.where(is_whole[:, None], unit / np.where(is_whole, length, 1.0)[:, None], 0.0)
    compound = table[KEYS[0]].rank("dense").cast(pl.Int64).to_numpy()
    return Treatments(table, compound, unit, is_whole, column_values(table["log2_count_ratio"]))


def _treated(profiles: pl.DataFrame) -> pl.DataFrame:
    """Keep the wells with a treatment; a plate map without doses has one dose, null."""
    counted = profiles.with_columns(
        pl.Series("log2_count_ratio", log_counts(profiles), nan_to_null=True)
    )
    if KEYS[1] not in counted.columns:
        counted = counted.with_columns(pl.lit(None, dtype=pl.Float64).alias(KEYS[1]))
    is_treated = pl.col(KEYS[0]).is_not_null()
    if "Metadata_Role" in counted.columns:
        role = pl.col("Metadata_Role").fill_null("treatment")
        is_treated &= ~role.is_in(["negative", "empty"])
    return counted.filter(is_treated)


def _facts(wells: pl.DataFrame, *, mechanism: str | None, batch: str) -> pl.DataFrame:
    named = pl.col(mechanism).drop_nulls() if mechanism else pl.lit(None, dtype=pl.String)
    known = (
        pl.when(named.n_unique() == 1).then(named.cast(pl.String).first())
        if mechanism
        else named.first()
    )
    batches = (
        pl.col(batch).drop_nulls().cast(pl.String).unique().sort()
        if batch in wells.columns
        else pl.lit(None, dtype=pl.List(pl.String)).first()
    )
    found = wells.group_by(KEYS).agg(
        pl.len().cast(pl.Int64).alias("n_wells"),
        pl.col("log2_count_ratio").median(),
        known.alias("known"),
        batches.alias("batches"),
    )
    return found.sort(KEYS)


def cosines(of: Treatments) -> Iterator[tuple[slice, Likeness, Likeness]]:
    """Compare all treatments with all, a few at a time.

    Yields:
        Which are compared; their cosine with every treatment, rounded to `SMALLEST` so
        that rounding makes no order; and minus the absolute difference of their log
        counts, likewise. Both -inf where either side has no profile, or no count.
    """
    n = len(of.unit)
    step = max(1, MOST_BYTES // (16 * max(n, 1)))
    for start in range(0, n, step):
        rows = slice(start, min(start + step, n))
        cosine = np.rint(of.unit[rows] @ of.unit.T / SMALLEST) * SMALLEST
        both = of.has_profile[rows, None] & of.has_profile
        gap = -np.abs(of.count[rows, None] - of.count)
        by_count = np.rint(gap / SMALLEST_COUNT) * SMALLEST_COUNT
        yield rows, np.where(both, cosine, -np.inf), np.nan_to_num(by_count, nan=-np.inf)
