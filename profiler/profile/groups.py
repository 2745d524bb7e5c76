"""Rows of a table by group, and its columns in parallel."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int

from plates.errors import lookup

COUNT = "Metadata_Object_Count"
PLATE = ("Metadata_Plate",)
ALL = pl.lit(value=True)  # as a reference: every row

T = TypeVar("T")
S = TypeVar("S")

Values: TypeAlias = Float[np.ndarray, " row"]
Matrix: TypeAlias = Float[np.ndarray, "row feature"]
Mask: TypeAlias = Bool[np.ndarray, " row"]


class Group(NamedTuple):
    """Rows that are treated together.

    Attributes:
        key: Values of the columns that name the group.
        rows: Where its rows are: a slice where they lie together, else their indices.
    """

    key: tuple[Any, ...]
    rows: slice | Int[np.ndarray, " member"]


def group_rows(table: pl.DataFrame, within: Sequence[str]) -> list[Group]:
    """Find the rows of every group, groups in the order of their first rows.

    Args:
        table: Any table.
        within: Columns whose values together name a group; null is a value. None of
            them make the whole table one group.

    Raises:
        UnknownName: The table has no such column.
    """
    for name in within:
        lookup(table.schema, kind="column", name=name)
    if not within:
        return [Group((), slice(0, table.height))]
    indexed = table.select(within).with_row_index("row of the group")
    found = indexed.group_by(list(within), maintain_order=True).agg("row of the group")
    indices = found["row of the group"]
    keys = found.select(within).iter_rows()
    return [Group(key, _rows(rows.to_numpy())) for key, rows in zip(keys, indices, strict=True)]


def _rows(rows: np.ndarray) -> slice | np.ndarray:
    first, last = int(rows[0]), int(rows[-1]) + 1
    return slice(first, last) if last - first == len(rows) else rows.astype(np.int64)


def columns_within(within: str | Sequence[str]) -> tuple[str, ...]:
    """Accept one column's name where several may be given."""
    return (within,) if isinstance(within, str) else tuple(within)


def mask_of(table: pl.DataFrame, rows: pl.Expr) -> Mask:
    """Evaluate a boolean expression for every row; null is False."""
    chosen = table.with_columns(rows.fill_null(value=False).alias("is in the mask"))
    return chosen["is in the mask"].to_numpy().astype(bool)


def column_values(column: pl.Series) -> Values:
    """Read a numeric column as float64, null as NaN; infinite values stay."""
    return column.cast(pl.Float64).to_numpy().astype(np.float64, copy=False)


def to_series(name: str, values: Values, *, is_float32: bool = False) -> pl.Series:
    """Make a column of numbers in which NaN is null."""
    kind = np.float32 if is_float32 else np.float64
    return pl.Series(name, values.astype(kind, copy=False), nan_to_null=True)


def each(items: Iterable[T], work: Callable[[T], S]) -> list[S]:
    """Do work on every item in as many threads as polars has, results in order."""
    with ThreadPoolExecutor(pl.thread_pool_size()) as pool:
        return list(pool.map(work, items))
