"""The microscope's own shading profiles, where it writes any.

Harmony keeps polynomials for each channel in its index, CellVoyager an image per channel; a plate
that `plates.convert` wrote has what came of either. A corrected image is
(raw - background) / foreground.
"""

import json
import re
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float

from plates.address import item_of
from plates.errors import BadImage, BadPlate
from plates.pixels import read_file, read_plane
from plates.readers import noted
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
        shape: Height and width of the images; a polynomial is stretched to it, and of what was
            converted the surfaces of that size are taken.

    Returns:
        float32 arrays of that shape.

    Raises:
        BadPlate: There is no such profile, none of that size, or an image of one is empty.
        BadImage: The file that holds it cannot be read.
    """
    if found := ADDRESS.fullmatch(address):
        return _polynomials(found["index"], channel=found["channel"], shape=shape)
    if found := noted.ADDRESS.fullmatch(address):
        return _converted(found["file"], found["dataset"], shape=shape)
    return _image(address, shape=shape)


def _converted(file: str, home: str | None, *, shape: tuple[int, int]) -> FlatField:
    """Surfaces that `plates.convert` kept, in an array of Zarr or a dataset of HDF5."""
    size = noted.size_name(shape)
    array = (file, f"{home}/{size}") if home else (f"{file}/{size}", None)
    try:
        surfaces = [read_plane(item_of(array[0], i, dataset=array[1])).pixels for i in (0, 1)]
    except BadImage as reason:
        if reason.code not in ("missing_file", "missing_plane"):
            raise
        raise BadPlate(
            f"{file} has no shading profile {home or ''} for images of {shape[0]} x {shape[1]}: it "
            "could not be read when the plate was converted, or was lost since. Convert the "
            "plate again, or fit a profile instead."
        ) from reason
    if any(surface.shape != shape for surface in surfaces):
        raise BadPlate(f"{array[0]} is no shading profile for images of {size}. Convert again.")
    return FlatField(*(surface.astype(np.float32) for surface in surfaces))


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
