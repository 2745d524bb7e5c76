"""Files that are there whole or not at all, whatever happens while they are written."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from plates.errors import BadRun

DRAFT = ".unfinished"  # ends the names of files that are being written
FULL = {errno.ENOSPC, errno.EDQUOT}
_CANNOT_SYNC = {errno.EINVAL, errno.ENOTSUP}


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file so that readers see the old one or the new one, never a part.

    Args:
        path: The file to make or replace; its folder is made where absent.

    Yields:
        A path in the same folder to write to. When the block ends well its file is on disk
        and takes the place of `path`; when it does not, it is removed and `path` is as before.

    Raises:
        BadRun: The disk is full, or the file cannot be written for another reason.
    """
    # Not `tempfile`: its files are private, and a run folder is often shared.
    draft = path.with_name(f".{path.name}.{os.getpid()}{DRAFT}")
    try:
        _make_folder(path.parent)
        yield draft
        _sync(draft)
        draft.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise BadRun(_explain(path, error)) from error
    finally:
        with suppress(OSError):  # the error above is the one to report
            draft.unlink(missing_ok=True)


def is_draft(path: Path) -> bool:
    """Whether a file was being written, here or by a process that is gone."""
    return path.name.startswith(".") and path.name.endswith(DRAFT)


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        _sync(folder.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot sync a folder; the rename is still whole there.
        if error.errno not in _CANNOT_SYNC:
            raise
    finally:
        os.close(descriptor)


def _explain(path: Path, error: OSError) -> str:
    if error.errno in FULL:
        return (
            f"The disk is full: {path} could not be written and is as it was before. Everything "
            "written earlier is kept and whole. Free some space and run the same command again: "
            "finished wells are not computed again."
        )
    reason = os.strerror(error.errno) if error.errno else str(error)
    return (
        f"{path} could not be written ({reason}) and is as it was before. Everything written "
        "earlier is kept and whole. Check the folder and its permissions, then run again."
    )
