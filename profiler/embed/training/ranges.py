"""What the numbers of settings may be, said before the first step."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from math import inf
from typing import Any, NamedTuple

import numpy as np

from plates.errors import BadRecipe


class Range(NamedTuple):
    """What a number may be; NaN is in none.

    Attributes:
        words: The range in words.
        holds: Whether a number lies in it.
    """

    words: str
    holds: Callable[[Any], bool]


SHARE = Range("0 to 1", lambda x: 0 <= x <= 1)
PART = Range("0 to below 1", lambda x: 0 <= x < 1)
ABOVE_0 = Range("a finite number above 0", lambda x: 0 < x < inf)
ABOVE_0_TO_1 = Range("above 0, to 1", lambda x: 0 < x <= 1)
FROM_0 = Range("a finite number, 0 or more", lambda x: 0 <= x < inf)
FACTOR = Range("a finite factor, 1 or more", lambda x: 1 <= x < inf)
COUNT = Range("a whole number, 1 or more", lambda x: is_count(x, 1))
COUNT_FROM_0 = Range("a whole number, 0 or more", lambda x: is_count(x, 0))
COUNT_FROM_2 = Range("a whole number, 2 or more", lambda x: is_count(x, 2))


def is_count(number: Any, least: int) -> bool:
    """Whether a number is whole and no less than that."""
    return isinstance(number, int | np.integer) and int(number) >= least


def check_ranges(settings: Any, ranges: Mapping[str, Range]) -> None:
    """Refuse settings that are out of range.

    Args:
        settings: A dataclass instance.
        ranges: Field -> what it may be.

    Raises:
        BadRecipe: Names the first one that is not, with its default.
    """
    kind = type(settings).__name__
    for field in fields(settings):
        wanted, found = ranges.get(field.name), getattr(settings, field.name)
        if wanted and not wanted.holds(found):
            raise BadRecipe(
                f"Found {kind}.{field.name} = {found}; expected {wanted.words}. Its default is "
                f"{field.default}."
            )
