"""nf-core/cellpainting's samplesheet: a CSV with one line per image, `channel` and `path`.

channel,path,source,batch,plate,well,site,col,field_id,plane_id,row
"""

from pathlib import Path

import polars as pl

from plates.address import is_remote
from plates.errors import BadPlate
from plates.readers.folder import is_there, plate_name, tables_with
from plates.readers.loaddata import located
from plates.readers.reader import PlaneRow, Reader, table
from plates.table import COLUMN, ROW, agreed_numbers, find_column, read_table, well_of, wells_of

REQUIRED = {"channel", "path"}
NUMBERS = {  # in any case; of several that mean the same all must agree
    "site": ("site", "field_id", "field"),
    "z": ("plane_id", "z"),
    "timepoint": ("timepoint", "t"),
}
PLATE = ("plate", "barcode")


def matches(source: Path) -> bool:
    """Whether the source is a samplesheet, or a folder with one at its top."""
    return bool(_sheets(source))


def _sheets(source: Path) -> list[Path]:
    return tables_with(source, lambda columns: columns >= REQUIRED and columns & {"well", "row"})


def scan(source: Path) -> pl.DataFrame:
    """List every image of a samplesheet.

    Returns:
        One row per line; files that are not there are listed too.

    Raises:
        BadPlate: There are several sheets, a cell is empty or no number, two columns that mean the
            same differ, a well is another than its row and column, or no file is there.
    """
    sheets = _sheets(source)
    if len(sheets) != 1:
        names = ", ".join(path.name for path in sheets) or "none"
        raise BadPlate(f"Expected one samplesheet in {source}, found: {names}. Give the file.")
    planes = table(_rows(sheets[0]))
    if not any(is_remote(file) or is_there(file) for file in planes["path"]):
        raise BadPlate(
            f"None of the {len(planes)} files that {sheets[0]} names is there; the first is "
            f"{planes['path'][0]}. Correct the paths (relative ones start at the sheet's folder)."
        )
    return planes


def _rows(path: Path) -> list[PlaneRow]:
    sheet = read_table(path, error=BadPlate)
    plate = find_column(sheet.columns, PLATE, error=BadPlate)
    wells = wells_of(sheet, path=path, error=BadPlate)
    _check_wells(sheet, wells, path=path)
    numbers = {
        name: agreed_numbers(sheet, columns, path=path, error=BadPlate).to_list()
        for name, columns in NUMBERS.items()
    }
    rows = []
    for index, row in enumerate(sheet.iter_rows(named=True)):
        for name in sorted(REQUIRED):
            if row[name] is None:
                raise BadPlate(f"{path}, row {index + 1} below the header has no {name}.")
        rows.append(PlaneRow(
            (row[plate] if plate else None) or plate_name(path.parent), wells[index],
            numbers["site"][index], row["channel"], numbers["z"][index],
            numbers["timepoint"][index], located(row["path"], index=path),
        ))  # fmt: skip
    return rows


def _check_wells(sheet: pl.DataFrame, wells: pl.Series, *, path: Path) -> None:
    """Hold wells to the row and column beside them, where both are said."""
    row, column = (find_column(sheet.columns, names, error=BadPlate) for names in (ROW, COLUMN))
    if row is None or column is None:
        return
    said = pl.DataFrame([sheet[row], sheet[column], wells.alias("well of the line")])
    each = (
        said.with_row_index().drop_nulls().unique(said.columns, keep="first", maintain_order=True)
    )
    for index, at_row, at_column, well in each.iter_rows():
        if (other := _well(at_row, at_column)) != well:
            raise BadPlate(
                f"{path}, row {index + 1} below the header: the well is {well}, but {row} "
                f"{at_row!r} and {column} {at_column!r} are {other or 'no well'}. Keep the columns "
                "that are right."
            )


def _well(row: str, column: str) -> str | None:
    try:
        return well_of(row, column)
    except BadPlate:
        return None


SAMPLESHEET = Reader(
    "samplesheet", "an nf-core samplesheet (a CSV with channel, path and well)", matches, scan
)
