"""Harmony's flat-field profile of a channel: its text in the index, as the surfaces it stands for.

    {Background: {Character: NonFlat, Mean: 443.79058, Profile: {Coefficients: [[1.2132], ...],
     Dims: [2160, 2160], Origin: [1079.5, 1079.5], Scale: [0.00046296296, 0.00046296296],
     Type: Polynomial}}, Channel: 1, Foreground: {Character: NonFlat, Profile: {...}}}

JSON, or as often the same without quotes. Both polynomials are shapes with a mean of 1; what the
background is in grey levels is its `Mean`. A measurement has a background alone (Harmony calls that
correction Basic), or a foreground too (Advanced). Character Null is what Harmony did not find.
"""

import json
import re
from typing import TypeAlias

import numpy as np
from jaxtyping import Float

from plates.readers.safe_xml import as_number

Surface: TypeAlias = Float[np.ndarray, "height width"]

PARTS = ("Foreground", "Background")
NULL = re.compile(r'\bCharacter"?\s*:\s*"?Null\b')
NON_FLAT = re.compile(r'\bCharacter"?\s*:\s*"?NonFlat\b')
KIND = re.compile(r'\bType"?\s*:\s*"?(\w+)')
MEAN = re.compile(r'\bMean"?\s*:\s*"?([^\s,}"]+)')


def is_given(said: str | None) -> bool:
    """Whether Harmony found how a channel is lit; a damaged profile counts, so that it is told.

    >>> is_given("{Background: {Character: Null, Mean: NaN, Profile: {Type: Identity}}}")
    False
    """
    try:
        parts = [_part(said or "", name) for name in PARTS]
    except ValueError:
        return True
    return any(part and not NULL.search(part) for part in parts)


def surfaces(said: str, *, shape: tuple[int, int]) -> tuple[Surface, Surface]:
    """What a channel's images are divided by, and what is taken off before.

    The background is made level at its mean, and not removed:

        (image - Mean * background) / foreground + Mean

    so what is taken off is Mean * (background - foreground). Images differ in their background and
    the index has only the plate's mean, so 0 would not be darkness, and half of the noise would
    be lost below it. Without a foreground this is image - Mean * (background - 1).

    Args:
        said: The profile's text.
        shape: Height and width of the images; polynomials are stretched to it.

    Returns:
        The foreground as it is given, about 1, and grey levels to take off, below 0 where a
        background is darker than its mean. float32.

    Raises:
        ValueError: It is damaged, of an unknown type, or a background that is not level has no
            mean.

    Source: Harmony's own code is closed. Its export script (BIOP/biop-operetta-tools, by the maker)
        takes Foreground where there is one, else Background, else None, and computes a background
        for each image: so backgrounds are taken off, and images not divided by them. Published
        code for this text mostly does so too, I - Mean * (background - 1), one divided by the
        foreground then, which spreads the mean again: here it is added after. (One package
        divides by the background; cells would be more even where it is light on the medium, and
        less where it is not, which the text does not say.) Polynomials of real indexes, those in
        broadinstitute/pe2loaddata: `test_real_profiles_are_shapes_with_a_mean_of_1`.
    """
    foreground, background = (_shape(_part(said, name), name, shape=shape) for name in PARTS)
    taken_off = _mean(_part(said, "Background")) * (background - foreground)
    return foreground.astype(np.float32), taken_off.astype(np.float32)


def _part(said: str, name: str) -> str:
    """The text of one named block in braces."""
    start = re.search(rf'"?\b{name}"?\s*:\s*\{{', said)
    if not start:
        return ""
    depth = 1
    for end in range(start.end(), len(said)):
        depth += {"{": 1, "}": -1}.get(said[end], 0)
        if depth == 0:
            return said[start.end() : end]
    raise ValueError(f"the block {name} does not end")


def _mean(part: str) -> float:
    """Grey levels of a background; 0 of one that Harmony did not find, or calls flat without."""
    if NULL.search(part):
        return 0.0
    found = MEAN.search(part)
    mean = as_number(found[1]) if found else None
    if mean is None and "Coefficients" in part:
        raise ValueError(
            f"its Background has {f'the Mean {found[1]}' if found else 'no Mean'}, expected grey "
            "levels: its polynomial is a shape alone"
        )
    return mean or 0.0


def _shape(part: str, name: str, *, shape: tuple[int, int]) -> Surface:
    """Sum of c[i][j] x^(i-j) y^j, with x and y counted from the origin in the profile's units."""
    if "Coefficients" not in part:
        if NON_FLAT.search(part):
            raise ValueError(f"its {name} is NonFlat and has no Coefficients")
        return np.ones(shape)
    kind = KIND.search(part)
    if kind and kind[1] != "Polynomial":
        raise ValueError(f"its {name} is a {kind[1]}, expected a Polynomial")
    origin, scale, dims = (_numbers(part, key) for key in ("Origin", "Scale", "Dims"))
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float64)
    x = (_stretched(columns, shape[1], dims[0]) - origin[0]) * scale[0]
    y = (_stretched(rows, shape[0], dims[1]) - origin[1]) * scale[1]
    terms = [
        value * x ** (degree - j) * y**j
        for degree, values in enumerate(_numbers(part, "Coefficients"))
        for j, value in enumerate(values)
    ]
    return np.sum(terms, axis=0)


def _stretched(position: np.ndarray, here: int, there: int) -> np.ndarray:
    return (position + 0.5) * there / here - 0.5


def _numbers(part: str, key: str) -> list:
    found = re.search(rf'"?\b{key}"?\s*:\s*(\[(?:[^\[\]]|\[[^\[\]]*\])*\])', part)
    if not found:
        raise ValueError(f"it has no {key}")
    return json.loads(found[1])
