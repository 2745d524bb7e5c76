"""What a plate's folder has less or more of than most of it: told before a run, never dropped.

Fields that lack a channel are rows with a code (`plates.loader`), and wells that only the plate map
or only the disk has are told where the two are joined. Here is what neither of them sees.
"""

from collections.abc import Iterator, Mapping

import polars as pl

from plates.imageset import path_column

MOST_NAMES = 5  # in a sentence
COUNT = "count"


def irregularities(
    sets: pl.DataFrame, planes: pl.DataFrame, *, channels: Mapping[str, str]
) -> list[str]:
    """Say which wells have fewer or more fields than most, which stacks other planes, and more.

    Args:
        sets: From `plates.imageset.image_sets`.
        planes: The plane table that they were made from.
        channels: As for `image_sets`.

    Returns:
        One sentence for each plate and kind of irregularity; none for a regular plate.
    """
    found = []
    for (plate,), own in sets.group_by("plate", maintain_order=True):
        found += _uneven_wells(str(plate), own)
        for stain in channels:
            found += _uneven_stacks(str(plate), own, stain)
        found += _unused_channels(str(plate), planes.filter(plate=plate), channels)
    return found


def _uneven_wells(plate: str, sets: pl.DataFrame) -> Iterator[str]:
    counts = sets.group_by("well", maintain_order=True).len(COUNT)
    if odd := _odd(counts.select(pl.col("well").alias("name"), COUNT)):
        yield f"{plate}: wells that have fewer or more fields than most {odd}."


def _uneven_stacks(plate: str, sets: pl.DataFrame, stain: str) -> Iterator[str]:
    has = sets.filter(pl.col(path_column(stain)).is_not_null())
    depth = pl.col(path_column(stain)).list.len().alias(COUNT)
    times = pl.format(" time {}", "timepoint") if has["timepoint"].n_unique() > 1 else pl.lit("")
    name = pl.format("{} site {}{}", "well", "site", times).alias("name")
    if odd := _odd(has.select(name, depth)):
        yield (
            f"{plate}: fields that have fewer or more z planes of {stain} than most {odd}. A "
            "projection takes those that are there."
        )


def _odd(counts: pl.DataFrame) -> str:
    """The usual count in brackets, and what has another; empty if nothing has."""
    if counts[COUNT].n_unique() < 2:
        return ""
    usual = counts[COUNT].mode().max()
    odd = counts.filter(pl.col(COUNT) != usual)
    some = ", ".join(f"{name} ({count})" for name, count in odd.head(MOST_NAMES).iter_rows())
    more = f" and {odd.height - MOST_NAMES} more" if odd.height > MOST_NAMES else ""
    return f"({usual}): {some}{more}"


def _unused_channels(
    plate: str, planes: pl.DataFrame, channels: Mapping[str, str]
) -> Iterator[str]:
    is_used = pl.col("channel").is_in(list(channels.values()))
    if "channel_name" in planes.columns:
        is_used |= pl.col("channel_name").is_in(list(channels.values())).fill_null(value=False)
    counts = planes.filter(~is_used).group_by("channel").len().sort("channel").rows()
    if counts:
        listed = ", ".join(f"{channel} ({count} planes)" for channel, count in counts)
        yield f"{plate}: channels that the recipe does not use: {listed}."
