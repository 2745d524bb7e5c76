"""Where a plane lies: in a file of its own, or at a place within a larger one.

    plane.tif                               the whole file is the plane
    field.ome.tif#page=3                    a page of a TIFF, counted from 0
    plate.zarr/B/3/0/0#index=0.2.5          an array of an OME-Zarr, and where its plane is
    plate.h5#dataset=/B03/1/images&index=2.0   a dataset of an HDF5 file, and where its plane is

Plane tables and image sets hold such text in their `path` columns; a file whose own name has a
`#` is still that file, since only the endings above are taken for places. Before it may stand
an address that fsspec knows (`s3://bucket/...`).
"""

import re
from pathlib import Path
from typing import NamedTuple

PLACE = re.compile(
    r"(?P<file>.+)#(?:page=(?P<page>\d+)|(?:dataset=(?P<dataset>/.*)&)?index=(?P<index>[\d.]*))"
)
REMOTE = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)  # a Windows drive has one letter


class Address(NamedTuple):
    """A plane's place; all but `file` are None for a file of its own.

    Attributes:
        file: File, or array of a Zarr store.
        page: Of a TIFF, from 0.
        dataset: Name in an HDF5 file.
        index: Along the leading axes of an array or dataset, from 0.
    """

    file: str
    page: int | None = None
    dataset: str | None = None
    index: tuple[int, ...] | None = None


def parse_address(text: str) -> Address:
    """Take the text of a `path` column apart.

    >>> parse_address("a.ome.tif#page=3")
    Address(file='a.ome.tif', page=3, dataset=None, index=None)
    >>> parse_address("a.h5#dataset=/B03/1/images&index=2.0").index
    (2, 0)
    >>> parse_address("a.ch5#dataset=/R&D #2/images&index=0").dataset
    '/R&D #2/images'
    >>> parse_address("plate #7.tif").file
    'plate #7.tif'
    """
    found = PLACE.fullmatch(text)
    if not found:
        return Address(text)
    page, index = found["page"], found["index"]
    return Address(
        found["file"],
        None if page is None else int(page),
        found["dataset"],
        None if index is None else tuple(int(part) for part in index.split(".") if part),
    )


def page_of(file: object, page: int) -> str:
    """Address of a page of a TIFF.

    >>> page_of("a.ome.tif", 3)
    'a.ome.tif#page=3'
    """
    return f"{file}#page={page}"


def item_of(file: object, *index: int, dataset: str | None = None) -> str:
    """Address of a plane in an array, or in a dataset of an HDF5 file.

    >>> item_of("plate.zarr/B/3/0/0", 0, 2), item_of("p.h5", 2, dataset="/B03/1/images")
    ('plate.zarr/B/3/0/0#index=0.2', 'p.h5#dataset=/B03/1/images&index=2')
    """
    place = f"index={'.'.join(map(str, index))}"
    return f"{file}#dataset={dataset}&{place}" if dataset else f"{file}#{place}"


def is_remote(path: object) -> bool:
    """Whether text is an address for fsspec.

    >>> is_remote("s3://bucket/plate"), is_remote("C:/plate"), is_remote("/plate")
    (True, False, False)
    """
    return bool(REMOTE.match(str(path)))


def remote_address(path: Path | str) -> str | None:
    """Text or a path as the address for fsspec that it is, or None where it is none.

    >>> remote_address(Path("s3://bucket/plate")), remote_address("/plate")
    ('s3://bucket/plate', None)
    >>> remote_address(Path("file:///plate"))
    'file:///plate'
    """
    # `Path` takes one of two slashes away, and two of three.
    path = re.sub(r"^(file|local):/(?=[^/])", r"\1:///", str(path))
    address = re.sub(r"^([a-z][a-z0-9+.-]+):/(?=[^/])", r"\1://", str(path))
    return address if is_remote(address) else None


def without_slash(address: object) -> str:
    """A folder's path or address, so that "/" and a name make the address of a file in it.

    >>> without_slash("s3://bucket/plate/"), without_slash("memory://"), without_slash("/plate")
    ('s3://bucket/plate', 'memory:/', '/plate')
    """
    bare = str(address).rstrip("/")
    return f"{bare}/" if is_remote(f"{bare}//") and bare.endswith(":") else bare
