"""A file for HDF5 to write to, in which a full disk does not crash the process.

HDF5 keeps much in memory until a file is closed. If the disk refuses it then, HDF5 2.0 neither
writes nor forgets it, and the process dies of a segmentation fault at its end. So what is refused
here is said to be written, and told to us instead; the file is then of no use.
"""

import errno
import os
from pathlib import Path
from typing import Any

CANNOT_SYNC = {errno.EINVAL, errno.ENOTSUP}  # what some file systems say of any file


class Disk:
    """A file as h5py takes it; `check` raises what HDF5 was not told."""

    def __init__(self, path: Path):
        self.file = path.open("w+b", buffering=0)
        self.refusal: OSError | None = None

    def check(self) -> None:
        """Raise OSError if something could not be written."""
        if self.refusal:
            raise self.refusal

    def sync(self) -> None:
        """Wait until all is on the disk; some file systems tell only then that it is full."""
        self.check()
        try:
            os.fsync(self.file.fileno())
        except OSError as reason:
            if reason.errno not in CANNOT_SYNC:
                raise

    def close(self) -> None:
        """Let go of it."""
        self.file.close()

    def write(self, data: Any) -> int:  # a buffer, of a class of h5py's own
        """Write all of it, or keep the reason."""
        left = memoryview(data).cast("B")
        size = left.nbytes
        try:
            while left and not self.refusal:
                left = left[self.file.write(left) :]
        except OSError as reason:
            self.refusal = reason
        return size

    def truncate(self, size: int) -> int:
        """Make it as long as HDF5 says, or keep the reason."""
        try:
            self.file.truncate(size)
        except OSError as reason:
            self.refusal = self.refusal or reason
        return size

    def read(self, size: int) -> bytes:
        """Read some of it."""
        return self.file.read(size)

    def readinto(self, buffer: Any) -> int:
        """Read some of it."""
        return self.file.readinto(buffer)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place in it."""
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        """Where it is read or written next."""
        return self.file.tell()

    def flush(self) -> None:
        """Nothing is held back here."""
