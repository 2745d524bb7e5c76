"""A microscope's folder in, one row per image plane out."""

from pathlib import Path

import polars as pl

from plates.errors import BadPlate, BadRecipe, lookup
from plates.readers import pattern as by_pattern
from plates.readers.folder import files_below, image_files
from plates.readers.loaddata import LOADDATA
from plates.readers.pattern import PATTERN
from plates.readers.reader import Reader, checked

# In the order they are tried: an index is trusted before file names are.
READERS = {reader.name: reader for reader in (LOADDATA, PATTERN)}


def scan(folder: Path | str, *, reader: str = "auto", pattern: str | None = None) -> pl.DataFrame:
    """List every image plane of a plate, without opening any image.

    Args:
        folder: The plate's folder, or an index file such as a LoadData CSV.
        reader: Name in `READERS`, or "auto" for the first that matches.
        pattern: Regular expression for file names, or a built-in pattern's name
            (see `plates.readers.pattern`); the pattern reader then does the reading.

    Returns:
        One row per plane, columns `PLANES`, sorted by plate, row, column, site, channel, z.

    Raises:
        BadPlate: The folder is missing, empty, unreadable or of no known format, or a
            plane has two files.
        UnknownName: There is no such reader or built-in pattern.
        BadRecipe: The pattern is not one, or another reader was asked for with it.
    """
    source = Path(folder)
    files = _files(source)
    if pattern is not None:
        if reader not in ("auto", PATTERN.name):
            raise BadRecipe(f"A file name pattern needs reader = 'pattern', not {reader!r}.")
        return checked(by_pattern.scan(source, pattern=pattern), source=source)
    chosen = _detected(source, files) if reader == "auto" else _named(reader)
    return checked(chosen.scan(source), source=source)


def _files(source: Path) -> list[Path]:
    """Files of a source, or why there are none."""
    try:
        exists, is_file = source.exists(), source.is_file()
    except OSError as reason:
        raise BadPlate(f"{source} cannot be read: {reason.strerror}.") from reason
    if not exists:
        raise BadPlate(f"There is no {source}. Check the path, and that the drive is there.")
    files = [source] if is_file else files_below(source)
    if not files:
        raise BadPlate(f"The folder {source} is empty. Expected a plate's images.")
    return files


def _named(name: str) -> Reader:
    return lookup(READERS, kind="reader", name=name)


def _detected(source: Path, files: list[Path]) -> Reader:
    for reader in READERS.values():
        if reader.matches(source):
            return reader
    tried = "; ".join(f"{name} needs {reader.needs}" for name, reader in READERS.items())
    first = ", ".join(path.name for path in files[:3])
    raise BadPlate(
        f"No reader fits {source}. Tried: {tried}. Files there: {len(files)}, first: {first}. "
        "Point at the folder of one plate, or give a pattern for its file names."
    )


def unused_images(folder: Path | str, planes: pl.DataFrame) -> list[Path]:
    """Images in a folder that a scan did not take, so that a run can say so.

    Args:
        folder: As given to `scan`.
        planes: What `scan` returned.
    """
    source = Path(folder)
    home = source if source.is_dir() else source.parent
    taken = {Path(path).resolve() for path in planes["path"]}
    return [path for path in image_files(home) if path.resolve() not in taken]
