"""What explaining tells as it goes."""

from pathlib import Path
from typing import NamedTuple, TypeAlias

from plates.imageset import FieldKey


class Read(NamedTuple):
    """A field was read again.

    Attributes:
        field: Which.
        number: How many have been, this one counted.
        fields: How many there are.
        why: What for.
    """

    field: FieldKey
    number: int
    fields: int
    why: str


class Told(NamedTuple):
    """Something a person should know."""

    sentence: str


class Written(NamedTuple):
    """All is there: the folder, and the sheets in it."""

    folder: Path
    sheets: tuple[Path, ...]


Event: TypeAlias = Read | Told | Written
