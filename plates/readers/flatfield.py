"""The microscope's own shading profiles, where it writes any.

Harmony keeps polynomials for each channel in its index, CellVoyager an image per channel. A
corrected image is (raw - background) / foreground.
"""

import json
import re
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float

from plates.errors import BadPlate
from plates.pixels import read_file, read_plane
from plates.readers.harmony import channel_facts
from plates.readers.safe_xml import parse_xml

Surface: TypeAlias = Float[np.ndarray, "height width"]

ADDRESS = re.compile(r"(?P<index>.+)#channel=(?P<channel>\d+)")


class FlatField(NamedTuple):
    """How one channel is lit.

    Attributes:
        foreground: Relative brightness, about 1, [height, width].
        background: What a dark image shows, in the units of the images, [height, width].
    """

    foreground: Surface
    background: Surface


def read_flat_field(address: str, *, shape: tuple[int, int]) -> FlatField:
    """Read the profile that a plane table's `flat_field` names.

    Args:
        address: From the column.
        shape: Height and width of the images; a polynomial is stretched to it.

    Returns:
        float32 arrays of that shape.

    Raises:
        BadPlate: There is no such profile, or an image of one has another shape or is empty.
        BadImage: The file that holds it cannot be read.
    """
    found = ADDRESS.fullmatch(address)
    if found:
        return _polynomials(found["index"], channel=found["channel"], shape=shape)
    return _image(address, shape=shape)


def _image(path: str, *, shape: tuple[int, int]) -> FlatField:
    lit = read_plane(path).pixels.astype(np.float32)
    if lit.shape != shape or not lit.mean() > 0:
        raise BadPlate(
            f"The shading image {path} is {lit.shape[0]} x {lit.shape[1]} with a mean of "
            f"{lit.mean():g}; expected {shape[0]} x {shape[1]} and light. Fit a profile instead."
        )
    return FlatField(lit / lit.mean(), np.zeros(shape, np.float32))


def _polynomials(index: str, *, channel: str, shape: tuple[int, int]) -> FlatField:
    root = parse_xml(read_file(index)[0], path=index)
    said = channel_facts(root).get(channel, {}).get("FlatfieldProfile")
    if not said:
        raise BadPlate(f"{index} has no flat-field profile for channel {channel}.")
    try:
        foreground = _surface(_part(said, "Foreground"), shape=shape, flat=1.0)
        background = _surface(_part(said, "Background"), shape=shape, flat=0.0)
    except (ValueError, IndexError, KeyError, TypeError) as reason:
        raise BadPlate(
            f"{index}: the flat-field profile of channel {channel} cannot be read ({reason}). "
            "Fit a profile instead."
        ) from reason
    return FlatField(foreground, background)


def _part(said: str, name: str) -> str:
    """The text of one named block in braces; the whole is JSON or, as often, JSON unquoted."""
    start = re.search(rf'"?{name}"?\s*:\s*\{{', said)
    if not start:
        return ""
    depth = 1
    for end in range(start.end(), len(said)):
        depth += {"{": 1, "}": -1}.get(said[end], 0)
        if depth == 0:
            return said[start.end() : end]
    raise ValueError(f"the block {name} does not end")


def _surface(part: str, *, shape: tuple[int, int], flat: float) -> Surface:
    """Sum of c[i][j] x^(i-j) y^j, with x and y counted from the origin in the profile's units."""
    if "Coefficients" not in part:
        return np.full(shape, flat, np.float32)
    origin, scale, dims = (_numbers(part, name) for name in ("Origin", "Scale", "Dims"))
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float64)
    x = (_stretched(columns, shape[1], dims[0]) - origin[0]) * scale[0]
    y = (_stretched(rows, shape[0], dims[1]) - origin[1]) * scale[1]
    terms = [
        value * x ** (degree - j) * y**j
        for degree, values in enumerate(_numbers(part, "Coefficients"))
        for j, value in enumerate(values)
    ]
    return np.sum(terms, axis=0).astype(np.float32)


def _stretched(position: np.ndarray, here: int, there: int) -> np.ndarray:
    return (position + 0.5) * there / here - 0.5


def _numbers(part: str, name: str) -> list:
    found = re.search(rf'"?{name}"?\s*:\s*(\[(?:[^\[\]]|\[[^\[\]]*\])*\])', part)
    if not found:
        raise ValueError(f"it has no {name}")
    return json.loads(found[1])
