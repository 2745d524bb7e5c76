"""Where in the run folder a well lies, whatever its plate is called."""

from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias
from urllib.parse import quote, unquote

from plates.errors import BadPlate

Well: TypeAlias = tuple[str, str]  # plate, well


def well_path(out: Path, plate: str, well: str, *, table: str = "cells") -> Path:
    """Name the file of a well in one of the tables that have a file per well.

    >>> well_path(Path("out"), "../3 plates", "B03").as_posix()
    'out/cells/%2E.%2F3%20plates/B03.parquet'
    """
    return out.joinpath(table, safe_name(plate), f"{safe_name(well)}.parquet")


def well_paths(out: Path, wells: Iterable[Well], *, table: str) -> dict[Well, Path]:
    """Name the files of many wells, in their order."""
    return {well: well_path(out, *well, table=table) for well in wells}


def stored(out: Path) -> list[Well]:
    """List the (plate, well) that have a cell file: by plate, then row, then column."""
    files = (out / "cells").glob("*/*.parquet")  # drafts end otherwise
    found = [(unquote(file.parent.name), unquote(file.stem)) for file in files]
    return sorted(found, key=lambda place: (place[0], len(place[1]), place[1]))  # Z12 before AA01


def safe_name(name: str) -> str:
    """Make any name a file name that `urllib.parse.unquote` turns back.

    Args:
        name: As the reader found it; slashes, dots and other scripts are allowed.

    Returns:
        Letters, digits, `-`, `_` and `.` unchanged, but for a leading dot; others as percent codes.

    Raises:
        BadPlate: The name is empty.

    >>> safe_name("HCC 1143/rep~2"), safe_name("..")
    ('HCC%201143%2Frep%7E2', '%2E.')
    """
    if not name:
        raise BadPlate(
            "A plate has no name, so there is no folder to write it to. Give its images a folder "
            "with a name, or a `plate` group or column."
        )
    code = quote(name, safe="").replace("~", "%7E")
    return f"%2E{code[1:]}" if code.startswith(".") else code
