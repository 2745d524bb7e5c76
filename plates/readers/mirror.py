"""A remote plate's shape on this disk: its indexes in full, its images as empty files.

Readers look at folders and indexes only, so they read the mirror as they would the plate; then
its paths are turned back into the store's addresses. Formats whose images hold the index
(OME-TIFF, HDF5) cannot be read so.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import polars as pl

from plates.errors import BadPlate
from plates.readers.folder import inside
from plates.remote import find_remote, read_remote

INDEXES = (".xml", ".mlf", ".mrf", ".mes", ".wpi", ".htd", ".xdce", ".csv", ".tsv", ".txt", ".ome")
LARGEST = 1 << 30  # bytes of an index: a million images in Harmony's XML are less


def scan_mirrored(address: str, scan: Callable[[Path], pl.DataFrame]) -> pl.DataFrame:
    """Scan a remote folder through a mirror of it.

    Args:
        address: Of the folder, or of an index file, as in "s3://bucket/plate".
        scan: Any function of a local folder or file to a plane table.

    Returns:
        The table, its paths leading to the store.

    Raises:
        BadPlate: The store cannot be reached, or what `scan` raises.
    """
    address = address.rstrip("/")
    if ".." in PurePosixPath(address).parts:
        raise BadPlate(f"{address} has '..' in it. Write the address out.")
    root, _, name = address.rpartition("/")
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary, *PurePosixPath(root.partition("://")[2]).parts)
        try:
            found = find_remote(address)
            if "" in found:  # an index file names others beside it
                _mirror(root, find_remote(root), home=home)
            else:
                _mirror(address, found, home=home / name)
        except FileNotFoundError as reason:
            raise BadPlate(f"There is no {address}. Check bucket, path and spelling.") from reason
        except OSError as reason:
            raise BadPlate(f"{address} cannot be read: {reason}.") from reason
        try:
            planes = scan(home / name)
        except BadPlate as reason:
            raise BadPlate(str(reason).replace(str(home), root)) from reason
        back = pl.col("path", "flat_field").str.replace(f"{home}/", f"{root}/", literal=True)
        return planes.with_columns(back)


def _mirror(address: str, files: dict[str, int], *, home: Path) -> None:
    for below, size in files.items():
        path = inside(home, below, index=Path(address))
        path.parent.mkdir(parents=True, exist_ok=True)
        is_index = path.suffix.lower() in INDEXES and size <= LARGEST
        path.write_bytes(read_remote(f"{address}/{below}") if is_index else b"")
