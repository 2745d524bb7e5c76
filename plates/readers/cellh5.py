"""CellH5, CellCognition's HDF5: one file a plate, a well or a position.

    /sample/0/plate/<plate>/experiment/<well>/position/<site>/image/channel
        [channel, timepoint, z, height, width]
    /definition/image/channel                      names of the channels

Source: Sommer et al. 2013 (Bioinformatics 29:1580), "CellH5: a format for data exchange in
high-content screening".
"""

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import polars as pl

from plates.address import item_of
from plates.errors import BadPlate
from plates.hdf import groups
from plates.imageset import FieldKey
from plates.readers.folder import indexes
from plates.readers.hdf5 import check_whole, rows_of, site_number
from plates.readers.mirror import opened
from plates.readers.reader import PlaneRow, Reader, check_field, table
from plates.well import parse_well

SUFFIXES = ("*.ch5", "*.cellh5", "*.h5", "*.hdf5")
PLATES = "/sample/0/plate"
DEFINITION = "/definition/image/channel"


def matches(source: Path) -> bool:
    """Whether there is a CellH5 file near the top."""
    return bool(_files(source))


def _files(source: Path) -> list[Path]:
    return [path for path in indexes(source, *SUFFIXES, depth=1) if _is_cellh5(path)]


def _is_cellh5(path: Path) -> bool:
    import h5py

    with opened(path, again=True) as file:
        try:
            with h5py.File(file, "r") as store:
                return PLATES in store
        except Exception:  # h5py raises almost anything on damaged bytes; `check_whole` says so
            return False


def scan(source: Path) -> pl.DataFrame:
    """List every plane of one or more files.

    Returns:
        One row per plane; `path` names file, dataset and place. Links to other files are not
        followed: give the folder that holds them all.

    Raises:
        BadPlate: A file is damaged, or a well is not called as a well.
    """
    check_whole(source, *SUFFIXES)
    damaged = "is no complete CellH5 file: {}. Export it again."
    return table(
        row for path in _files(source) for row in rows_of(path, _positions, damaged=damaged)
    )


def _positions(path: Path, store: Any) -> Iterator[PlaneRow]:
    for plate, wells in groups(store[PLATES]):
        for well, experiment in groups(wells["experiment"]):
            positions = list(groups(experiment["position"]))
            for number, (site, position) in enumerate(positions, start=1):
                images = position["image/channel"]
                site = site_number(site) if site.isdecimal() else number
                key = FieldKey(plate, _well(well, path=path), site)
                yield from _field(path, images, names=_names(store, images), key=key)


def _well(name: str, *, path: Path) -> str:
    try:
        return parse_well(name)
    except BadPlate as reason:
        raise BadPlate(f"{path}: {reason} Rename the experiment in the file.") from reason


def _names(store: Any, images: Any) -> list[str]:
    count = images.shape[0]
    said: list[str] = []
    if DEFINITION in store and "channel_name" in (store[DEFINITION].dtype.names or ()):
        raw = store[DEFINITION]["channel_name"].tolist()
        said = [n.decode() if isinstance(n, bytes) else str(n) for n in raw][:count]
    said += [""] * (count - len(said))
    return [name if name and said.count(name) == 1 else f"C{i}" for i, name in enumerate(said)]


def _field(path: Path, images: Any, *, names: list[str], key: FieldKey) -> Iterator[PlaneRow]:
    if images.ndim != 5:
        raise ValueError(f"{images.name} has {images.ndim} axes, not 5")
    check_field(images.shape[:3], path=path)
    for channel, time, z in product(*map(range, images.shape[:3])):
        yield PlaneRow(
            *key[:3], channel=names[channel], z=z + 1, timepoint=time + 1,
            path=item_of(path, channel, time, z, dataset=images.name),
        )  # fmt: skip


CELLH5 = Reader("cellh5", f"CellH5 ({SUFFIXES[0]}, HDF5 with {PLATES})", matches, scan)
