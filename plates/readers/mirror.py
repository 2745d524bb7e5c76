"""A remote plate's shape on this disk: its indexes in full, its images as empty files.

Readers look at folders and indexes, so they read the mirror as they would the plate; then its paths
are turned back into the store's addresses. What a reader wants of an image itself, as where images
hold the index (OME-TIFF, HDF5), it asks `opened` for.
"""

import filecmp
import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import polars as pl

from plates.address import without_slash
from plates.errors import BadPlate
from plates.pieces import Shelf
from plates.readers.folder import inside
from plates.remote import PIECE, RemoteFile, find_remote, open_remote, read_remote, size_of

INDEXES = (".xml", ".mlf", ".mrf", ".mes", ".wpi", ".htd", ".xdce", ".csv", ".tsv", ".txt", ".ome")
DISKS = ("file:/", "local:/")
LARGEST = 1 << 30  # bytes of an index: a million images in Harmony's XML are less


class _Mirror(NamedTuple):
    """What a mirror shows.

    Attributes:
        home: The folder that stands for the store.
        root: Its address.
        sizes: Bytes of each file there; None where the store's listing does not say.
        pieces: Of files that are opened more than once.
        digests: Of what was compared: a file, and where the piece of it starts, or None for all.
    """

    home: Path
    root: str
    sizes: Mapping[Path, int | None]
    pieces: Shelf
    digests: dict[tuple[Path, int | None], bytes]


# Of the thread that scans; else a parameter of every reader for the sake of one.
_mirror: ContextVar[_Mirror | None] = ContextVar("mirror", default=None)


def is_mirror() -> bool:
    """Whether what is being scanned is the mirror of a store, so that opening a file is costly."""
    return _mirror.get() is not None


def opened(path: Path, *, again: bool = False) -> AbstractContextManager[Path | RemoteFile]:
    """An image that a reader has found, for a `with` block that opens it where it really is.

    To be called in the thread that scans; what is returned may be entered in any. Whatever the
    block makes of a store that cannot be asked, it is left by the `OSError` that says so.

    Args:
        path: The image.
        again: Whether this scan opens it several times, so that what is read of it is kept.
    """
    shown = _mirror.get()
    return nullcontext(path) if shown is None else _opened(path, shown, again=again)


@contextmanager
def _opened(path: Path, shown: _Mirror, *, again: bool) -> Iterator[RemoteFile]:
    address, size = _address(path, shown), shown.sizes.get(path, 0)
    pieces = shown.pieces.of(path) if again else None
    file = open_remote(address) if size is None else RemoteFile(address, size=size, pieces=pieces)
    with file:
        yield file


def are_equal(one: Path, other: Path) -> bool:
    """Whether two files hold the same bytes, wherever they really are.

    In a store a piece from the middle, where pixels are, tells most files from another; only
    those that agree in it are fetched. Neither is fetched twice.
    """
    shown = _mirror.get()
    if shown is None:
        return filecmp.cmp(one, other, shallow=False)
    size = shown.sizes.get(one)
    if size != shown.sizes.get(other):
        return False
    starts = (None,) if size is None else (size // 2, None)
    return all(_digest(one, at, shown) == _digest(other, at, shown) for at in starts)


def _digest(path: Path, start: int | None, shown: _Mirror) -> bytes:
    """Of a piece of a file, or all of it."""
    if (path, start) not in shown.digests:
        end = None if start is None else min(shown.sizes[path] or 0, start + PIECE)
        data = read_remote(_address(path, shown), start=start, end=end)
        shown.digests[path, start] = hashlib.blake2b(data).digest()
    return shown.digests[path, start]


def _address(path: Path, shown: _Mirror) -> str:
    return f"{shown.root}/{path.relative_to(shown.home).as_posix()}"


def scan_mirrored(address: str, scan: Callable[[Path], pl.DataFrame]) -> pl.DataFrame:
    """Scan a remote folder through a mirror of it.

    Args:
        address: Of the folder, or of an index file, as in "s3://bucket/plate".
        scan: Any function of a local folder or file to a plane table.

    Returns:
        The table, its paths leading to the store.

    Raises:
        BadPlate: The store cannot be reached, the address is that of a whole disk, or what `scan`
            raises.
    """
    address = without_slash(address)
    if ".." in PurePosixPath(address).parts:
        raise BadPlate(f"{address} has '..' in it. Write the address out.")
    if address in DISKS:
        raise BadPlate(f"{address}// is the whole disk. Give the folder of a plate.")
    root, name, below = _parts(address)
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary, below)
        try:
            found = find_remote(_folder(address))
            if "" in found:  # an index file names others beside it
                sizes = _shown(root, find_remote(_folder(root)), home=home)
            else:
                sizes = _shown(address, found, home=home / name)
        except FileNotFoundError as reason:
            raise BadPlate(f"There is no {address}. Check bucket, path and spelling.") from reason
        except OSError as reason:
            raise BadPlate(f"{address} cannot be read: {reason}.") from reason
        token = _mirror.set(_Mirror(home, root, sizes, Shelf(), {}))
        try:
            planes = scan(home / name)
        except BadPlate as reason:
            raise BadPlate(str(reason).replace(str(home), root)) from reason
        finally:
            _mirror.reset(token)
        back = pl.col("path", "flat_field").str.replace(f"{home}/", f"{root}/", literal=True)
        return planes.with_columns(back)


def _parts(address: str) -> tuple[str, str, str]:
    """The folder above, the name in it, and where the mirror of the folder lies.

    The root of a store has no folder above; its name is the store's, since a plate needs one.
    """
    scheme, _, rest = address.partition(":/")
    if not rest:
        return address, "", scheme
    root, _, name = address.rpartition("/")
    # Of file:///plate or hdfs:///plate the leading slash would lead out, to the plate itself.
    return root, name, root.partition("://")[2].strip("/")


def _folder(address: str) -> str:
    return f"{address}/" if address.endswith(":/") else address


def _shown(address: str, files: Mapping[str, int | None], *, home: Path) -> dict[Path, int | None]:
    """Make the mirror of a folder; returns the size of each file in the store."""
    sizes: dict[Path, int | None] = {}
    for below, size in files.items():
        path = inside(home, below, index=Path(address))
        path.parent.mkdir(parents=True, exist_ok=True)
        is_index = path.suffix.lower() in INDEXES
        if is_index and size is None:
            size = size_of(f"{address}/{below}")
        is_index = is_index and (size or 0) <= LARGEST
        path.write_bytes(read_remote(f"{address}/{below}") if is_index else b"")
        sizes[path] = size
    return sizes
