"""Files that are not on this machine, through fsspec, and Zarr arrays wherever they are.

A request that fails is made again, later and later: object stores refuse one now and then, and
`hearing` hears of each. One that is refused for lack of rights is not. Read-ahead is the loader's:
it asks for whole files, several at a time, while those before are worked on.
"""

import io
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Shaped

from plates.address import is_remote, without_slash
from plates.chunks import check_stored
from plates.errors import BadPlate
from plates.pieces import BLOCK, Pieces, Shelf

T = TypeVar("T")

TRIES = 6  # at one request in ten that fails, one image in a million is lost
PAUSE_S = 0.2  # doubled after each try
# Of the thread that asks; else a parameter through the five rooms above this one.
_hearer: ContextVar[Callable[[str], object]] = ContextVar("hearer", default=lambda reason: None)
PIECE = 1 << 14  # bytes: MetaXpress's header, 7 to 12 kB, in one
OPEN_ARRAYS = 512  # remote ones whose metadata is kept: it costs more requests than a plane
# What stores call that which changes with a file: ETag, Last-Modified, modificationTime, md5Hash.
CLOCK = re.compile(r"etag|modif|mtime|updated|created|md5|digest|generation|version", re.IGNORECASE)


def read_remote(address: str, *, start: int | None = None, end: int | None = None) -> bytes:
    """Read a remote file, or its bytes from `start` to before `end`, in one request.

    Raises:
        FileNotFoundError: It is not there.
        OSError: The store cannot be reached, refuses, or no library speaks its protocol.
    """

    def read() -> bytes:
        fsspec = fsspec_package(address)
        system, path = fsspec.core.url_to_fs(address)
        return system.cat_file(path, start=start, end=end)

    return persistent(read, address=address)


