"""Plane table -> image sets: one row per field, one list of files per stain."""

from collections.abc import Mapping
from typing import NamedTuple

import polars as pl

from plates.errors import BadPlate, BadRecipe, UnknownName, suggestion

FIELD = ("plate", "well", "site")


class FieldKey(NamedTuple):
    """One field of view: a position in a well of a plate."""

    plate: str
    well: str
    site: int


def path_column(stain: str) -> str:
    """Column of the image sets that holds a stain's files.

    >>> path_column("DNA")
    'path_DNA'
    """
    return f"path_{stain}"


def image_sets(
    planes: pl.DataFrame, *, channels: Mapping[str, str], timepoint: int | None = None
) -> pl.DataFrame:
    """Gather the files of every field.

    Args:
        planes: From `plates.readers.scan`, columns `PLANES`.
        channels: Stain -> the reader's name of its channel.
        timepoint: Which one to take; needed only if there are several.

    Returns:
        One row per field of the plate: `plate, well, site` and for each stain a column
        `path_<stain>`, the files in z order, null where the field lacks that channel.
        Sorted by plate, row, column and site.

    Raises:
        UnknownName: A channel is nowhere on the plate.
        BadPlate: There are several time points and none was chosen, or not that one.
        BadRecipe: `channels` is empty.
    """
    _check_channels(planes, channels=channels)
    planes = _at(planes, timepoint=timepoint)
    sets = planes.select(FIELD).unique()
    for stain, channel in channels.items():
        files = (
            planes.filter(pl.col("channel") == channel)
            .sort("z")
            .group_by(FIELD, maintain_order=True)
            .agg(pl.col("path").alias(path_column(stain)))
        )
        sets = sets.join(files, on=FIELD, how="left")
    # A well's name grows from three letters to four after row Z, so length first is row by row.
    return sets.sort("plate", pl.col("well").str.len_chars(), "well", "site")


def _check_channels(planes: pl.DataFrame, *, channels: Mapping[str, str]) -> None:
    found = planes["channel"].unique().sort().to_list()
    if not channels:
        raise BadRecipe(
            "The recipe names no channels. Map each stain to one of the plate's channels: "
            f"{', '.join(found)}."
        )
    for stain, channel in channels.items():
        if channel not in found:
            raise UnknownName(
                f"The plate has no channel {channel!r} (for {stain}). "
                f"{suggestion(channel, found)} The plate's channels: {', '.join(found)}."
            )


def _at(planes: pl.DataFrame, *, timepoint: int | None) -> pl.DataFrame:
    found = planes["timepoint"].unique().sort().to_list()
    listed = ", ".join(map(str, found))
    if timepoint is None and len(found) > 1:
        raise BadPlate(
            f"The plate has {len(found)} time points ({listed}), and a field is one of them. "
            "Choose one with timepoint."
        )
    if timepoint is not None and timepoint not in found:
        raise BadPlate(f"The plate has no time point {timepoint}. There is: {listed}.")
    return planes if timepoint is None else planes.filter(pl.col("timepoint") == timepoint)
