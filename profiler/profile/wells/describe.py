"""What is known of compounds, beside the wells that hold them."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import polars as pl

from plates.errors import BadLayout
from plates.layout import COLUMNS, ROLE_OF
from plates.table import find_column, read_table

COMPOUND, ROLE = "Metadata_Compound", "Metadata_Role"
MOST_NAMES = 8


class Described(NamedTuple):
    """Wells with what is known of their compounds, and what the two tables do not share.

    Attributes:
        wells: All wells, in their order, with the columns of the compounds.
        not_described: Compounds of wells that the compounds' table lacks.
        not_on_plates: Compounds of that table that no well holds; they add no rows.
    """

    wells: pl.DataFrame
    not_described: tuple[str, ...]
    not_on_plates: tuple[str, ...]

    def sentences(self) -> list[str]:
        """Tell it to a person: one line for each side that has more."""
        lines = (
            (self.not_described, "of the plates not in the table of compounds"),
            (self.not_on_plates, "of the table of compounds on no plate"),
        )
        return [
            f"{len(names)} compound{'s' * (len(names) != 1)} {words}: {_some(names)}."
            for names, words in lines
            if names
        ]


def read_compounds(path: Path | str, *, columns: Mapping[str, str] = {}) -> pl.DataFrame:
    """Read a table of compounds: one line per compound, in CSV, TSV or tab-separated text.

    Args:
        path: UTF-8 file with a header; the compound and the role go by the names they
            have in plate maps.
        columns: Columns that go by names of their own -> ours, as
            `{"broad_sample": "Metadata_Compound", "control_type": "Metadata_Role"}`.

    Returns:
        One row per compound: every column as `Metadata_<name>`, text as written, roles as in
        plate maps. A line without a compound describes wells without one.

    Raises:
        BadLayout: The file cannot be read, has no column of compounds, names one twice, or
            has a role that means nothing.
    """
    table = read_table(Path(path), error=BadLayout)
    named = {x: find_column(table.columns, COLUMNS[x], error=BadLayout) for x in (COMPOUND, ROLE)}
    named |= {ours: theirs for theirs, ours in columns.items()}
    absent = [theirs for theirs in columns if theirs not in table.columns]
    if absent or not named[COMPOUND]:
        raise BadLayout(
            f"{path} has no column {(absent or ['compound'])[0]!r}; it has {_some(table.columns)}. "
            "Say which one names the compound."
        )
    known = {theirs: ours for ours, theirs in named.items() if theirs}
    others = {name: f"Metadata_{name.removeprefix('Metadata_')}" for name in table.columns}
    table = table.rename(others | known)
    twice = table.filter(table[COMPOUND].is_duplicated())[COMPOUND].unique().sort().to_list()
    if twice:
        raise BadLayout(f"{path} names {_some(twice)} more than once. Keep one line per compound.")
    return table.with_columns(_roles(table[ROLE], path)) if ROLE in table.columns else table


def describe(wells: pl.DataFrame, compounds: pl.DataFrame) -> Described:
    """Join wells with what is known of their compounds; no well is lost.

    Args:
        wells: A plate map or annotated wells, with `Metadata_Compound`.
        compounds: One row per compound, from `read_compounds`. A `Metadata_Role` there holds
            where the wells have none.

    Raises:
        BadLayout: The wells have no compounds, none of theirs is in the table, or both have
            another column of the same name.
    """
    if COMPOUND not in wells.columns or not wells[COMPOUND].count():
        raise BadLayout("No well has a compound, so a table of compounds describes none of them.")
    shared = sorted(set(wells.columns) & set(compounds.columns) - {COMPOUND, ROLE})
    if shared:
        raise BadLayout(
            f"The plate map and the table of compounds both have {', '.join(shared)}. Rename or "
            "delete the column in one of them."
        )
    on_plates, described = (set(table[COMPOUND].drop_nulls()) for table in (wells, compounds))
    if not on_plates & described:
        raise BadLayout(
            f"The compounds of the plates ({_some(sorted(on_plates))}) and of the table of "
            f"compounds ({_some(sorted(described))}) have none in common. Use the same names."
        )
    joined = wells.join(
        compounds, on=COMPOUND, how="left", nulls_equal=True, maintain_order="left", suffix=".known"
    )
    if f"{ROLE}.known" in joined.columns:
        role = pl.coalesce(ROLE, f"{ROLE}.known").alias(ROLE)
        joined = joined.with_columns(role).drop(f"{ROLE}.known")
    return Described(
        joined, tuple(sorted(on_plates - described)), tuple(sorted(described - on_plates))
    )


def _roles(words: pl.Series, path: Path | str) -> pl.Series:
    plain = words.str.to_lowercase().str.replace_all("[^a-z0-9]", "")
    unknown = words.filter(plain.is_not_null() & ~plain.is_in(list(ROLE_OF))).unique().sort()
    if len(unknown):
        raise BadLayout(
            f"{path} has the role {unknown[0]!r}, which is unknown. Use negative, positive, "
            "treatment or empty."
        )
    return plain.replace_strict(ROLE_OF, default=None, return_dtype=pl.String).alias(ROLE)


def _some(names: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more