class RemoteFile(io.RawIOBase):
    """A remote file of which only what is read is fetched, in pieces of `PIECE` bytes or more.

    What reads it may take a request that failed for damage, or for the end of the file. So the
    file remembers: leaving a `with` block raises that failure, whatever was made of it.

    Args:
        address: Where it is.
        size: Its bytes.
        pieces: Of it, read before or to be kept for later; of its own, if None.
        whole: All of it, where it had to be fetched at once.

    Attributes:
        failure: Why a request failed; from then on every one does.
    """

    def __init__(
        self,
        address: str,
        *,
        size: int,
        pieces: Pieces | None = None,
        whole: bytes | None = None,
    ):
        self.address, self.size, self.at = address, size, 0
        self.pieces = Pieces() if pieces is None else pieces
        self.whole = whole
        self.failure: OSError | None = None

    def __repr__(self) -> str:  # by which h5py names it in messages
        return self.address

    def __exit__(self, *reason: object) -> None:
        """Close it.

        Raises:
            OSError: A request has failed meanwhile.
        """
        self.close()
        # Kept, it would hold h5py's frames, and these the file: nothing could free them.
        failure, self.failure = self.failure, None
        if failure is not None and failure not in reason:
            raise failure

    def seekable(self) -> bool:
        """Whether its place can be changed."""
        return True

    def readable(self) -> bool:
        """Whether it can be read."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place in it."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self.at, os.SEEK_END: self.size}[whence]
        if start + offset < 0:  # which a store would take as counted from the end
            raise ValueError(f"negative seek position {start + offset}")
        self.at = start + offset
        return self.at

    def readinto(self, buffer: Any) -> int:
        """Read some of it.

        Raises:
            OSError: As for `read_remote`.
        """
        if self.failure is not None:  # to ask six times again, and again, helps nobody
            raise self.failure
        view = memoryview(buffer).cast("B")  # tifffile hands in arrays
        count = min(len(view), self.size - self.at)  # a store refuses what lies behind the end
        if count <= 0:
            return 0
        try:
            view[:count] = self._bytes(count)
        except OSError as reason:
            self.failure = reason
            raise
        self.at += count
        return count

    def _bytes(self, count: int) -> bytes:
        if self.whole is not None:
            return self.whole[self.at : self.at + count]
        if count >= PIECE:  # pixels, which nobody reads twice
            return self._fetched(self.at, self.at + count)
        first, last = self.at // BLOCK, (self.at + count - 1) // BLOCK
        found = {number: self.pieces.read(number) for number in range(first, last + 1)}
        missing = [number for number, block in found.items() if block is None]
        if missing:  # one request: it reaches from the first beyond the last
            start = missing[0] * BLOCK
            data = self._fetched(start, min(self.size, max(start + PIECE, (last + 1) * BLOCK)))
            cuts = range(0, len(data), BLOCK)
            blocks = {missing[0] + at // BLOCK: data[at : at + BLOCK] for at in cuts}
            self.pieces.add(blocks, read=missing)
            found |= {number: blocks[number] for number in missing}
        return b"".join(block or b"" for block in found.values())[self.at - first * BLOCK :][:count]

    def _fetched(self, start: int, end: int) -> bytes:
        found = read_remote(self.address, start=start, end=end)
        if len(found) != end - start:  # some web servers know whole files only
            raise OSError(
                f"{self.address} gave {len(found)} bytes where {end - start} were asked for. Was "
                "it changed just now? If its server gives whole files only, copy the plate here"
            )
        return found


def open_remote(address: str) -> RemoteFile:
    """Open a remote file of many planes: of each, only its own bytes are fetched.

    The headers that lead to them are kept for the planes to come, until the store says that the
    file has changed; where it cannot say so, they are fetched again at each opening.

    Raises:
        FileNotFoundError: It is not there.
        OSError: As for `read_remote`.
    """
    said = persistent(lambda: _said(address), address=address)
    if (size := said.get("size")) is None:  # a web server may not say
        whole = read_remote(address)
        return RemoteFile(address, size=len(whole), whole=whole)
    tells = any(value for name, value in said.items() if CLOCK.search(name))
    state = f"{address} {sorted(said.items())}"
    return RemoteFile(address, size=size, pieces=_headers.of(state) if tells else None)


_headers = Shelf()


def _said(address: str) -> dict[str, Any]:
    """What a store says of a file now."""
    system, path = fsspec_package(address).core.url_to_fs(address)
    system.invalidate_cache()  # s3fs would say what it saw when it listed the folder
    return system.info(path)


def find_remote(address: str) -> dict[str, int | None]:
    """Every file below a remote folder and its size; of a file, itself under the name "".

    A size is None where the listing has none, as those of web servers; `size_of` asks for it.

    Raises:
        FileNotFoundError: There is nothing.
        OSError: As for `read_remote`.
    """

    def read() -> dict[str, int | None]:
        system, path = fsspec_package(address).core.url_to_fs(address)
        system.invalidate_cache()  # a plate may have grown since
        found = system.find(path, detail=True)
        if not found:
            raise FileNotFoundError(address)
        home = path.strip("/")
        names = {name.strip("/").removeprefix(home).lstrip("/"): i for name, i in found.items()}
        return {name: info.get("size") for name, info in names.items()}

    return persistent(read, address=address)


def size_of(address: str) -> int | None:
    """Bytes of a remote file; None if the store does not say.

    Raises:
        FileNotFoundError: It is not there.
        OSError: As for `read_remote`.
    """
    return persistent(lambda: _said(address).get("size"), address=address)


def read_json(folder: str, name: str) -> dict[str, Any] | None:
    """Read a JSON object from a folder here or elsewhere; None if there is no such file.

    Raises:
        BadPlate: It cannot be read, or is no JSON object.
    """
    address = f"{without_slash(folder)}/{name}"
    try:
        data = read_remote(address) if is_remote(address) else Path(address).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as reason:
        raise BadPlate(f"{address} cannot be read: {reason.strerror or reason}.") from reason
    try:
        found = json.loads(data)
    except ValueError as reason:
        raise BadPlate(f"{address} is not JSON: {reason}. Copy it again.") from reason
    if not isinstance(found, dict):
        raise BadPlate(f"{address} holds no JSON object. Copy it again.")
    return found


def read_zarr(address: str, index: tuple[int, ...]) -> Shaped[np.ndarray, "..."]:
    """Read what lies at some leading indices of a Zarr array, version 2 or 3.

    Raises:
        FileNotFoundError: There is no array, or nothing at all is stored at that place. Zarr
            makes zeros of that, and zeros of a lost file are no image.
        LostChunk: A part of it is lost, as far as can be told.
        IndexError: The array is smaller.
        BadPlate: The zarr package is not installed.
        OSError: As for `read_remote`.
    """
    open_array = _open_remote_array if is_remote(address) else _open_array

    def read() -> Shaped[np.ndarray, "..."]:
        array = open_array(address)
        found = np.asarray(array[index])
        check_stored(array, index, found, is_stored=lambda name: _exists(f"{address}/{name}"))
        return found

    return persistent(read, address=address) if is_remote(address) else read()


def _open_array(address: str) -> Any:
    return zarr_package().open_array(address, mode="r")


_open_remote_array = lru_cache(OPEN_ARRAYS)(_open_array)


def _exists(address: str) -> bool:
    if not is_remote(address):
        return Path(address).exists()
    try:  # not `exists`, by which some stores say that there is nothing if they cannot be asked
        _said(address)
    except FileNotFoundError:
        return False
    return True


def zarr_package() -> Any:
    """The zarr package, or how to get it.

    Raises:
        BadPlate: It is not installed.
    """
    try:
        import zarr
    except ImportError as reason:
        raise BadPlate(
            "OME-Zarr needs the zarr package: pip install 'plate-profiler[zarr]'."
        ) from reason
    return zarr


def fsspec_package(address: str) -> Any:
    """The fsspec package.

    Raises:
        OSError: It is not installed.
    """
    try:
        import fsspec
        import fsspec.core
    except ImportError as reason:
        raise OSError(f"reading {address} needs fsspec (pip install fsspec)") from reason
    return fsspec


@contextmanager
def hearing(hears: Callable[[str], object]) -> Iterator[None]:
    """Hear why requests failed that this thread makes again, for the length of a block."""
    token = _hearer.set(hears)
    try:
        yield
    finally:
        _hearer.reset(token)


def asked_again(reasons: Sequence[str]) -> str:
    """Say in a sentence that requests failed and were made again."""
    times = f"{len(reasons)} times" if len(reasons) > 1 else "once"
    return f"Requests to a store failed {times} and were made again, the last: {reasons[-1]}."


def persistent(ask: Callable[[], T], *, address: str, tries: int = TRIES) -> T:
    """Ask a store for something, and again if it fails.

    Args:
        ask: Does it; may be called several times.
        address: For the messages.
        tries: How often, with a pause between that doubles.

    Raises:
        FileNotFoundError: It is not there.
        IndexError: An array is smaller.
        OSError: As for `read_remote`.
    """
    for trial in range(tries):
        try:
            return ask()
        except (FileNotFoundError, IndexError):
            raise
        except (ImportError, ValueError) as reason:  # the protocol is unknown or not installed
            raise OSError(f"{address}: {reason}") from reason
        except Exception as reason:  # every store has errors of its own
            if _is_refusal(reason):
                raise OSError(
                    f"{address}: the store refuses access: {reason}. Check your credentials (for "
                    "S3 AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE); for a "
                    "public bucket set FSSPEC_S3_ANON=true"
                ) from reason
            if trial == tries - 1:
                raise OSError(
                    f"{address} failed {tries} times: {reason}. Check the network and the store"
                ) from reason
            _hearer.get()(f"{address}: {reason}")
            time.sleep(PAUSE_S * 2**trial)
    raise AssertionError("unreachable")


def _is_refusal(reason: Exception) -> bool:
    """Whether rights or credentials lack; libraries of stores have classes of their own for it."""
    name = type(reason).__name__
    return isinstance(reason, PermissionError) or "Credential" in name or name == "ProfileNotFound"
