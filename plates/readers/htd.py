"""The .HTD file of a MetaXpress export: what its waves are called, and what was to be imaged.

"WellsSelection2", FALSE, TRUE, ...     row B: a TRUE for each column that was chosen
"Sites", TRUE                           or FALSE: one site in each well
"SiteSelection1", TRUE, TRUE            a row of the grid of sites
"WaveName1", "DAPI"
"""

import re
from pathlib import Path
from typing import NamedTuple

from plates.errors import BadPlate
from plates.well import well_name

LINE = re.compile(r'"(?P<name>[A-Za-z]+)(?P<number>\d{0,6})"\s*,(?P<said>[^\r\n]*)')
TEXT = re.compile(r'"([^"]*)"')


class Htd(NamedTuple):
    """What one file states; nothing where it does not.

    Attributes:
        waves: Number and name of each.
        wells: Those chosen.
        sites: Their numbers in each well.
    """

    waves: tuple[tuple[int, str], ...]
    wells: frozenset[str]
    sites: frozenset[int]


def read_htd(path: Path) -> Htd:
    """Read what an .HTD file states.

    Raises:
        BadPlate: It chooses a well that no plate has.
    """
    lines = LINE.finditer(path.read_bytes().decode("latin-1"))
    said = {(line["name"], int(line["number"] or 0)): line["said"].strip() for line in lines}
    waves = [
        (number, text[1])
        for (name, number), value in said.items()
        if name == "WaveName" and number and (text := TEXT.match(value))
    ]
    return Htd(tuple(waves), _wells(said, path=path), _sites(said))


def _wells(said: dict[tuple[str, int], str], *, path: Path) -> frozenset[str]:
    try:
        return frozenset(
            well_name(row=number - 1, column=column)
            for (name, number), value in said.items()
            if name == "WellsSelection"
            for column, is_chosen in enumerate(_choices(value))
            if is_chosen
        )
    except BadPlate as reason:
        raise BadPlate(
            f"{path} chooses a well that cannot be. {reason} Copy the file again, or remove it: "
            "what is missing of the plate is then not known."
        ) from reason


def _sites(said: dict[tuple[str, int], str]) -> frozenset[int]:
    """Sites are numbered as they were taken, so how many were chosen of the grid is what counts."""
    if said.get(("Sites", 0), "").upper() == "FALSE":
        return frozenset({1})
    rows = [value for (name, _), value in said.items() if name == "SiteSelection"]
    return frozenset(range(1, sum(sum(_choices(row)) for row in rows) + 1))


def _choices(value: str) -> list[bool]:
    return [text.strip().upper() == "TRUE" for text in value.split(",")]
