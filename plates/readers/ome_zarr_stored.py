"""Which planes of OME-Zarr on this machine are stored in part.

That is no fault by itself: writers leave out what is empty. But where a file was lost the plane
looks the same, so a person should know.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable
from math import prod
from pathlib import Path
from typing import Any

from plates.address import is_remote, parse_address
from plates.errors import BadPlate
from plates.remote import read_json

CHUNK = re.compile(r"(?:c[./])?(\d+(?:[./]\d+)*)")
Shape = tuple[int, ...]


def stored_in_part(paths: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Find planes of which some chunks are there and others not.

    Args:
        paths: Of a plane table. Those that are in no array, or in a store, are passed over.

    Returns:
        Path -> how many of its chunks are there, and how many it has. Chunks of a shard are one.
    """
    arrays: dict[str, list[tuple[str, Shape]]] = {}
    for path in paths:
        address = parse_address(path)
        if address.index is not None and address.dataset is None and not is_remote(path):
            arrays.setdefault(address.file, []).append((path, address.index))
    found: dict[str, tuple[int, int]] = {}
    for array, planes in arrays.items():
        shape, sizes = _cut(array)
        counts = [-(-length // size) for length, size in zip(shape, sizes, strict=True)]
        chunks = prod(counts[-2:])
        if chunks < 2:
            continue
        stored = _stored(Path(array), counts)
        for path, index in planes:
            there = stored[tuple(i // size for i, size in zip(index, sizes, strict=False))]
            if 0 < there < chunks:
                found[path] = there, chunks
    return found


def _cut(array: str) -> tuple[Shape, Shape]:
    """Shape of an array and of its chunks; none where they cannot be told, as reading will say."""
    try:
        said: dict[str, Any] = read_json(array, "zarr.json") or read_json(array, ".zarray") or {}
        grid = said.get("chunk_grid", {}).get("configuration", {}).get("chunk_shape")
        shape, sizes = tuple(said["shape"]), tuple(grid or said["chunks"])
    except (AttributeError, BadPlate, KeyError, RecursionError, TypeError):
        return (), ()
    is_cut = len(shape) == len(sizes) and all(type(i) is int and i > 0 for i in (*shape, *sizes))
    return (shape, sizes) if is_cut else ((), ())


def _stored(array: Path, counts: list[int]) -> Counter[Shape]:
    """Place of a plane, in chunks -> how many of its chunks are there."""
    stored = Counter[Shape]()
    for home, _, names in os.walk(array):
        below = os.path.relpath(home, array).replace(os.sep, "/").removeprefix(".")
        for name in names:
            if found := CHUNK.fullmatch(f"{below}/{name}".lstrip("/")):
                place = tuple(map(int, re.split(r"[./]", found[1])))
                is_inside = len(place) == len(counts) and all(map(int.__lt__, place, counts))
                stored[place[:-2]] += is_inside
    return stored
