"""Any microscope whose file names say it all: a regular expression with named groups.

The groups are `plate`, `well` (or `row` and `column`), `site`, `channel`, `z` and `timepoint`.
A pattern with a slash is held against the path below the folder, any other against the file's
name; it must fit the whole of it. A group that takes no part counts as 1 (microscopes leave a
number out where there is only one), a missing plate is the folder's name. Numbers that start
at 0 are moved up to start at 1.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from plates.errors import BadPlate, BadRecipe, lookup, suggestion
from plates.readers.folder import image_files, plate_name
from plates.readers.reader import COUNTS, PlaneRow, Reader, table
from plates.table import MOST, as_count
from plates.well import parse_well, well_at

GROUPS = ("plate", "well", "row", "column", "site", "channel", "z", "timepoint")

# The first that fits any file is taken, so the more particular come first.
PATTERNS = {
    # Channel1-01-A-01.tif
    "bbbc013": r"(?i)(?P<channel>Channel\d+)-\d+-(?P<row>[A-Z])-(?P<column>\d+)\.tiff?",
    # r03c03f03p01-ch6sk1fk1fl1.tiff: Opera Phenix and Operetta
    "phenix": r"(?i)r(?P<row>\d+)c(?P<column>\d+)f(?P<site>\d+)p(?P<z>\d+)-(?P<channel>ch\d+)"
    r"sk(?P<timepoint>\d+)fk\d+fl\d+\.tiff?",
    # TimePoint_1/ZStep_2/9987_B02_s1_w1.TIF: MetaXpress export. ZStep_0 is a projection of the
    # others, and counting it as one of them would be wrong. The first part that can be the well
    # is: `_s12` could be one, too.
    "metaxpress": r"(?i)(?!(?:.*/)?ZStep_0/)(?:.*?TimePoint_(?P<timepoint>\d+)/)?"
    r"(?:.*?ZStep_(?P<z>\d+)/)?(?:.*/)?[^/]*?_(?P<well>[A-Z]{1,2}\d\d)(?:_s(?P<site>\d+))?"
    r"(?:_(?P<channel>w\d+))?\.tiff?",
    # demo_B03_s1_DNA.tif: plates.synthetic. Not w1 and thumb..., which are MetaXpress's own.
    "synthetic": r"(?i)(?P<plate>.+)_(?P<well>[A-Z]{1,2}\d\d)_s(?P<site>\d+)(?:_z(?P<z>\d+))?"
    r"_(?P<channel>(?!w\d|thumb)[^_]+)\.(?:tiff?|png)",
}


def compiled(pattern: str) -> re.Pattern[str]:
    """Compile a user's pattern, or the built-in one of that name.

    Raises:
        UnknownName: The text has no named group and is no built-in pattern's name.
        BadRecipe: It is no regular expression, or its groups are not those above.
    """
    if "(?P<" not in pattern:
        pattern = lookup(PATTERNS, kind="built-in file name pattern", name=pattern)
    try:
        regex = re.compile(pattern)
    except re.error as reason:
        raise BadRecipe(
            f"The file name pattern {pattern!r} is not a regular expression: {reason}."
        ) from reason
    _check_groups(regex)
    return regex


def _check_groups(regex: re.Pattern[str]) -> None:
    groups = set(regex.groupindex)
    for name in regex.groupindex:
        if name not in GROUPS:
            raise BadRecipe(
                f"The file name pattern has a group {name!r}. {suggestion(name, list(GROUPS))} "
                f"Groups may be {', '.join(GROUPS)}."
            )
    has_well = "well" in groups or {"row", "column"} <= groups
    if not has_well or "channel" not in groups:
        raise BadRecipe(
            f"The file name pattern {regex.pattern!r} has the groups "
            f"{', '.join(regex.groupindex)}. It needs (?P<channel>...), and (?P<well>...) or "
            "both (?P<row>...) and (?P<column>...)."
        )


def scan(folder: Path, *, pattern: str | None = None) -> pl.DataFrame:
    """List every image whose name fits a pattern.

    Args:
        folder: Searched with the folders below it.
        pattern: Regular expression or built-in name; None takes the built-in that fits.

    Returns:
        One row per file that fits. `plates.readers.unused_images` lists
        the others.

    Raises:
        BadPlate: No file fits, or one names a well or number that cannot be.
    """
    names = _names(folder)
    regex = _fitting(names) if pattern is None else compiled(pattern)
    rows = list(_planes(names, folder=folder, regex=regex)) if regex else []
    if not rows:
        first = ", ".join(list(names)[:3]) or "none"
        raise BadPlate(
            f"No image in {folder} has a name that fits the pattern {pattern or 'of any kind'!r}. "
            f"Images there: {len(names)}, first: {first}."
        )
    return table(rows)


def _names(folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in image_files(folder)}


def _fit(regex: re.Pattern[str], name: str) -> re.Match[str] | None:
    return regex.fullmatch(name if "/" in regex.pattern else name.rpartition("/")[2])


def _fitting(names: dict[str, Path]) -> re.Pattern[str] | None:
    every = map(re.compile, PATTERNS.values())
    return next((regex for regex in every if any(_fit(regex, name) for name in names)), None)


def _planes(names: dict[str, Path], *, folder: Path, regex: re.Pattern[str]) -> Iterator[PlaneRow]:
    plate = plate_name(folder)
    for name, path in names.items():
        if found := _fit(regex, name):
            given = {group: text for group, text in found.groupdict().items() if text is not None}
            try:
                numbers = {group: _number(given.get(group, "1"), group) for group in COUNTS}
                well = _well(given)
            except BadPlate as reason:
                raise BadPlate(f"{path}: {reason} Correct the pattern or the name.") from reason
            yield PlaneRow(
                given.get("plate", plate), well, numbers["site"], given.get("channel", "1"),
                numbers["z"], numbers["timepoint"], str(path),
            )  # fmt: skip


def _well(given: dict[str, str]) -> str:
    if "well" in given:
        return parse_well(given["well"])
    return well_at(row=given.get("row", ""), column=given.get("column", ""))


def _number(text: str, group: str) -> int:
    number = as_count(text)
    if number is None:  # dates and serial numbers, too, which a pattern took by mistake
        raise BadPlate(f"the group {group} found {text!r}, expected a number up to {MOST}.")
    return number


def matches(folder: Path) -> bool:
    """Whether any image's name fits a built-in pattern."""
    try:
        return folder.is_dir() and _fitting(_names(folder)) is not None
    except BadPlate:
        return False


PATTERN = Reader(
    "pattern",
    f"image names that fit a built-in pattern ({', '.join(PATTERNS)}) or one of yours",
    matches,
    scan,
)
