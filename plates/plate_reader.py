"""Plate-reader screens: one number per well, in text files that a plate list names.

The layout is that of the R package cellHTS2, in which many screens are published: a plate list
(Filename, Plate, Replicate), for each plate and replicate a file of name, well and value without
header, and where given a plate configuration (what every well holds, with wildcards), a screen
log (wells to leave out, with the reason) and an annotation of the library.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from plates.errors import BadLayout, BadPlate
from plates.layout import ROLE_OF
from plates.well import FORMATS, parse_well, plate_wells

ANY = "*"
MISSING = ("", "NA", "NaN", "nan")
KEY = ["Metadata_Library", "Metadata_Replicate", "Metadata_Well"]
LOG = ("Plate", "Sample", "Well", "Flag", "Comment")
SCREEN = pl.Schema(
    {
        "Metadata_Plate": pl.String,
        "Metadata_Well": pl.String,
        "Metadata_Library": pl.Int64,
        "Metadata_Replicate": pl.Int64,
        "Value": pl.Float64,
    }
)


def read_plate_reader(
    plate_list: Path | str,
    *,
    configuration: Path | str | None = None,
    log: Path | str | None = None,
    annotation: Path | str | None = None,
) -> pl.DataFrame:
    """Read a screen of one number per well.

    Args:
        plate_list: Tab-separated, with Filename (beside the list), Plate (of the library, a
            number) and Replicate.
        configuration: "Wells:" and "Plates:" lines, then Plate, Well and Content, where `*` is
            every plate or well and a well may be a pattern, as A0[1-2]. Later lines win.
        log: Plate, Sample (the replicate), Well, Flag, Comment: wells to leave out.
        annotation: Plate, Well and what else is known of the library's wells.

    Returns:
        One row per file and well in the files, in the order of the list: `Metadata_Plate` (the
        file's name without ending), `Metadata_Well`, `Metadata_Library` (the Plate of the list),
        `Metadata_Replicate`, `Value`, null where the reader gave none; with a configuration
        `Metadata_Content` and `Metadata_Role` (null for a content that is no role); with a log
        `Metadata_QC_Status` ("ok" or "flagged") and `Metadata_QC_Reason`; then every column
        of the annotation as `Metadata_<name>`. Flagged wells keep their value.

    Raises:
        BadPlate: A file is missing or not of this form, or names a well twice.
        BadLayout: The configuration, log or annotation is not of this form.
    """
    wells = _read_values(Path(plate_list))
    if configuration is not None:
        wells = wells.join(
            _read_configuration(Path(configuration), wells["Metadata_Library"].unique().sort()),
            on=["Metadata_Library", "Metadata_Well"], how="left", maintain_order="left",
        )  # fmt: skip
    if log is not None:
        wells = _flagged(wells, _read_log(Path(log)))
    if annotation is not None:
        known = _read_annotation(Path(annotation))
        on = ["Metadata_Library", "Metadata_Well"]
        wells = wells.join(known, on=on, how="left", maintain_order="left")
    return wells


def _read_values(plate_list: Path) -> pl.DataFrame:
    names = ("Filename", "Plate", "Replicate")
    frames = [SCREEN.to_frame()]
    for number, row in _table(plate_list, names, error=BadPlate):
        library, replicate = (
            _integer(row[name], plate_list, number, error=BadPlate) for name in names[1:]
        )
        path = plate_list.parent / row["Filename"]
        values = list(_values(path))
        frame = pl.DataFrame(values, schema=["Metadata_Well", "Value"], orient="row").with_columns(
            Metadata_Plate=pl.lit(path.stem),
            Metadata_Library=pl.lit(library),
            Metadata_Replicate=pl.lit(replicate),
        )
        frames.append(frame.select(pl.col(name).cast(kind) for name, kind in SCREEN.items()))
    wells = pl.concat(frames)
    twice = wells.filter(wells.select("Metadata_Plate", "Metadata_Well").is_duplicated())
    for plate, well in twice.select("Metadata_Plate", "Metadata_Well").iter_rows():
        raise BadPlate(f"Plate {plate} has well {well} more than once. Keep one line per well.")
    return wells


def _values(path: Path) -> Iterator[tuple[str, float | None]]:
    """Well and value of every line of a plate's file."""
    for number, cells in _lines(path, error=BadPlate):
        try:
            _, well, value = cells
            yield parse_well(well), None if value in MISSING else float(value)
        except ValueError as reason:
            raise BadPlate(
                f"{path}, line {number} is {' '.join(cells)!r}. Expected a name, a well and a "
                f"number between tabs."
            ) from reason


def _read_configuration(path: Path, plates: pl.Series) -> pl.DataFrame:
    """What every well of every plate holds."""
    lines = _lines(path, error=BadLayout)
    sizes = {}
    for number, cells in lines:
        name, _, size = cells[0].partition(":")
        if not size:
            break
        sizes[name.strip().lower()] = _integer(size, path, number, error=BadLayout)
    if sizes.get("wells") not in FORMATS:
        raise BadLayout(
            f"{path} starts with {sizes}. Expected a line 'Wells: 384', with one of "
            f"{', '.join(map(str, FORMATS))}, before the header."
        )
    wells = plate_wells(FORMATS[sizes["wells"]])
    content: dict[tuple[int, str], str] = {}
    for number, row in _table(path, ("Plate", "Well", "Content"), error=BadLayout):
        some = plates.to_list()
        if row["Plate"] != ANY:
            some = [_integer(row["Plate"], path, number, error=BadLayout)]
        matched = _matched(row["Well"], wells)
        if not matched:
            raise BadLayout(f"{path}, line {number}: no well is called {row['Well']!r}.")
        content |= {(plate, well): row["Content"] for plate in some for well in matched}
    rows = [(*key, word, ROLE_OF.get(word.lower())) for key, word in content.items()]
    columns = ["Metadata_Library", "Metadata_Well", "Metadata_Content", "Metadata_Role"]
    kinds = [pl.Int64, pl.String, pl.String, pl.String]
    return pl.DataFrame(rows, schema=dict(zip(columns, kinds, strict=True)), orient="row")


def _matched(pattern: str, wells: list[str]) -> list[str]:
    """Wells that a pattern names; none if it is no pattern."""
    try:
        return [well for well in wells if pattern == ANY or re.fullmatch(pattern, well)]
    except re.error:
        return []


def _read_log(path: Path) -> pl.DataFrame:
    rows = [
        (
            *(_integer(row[name], path, number, error=BadLayout) for name in LOG[:2]),
            _well(row["Well"], path, number),
            row["Comment"] or row["Flag"],
        )
        for number, row in _table(path, LOG, error=BadLayout)
    ]
    kinds = [pl.Int64, pl.Int64, pl.String, pl.String]
    schema = dict(zip([*KEY, "Metadata_QC_Reason"], kinds, strict=True))
    return pl.DataFrame(rows, schema=schema, orient="row").unique(KEY, keep="first")


def _flagged(wells: pl.DataFrame, log: pl.DataFrame) -> pl.DataFrame:
    unknown = log.join(wells, on=KEY, how="anti")
    for plate, replicate, well, _ in unknown.iter_rows():
        raise BadLayout(
            f"The screen log names well {well} of plate {plate}, replicate {replicate}, which "
            f"the screen does not have ({unknown.height} such lines). Correct the log."
        )
    joined = wells.join(log, on=KEY, how="left", maintain_order="left")
    is_flagged = pl.col("Metadata_QC_Reason").is_not_null()
    status = pl.when(is_flagged).then(pl.lit("flagged")).otherwise(pl.lit("ok"))
    return joined.with_columns(Metadata_QC_Status=status)


def _read_annotation(path: Path) -> pl.DataFrame:
    rows = [
        {
            "Metadata_Library": _integer(row["Plate"], path, number, error=BadLayout),
            "Metadata_Well": _well(row["Well"], path, number),
        }
        | {
            f"Metadata_{name}": None if cell in MISSING else cell
            for name, cell in row.items()
            if name not in ("Plate", "Well")
        }
        for number, row in _table(path, ("Plate", "Well"), error=BadLayout)
    ]
    table = pl.DataFrame(rows, infer_schema_length=None)
    twice = table.filter(table.select("Metadata_Library", "Metadata_Well").is_duplicated())
    for plate, well, *_ in twice.iter_rows():
        raise BadLayout(f"{path} names well {well} of plate {plate} more than once.")
    return table


def _well(text: str, path: Path, number: int) -> str:
    try:
        return parse_well(text)
    except BadPlate as reason:
        raise BadLayout(f"{path}, line {number}: {reason}") from reason


def _integer(text: str, path: Path, number: int, *, error: type[BadPlate] | type[BadLayout]) -> int:
    try:
        return int(text)
    except ValueError as reason:
        raise error(f"{path}, line {number} has {text!r} for a number.") from reason


def _table(
    path: Path, names: tuple[str, ...], *, error: type[BadPlate] | type[BadLayout]
) -> Iterator[tuple[int, dict[str, str]]]:
    """Numbered rows under the header, which is the first line that has all these names."""
    header: list[str] | None = None
    for number, cells in _lines(path, error=error):
        if header is None:
            header = cells if set(names) <= set(cells) else None
        elif len(cells) < len(header) or any(cells[len(header) :]):
            raise error(f"{path}, line {number} has {len(cells)} cells, the header {len(header)}.")
        else:
            yield number, dict(zip(header, cells, strict=False))
    if header is None:
        raise error(f"{path} has no header with {', '.join(names)}, separated by tabs.")


def _lines(
    path: Path, *, error: type[BadPlate] | type[BadLayout]
) -> Iterator[tuple[int, list[str]]]:
    """Numbered lines that are not blank, split at tabs."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as reason:
        raise error(f"{path} cannot be read: {reason.strerror}.") from reason
    except UnicodeDecodeError as reason:
        raise error(f"{path} is not UTF-8 text.") from reason
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield number, [cell.strip().strip('"') for cell in line.split("\t")]
