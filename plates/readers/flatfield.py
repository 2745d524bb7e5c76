"""The microscope's own shading profiles, where it writes any.

Harmony keeps polynomials for each channel in its index (`plates.readers.harmony_profile`),
CellVoyager an image per channel; a plate that `plates.convert` wrote has what came of either. A
corrected image is (raw - background) / foreground.
"""

import re
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float

from plates.address import item_of
from plates.errors import BadImage, BadPlate
from plates.pixels import read_file, read_plane
from plates.readers import noted
from plates.readers.harmony import PROFILE, channel_facts
from plates.readers.harmony_profile import surfaces
from plates.readers.safe_xml import parse_xml

Surface: TypeAlias = Float[np.ndarray, "height width"]

ADDRESS = re.compile(r"(?P<index>.+)#channel=(?P<channel>\d+)")


class FlatField(NamedTuple):
    """How one channel is lit.

    Attributes:
        foreground: Relative brightness, about 1, [height, width].
        background: What is taken off before, in the units of the images, [height, width]. Of
            Harmony's it makes the background level and keeps its mean, so it is partly below 0.
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
        both = [read_plane(item_of(array[0], i, dataset=array[1])).pixels for i in (0, 1)]
    except BadImage as reason:
        if reason.code not in ("missing_file", "missing_plane"):
            raise
        raise BadPlate(
            f"{file} has no shading profile {home or ''} for images of {shape[0]} x {shape[1]}: it "
            "could not be read when the plate was converted, or was lost since. Convert the "
            "plate again, or fit a profile instead."
        ) from reason
    if any(surface.shape != shape for surface in both):
        raise BadPlate(f"{array[0]} is no shading profile for images of {size}. Convert again.")
    return FlatField(*(surface.astype(np.float32) for surface in both))


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
    said = channel_facts(root).get(channel, {}).get(PROFILE)
    if not said:
        raise BadPlate(f"{index} has no flat-field profile for channel {channel}.")
    try:
        return FlatField(*surfaces(said, shape=shape))
    except (ValueError, IndexError, KeyError, TypeError) as reason:
        raise BadPlate(
            f"{index}: the flat-field profile of channel {channel} cannot be read ({reason}). "
            "Fit a profile instead."
        ) from reason
