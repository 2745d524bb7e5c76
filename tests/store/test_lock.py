"""One run at a time, whatever became of the one before."""

import errno
import os
import re
import signal
import socket
import subprocess
import sys

import pytest

from plates.errors import BadRecipe, BadRun
from profiler.execute.executor import WorkLost
from profiler.store.lease import LeaseLost
from profiler.store.lock import BLOCK, LOCK, locked, settle

HOLDER = """
import sys, time
from pathlib import Path
from profiler.store.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    arguments = [sys.executable, "-c", HOLDER, tmp_path]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def enter(out) -> None:
    with locked(out):
        pass


def test_second_run_is_told_who_holds_the_folder(tmp_path, holder):
    message = rf"in use by process {holder.pid} on {socket.gethostname()}, started \d{{4}}-\d\d-"
    with pytest.raises(BadRun, match=message):
        enter(tmp_path)


def left(out) -> list[tuple[str, str]]:
    """How commands ended, as the next one learns, and settles."""
    with locked(out) as before:
        settle(out)
    return [(end.code, end.message) for end in before]


def test_killed_run_releases_the_folder_and_the_next_one_learns_of_it(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    ((code, message),) = left(tmp_path)
    assert code == "killed"
    who = rf"Process {holder.pid} on {socket.gethostname()}, started \d{{4}}-.*, was killed, or its"
    assert re.match(who, message)
    assert left(tmp_path) == []
    assert (tmp_path / LOCK).read_text() == ""


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


ENDINGS = [
    (RuntimeError("in the block"), "failed"),
    (caused(BadRun("The disk is full."), OSError(errno.ENOSPC, "No space left")), "disk_full"),
    (OSError(errno.EDQUOT, "Quota exceeded"), "disk_full"),
    (MemoryError(), "out_of_memory"),
    (KeyboardInterrupt(), "interrupted"),
    (GeneratorExit(), "interrupted"),
    (WorkLost("Wells are lost."), "failed"),
    (LeaseLost("It is with another run."), "failed"),
    (caused(BadRun("It cannot be read."), PermissionError(errno.EACCES, "denied")), "failed"),
    # A person's to mend, and told:
    (BadRecipe("No such stain."), None),
    (BadRun("It holds what no run makes."), None),
    (caused(BadRun("It is no run."), FileNotFoundError(errno.ENOENT, "no such file")), None),
]


@pytest.mark.parametrize(("error", "code"), ENDINGS, ids=repr)
def test_released_even_by_an_error_which_the_next_one_learns_of(tmp_path, error, code):
    with pytest.raises(type(error)), locked(tmp_path):
        raise error
    found = left(tmp_path)
    assert [code for code, _ in found] == [code] * (code is not None)
    assert all(code == "interrupted" or str(error) in message for code, message in found)
    assert (tmp_path / LOCK).read_text() == ""


def test_what_is_not_settled_is_told_again(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with pytest.raises(MemoryError), locked(tmp_path):
        raise MemoryError
    enter(tmp_path)
    assert [code for code, _ in left(tmp_path)] == ["killed", "out_of_memory"]


@pytest.mark.parametrize("letter", ["x", "µ", '"', "\n"])
def test_however_much_there_is_to_say_it_fits_in_a_block_of_the_disk(tmp_path, letter):
    for _ in range(5):
        with pytest.raises(RuntimeError), locked(tmp_path):
            raise RuntimeError(letter * 10_000)
    assert (tmp_path / LOCK).stat().st_size < BLOCK
    assert len(left(tmp_path)) == 3


@pytest.mark.parametrize("text", [b'{"pid": 1', b"[]", b"\xff\xfe", b"null"])
def test_a_lock_that_cannot_be_read_is_of_a_killed_command(tmp_path, text):
    (tmp_path / LOCK).write_bytes(text)
    assert [code for code, _ in left(tmp_path)] == ["killed"]


def test_a_mark_that_cannot_be_written_hides_no_error(tmp_path, monkeypatch):
    def fail():
        with locked(tmp_path):
            monkeypatch.setattr("profiler.store.lock.os.pwrite", refuse)
            raise RuntimeError("in the block")

    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(RuntimeError, match="in the block"):
        fail()


def test_second_run_of_the_same_process_is_refused(tmp_path):
    with locked(tmp_path), pytest.raises(BadRun, match=f"process {os.getpid()} on"):
        enter(tmp_path)


def test_holder_that_has_not_signed_yet(tmp_path):
    with locked(tmp_path):
        (tmp_path / LOCK).write_text("")
        with pytest.raises(BadRun, match="another run that has just started"):
            enter(tmp_path)


def test_folder_is_made(tmp_path):
    with locked(tmp_path / "new" / "run"):
        assert (tmp_path / "new" / "run" / LOCK).is_file()


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BadRun, match=r"cannot be written to .*Choose another --out"):
        enter(tmp_path / "file" / "run")


def test_file_system_without_locks(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("profiler.store.lock.fcntl.flock", refuse)
    with pytest.raises(BadRun, match=r"cannot lock files \(No locks available\)"):
        enter(tmp_path)
