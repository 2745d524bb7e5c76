"""Whether the files a well was computed from are still the same."""

from collections.abc import Mapping, Sequence
from typing import Any

from plates.imageset import FieldKey
from plates.pixels import FileStamp, is_unchanged


def to_json(inputs: Mapping[FieldKey, Sequence[FileStamp]]) -> list[Any]:
    """Lay stamps out for a footer: `[site, timepoint, [[path, bytes, mtime_ns, digest], ...]]`."""
    return [
        [key.site, key.timepoint, [list(stamp) for stamp in inputs[key]]] for key in sorted(inputs)
    ]


def are_unchanged(recorded: Sequence[Any], files: Mapping[FieldKey, Sequence[str]]) -> bool:
    """Compare the files of a well with those it was computed from.

    Args:
        recorded: Stamps as `to_json` lays them out.
        files: The paths of each field that is there now, in the order they are read.

    Returns:
        Whether the fields are the same and the files hold the same bytes. Where a file lies
        does not matter, so a copied plate is unchanged.
    """
    then = {(site, time): [FileStamp(*each) for each in stamps] for site, time, stamps in recorded}
    now = {(key.site, key.timepoint): paths for key, paths in files.items()}
    return then.keys() == now.keys() and all(_are_same(then[field], now[field]) for field in then)


def _are_same(stamps: Sequence[FileStamp], paths: Sequence[str]) -> bool:
    return len(stamps) == len(paths) and all(map(is_unchanged, stamps, paths))
