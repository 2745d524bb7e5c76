"""Olympus / Evident ScanR: `experiment_descriptor.xml`, and images in `data`.

An image is called `A3--W00003--P00001--Z00000--T00000--DAPI.tif`. The number after W counts wells
row by row; where the plate has another number of columns than the label tells, the label is
right. Where a label is a well off the plate and no plate's numbers fit, labels call wells something
else, as T1 and C1 do treatments and controls: then the number is right. The descriptor is
LabVIEW's XML: Name and Val in turn.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from pathlib import Path

import polars as pl

from plates.errors import BadPlate
from plates.readers.folder import image_files, indexes, number_in, plate_name
from plates.readers.reader import PlaneRow, Reader, table
from plates.readers.safe_xml import as_number, parse_xml
from plates.table import as_count
from plates.well import FORMATS, LARGEST, parse_well, well_name, well_position

INDEX = "experiment_descriptor.xml"
NAME = re.compile(
    r"(?P<label>.*?)--W(?P<well>\d+)--P(?P<site>\d+)--Z(?P<z>\d+)--T(?P<time>\d+)--"
    r"(?P<channel>.+)\.tiff?",
    re.IGNORECASE,
)


def matches(source: Path) -> bool:
    """Whether there is a descriptor near the top."""
    return bool(indexes(source, INDEX))


def scan(source: Path) -> pl.DataFrame:
    """List every plane of one or more plates.

    Returns:
        One row per image, channels as they are named.

    Raises:
        BadPlate: A descriptor is damaged, no image has such a name, or its well is unknown.
    """
    return table(row for index in indexes(source, INDEX) for row in _planes(index))


def _planes(index: Path) -> Iterator[PlaneRow]:
    said = dict(_said(_descriptor(index)))
    names = [(p, NAME.fullmatch(p.name)) for p in image_files(index.parent)]
    found = [(path, name) for path, name in names if name]
    if not found:
        raise BadPlate(
            f"No image beside {index} has a ScanR name (A1--W00001--P00001--Z00000--T00000--"
            f"DAPI.tif); {len(names)} have another. Copy the data folder, too."
        )
    rows, columns = _size(said)
    wells = _labelled((name for _, name in found), rows=rows, columns=columns)
    pixel_size = as_number(said.get("conversion factor um/pixel"))
    for path, name in found:
        yield PlaneRow(
            plate=said.get("plate name") or plate_name(index.parent),
            well=wells.get(name["label"]) or _counted(name, columns=columns, path=path),
            site=number_in(name["site"], path=path),
            channel=name["channel"],
            z=number_in(name["z"], path=path) + 1,
            timepoint=number_in(name["time"], path=path) + 1,
            path=str(path),
            pixel_size_um=pixel_size,
            objective=said.get("objective"),
        )


def _descriptor(index: Path) -> ET.Element:
    """ScanR writes Latin-1 without saying so, which no XML parser takes."""
    try:
        data = index.read_bytes()
    except OSError as reason:
        raise BadPlate(f"{index} cannot be read: {reason.strerror}.") from reason
    body = re.sub(rb"^\s*(?:\xef\xbb\xbf)?<\?xml[^>]*\?>", b"", data)
    return parse_xml(b'<?xml version="1.0" encoding="ISO-8859-1"?>' + body, path=str(index))


def _said(root: ET.Element) -> Iterator[tuple[str, str]]:
    """Each setting's name with its value, the first of several."""
    seen = set()
    for element in root.iter():
        name, value = element.findtext("Name"), element.findtext("Val")
        if name and value and name.strip() not in seen:
            seen.add(name.strip())
            yield name.strip(), value.strip()


def _size(said: dict[str, str]) -> tuple[int | None, int | None]:
    """Rows and columns of the plate, from its own numbers of them or of wells."""
    known = FORMATS.get(as_count(said.get("Number of wells", "")) or 0)
    rows, columns = (as_count(said.get(name, "")) for name in ("Rows", "Columns"))
    return rows or (known.rows if known else None), columns or (known.columns if known else None)


def _labelled(
    names: Iterable[re.Match[str]], *, rows: int | None, columns: int | None
) -> dict[str, str]:
    """Label -> the well that it is; none at all where labels are no wells."""
    numbers = {name["label"]: as_count(name["well"]) for name in names}
    wells = {label: well for label in numbers if (well := _as_well(label))}
    places = {label: well_position(well) for label, well in wells.items()}
    are_on = all(
        place.row < (rows or LARGEST.rows) and place.column < (columns or LARGEST.columns)
        for place in places.values()
    )
    fits = any(
        all(
            numbers[x] == place.row * form.columns + place.column + 1 for x, place in places.items()
        )
        for form in FORMATS.values()
    )
    return wells if are_on or fits else {}


def _as_well(label: str) -> str | None:
    try:
        return parse_well(label)
    except BadPlate:
        return None


def _counted(name: re.Match[str], *, columns: int | None, path: Path) -> str:
    """The well of a number, for wells whose label names none."""
    if columns and (number := number_in(name["well"], path=path)):
        row, column = divmod(number - 1, columns)
        return well_name(row=row, column=column)
    raise BadPlate(
        f"{path}: the name starts with no well, and {INDEX} does not say how many columns "
        f"the plate has, so W{name['well']} could be any. Name the wells in ScanR."
    )


SCANR = Reader("scanr", f"ScanR's {INDEX}", matches, scan)
