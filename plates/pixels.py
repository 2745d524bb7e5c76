"""Path -> plane, and a stamp that tells later whether the file is still the same.

A path is a file, or a place in one (`plates.address`): a page of a TIFF, a plane of a Zarr array
or of an HDF5 dataset. Only that place is read, and it travels on as the bytes of an NPY file, so
that whoever reads and decodes in two steps need not know. Remote files are read through fsspec.
"""

import hashlib
import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped

from plates.address import Address, is_remote, parse_address
from plates.chunks import LostChunk
from plates.decode import Grey, decode, decode_page
from plates.errors import BadImage, BadPlate, lookup
from plates.hdf import dataset
from plates.remote import open_remote, read_remote, read_zarr

DIGEST_BYTES = 16  # 128 bits: no two files of any archive will agree by chance
ABSENT = -1  # `FileStamp.bytes` of a file that was not there
UNKNOWN = 0  # `FileStamp.mtime_ns` where no clock tells: arrays of many files, remote files


class FileStamp(NamedTuple):
    """Which file was read, and what it held.

    Attributes:
        path: As given.
        bytes: Size of the file; of the plane, if it lies in an array of many files.
        mtime_ns: When it was last written, in nanoseconds, or `UNKNOWN`.
        digest: BLAKE2b-128 of what was read, in hexadecimal: the file, or the plane in it.
    """

    path: str
    bytes: int
    mtime_ns: int
    digest: str


class Plane(NamedTuple):
    """One decoded image and the stamp of its file."""

    pixels: Grey
    stamp: FileStamp


def read_plane(path: Path | str) -> Plane:
    """Read one image file, once.

    Returns:
        Pixels [height, width], uint8, uint16 or float32, in the file's own units; see
        `plates.decode` for palettes, RGB greys and what is refused.

    Raises:
        BadImage: `missing_file`, or a code of `plates.decode.decode`.
    """
    data, stamp = read_file(path)
    return Plane(decode(data, path=str(path)), stamp)


def read_file(path: Path | str) -> tuple[bytes, FileStamp]:
    """Read and stamp a file without decoding it.

    Returns:
        The file's bytes, or those of an NPY file of the plane if the path is a place in a
        larger one.

    Raises:
        BadImage: `missing_file`; `unreadable` if it is there but cannot be read; a code of
            `plates.decode.decode_page` or `missing_plane` for a place in a larger file.
    """
    address = parse_address(str(path))
    read = _whole if address == Address(str(path)) else _place
    try:
        data, size, mtime_ns = read(address, path=str(path))
    except BadImage:
        raise
    except LostChunk as reason:
        raise BadImage(
            f"{path}: {reason} is not there, a part of it that the planes next to it have. Copy "
            "the plate again.",
            code="missing_file",
        ) from reason
    except FileNotFoundError as reason:
        raise BadImage(
            f"{path} is not there. Copy it again, or check that the drive is there.",
            code="missing_file",
        ) from reason
    except OSError as reason:
        raise BadImage(
            f"{path} cannot be read: {reason.strerror or reason}. Check its permissions and the "
            "drive.",
            code="unreadable",
        ) from reason
    digest = hashlib.blake2b(data, digest_size=DIGEST_BYTES).hexdigest()
    return data, FileStamp(str(path), size, mtime_ns, digest)


class _Read(NamedTuple):
    data: bytes
    size: int
    mtime_ns: int


def _whole(address: Address, *, path: str) -> _Read:
    if is_remote(path):
        data = read_remote(path)
        return _Read(data, len(data), UNKNOWN)
    with Path(address.file).open("rb") as file:
        mtime_ns = os.fstat(file.fileno()).st_mtime_ns
        data = file.read()
    return _Read(data, len(data), mtime_ns)


def _place(address: Address, *, path: str) -> _Read:
    if address.page is None and address.dataset is None:
        plane = _item(lambda index: read_zarr(address.file, index), address, path=path)
        return _Read(_npy(plane), plane.nbytes, UNKNOWN)
    if is_remote(path):
        with open_remote(address.file) as file:
            plane = _file_plane(file, address, size=file.size, path=path)
        return _Read(_npy(plane), file.size, UNKNOWN)
    with Path(address.file).open("rb") as file:
        status = os.fstat(file.fileno())
        plane = _file_plane(file, address, size=status.st_size, path=path)
    return _Read(_npy(plane), status.st_size, status.st_mtime_ns)


