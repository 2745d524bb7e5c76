"""The microscope's shading profiles, taken along: evaluated for every size of images there is.

A run asks for the profile of the size that most images of a plate have, which is known only when
all are there. So fields are written with the name of a profile, and profiles after them.
"""

from collections.abc import Iterator
from typing import NamedTuple

import polars as pl

from plates.convert.stack import Stack
from plates.errors import BadImage, BadPlate
from plates.readers.flatfield import FlatField, read_flat_field
from plates.readers.noted import profile_name


class Wanted(NamedTuple):
    """A profile that fields were written with.

    Attributes:
        name: In the new plate.
        channel: The first that has it.
        shapes: Height and width of those fields' images.
    """

    name: str
    channel: str
    shapes: set[tuple[int, int]]


def named(stack: Stack, wanted: dict[str, Wanted]) -> Stack:
    """A field that calls its profiles as the new plate does; they are added to those wanted.

    Args:
        stack: As it was read.
        wanted: By the address that the plane table has.
    """
    said = stack.rows.select("flat_field", "channel").drop_nulls().unique(maintain_order=True)
    for address, channel in said.iter_rows():
        new = Wanted(profile_name(len(wanted) + 1), channel, set())
        wanted.setdefault(address, new).shapes.add(stack.images.shape[-2:])
    names = {address: wanted[address].name for address in said["flat_field"]}
    column = pl.col("flat_field").replace(names)
    return stack._replace(rows=stack.rows.with_columns(column)) if names else stack


def surfaces(address: str, wanted: Wanted) -> Iterator[FlatField | str]:
    """Read a profile for each size of images; only a reason if it fits none of them."""
    reasons = []
    for shape in sorted(wanted.shapes):
        try:
            yield read_flat_field(address, shape=shape)
        except (BadPlate, BadImage) as reason:
            reasons.append(str(reason))
    if len(reasons) == len(wanted.shapes):
        yield reasons[0]
