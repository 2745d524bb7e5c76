"""What the metadata of OME-Zarr says, each entry of the kind it must be, or refused by its name."""

import sys
from typing import Any, NamedTuple

from plates.errors import BadPlate
from plates.remote import read_json


class Said(NamedTuple):
    """A JSON object of a file.

    Attributes:
        file: For messages.
        values: Its entries, as they are.
    """

    file: str
    values: dict[str, Any]

    def part(self, name: str) -> "Said":
        """An object in it; one without entries where there is none."""
        found = self.values.get(name, {})
        if not isinstance(found, dict):
            raise self.wrong(name, "an object")
        return Said(self.file, found)

    def parts(self, name: str) -> "list[Said]":
        """A list of objects in it, which must be there."""
        found = self.values.get(name)
        if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
            raise self.wrong(name, "a list of objects")
        return [Said(self.file, item) for item in found]

    def some(self, name: str) -> "list[Said]":
        """As `parts`, but none where nothing is said."""
        return self.parts(name) if name in self.values else []

    def text(self, name: str) -> str:
        """A name in it, as text; "" where there is none."""
        found = self.values.get(name)
        if not isinstance(found, str | int | float | None):
            raise self.wrong(name, "a name")
        return "" if found is None else str(found)

    def numbers(self, name: str, *, count: int) -> list[float]:
        """As many numbers as there are axes, which must be there."""
        found = self.values.get(name)
        if not (isinstance(found, list) and len(found) == count and all(map(is_number, found))):
            raise self.wrong(name, f"{count} numbers")
        return [float(value) for value in found]

    def wrong(self, name: str, expected: str) -> BadPlate:
        """The error of an entry of another kind."""
        found = str(self.values.get(name))[:80]
        return BadPlate(f"{self.file}: {name!r} is {found}, expected {expected}. Write it again.")


def is_number(value: object) -> bool:
    """Whether it is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max  # JSON's integers have no end


def said_in(folder: str) -> Said:
    """OME's attributes of a group, whichever version of Zarr it is; none where there is no group.

    Raises:
        BadPlate: They cannot be read, or are not what such a file holds.
    """
    if (found := _read(folder, "zarr.json")) is not None:
        return Said(f"{folder}/zarr.json", found).part("attributes").part("ome")
    return Said(f"{folder}/.zattrs", _read(folder, ".zattrs") or {})


def array_shape(folder: str) -> object:
    """The entry "shape" of an array's metadata, as it is; an empty list where there is none."""
    said = _read(folder, "zarr.json") or _read(folder, ".zarray") or {}
    return said.get("shape", [])


def _read(folder: str, name: str) -> dict[str, Any] | None:
    try:
        return read_json(folder, name)
    except RecursionError as reason:
        raise BadPlate(f"{folder}/{name} is nested too deeply to be metadata.") from reason