def _file_plane(file: io.IOBase, address: Address, *, size: int, path: str) -> Grey:
    if address.page is not None:
        return decode_page(file, page=address.page, size=size, path=path)
    import h5py  # here, since most plates need none of it

    try:
        with h5py.File(file, "r") as store:
            return _item(lambda i: dataset(store, address.dataset or "/")[i], address, path=path)
    except OSError:  # `BadImage`, too
        raise
    except Exception as reason:  # h5py raises almost anything on damaged bytes
        raise _damaged(path, reason) from reason


def _item(
    read: Callable[[tuple[int, ...]], Shaped[np.ndarray, "..."]], address: Address, *, path: str
) -> Grey:
    try:
        plane = read(address.index or ())
        if plane.ndim != 2:
            raise IndexError(f"there are {plane.ndim} axes, not 2, after those")
    except (KeyError, IndexError) as reason:
        raise BadImage(
            f"{path} has no such plane: {reason}. Was the plate changed since it was scanned?",
            code="missing_plane",
        ) from reason
    except OSError:  # `read_file` tells those that are not there from the others
        raise
    except BadPlate as reason:
        raise BadImage(str(reason), code="unreadable") from reason
    except Exception as reason:  # decoders raise anything at all on damaged bytes
        raise _damaged(path, reason) from reason
    return plane.astype(plane.dtype.newbyteorder("="), copy=False)


def _damaged(path: str, reason: Exception) -> BadImage:
    return BadImage(f"{path} is damaged: {reason}. Copy the plate again.", code="unreadable")


def _npy(plane: Grey) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, plane, allow_pickle=False)
    return buffer.getvalue()


def is_unchanged(stamp: FileStamp, path: str) -> bool:
    """Whether a path leads to the same bytes as when it was stamped.

    Args:
        stamp: From an earlier read, perhaps of another copy.
        path: Where the file lies now. One of unchanged path, size and time is taken as
            unchanged, others are read again.
    """
    file = parse_address(path).file
    try:
        if not is_remote(path) and Path(file).is_file():
            now = Path(file).stat()
            if now.st_size != stamp.bytes:
                return False
            if path == stamp.path and now.st_mtime_ns == stamp.mtime_ns:
                return True
        return read_file(path)[1].digest == stamp.digest
    except BadImage as reason:
        return reason.code == "missing_file" and stamp.bytes == ABSENT
    except OSError:  # there, but unreadable now: the loader will say so
        return False


def project(stack: Sequence[Grey], *, how: str = "max") -> Grey:
    """Make one plane of a z stack.

    Args:
        stack: Planes of one shape and type, in z order.
        how: "max"; "mean", rounded to the nearest for integers; "focus", the sharpest
            plane as it is; or "none", which accepts a single plane only.

    Returns:
        One plane of the stack's type.

    Raises:
        BadImage: `several_planes`, if there are and `how` is "none".
        UnknownName: There is no such projection.
    """
    reduce = lookup(PROJECTIONS, kind="projection", name=how)
    return reduce(np.stack(stack))


def _maximum(stack: Shaped[np.ndarray, "z height width"]) -> Grey:
    return stack.max(axis=0)


def _mean(stack: Shaped[np.ndarray, "z height width"]) -> Grey:
    mean = stack.mean(axis=0, dtype=np.float64)
    return (mean.round() if stack.dtype.kind == "u" else mean).astype(stack.dtype)


def _sharpest(stack: Shaped[np.ndarray, "z height width"]) -> Grey:
    """The plane whose Laplacian varies most, the first of several.

    Source:
        Pech-Pacheco et al. 2000 (ICPR), "Diatom autofocusing in brightfield microscopy";
        checked against scipy.ndimage.laplace in tests/plates/test_pixels.py.
    """
    return stack[int(np.argmax([_sharpness(plane) for plane in stack]))]


def _sharpness(plane: Grey) -> float:
    grey = plane.astype(np.float32)
    centre = grey[1:-1, 1:-1]
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float((around - 4 * centre).var()) if centre.size else 0.0


def _only(stack: Shaped[np.ndarray, "z height width"]) -> Grey:
    if len(stack) != 1:
        raise BadImage(
            f"The field has {len(stack)} z planes, and projection is 'none'. Choose 'max', "
            "'mean' or 'focus', or take one plane with z.",
            code="several_planes",
        )
    return stack[0]


PROJECTIONS: dict[str, Callable[..., Grey]] = {
    "max": _maximum,
    "mean": _mean,
    "focus": _sharpest,
    "none": _only,
}
