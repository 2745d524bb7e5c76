"""GE / Cytiva IN Cell Analyzer: one `.xdce` (or `.xml`) file lists every TIFF beside it."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from plates.errors import BadPlate
from plates.readers.folder import indexes, inside, plate_name
from plates.readers.reader import PlaneRow, Reader, table
from plates.readers.safe_xml import as_number, read_xml, well_in, whole

INDEX = "*.xdce"
NUMBERS = ("field_index", "z_index", "wave_index", "time_index")
FILTER = re.compile(r"(\d{3})(?:_\d+)?")  # centre and width of a filter, as in 535_50


def matches(source: Path) -> bool:
    """Whether there is an .xdce file near the top."""
    return bool(indexes(source, INDEX))


def scan(source: Path) -> pl.DataFrame:
    """List every plane of one or more plates.

    Returns:
        One row per image, channels `w1`, `w2`, ... named after their filters.

    Raises:
        BadPlate: An index is damaged, or names files outside its folder.
    """
    return table(row for index in indexes(source, INDEX) for row in _planes(index))


def _planes(index: Path) -> Iterator[PlaneRow]:
    root = read_xml(index)
    if root.tag != "ImageStack":
        raise BadPlate(f"{index} is no index of an IN Cell Analyzer: it starts with {root.tag}.")
    lens = root.find(".//ObjectiveCalibration")
    lens = ET.Element("none") if lens is None else lens
    names = dict(_names(root))
    for image in root.iterfind("Images/Image"):
        identifier = image.find("Identifier")
        if identifier is None:
            raise BadPlate(f"{index}: image {image.get('filename')} has no Identifier.")
        place = {n: whole(identifier.get(n), what=n, path=index) for n in NUMBERS}
        channel_name, wavelength = names.get(place["wave_index"], (None, None))
        time = as_number(image.get("acquisition_time_ms"))
        yield PlaneRow(
            plate=plate_name(index.parent),
            well=_well(image, index=index),
            site=place["field_index"] + 1,
            channel=f"w{place['wave_index'] + 1}",
            z=place["z_index"] + 1,
            timepoint=place["time_index"] + 1,
            path=str(inside(index.parent, image.get("filename", ""), index=index)),
            channel_name=channel_name,
            wavelength_nm=wavelength,
            pixel_size_um=as_number(lens.get("pixel_width")),
            magnification=as_number(lens.get("magnification")),
            objective=lens.get("objective_name"),
            z_um=_focus(image),
            time_s=None if time is None else time / 1000,
        )


def _well(image: ET.Element, *, index: Path) -> str:
    numbers = [image.find(f".//{tag}") for tag in ("Row", "Column")]
    row, column = (None if n is None else n.get("number") for n in numbers)
    if not row or not column:
        raise BadPlate(f"{index}: image {image.get('filename')} has no Row and Column.")
    return well_in(index, row=row, column=column)


def _focus(image: ET.Element) -> float | None:
    focus = image.find("FocusPosition")
    return None if focus is None else as_number(focus.get("z"))


def _names(root: ET.Element) -> Iterator[tuple[int, tuple[str | None, float | None]]]:
    """Number of each wave -> the name of its dye or emission filter, and its wavelength."""
    for position, wave in enumerate(root.iter("Wavelength")):
        emission = wave.find("EmissionFilter")
        name = None if emission is None else emission.get("name")
        said = None if emission is None else as_number(emission.get("wavelength"))
        centre = FILTER.fullmatch(name or "")
        index = wave.get("index", "")
        number = int(index) if index.isdecimal() else position
        yield number, (name, said or (float(centre[1]) if centre else None))


INCELL = Reader("incell", f"an IN Cell Analyzer index ({INDEX})", matches, scan)
