"""Plate maps: what every well holds, joined to what was imaged; nothing is dropped."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from plates.errors import BadLayout, suggestion
from plates.table import find_column, read_table, well_columns, wells_of

KEY = ("Metadata_Plate", "Metadata_Well")

# Name in our tables -> names people use, in any case and with or without `Metadata_`.
COLUMNS = {
    "Metadata_Plate": ("plate", "assay_plate_barcode", "plate_barcode", "barcode"),
    "Metadata_Compound": ("compound", "compound_name", "drug"),
    "Metadata_Role": ("role", "well_role"),
    "Metadata_Concentration": ("concentration", "dose", "conc"),
    "Metadata_Unit": ("unit", "units", "concentration_unit", "dose_unit"),
}

# Role -> words that mean it, compared without case, spaces, hyphens and underscores.
# A bare "control" is refused: it does not say which.
ROLES = {
    "negative": ("neg", "negcon", "negcontrol", "negativecontrol", "dmso", "vehicle", "mock",
                 "solvent", "untreated"),
    "positive": ("pos", "poscon", "poscontrol", "positivecontrol", "posconcp", "poscondiverse",
                 "posconorf"),
    "treatment": ("trt", "treat", "treated", "sample", "test", "compound"),
    "empty": ("blank", "none", "unused", "nocells", "buffer"),
}  # fmt: skip
ROLE_OF = {word: role for role, words in ROLES.items() for word in (role, *words)}


@dataclass(frozen=True)
class LayoutMatch:
    """What a plate map and the images on disk do not share.

    Attributes:
        only_on_disk: (plate, well) imaged, but not in the plate map.
        only_in_layout: (plate, well) in the plate map, but not imaged.
        other_plates: Plates of the plate map that are not part of this run.
    """

    only_on_disk: tuple[tuple[str, str], ...]
    only_in_layout: tuple[tuple[str, str], ...]
    other_plates: tuple[str, ...] = ()

    def sentence(self) -> str:
        """Say in words what does not match, or that all does."""
        parts = [
            f"{_count(pairs)} {phrase} ({_listed(pairs)})"
            for pairs, phrase in (
                (self.only_on_disk, "imaged but not in the plate map"),
                (self.only_in_layout, "in the plate map but not imaged"),
            )
            if pairs
        ]
        if self.other_plates:
            parts.append(f"the plate map also names {len(self.other_plates)} plate(s) not run here")
        if not parts:
            return "Plate map and images name the same wells."
        return f"Plate map and images differ: {'; '.join(parts)}."


def _count(pairs: tuple) -> str:
    return "1 well is" if len(pairs) == 1 else f"{len(pairs)} wells are"


def _listed(pairs: tuple[tuple[str, str], ...]) -> str:
    several = len({plate for plate, _ in pairs}) > 1
    return _shortened([f"{plate} {well}" if several else well for plate, well in pairs])


def read_layout(path: Path | str) -> pl.DataFrame:
    """Read a plate map: one line per well, in CSV, TSV or tab-separated text.

    Args:
        path: UTF-8 file with a header. The well is `well_position`, `well`, `Metadata_Well`,
            or a row and a column; `COLUMNS` and `ROLES` list the other words understood.

    Returns:
        One row per well (and plate, where the file names plates, as `Metadata_Plate`):
        `Metadata_Well`, `Metadata_Compound`, `Metadata_Role` (negative, positive, treatment,
        empty), `Metadata_Concentration` (Float64), `Metadata_Unit`, null where the file is
        silent; then every other column as `Metadata_<name>`, text as written.

    Raises:
        BadLayout: The file cannot be read, has no well column, names a well twice or one
            that cannot be, or has a role or concentration that means nothing.
    """
    path = Path(path)
    table = read_table(path, error=BadLayout)
    found = {
        ours: find_column(table.columns, names, error=BadLayout) for ours, names in COLUMNS.items()
    }
    wells = wells_of(table, path=path, error=BadLayout).alias("Metadata_Well")
    known = [
        (table[theirs] if theirs else pl.Series([None] * len(table), dtype=pl.String)).alias(ours)
        for ours, theirs in found.items()
        if theirs or ours != "Metadata_Plate"
    ]
    used = {*found.values(), *well_columns(table, path=path, error=BadLayout)}
    others = [table[name].alias(_metadata(name)) for name in table.columns if name not in used]
    layout = _frame([wells, *known, *others], path=path)
    layout = layout.with_columns(_roles(layout, path=path), _concentrations(layout, path=path))
    _check_plates(layout, path=path)
    _check_twice(layout, path=path)
    first = [name for name in (*KEY, *COLUMNS) if name in layout.columns]
    return layout.select(list(dict.fromkeys([*first, *layout.columns])))


def _metadata(name: str) -> str:
    return f"Metadata_{name.removeprefix('Metadata_')}"


def _frame(columns: list[pl.Series], *, path: Path) -> pl.DataFrame:
    names = [column.name for column in columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadLayout(f"{path} gives {', '.join(twice)} twice. Rename or delete one column.")
    return pl.DataFrame(columns)


def _roles(layout: pl.DataFrame, *, path: Path) -> pl.Series:
    def role(well: str, word: str | None) -> str | None:
        if word is None:
            return None
        plain = "".join(letter for letter in word.lower() if letter.isalnum())
        if plain not in ROLE_OF:
            raise BadLayout(
                f"{path}: well {well} has the role {word!r}, which is unknown. "
                f"{suggestion(plain, ROLE_OF)} Use negative, positive, treatment or empty."
            )
        return ROLE_OF[plain]

    pairs = layout.select("Metadata_Well", "Metadata_Role").iter_rows()
    return pl.Series("Metadata_Role", [role(*pair) for pair in pairs], dtype=pl.String)


def _concentrations(layout: pl.DataFrame, *, path: Path) -> pl.Series:
    text = layout["Metadata_Concentration"]
    number = text.cast(pl.Float64, strict=False)
    is_bad = text.is_not_null() & ~(number.is_finite() & (number >= 0)).fill_null(value=False)
    for well, value in layout.filter(is_bad).select("Metadata_Well", text.name).iter_rows():
        raise BadLayout(
            f"{path}: well {well} has the concentration {value!r}. Expected a number, zero or "
            "more, with a decimal point; put the unit into a column called unit."
        )
    return number


def _check_plates(layout: pl.DataFrame, *, path: Path) -> None:
    if "Metadata_Plate" in layout.columns and layout["Metadata_Plate"].has_nulls():
        well = layout.filter(pl.col("Metadata_Plate").is_null())["Metadata_Well"][0]
        raise BadLayout(
            f"{path}: well {well} has no plate. Fill the plate column in every line, or delete "
            "the column if the map holds for every plate."
        )


def _check_twice(layout: pl.DataFrame, *, path: Path) -> None:
    key = [name for name in KEY if name in layout.columns]
    twice = layout.filter(layout.select(key).is_duplicated()).select(key).unique()
    if len(twice):
        names = [" ".join(row) for row in twice.sort(_order(key)).iter_rows()]
        raise BadLayout(
            f"{path} names {_shortened(names)} more than once (A1 and A01 are one well). "
            "Keep one line for each well."
        )


def _shortened(names: list[str], *, most: int = 8) -> str:
    return ", ".join([*names[:most], "..."] if len(names) > most else names)


def _order(key: Iterable[str]) -> list[pl.Expr]:
    # A well's name grows from three letters to four after row Z, so length first is row by row.
    longer = [pl.col("Metadata_Well").str.len_chars()]
    *plate, well = map(pl.col, key)
    return [*plate, *longer, well]


def join_layout(wells: pl.DataFrame, layout: pl.DataFrame) -> tuple[pl.DataFrame, LayoutMatch]:
    """Put the plate map beside the wells that were imaged, keeping both sides' wells.

    Args:
        wells: One row per well imaged, with `Metadata_Plate` and `Metadata_Well`.
        layout: From `read_layout`. Without a plate column it holds for every plate of `wells`;
            with one, plates that `wells` does not have are left out and reported.

    Returns:
        The outer join, sorted by plate, row and column, and what only one side has. Columns
        of the other side are null there.

    Raises:
        BadLayout: No plate is on both sides, or both have a column of the same name.
    """
    layout, others = _for_plates(layout, plates=wells["Metadata_Plate"].unique().sort())
    shared = (set(wells.columns) & set(layout.columns)) - set(KEY)
    if shared:
        raise BadLayout(
            f"The plate map has {', '.join(sorted(shared))}, which the measured wells have too. "
            "Rename the column in the plate map."
        )
    joined = wells.join(layout, on=KEY, how="full", coalesce=True).sort(_order(KEY))
    match = LayoutMatch(_without(wells, layout), _without(layout, wells), tuple(others))
    return joined, match


def _for_plates(layout: pl.DataFrame, *, plates: pl.Series) -> tuple[pl.DataFrame, list[str]]:
    """The plate map of these plates alone, and the names of the others in it."""
    if "Metadata_Plate" not in layout.columns:
        return pl.DataFrame({"Metadata_Plate": plates}).join(layout, how="cross"), []
    named = layout["Metadata_Plate"].unique().sort()
    if not named.is_in(plates.to_list()).any():
        raise BadLayout(
            f"The plate map is for {_shortened(named.to_list())}, but the images are of "
            f"{_shortened(plates.to_list())}. Correct the plate column, or delete it if the map "
            "holds for every plate."
        )
    here = layout.filter(pl.col("Metadata_Plate").is_in(plates.to_list()))
    return here, named.filter(~named.is_in(plates.to_list())).to_list()


def _without(left: pl.DataFrame, right: pl.DataFrame) -> tuple[tuple[str, str], ...]:
    alone = left.select(KEY).unique().join(right.select(KEY), on=KEY, how="anti")
    return tuple(alone.sort(_order(KEY)).iter_rows())
