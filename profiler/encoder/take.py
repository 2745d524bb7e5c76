"""Crops of chosen cells, from the fields of their runs read again."""

from collections.abc import Generator, Mapping
from typing import NamedTuple

import numpy as np
import polars as pl

from plates.imageset import FieldKey
from profiler.compute.reread import Reader
from profiler.encoder.choose import CELL, FIELD

MOST = 65_535


class Read(NamedTuple):
    """A field was read again.

    Attributes:
        field: Which.
        number: How many have been, this one counted.
        fields: How many there are.
    """

    field: FieldKey
    number: int
    fields: int


class Taken(NamedTuple):
    """Cells with their crops; row i of each is one cell.

    Attributes:
        cells: The rows that were asked for, less those whose crop reaches beyond the field.
        crops: [cell, side, side, channel] uint16: what the network sees from 0 to 1, in 65,535ths.
        lost: What a person should know of cells that are not among them, in sentences.
    """

    cells: pl.DataFrame
    crops: np.ndarray
    lost: tuple[str, ...] = ()


def take_crops(cells: pl.DataFrame, readers: Mapping[str, Reader]) -> Generator[Read, None, Taken]:
    """Read the fields of some cells again, each once, and cut the cells out.

    Args:
        cells: `CELL` and what else is known of them; the order of fields is that of their rows.
        readers: Plate -> what reads its fields, from `compute.reread.field_reader`.

    Yields:
        Each field as it is read.

    Raises:
        BadPlate: Images are gone or changed.
        BadRun: A field has other cells now than the run's table.
    """
    groups = cells.partition_by(FIELD, maintain_order=True, as_dict=True)
    kept, crops, count = [], np.empty(0, np.uint16), 0
    for number, (key, own) in enumerate(groups.items(), start=1):
        field = FieldKey(*key)
        seen = readers[field.plate](field)
        rows = own[CELL[-1]].to_numpy() - 1
        is_whole = seen.is_whole[rows]
        kept.append(own.filter(is_whole))
        # Illumination corrected may lift a pixel above what its type holds.
        unit = np.clip(seen.pixels[rows[is_whole]], 0.0, 1.0)
        if not count:  # gigabytes, which a list to be joined at the end would take twice
            crops = np.empty((cells.height, *unit.shape[1:]), np.uint16)
        crops[count : count + len(unit)] = np.round(unit * MOST)
        count += len(unit)
        yield Read(field, number, len(groups))
    lost = (
        f"{cells.height - count} of {cells.height} cells lie so near a border that their crops "
        "reach beyond the field, and are left out.",
    )
    return Taken(pl.concat(kept), crops[:count], lost * (count < cells.height))
