"""Indexes in XML, read so that a file from outside cannot reach anything but itself.

Entities are declared in a DOCTYPE only, and no microscope writes one. So a document with a DOCTYPE
is refused whole: entity bombs ("billion laughs") and external entities with it.
"""

import math
import reprlib
import xml.etree.ElementTree as ET
from pathlib import Path
from xml.parsers import expat

from plates.errors import BadPlate
from plates.table import MOST, as_count
from plates.well import well_at

START = 65_536  # bytes that hold the first element of any index


def read_xml(path: Path) -> ET.Element:
    """Read an index, its namespaces taken off: tags and attributes go by their plain names.

    Raises:
        BadPlate: The file cannot be read, is not XML, or declares a document type.
    """
    try:
        return parse_xml(path.read_bytes(), path=str(path))
    except OSError as reason:
        raise BadPlate(f"{path} cannot be read: {reason.strerror}.") from reason


def parse_xml(data: bytes | str, *, path: str) -> ET.Element:
    """Parse XML held in memory.

    Args:
        data: The document.
        path: Where it came from, for messages.

    Raises:
        BadPlate: It is not XML, or declares a document type.
    """
    try:
        _refuse_doctype(data, path=path)
        root = ET.fromstring(data)
    except BadPlate:
        raise
    except (expat.ExpatError, ET.ParseError, ValueError, LookupError) as reason:
        raise BadPlate(
            f"{path} is not the XML it should be: {reason}. Copy it again from the microscope."
        ) from reason
    for element in root.iter():
        element.tag = _plain(element.tag)
        if any("}" in name for name in element.attrib):
            element.attrib = {_plain(name): text for name, text in element.attrib.items()}
    return root


def namespace(data: bytes) -> str:
    """The namespace of a document's first element, which often tells the version; "" for none."""
    names: list[str] = []
    parser = expat.ParserCreate(namespace_separator="\n")
    parser.StartElementHandler = lambda name, _: names.append(name)
    parser.Parse(data[:START], False)
    return names[0].rpartition("\n")[0] if names else ""


def _refuse_doctype(data: bytes | str, *, path: str) -> None:
    def refuse(*_: object) -> None:
        raise BadPlate(
            f"{path} declares a document type (DOCTYPE), which no microscope does and which can "
            "hide an attack (XML entities). It was not read. Export the index again, or delete "
            "the declaration if you trust the file."
        )

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.Parse(data, True)


def _plain(name: str) -> str:
    return name.rpartition("}")[2]


def text(element: ET.Element, tag: str) -> str | None:
    """Text of a child, stripped; None if it is not there or empty."""
    found = element.findtext(tag)
    return (found.strip() or None) if found else None


def as_number(written: str | None) -> float | None:
    """A number as microscopes write it, or None.

    >>> as_number("1.49E-07"), as_number("n/a"), as_number("NaN"), as_number(None)
    (1.49e-07, None, None, None)
    """
    try:
        number = float(written) if written is not None else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def whole(written: str | None, *, what: str, path: Path) -> int:
    """A whole number that must be there, at most `plates.table.MOST`.

    Raises:
        BadPlate: It is not.
    """
    number = as_count(written or "")
    if number is None:
        raise BadPlate(
            f"{path}: {what} is {reprlib.repr(written)}, expected a whole number. The index is "
            f"damaged (none is above {MOST}) or of an unknown version; export it again."
        )
    return number


def well_in(path: Path, *, row: str, column: str) -> str:
    """The well of a row and a column as an index writes them, counted from 1.

    Raises:
        BadPlate: No plate has it; the message names the index.
    """
    try:
        return well_at(row=row, column=column)
    except BadPlate as reason:
        raise BadPlate(f"{path}: {reason}") from reason
