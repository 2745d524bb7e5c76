"""When a plate may be taken: by a manifest, by the microscope's word, or when it has been quiet.

A manifest is a file in the plate's folder, `.complete`, `manifest.csv` or as asked for. If its
first line is `path,bytes` it lists all files, and the plate is complete when each is there and as
long as it says. Any other content, or none, says that whoever wrote it wrote it last; but a file
called `manifest.csv` is a listing, and one that cannot be read as such tells nothing.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from plates.address import parse_address
from plates.readers import cellvoyager
from plates.readers.safe_xml import read_xml

LISTING = "manifest.csv"
MANIFESTS = (".complete", LISTING)
HEADER = ["path", "bytes"]


class Verdict(NamedTuple):
    """Whether a plate may be taken, and what told."""

    is_complete: bool
    because: str


def judge(plate: Path, *, manifest: str | None, quiet_s: float, least_s: float) -> Verdict:
    """Judge a plate by its manifest, if it has one.

    Args:
        plate: Its folder, or its file.
        manifest: Name of the one file that counts; by default `MANIFESTS`, and without one
            what `_ended` or the quiet says.
        quiet_s: Since when nothing was added or grown, in seconds.
        least_s: For how long nothing must have been.
    """
    if plate.is_dir():
        found = [name for name in (MANIFESTS if manifest is None else (manifest,))
                 if (plate / name).is_file()]  # fmt: skip
        if found:
            return _by_manifest(plate, found[0])
        if manifest is not None:
            return Verdict(False, f"there is no {manifest} yet")
        if said := _ended(plate):
            return Verdict(True, said)
    if quiet_s >= least_s:
        return Verdict(True, f"nothing was added for {quiet_s / 60:.0f} min")
    return Verdict(False, f"files are coming, or came less than {least_s / 60:.3g} min ago")


def _by_manifest(plate: Path, name: str) -> Verdict:
    try:
        # Spreadsheets and PowerShell write a byte-order mark.
        lines = list(csv.reader((plate / name).read_text("utf-8-sig").splitlines()))
        if not _has_header(lines):
            if name == LISTING:
                raise ValueError(f"its first line is not {','.join(HEADER)}")
            return Verdict(True, f"{name} is there")
        lacking = [path for path, size in _listed(plate, lines[1:]) if not _is_whole(path, size)]
    except (OSError, ValueError, csv.Error) as error:
        return Verdict(False, f"{name} cannot be read: {error}")
    total = len(lines) - 1
    if lacking:
        first = lacking[0].relative_to(plate)
        return Verdict(False, f"{len(lacking)} of {total} files in {name} are to come, as {first}")
    return Verdict(True, f"all {total} files in {name} are there")


def _has_header(lines: list[list[str]]) -> bool:
    return bool(lines) and [word.strip().lower() for word in lines[0]] == HEADER


def _listed(plate: Path, lines: list[list[str]]) -> Iterator[tuple[Path, int]]:
    for number, line in enumerate(lines, start=2):
        if len(line) != len(HEADER) or not line[1].strip().isdecimal():
            raise ValueError(f"line {number} is {','.join(line)!r}, expected a path and its bytes")
        path = plate / line[0].strip().replace("\\", "/")
        if not path.resolve().is_relative_to(plate.resolve()):
            raise ValueError(f"line {number} names {line[0]}, which is outside the plate's folder")
        yield path, int(line[1])


def _is_whole(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _ended(plate: Path) -> str | None:
    """CellVoyager notes when a measurement ended, and lists its images; the others do not."""
    try:
        if not cellvoyager.matches(plate):
            return None
        indexes = cellvoyager.indexes(plate, cellvoyager.INDEX)
        details = [read_xml(index.parent / cellvoyager.DETAIL) for index in indexes]
        if not all(detail.get("EndTime") for detail in details):
            return None
        images = [Path(parse_address(path).file) for path in cellvoyager.scan(plate)["path"]]
    except Exception:  # an index that is being copied, or is odd: the run will say how
        return None
    if not all(path.is_file() and path.stat().st_size for path in images):
        return None
    return f"the measurement has ended, and its {len(images)} images are there"
