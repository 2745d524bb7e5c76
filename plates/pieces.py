"""Pieces of remote files that were read, kept within bounds for the reads to come.

A file of many planes is reached through headers that lie all over it. Whoever fetches one fetches
what lies behind it, too, since a request costs more than its bytes. Of that only what is read in
the end is kept for long: else each header would hold its neighbours' pixels as well.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping
from threading import Lock

BLOCK = 1 << 10  # bytes: a header of one plane fits into one or two
MOST_READ = 1 << 14  # blocks of a file that were read (16 MB): ten thousand planes of a TIFF
MOST_AHEAD = 1 << 10  # blocks of a file that were fetched beside those (1 MB)
MOST_KEPT = 1 << 18  # blocks of all files (256 MB), looked at whenever one is opened
MOST_FILES = 1 << 11


class Pieces:
    """Blocks of one file by their number, those forgotten first that were read longest ago."""

    def __init__(self) -> None:
        self._read: OrderedDict[int, bytes] = OrderedDict()
        self._ahead: OrderedDict[int, bytes] = OrderedDict()
        self._lock = Lock()  # several threads read planes of one file

    def count(self) -> int:
        """How many there are."""
        return len(self._read) + len(self._ahead)

    def read(self, number: int) -> bytes | None:
        """One block; None where it is not kept."""
        with self._lock:
            block = self._read.get(number)
            if block is None and (block := self._ahead.pop(number, None)) is None:
                return None
            _put(self._read, number, block, most=MOST_READ)
            return block

    def add(self, blocks: Mapping[int, bytes], *, read: Iterable[int]) -> None:
        """Keep what a request has fetched.

        Args:
            blocks: By their numbers.
            read: Those that it was made for.
        """
        with self._lock:
            for number, block in blocks.items():
                if number not in self._read:
                    _put(self._ahead, number, block, most=MOST_AHEAD)
            for number in read:
                self._ahead.pop(number, None)
                _put(self._read, number, blocks[number], most=MOST_READ)


def _put(kept: OrderedDict[int, bytes], number: int, block: bytes, *, most: int) -> None:
    kept[number] = block
    kept.move_to_end(number)
    if len(kept) > most:
        kept.popitem(last=False)


class Shelf:
    """Pieces of many files, those forgotten first that were opened longest ago."""

    def __init__(self) -> None:
        self._files: OrderedDict[Hashable, Pieces] = OrderedDict()
        self._lock = Lock()

    def of(self, state: Hashable) -> Pieces:
        """What is kept of one state of a file; whoever reads more of it adds that."""
        with self._lock:
            found = self._files.setdefault(state, Pieces())
            self._files.move_to_end(state)
            while len(self._files) > MOST_FILES or self._count() > MOST_KEPT:
                self._files.popitem(last=False)
            return found

    def _count(self) -> int:
        return sum(pieces.count() for pieces in self._files.values())
