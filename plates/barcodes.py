"""Plate maps by barcode: `barcode_platemap.csv` and the maps that it names, in `platemap/`."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import polars as pl

from plates.errors import BadLayout, lookup
from plates.layout import read_layout
from plates.table import find_column, plain, read_table

FILE, FOLDER, SUFFIXES = "barcode_platemap.csv", "platemap", (".txt", ".tsv", ".csv")
BARCODE = ("assay_plate_barcode", "plate_barcode", "barcode", "plate")
MAP = ("plate_map_name", "platemap_name", "plate_map", "platemap")


class PlateMaps(NamedTuple):
    """One plate map for many plates, and what its files do not share.

    Attributes:
        layout: One row per plate and well, as `plates.layout.read_layout` gives for one
            map; the barcode file's further columns are added as `Metadata_<name>`.
        missing: Map -> the barcodes that refer to it, where the map has no file.
        unused: Maps that no barcode refers to.
    """

    layout: pl.DataFrame
    missing: Mapping[str, tuple[str, ...]]
    unused: tuple[str, ...]

    def sentences(self) -> list[str]:
        """Tell it to a person: one line for each map that is missing, and one for the unused."""
        lines = [
            f"The plate map {name} is not in {FOLDER}/: the wells of {', '.join(plates)} have none."
            for name, plates in self.missing.items()
        ]
        unused = f"Plate maps that no barcode refers to: {', '.join(self.unused)}."
        return [*lines, unused] if self.unused else lines


def read_plate_maps(folder: Path | str, *, columns: Mapping[str, str] = {}) -> PlateMaps:
    """Read the plate maps of a batch, as the JUMP consortium and pycytominer lay them out.

    Args:
        folder: Holds `barcode_platemap.csv` (`Assay_Plate_Barcode`, `Plate_Map_Name`, and
            what else is known of plates) and `platemap/<Plate_Map_Name>.txt`.
        columns: Columns of the maps that go by names of their own -> ours, as
            `{"broad_sample": "Metadata_Compound", "mmoles_per_liter": "Metadata_Concentration"}`.

    Raises:
        BadLayout: A file cannot be read, a barcode comes twice, no map has a file, or a map
            names another one in its lines or lacks a column of `columns`.
    """
    folder = Path(folder)
    maps = _files(folder / FOLDER)
    plates = _barcodes(folder / FILE)
    named: dict[str, list[str]] = {}
    for plate, name in plates.select("Metadata_Plate", "Metadata_Plate_Map_Name").iter_rows():
        named.setdefault(name, []).append(plate)
    missing = {name: tuple(found) for name, found in named.items() if name not in maps}
    if len(missing) == len(named):
        raise BadLayout(
            f"{folder / FILE} refers to the plate maps {', '.join(list(named)[:8])}, and none of "
            f"them is in {folder / FOLDER}. Put them there as <name>.txt, one line per well."
        )
    layouts = [
        _read_map(maps[name], columns=columns).with_columns(Metadata_Plate_Map_Name=pl.lit(name))
        for name in named
        if name in maps
    ]
    layout = plates.join(
        pl.concat(layouts, how="diagonal"), on="Metadata_Plate_Map_Name", maintain_order="left"
    )
    return PlateMaps(layout, missing, tuple(sorted(set(maps) - set(named))))


def _files(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.glob("*")) if path.suffix in SUFFIXES}


def _barcodes(path: Path) -> pl.DataFrame:
    table = read_table(path, error=BadLayout)
    barcode = find_column(table.columns, BARCODE, error=BadLayout)
    name = find_column(table.columns, MAP, error=BadLayout)
    if barcode is None or name is None:
        raise BadLayout(
            f"{path} has the columns {', '.join(table.columns)}. Expected Assay_Plate_Barcode and "
            "Plate_Map_Name."
        )
    known = {barcode: "Metadata_Plate", name: "Metadata_Plate_Map_Name"}
    others = {x: f"Metadata_{x.removeprefix('Metadata_')}" for x in table.columns}
    table = table.drop_nulls([barcode, name]).rename(others | known)
    twice = table.filter(pl.col("Metadata_Plate").is_duplicated())["Metadata_Plate"]
    if len(twice):
        raise BadLayout(f"{path} names the barcode {twice[0]} more than once. Keep one line of it.")
    return table


def _read_map(path: Path, *, columns: Mapping[str, str]) -> pl.DataFrame:
    layout = read_layout(path)
    own = [name for name in layout.columns if plain(name) in MAP]
    others = {name for column in own for name in layout[column].drop_nulls()} - {path.stem}
    if others:
        raise BadLayout(
            f"{path} is the plate map {path.stem}, but its lines name "
            f"{', '.join(sorted(others))}. Rename the file or the lines."
        )
    layout = layout.drop(own)
    for theirs, ours in columns.items():
        column = f"Metadata_{theirs.removeprefix('Metadata_')}"
        lookup(layout.schema, kind=f"column in {path.name}", name=column)
        layout = layout.drop(ours, strict=False).rename({column: ours})
    return layout.with_columns(_concentrations(layout["Metadata_Concentration"], path=path))


def _concentrations(column: pl.Series, *, path: Path) -> pl.Series:
    numbers = column.cast(pl.Float64, strict=False)
    bad = column.filter(column.is_not_null() & ~numbers.is_finite().fill_null(value=False))
    if len(bad):
        raise BadLayout(f"{path} has the concentration {bad[0]!r}. Expected a number.")
    return numbers
