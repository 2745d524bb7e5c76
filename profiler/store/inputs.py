"""Whether the files a well was computed from are still the same."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from plates.imageset import FieldKey
from plates.pixels import FileStamp, read_file

MISSING = -1  # `FileStamp.bytes` of a file that was not there


def to_json(inputs: Mapping[FieldKey, Sequence[FileStamp]]) -> list[Any]:
    """Lay stamps out for a footer: `[site, [[path, bytes, mtime_ns, digest], ...]]`, by site."""
    return sorted([key.site, [list(stamp) for stamp in inputs[key]]] for key in inputs)


def are_unchanged(recorded: Sequence[Any], files: Mapping[FieldKey, Sequence[str]]) -> bool:
    """Compare the files of a well with those it was computed from.

    Args:
        recorded: Stamps as `to_json` lays them out.
        files: The paths of each field that is there now, in the order they are read.

    Returns:
        Whether the fields are the same and the files hold the same bytes. Where a file lies
        does not matter, so a copied plate is unchanged.
    """
    then = {site: [FileStamp(*stamp) for stamp in stamps] for site, stamps in recorded}
    now = {key.site: paths for key, paths in files.items()}
    return then.keys() == now.keys() and all(_are_same(then[site], now[site]) for site in then)


def _are_same(stamps: Sequence[FileStamp], paths: Sequence[str]) -> bool:
    return len(stamps) == len(paths) and all(map(_is_same, stamps, paths))


def _is_same(stamp: FileStamp, path: str) -> bool:
    try:
        now = Path(path).stat()
        if now.st_size != stamp.bytes:
            return False
        is_untouched = path == stamp.path and now.st_mtime_ns == stamp.mtime_ns
        return is_untouched or read_file(path)[1].digest == stamp.digest
    except FileNotFoundError:
        return stamp.bytes == MISSING
    except OSError:  # there, but unreadable now: the loader will say so
        return False
