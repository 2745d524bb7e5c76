"""Which wells should look alike, and which others they must stand out from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import polars as pl
from jaxtyping import Bool, Int64

from plates.errors import lookup
from profiler.profile.controls import is_role
from profiler.profile.groups import mask_of

SAME = ("Metadata_Compound", "Metadata_Role", "Metadata_Unit", "Metadata_Concentration")
AGAINST = ("controls", "others")

Rows: TypeAlias = Int64[np.ndarray, "_"]  # of a table; some of them
Codes: TypeAlias = Int64[np.ndarray, " well"]  # one number for each distinct value; -1 for none


@dataclass(frozen=True)
class Matching:
    """Which wells are replicates, and what these are ranked against.

    Attributes:
        same: Columns whose values together wells must share to be replicates; those of
            `SAME` that the table has, if none are named. Other doses are no replicates.
        apart: Columns in which replicates must differ to be matched, as the plate where
            wells of one plate look alike for no good reason.
        within: Columns that wells share with those they are ranked against.
        against: "controls", the negative ones; or "others", wells that are not `same`.
    """

    same: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()
    within: tuple[str, ...] = ("Metadata_Plate",)
    against: Literal["controls", "others"] | str = "controls"

    def columns_same(self, wells: pl.DataFrame) -> list[str]:
        """Name the columns that replicates share in this table."""
        return list(self.same) or [name for name in SAME if name in wells.columns] or [SAME[0]]


class Sides(NamedTuple):
    """A matching, read for every well of a table.

    Attributes:
        group: Replicates share it; -1 for wells that are no one's replicate.
        pool: Wells are ranked against others of their pool.
        apart: Replicates that share it are not matched.
        is_other: Whether the well is one that others are ranked against.
        is_query: Whether the well is itself ranked: it is in a group, and no control that
            treated wells are ranked against.
    """

    group: Codes
    pool: Codes
    apart: Codes
    is_other: Bool[np.ndarray, " well"]
    is_query: Bool[np.ndarray, " well"]


def read_matching(wells: pl.DataFrame, matching: Matching) -> Sides:
    """Find the sides of every well.

    Args:
        wells: Annotated wells.
        matching: What to look for.

    Raises:
        UnknownName: A column is not in the table, or `against` is nothing to rank against.
    """
    same = matching.columns_same(wells)
    for name in (*same, *matching.apart, *matching.within):
        lookup(dict.fromkeys(wells.columns), kind="column", name=name)
    lookup(dict.fromkeys(AGAINST), kind="side to rank against", name=matching.against)
    has_role = "Metadata_Role" in wells.columns
    is_empty = mask_of(wells, is_role("empty")) if has_role else np.zeros(wells.height, bool)
    is_named = wells.select(pl.col(same[0]).is_not_null()).to_series().to_numpy()
    group = np.where(is_named & ~is_empty, codes(wells, same), -1)
    if matching.against == "controls":
        lookup(dict.fromkeys(wells.columns), kind="column", name="Metadata_Role")
        is_other = mask_of(wells, is_role("negative"))
        is_query = (group >= 0) & ~is_other
    else:
        is_other = is_query = group >= 0
    apart = codes(wells, matching.apart) if matching.apart else np.arange(wells.height)
    return Sides(group, codes(wells, matching.within), apart, is_other, is_query)


def codes(wells: pl.DataFrame, columns: Sequence[str]) -> Codes:
    """Number the distinct values of some columns together, from 0; null is a value."""
    if not columns:
        return np.zeros(wells.height, dtype=np.int64)
    code = wells.select(pl.struct(columns).rank("dense").cast(pl.Int64) - 1).to_series()
    return code.to_numpy()


def in_fixed_order(wells: pl.DataFrame) -> pl.DataFrame:
    """Sort wells by what they are, so that no answer depends on the order of the table."""
    names = [name for name in wells.columns if name.startswith("Metadata_")]
    by = [name for name in names if not wells.schema[name].is_nested()]
    return wells.sort([*by, *(name for name in wells.columns if name not in names)][: len(by) + 1])


def rows_by_value(code: Codes) -> dict[int, Rows]:
    """Find the rows of each value from 0, in their order."""
    order = np.argsort(code, kind="stable")
    order = order[np.searchsorted(code[order], 0) :]
    values, first = np.unique(code[order], return_index=True)
    return dict(zip(values.tolist(), np.split(order, first)[1:], strict=True))
