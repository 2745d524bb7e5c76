"""Path -> plane, and a stamp that tells later whether the file is still the same."""

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped

from plates.decode import Grey, decode
from plates.errors import BadImage, lookup

DIGEST_BYTES = 16  # 128 bits: no two files of any archive will agree by chance


class FileStamp(NamedTuple):
    """Which file was read, and what it held.

    Attributes:
        path: As given.
        bytes: Size of the file.
        mtime_ns: When it was last written, in nanoseconds.
        digest: BLAKE2b-128 of the content, in hexadecimal.
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

    Raises:
        BadImage: `missing_file`, or `unreadable` if it is there but cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            status = os.fstat(file.fileno())
            data = file.read()
    except FileNotFoundError as reason:
        raise BadImage(
            f"{path} is not there. Copy it again, or check that the drive is there.",
            code="missing_file",
        ) from reason
    except OSError as reason:
        raise BadImage(
            f"{path} cannot be read: {reason.strerror}. Check its permissions and the drive.",
            code="unreadable",
        ) from reason
    digest = hashlib.blake2b(data, digest_size=DIGEST_BYTES).hexdigest()
    return data, FileStamp(str(path), len(data), status.st_mtime_ns, digest)


def project(stack: Sequence[Grey], *, how: str = "max") -> Grey:
    """Make one plane of a z stack.

    Args:
        stack: Planes of one shape and type, in z order.
        how: "max"; "mean", rounded to the nearest for integers; or "none", which
            accepts a single plane only.

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


def _only(stack: Shaped[np.ndarray, "z height width"]) -> Grey:
    if len(stack) != 1:
        raise BadImage(
            f"The field has {len(stack)} z planes, and projection is 'none'. Choose 'max' or "
            "'mean', or scan one z plane only.",
            code="several_planes",
        )
    return stack[0]


PROJECTIONS: dict[str, Callable[..., Grey]] = {"max": _maximum, "mean": _mean, "none": _only}
