"""What a plate's folder has less or more of than most of it: told before a run, never dropped.

Fields that lack a channel are rows with a code (`plates.loader`), and wells that only the plate map
or only the disk has are told where the two are joined. Here is what neither of them sees.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import combinations
from pathlib import Path

import polars as pl

from plates.address import is_remote, parse_address
from plates.errors import BadImage, BadPlate
from plates.imageset import path_column
from plates.pixels import read_file
from plates.readers.ome_zarr_stored import stored_in_part

MOST_NAMES = 5  # in a sentence
COUNT = "count"
LOOKED_AT = 3  # images of a plate: no two fields have the same noise
PLACE = ("well", "site", "channel", "z", "timepoint")


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
    found = [*_without_time(sets, planes)]
    for (plate,), own in sets.group_by("plate", maintain_order=True):
        found += _uneven_wells(str(plate), own)
        for stain in channels:
            found += _uneven_stacks(str(plate), own, stain)
        found += _unused_channels(str(plate), planes.filter(plate=plate), channels)
        found += _stored_in_part(str(plate), planes.filter(plate=plate))
    return found


def _without_time(sets: pl.DataFrame, planes: pl.DataFrame) -> Iterator[str]:
    """Sites that have other time points alone are no fields, so no row tells of them."""
    place = ["plate", "well", "site"]
    every = planes.select(place).unique(maintain_order=True)
    lost = every.join(sets, on=place, how="anti", maintain_order="left")
    for (plate,), own in lost.group_by("plate", maintain_order=True):
        names = own.select(pl.format("{} site {}", "well", "site")).to_series()
        more = f" and {own.height - MOST_NAMES} more" if own.height > MOST_NAMES else ""
        yield (
            f"{plate}: left out, as they have no time point {sets['timepoint'][0]}: "
            f"{', '.join(names.head(MOST_NAMES))}{more}."
        )


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


def _stored_in_part(plate: str, planes: pl.DataFrame) -> Iterator[str]:
    """OME-Zarr: what is not there is read as empty, unless it can be told that it was lost."""
    found = stored_in_part(planes["path"])
    if found:
        some = [f"{path} ({there} of {all_of})" for path, (there, all_of) in found.items()]
        more = f" and {len(some) - MOST_NAMES} more" if len(some) > MOST_NAMES else ""
        yield (
            f"{plate}: planes of which only some chunks are there: "
            f"{', '.join(some[:MOST_NAMES])}{more}. Writers leave out what is empty, and so the "
            "others are read; should files have been lost, copy the plate again."
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


def check_names(planes: Mapping[Path, pl.DataFrame]) -> None:
    """Refuse folders that hold plates of one name: they would pass for one plate.

    Raises:
        BadPlate: Two do.
    """
    owner: dict[str, Path] = {}
    for folder, table in planes.items():
        for plate in table["plate"].unique().sort():
            if plate in owner:
                raise BadPlate(
                    f"{owner[plate]} and {folder} both hold a plate called {plate!r}. Give their "
                    "folders different names, or run them into different --out folders."
                )
            owner[plate] = folder


def lost_files(planes: pl.DataFrame) -> list[str]:
    """Files on this machine that an index names and that are not there, each once, in order."""
    files = dict.fromkeys(parse_address(path).file for path in planes["path"])
    return [file for file in files if not is_remote(file) and not _exists(file)]


def copies(planes: pl.DataFrame) -> list[str]:
    """Say which plates hold the same images: a backup in a plate's folder counts as a plate.

    Args:
        planes: Of any number of plates.

    Returns:
        One sentence for each plate that a plate before it is a copy of, as far as `LOOKED_AT`
        images that both list tell.
    """
    paths = {
        str(plate): {row[:-1]: row[-1] for row in rows.select(*PLACE, "path").iter_rows()}
        for (plate,), rows in planes.group_by("plate", maintain_order=True)
    }
    found: dict[str, str] = {}
    digest = lru_cache(None)(_digest)

    def is_same(one: str, other: str) -> bool | None:
        if len({size for size in (_size(one), _size(other)) if size is not None}) > 1:
            return False
        both = digest(one), digest(other)
        return both[0] == both[1] if all(both) else None  # what cannot be read tells nothing

    for one, other in combinations(paths, 2):
        ours, theirs = paths[one], paths[other]
        first = next((place for place in ours if place in theirs), None)
        if other in found or first is None or is_same(ours[first], theirs[first]) is False:
            continue
        shared = [place for place in ours if place in theirs]
        seen = shared[:: max(1, len(shared) // LOOKED_AT)][:LOOKED_AT]
        alike = {place: is_same(ours[place], theirs[place]) for place in seen}
        same = next((place for place in seen if alike[place]), None)
        if same and False not in alike.values():
            found[other] = (
                f"{other} and {one} hold the same images, such as {theirs[same]} and "
                f"{ours[same]}. If one is a backup, move it out of the folder: its wells count "
                "twice."
            )
    return list(found.values())


def _exists(file: str) -> bool:
    try:
        return Path(file).exists()
    except OSError:  # a name that no disk can hold
        return False


def _size(path: str) -> int | None:
    """Of a file of its own, here; of all else nothing is told before it is read."""
    try:
        return None if is_remote(path) else Path(path).stat().st_size
    except OSError:
        return None


def _digest(path: str) -> str:
    try:
        return read_file(path)[1].digest
    except BadImage:
        return ""
