"""Plane table -> image sets: one row per field, one list of files per stain."""

from collections.abc import Mapping
from typing import NamedTuple

import polars as pl

from plates.errors import BadPlate, BadRecipe, UnknownName, suggestion

FIELD = ("plate", "well", "site", "timepoint")
EACH = "each"


class FieldKey(NamedTuple):
    """One field of view at one time: a position in a well of a plate."""

    plate: str
    well: str
    site: int
    timepoint: int = 1


def path_column(stain: str) -> str:
    """Column of the image sets that holds a stain's files.

    >>> path_column("DNA")
    'path_DNA'
    """
    return f"path_{stain}"


def image_sets(
    planes: pl.DataFrame,
    *,
    channels: Mapping[str, str],
    timepoint: int | str | None = None,
    z: int | None = None,
) -> pl.DataFrame:
    """Gather the files of every field.

    Args:
        planes: From `plates.readers.scan`, columns `PLANES` and perhaps `METADATA`.
        channels: Stain -> the reader's `channel`, or its `channel_name` if only one has it.
        timepoint: Which one to take, or "each": all, each as a field of its own. Needed only
            if there are several.
        z: Take this plane of each stack alone.

    Returns:
        One row per field of the plate: `plate, well, site, timepoint`, and for each stain a
        column `path_<stain>`, the files in z order, null where the field lacks that channel, or
        the plane that was asked for. Sorted by plate, row, column, site and time.

    Raises:
        UnknownName: A channel is nowhere on the plate.
        BadPlate: There are several time points and none was chosen, or not that one, or no
            such z.
        BadRecipe: `channels` is empty, two channels share the name, or `timepoint` is another
            word than "each".
    """
    wanted = _resolved(planes, channels=channels)
    planes = _at(planes, timepoint=timepoint)
    keys = list(FIELD)
    sets = planes.select(keys).unique()  # before z: a field that lacks the plane is not dropped
    planes = _at_z(planes, z=z)
    for stain, channel in wanted.items():
        files = (
            planes.filter(pl.col("channel") == channel)
            .sort("z")
            .group_by(keys, maintain_order=True)
            .agg(pl.col("path").alias(path_column(stain)))
        )
        sets = sets.join(files, on=keys, how="left")
    # A well's name grows from three letters to four after row Z, so length first is row by row.
    return sets.sort("plate", pl.col("well").str.len_chars(), *keys[1:])


def _resolved(planes: pl.DataFrame, *, channels: Mapping[str, str]) -> dict[str, str]:
    """Stain -> the reader's channel, wherever the recipe used a channel's name."""
    found = planes["channel"].unique().sort().to_list()
    if not channels:
        raise BadRecipe(
            "The recipe names no channels. Map each stain to one of the plate's channels: "
            f"{', '.join(found)}."
        )
    named = _named(planes)
    listed = ", ".join(found + [f"{n} ({', '.join(c)})" for n, c in named.items()])
    wanted = {}
    for stain, channel in channels.items():
        if channel not in found and channel not in named:
            raise UnknownName(
                f"The plate has no channel {channel!r} (for {stain}). "
                f"{suggestion(channel, [*found, *named])} The plate's channels: {listed}."
            )
        candidates = [channel] if channel in found else named[channel]
        if len(candidates) > 1:
            raise BadRecipe(
                f"Several channels are called {channel!r} (for {stain}): {', '.join(candidates)}. "
                "Use one of these in the recipe."
            )
        wanted[stain] = candidates[0]
    return wanted


def _named(planes: pl.DataFrame) -> dict[str, list[str]]:
    """Name of a dye or filter -> the channels that have it."""
    if "channel_name" not in planes.columns:
        return {}
    pairs = planes.select("channel_name", "channel").drop_nulls().unique().sort("channel")
    named: dict[str, list[str]] = {}
    for name, channel in pairs.iter_rows():
        named.setdefault(name, []).append(channel)
    return named


def _at_z(planes: pl.DataFrame, *, z: int | None) -> pl.DataFrame:
    if z is None:
        return planes
    found = planes["z"].unique().sort().to_list()
    if z not in found:
        raise BadPlate(f"The plate has no z plane {z}. There is: {', '.join(map(str, found))}.")
    return planes.filter(pl.col("z") == z)


def _at(planes: pl.DataFrame, *, timepoint: int | str | None) -> pl.DataFrame:
    if timepoint == EACH:
        return planes
    if isinstance(timepoint, str):
        raise BadRecipe(f'timepoint is {timepoint!r}: give a number, or "each" for all of them.')
    found = planes["timepoint"].unique().sort().to_list()
    listed = ", ".join(map(str, found))
    if timepoint is None and len(found) > 1:
        raise BadPlate(
            f"The plate has {len(found)} time points ({listed}), and a field is one of them. "
            'Choose one with timepoint, or take "each" as a field of its own.'
        )
    if timepoint is not None and timepoint not in found:
        raise BadPlate(f"The plate has no time point {timepoint}. There is: {listed}.")
    return planes if timepoint is None else planes.filter(pl.col("timepoint") == timepoint)
