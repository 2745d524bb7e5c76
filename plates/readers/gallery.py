"""The Cell Painting Gallery's folders: a source with its `images` and its LoadData CSVs.

    <source>/images/<batch>/images/<plate>/...
    <source>/workspace/load_data_csv/<batch>/<plate>/load_data.csv

The CSVs name the images where they lay when they were made. A copy of a source lies elsewhere, so
whatever follows `images/<batch>/images/` is looked for in this source.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from plates.address import is_remote, parse_address
from plates.errors import BadPlate
from plates.readers.folder import inside, is_there, leads_out
from plates.readers.loaddata import listed
from plates.readers.reader import Reader

TABLES = "workspace/load_data_csv"
INSIDE = re.compile(r".*/images/(?P<batch>[^/]+)/images/(?P<rest>.+)")


def matches(source: Path) -> bool:
    """Whether the folder has `images` and a LoadData CSV in `workspace`."""
    try:
        return (source / "images").is_dir() and any(_tables(source))
    except OSError:
        return False


def _tables(source: Path) -> Iterator[Path]:
    return (source / TABLES).glob("*/*/load_data.csv")


def scan(source: Path) -> pl.DataFrame:
    """List every plane of every plate that has a LoadData CSV and images here.

    Returns:
        One row per plane. Plates without any image here are left out, since a source has hundreds
        and people copy a few.

    Raises:
        BadPlate: A CSV cannot be read or leads out of the source, or no plate has an image here.
    """
    tables = sorted(_tables(source))
    if not tables:
        raise BadPlate(f"{source} has no {TABLES}/<batch>/<plate>/load_data.csv. Copy it too.")
    plates = [_moved(listed(path), source=source, index=path) for path in tables]
    here = [planes for planes in plates if any(map(_is_there, planes["path"]))]
    if not here:
        raise BadPlate(
            f"{source} has {len(tables)} LoadData CSVs, but none of the images they name, such as "
            f"{plates[0]['path'][0]}. Copy the folder images/<batch>/images/<plate> too."
        )
    return pl.concat(here)


def _is_there(path: str) -> bool:
    return is_there(parse_address(path).file)


def _moved(planes: pl.DataFrame, *, source: Path, index: Path) -> pl.DataFrame:
    paths = [_here(path, source=source, index=index) for path in planes["path"]]
    return planes.with_columns(pl.Series("path", paths, dtype=pl.String))


def _here(path: str, *, source: Path, index: Path) -> str:
    found = INSIDE.fullmatch(path)
    if found:
        below = f"{found['batch']}/images/{found['rest']}"
        return str(inside(source / "images", below, index=index))
    if is_remote(path):
        return path
    raise leads_out(path, index=index)


GALLERY = Reader("gallery", f"a Cell Painting Gallery source (images and {TABLES})", matches, scan)
