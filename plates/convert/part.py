"""A plate under another name until it is whole, written by one command at a time."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from plates.errors import BadPlate


@contextmanager
def held_part(path: Path) -> Iterator[Path]:
    """Where to write a plate for the length of a block; `keep` then gives it its name.

    The operating system holds the lock, so it ends with the process, however that ends, and what
    a command that was killed has left is removed by the next one.

    Args:
        path: The plate; its folder is made where absent.

    Yields:
        A path in the same folder at which nothing is; whatever is there after the block is removed.

    Raises:
        BadPlate: A plate of that name is there, another command writes it, or the file system
            cannot lock.
        OSError: The folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with _locked(path.with_name(f".{path.name}.lock"), path):
        _check_free(path)
        _remove(part)
        try:
            yield part
        finally:
            with suppress(OSError):  # an error of the block is the one to report
                _remove(part)


def keep(part: Path, path: Path) -> None:
    """Give a plate that is whole its name; nothing loses it that came there meanwhile.

    Raises:
        BadPlate: Something of that name is there.
        OSError: It cannot be renamed.
    """
    _check_free(path)
    part.rename(path)


def _check_free(path: Path) -> None:
    if os.path.lexists(path):
        raise BadPlate(f"{path} is there already. Move it away, or choose another folder.")


@contextmanager
def _locked(lock: Path, path: Path) -> Iterator[None]:
    file = _taken(lock, path)
    try:
        yield
    finally:
        with suppress(OSError):
            lock.unlink()  # while it is held: after it, it would be the next one's
        os.close(file)


def _taken(lock: Path, path: Path) -> int:
    while True:
        file = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(file)
            raise BadPlate(
                f"{path} is being written by another command. Wait for it to end, or choose "
                "another folder; nothing was changed."
            ) from error
        except OSError as error:
            os.close(file)
            raise BadPlate(
                f"The file system of {path} cannot lock files ({error.strerror}). Choose a folder "
                "on a local disk."
            ) from error
        if _is_at(file, lock):
            return file
        os.close(file)  # whoever held it has removed it since it was opened


def _is_at(file: int, path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file), path.stat())
    return False


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
