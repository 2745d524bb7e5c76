"""What befalls a plate being written: another command, a full disk, a kill, a wrong place."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile

from plates.convert import FORMATS, convert
from plates.convert.hdf5 import Hdf5Plate
from plates.convert.ome_zarr import ZarrPlate
from plates.errors import BadPlate
from plates.readers import scan

pytest.importorskip("zarr")
PIXELS = np.random.default_rng(7).integers(0, 60000, (6, 64, 64), dtype=np.uint16)


@pytest.fixture
def plate(tmp_path) -> Path:
    """Six fields of pixels that no compression makes smaller."""
    home = tmp_path / "plate"
    home.mkdir()
    for i, pixels in enumerate(PIXELS):
        tifffile.imwrite(home / f"demo_A{i + 1:02d}_s1_DNA.tif", pixels)
    return home


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("to", FORMATS)
def test_two_at_once_on_one_plate(plate, tmp_path, to):
    out = tmp_path / "out"
    first = convert(plate, out, to=to)
    events = [next(first) for _ in range(4)]
    with pytest.raises(BadPlate, match=r"is being written by another command\. Wait for it to"):
        next(convert(plate, out, to=to))
    events += first
    assert sum(event.planes for event in events) == len(scan(out)) == len(PIXELS)
    assert names(out) == [f"demo{FORMATS[to].suffix}"]
    with pytest.raises(BadPlate, match=r"is there already"):
        next(convert(plate, out, to=to))
    assert len(scan(out)) == len(PIXELS)


def test_two_formats_at_once_into_one_folder(plate, tmp_path):
    both = [convert(plate, tmp_path / "out", to=to) for to in ("hdf5", "ome-zarr")]
    for _ in zip(*both, strict=True):
        pass
    assert names(tmp_path / "out") == ["demo.h5", "demo.zarr"]


@pytest.mark.parametrize("to", FORMATS)
def test_what_came_there_meanwhile_is_kept(plate, tmp_path, to):
    going = convert(plate, tmp_path / "out", to=to)
    next(going)
    there = tmp_path / "out" / f"demo{FORMATS[to].suffix}"
    there.write_text("mine")
    with pytest.raises(BadPlate, match=r"is there already\. Move it away, or choose"):
        list(going)
    assert there.read_text() == "mine"
    assert names(tmp_path / "out") == [there.name]


def test_a_lock_that_was_removed_before_it_was_taken_is_no_lock(plate, tmp_path, monkeypatch):
    """Between opening a lock file and locking it, whoever held it may have removed it."""
    from plates.convert import part

    lock, flock, taken = tmp_path / "out/.demo.h5.lock", part.fcntl.flock, []

    def late(file: int, how: int) -> None:
        if not taken:
            lock.unlink()
        taken.append(file)
        flock(file, how)

    monkeypatch.setattr(part.fcntl, "flock", late)
    going = convert(plate, tmp_path / "out", to="hdf5")
    next(going)
    assert len(taken) == 2
    assert lock.exists()
    going.close()


def test_a_file_system_without_locks_is_told(plate, tmp_path, monkeypatch):
    def refuse(file: int, how: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("plates.convert.part.fcntl.flock", refuse)
    with pytest.raises(BadPlate, match=r"cannot lock files \(Operation not supported\)"):
        list(convert(plate, tmp_path / "out", to="hdf5"))


KILLED = """
import os, signal, sys
from pathlib import Path
from plates.convert import convert
going = convert(sys.argv[1], Path(sys.argv[2]), to=sys.argv[3])
next(going)
os.kill(os.getpid(), signal.SIGKILL)
"""


def python(code: str, *words: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("to", ["ome-zarr", "hdf5"])
def test_what_a_killed_command_left_is_removed_by_the_next(plate, tmp_path, to):
    out, end = tmp_path / "out", FORMATS[to].suffix
    done = python(KILLED, plate, out, to)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert f".demo{end}.part" in names(out)
    list(convert(plate, out, to=to))
    assert names(out) == [f"demo{end}"]
    assert len(scan(out)) == len(PIXELS)


FULL = """
import os, resource, signal, sys
from pathlib import Path
from plates.convert import convert
from plates.errors import BadPlate
source, out, to, *sizes = sys.argv[1:]
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for size in map(int, sizes):
    if not os.fork():
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        try:
            list(convert(source, Path(out), to=to))
        except BadPlate as problem:
            print(problem, flush=True)
        sys.exit()
    _, status = os.wait()
    assert status == 0, f"{size}: ended by {status}"
"""


@pytest.mark.parametrize(
    ("to", "sizes"),
    [
        ("hdf5", (0, 100, 2000, 9000, 40000)),
        ("ome-zarr", (0, 5000)),
        ("ome-zarr-0.4", (0, 5000)),
    ],
)
def test_a_disk_that_takes_no_more(plate, tmp_path, to, sizes):
    """Refused by the system itself, wherever the file is then; HDF5 crashed at the end of it."""
    done = python(FULL, plate, tmp_path / "out", to, *sizes)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert len(said) == len(sizes)
    for line in said:
        assert "cannot be written: File too large. What was written of it was removed." in line
    assert names(tmp_path / "out") == []


@pytest.mark.parametrize(("number", "is_whole"), [(28, False), (22, True)])
def test_a_disk_that_says_only_at_the_end_that_it_is_full(
    plate, tmp_path, monkeypatch, number, is_whole
):
    def refuse(file: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("plates.convert.disk.os.fsync", refuse)
    if not is_whole:
        with pytest.raises(BadPlate, match=r"cannot be written: No space left on device"):
            list(convert(plate, tmp_path / "out", to="hdf5"))
        assert names(tmp_path / "out") == []
    else:  # the file system knows no such thing
        list(convert(plate, tmp_path / "out", to="hdf5"))
        assert names(tmp_path / "out") == ["demo.h5"]


def test_a_folder_that_cannot_be_written(plate, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadPlate, match=r"cannot be written: Not a directory\. What was"):
        list(convert(plate, tmp_path / "file" / "out", to="hdf5"))


def test_a_file_for_a_folder(plate):
    there = next(plate.iterdir())
    with pytest.raises(BadPlate, match=r"\.tif is a file\. Give a folder"):
        list(convert(plate, there, to="hdf5"))


@pytest.mark.parametrize("address", ["s3://bucket/plates", "file:///plates", "memory://plates"])
def test_an_address_for_a_folder(plate, tmp_path, monkeypatch, address):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadPlate, match=rf"^{address} is an address, and plates are written into"):
        list(convert(plate, Path(address), to="hdf5"))
    assert names(tmp_path) == ["plate"]  # no folder "s3:" was made


@pytest.fixture
def interruptible():
    """Interrupts are heard, also where the tests run in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(("to", "kind"), [("hdf5", Hdf5Plate), ("ome-zarr", ZarrPlate)])
def test_an_interrupt_waits_for_what_is_being_written(plate, tmp_path, monkeypatch, to, kind):
    """Raised within HDF5 it would be a write that failed, and Zarr would go on after the end."""
    add, done = kind.add, []

    def interrupted(self, key, stack):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)
        add(self, key, stack)
        done.append(key)

    monkeypatch.setattr(kind, "add", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(convert(plate, tmp_path / "out", to=to))
    assert [key.well for key in done] == ["A01"]
    assert names(tmp_path / "out") == []
