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
from profiler.store.lock import LOCK, locked

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


def test_killed_run_releases_the_folder_and_the_next_one_learns_of_it(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    message = rf"process {holder.pid} on {socket.gethostname()}, started .*, was killed, or its"
    with locked(tmp_path) as before:
        assert before.code == "killed"
        assert re.match(message, before.message)
    with locked(tmp_path) as before:
        assert before is None


FULL = BadRun("The disk is full: a.parquet could not be written.")
FULL.__cause__ = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RuntimeError("in the block"), "failed"),
        (FULL, "disk_full"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk_full"),
        (MemoryError(), "out_of_memory"),
        (KeyboardInterrupt(), "interrupted"),
        (GeneratorExit(), "interrupted"),
        (BadRun("Wells are lost."), "failed"),
        (BadRecipe("No such stain."), None),  # a person's to mend, and told
    ],
)
def test_released_even_by_an_error_which_the_next_one_learns_of(tmp_path, error, code):
    with pytest.raises(type(error)), locked(tmp_path):
        raise error
    with locked(tmp_path) as before:
        assert (before and before.code) == code
        assert before is None or code == "interrupted" or str(error) in before.message
    assert (tmp_path / LOCK).read_text() == ""


def test_a_very_long_message_is_cut(tmp_path):
    with pytest.raises(RuntimeError), locked(tmp_path):
        raise RuntimeError("x" * 10_000)
    assert (tmp_path / LOCK).stat().st_size < 4096  # one block, so that a full disk can keep it


def test_a_lock_that_was_cut_short_is_of_a_killed_run(tmp_path):
    (tmp_path / LOCK).write_text('{"pid": 1')
    with locked(tmp_path) as before:
        assert before.code == "killed"


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
