"""Pieces of remote files: the right bytes in few requests, within bounds, and found at once."""

import time
from collections import Counter

import numpy as np
import pytest

import plates.pieces as kept
import plates.remote as remote
from plates.pieces import BLOCK, Pieces, Shelf
from plates.remote import PIECE, RemoteFile

fsspec = pytest.importorskip("fsspec")
ADDRESS = "memory://bucket/some.bin"


@pytest.fixture
def data(tmp_path, store) -> bytes:
    """A file in the store, whose last block is a short one."""
    data = np.random.default_rng(0).bytes(2_000_123)
    (tmp_path / "some.bin").write_bytes(data)
    assert store(tmp_path / "some.bin", "some.bin") == ADDRESS
    return data


def full(pieces: Pieces, count: int, *, first: int = 0) -> None:
    for number in range(first, first + count):
        pieces.add({number: bytes(BLOCK)}, read=[number])


@pytest.mark.parametrize("most", [1, 7, 1 << 14])
def test_what_is_read_is_what_is_there(data, monkeypatch, most):
    monkeypatch.setattr(kept, "MOST_READ", most)
    monkeypatch.setattr(kept, "MOST_AHEAD", most)
    rng = np.random.default_rng(most)
    with RemoteFile(ADDRESS, size=len(data)) as file:
        for _ in range(400):
            start = int(rng.choice([rng.integers(len(data)), len(data) - rng.integers(3 * PIECE)]))
            count = int(rng.choice([1, 12, BLOCK, PIECE - 1, PIECE, 3 * PIECE]))
            file.seek(start)
            assert file.read(count) == data[start : start + count]
            assert file.tell() == min(start + count, len(data))
        file.seek(len(data))
        assert file.read(10) == b""


def test_one_read_is_one_request_at_most(data, fetched):
    with RemoteFile(ADDRESS, size=len(data)) as file:
        for place in (5 * BLOCK, 7 * BLOCK):  # with a hole before, between and behind
            file.pieces.add({place // BLOCK: data[place : place + BLOCK]}, read=[])
        file.seek(4 * BLOCK + 100)
        assert file.read(5 * BLOCK) == data[4 * BLOCK + 100 :][: 5 * BLOCK]
        assert fetched == [PIECE]
        file.seek(4 * BLOCK + PIECE - 300)  # what lies behind has come with it
        assert file.read(300) == data[4 * BLOCK + PIECE - 300 :][:300]
        assert fetched == [PIECE]
        file.seek(100 * BLOCK - 1)  # the longest of the short ones, across one block more
        assert file.read(PIECE - 1) == data[100 * BLOCK - 1 :][: PIECE - 1]
        assert fetched == [PIECE, PIECE + BLOCK]
        file.seek(100 * BLOCK + 1)
        file.read(PIECE)
        assert fetched == [PIECE, PIECE + BLOCK, PIECE], "pixels are asked for to the byte"
        before = file.pieces.count()
        file.seek(1000 * BLOCK)
        file.read(PIECE)
        assert file.pieces.count() == before, "pixels are not kept"


def test_what_was_read_outlasts_what_was_fetched_beside_it(monkeypatch):
    monkeypatch.setattr(kept, "MOST_READ", 4)
    monkeypatch.setattr(kept, "MOST_AHEAD", 3)
    pieces = Pieces()
    for first in range(0, 100, 10):  # each of five, of which one is read
        pieces.add({first + i: bytes([first + i]) for i in range(5)}, read=[first])
    assert pieces.count() == 7
    found = [number for number in range(100) if pieces.read(number) is not None]
    # The last read, and of the last fetched those behind; what is read moves from there.
    assert found == [60, 70, 80, 90, 92, 93, 94]
    assert pieces.count() == 4
    assert [number for number in range(100) if pieces.read(number)] == [90, 92, 93, 94]


def test_of_one_file_the_longest_unread_goes_first(monkeypatch):
    monkeypatch.setattr(kept, "MOST_READ", 3)
    pieces = Pieces()
    full(pieces, 3)
    assert pieces.read(0) is not None
    full(pieces, 1, first=3)
    assert [pieces.read(number) is not None for number in range(4)] == [True, False, True, True]


def test_of_all_files_the_longest_unopened_goes_first(monkeypatch):
    monkeypatch.setattr(kept, "MOST_KEPT", 10)
    shelf = Shelf()
    for name in "abc":
        full(shelf.of(name), 3)
    assert shelf.of("a").count() == 3
    full(shelf.of("d"), 3)
    assert shelf.of("d").count() == 3
    assert [shelf.of(name).count() for name in "abc"] == [3, 0, 3]
    monkeypatch.setattr(kept, "MOST_FILES", 2)
    shelf.of("e")
    assert shelf.of("c").count() == 3
    assert shelf.of("a").count() == 0


def test_the_bounds_are_what_the_memory_of_a_laptop_bears():
    assert kept.MOST_KEPT * BLOCK <= 1 << 28
    assert (kept.MOST_READ + kept.MOST_AHEAD) * BLOCK <= 1 << 25


def test_a_small_read_costs_as_much_however_many_pieces_are_kept():
    def seconds(count: int) -> float:
        pieces = Pieces()
        full(pieces, count)
        file = RemoteFile(ADDRESS, size=count * BLOCK, pieces=pieces)
        best = np.inf
        for _ in range(5):
            start = time.process_time()
            for _ in range(500):
                file.seek((count - 1) * BLOCK + 100)
                file.read(12)
            best = min(best, time.process_time() - start)
        return best

    # 4,000 pieces in a list that was searched: more than fifty times as long.
    assert seconds(16_000) < 8 * seconds(10)


def test_a_store_that_gives_other_than_was_asked_for(data, monkeypatch):
    """As web servers do that know whole files only, and a file that was cut meanwhile."""
    system = type(fsspec.filesystem("memory"))
    whole = system.cat_file
    monkeypatch.setattr(system, "cat_file", lambda self, path, **options: whole(self, path))
    with (
        pytest.raises(OSError, match=r"gave 2000123 bytes where 16384 were asked for\. Was it ch"),
        RemoteFile(ADDRESS, size=len(data)) as file,
    ):
        file.read(10)


def test_a_failure_is_told_whatever_is_made_of_it(data, monkeypatch):
    asked = Counter()

    def down(self, path, **options):
        asked[path] += 1
        raise TimeoutError("no route")

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "cat_file", down)
    message = r"some\.bin failed 6 times: no route\. Check the network"

    def swallowing(made_of_it: Exception | None) -> None:
        with RemoteFile(ADDRESS, size=len(data)) as file:
            for _ in range(3):
                with pytest.raises(OSError, match=message):
                    file.read(10)
            if made_of_it is not None:
                raise made_of_it

    for made_of_it in (None, ValueError("no such page")):
        asked.clear()
        with pytest.raises(OSError, match=message):
            swallowing(made_of_it)
        assert asked.total() == remote.TRIES, "nobody waits for it several times"
