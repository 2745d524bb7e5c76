"""Colours that tell kinds apart, also to those who do not see red or green."""

from collections.abc import Sequence
from typing import NamedTuple

# Okabe & Ito 2008 (jfly.uni-koeln.de/color), the darker ones first, without black.
OKABE_ITO = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#f0e442",
)  # fmt: skip
OTHER = "#9aa0a6"


class Look(NamedTuple):
    """How the points of one kind are drawn: a disc, or a ring where the colours repeat."""

    colour: str
    is_ring: bool = False


LOOKS = (*(Look(c) for c in OKABE_ITO), *(Look(c, is_ring=True) for c in OKABE_ITO))
REST = Look(OTHER)


def look(code: int | None) -> Look:
    """Look of the kind with this number, grey past the last and for none.

    >>> look(0).colour, look(7), look(99).colour
    ('#0072b2', Look(colour='#0072b2', is_ring=True), '#9aa0a6')
    """
    return REST if code is None or code >= len(LOOKS) else LOOKS[code]


def by_frequency(values: Sequence[str | None]) -> list[str]:
    """Distinct values, the most frequent first, ties by name; None is no value.

    >>> by_frequency(["b", "a", "b", None])
    ['b', 'a']
    """
    counts: dict[str, int] = {}
    for value in values:
        if value is not None:
            counts[value] = counts.get(value, 0) + 1
    return sorted(counts, key=lambda value: (-counts[value], len(value), value))
