"""The files of a run in an object store: put, got, listed and removed, each of them whole.

A store has no folders, locks or renaming, and needs none: an object appears when all of it is
there, and takes the place of an earlier one at once. Requests that fail are made again for about
a minute; what a store refuses is told at once.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from plates.address import remote_address
from plates.errors import BadRun
from plates.remote import fsspec_package, hearing, persistent
from profiler.store.atomic import replacing

T = TypeVar("T")

TRIES = 9  # with the pauses between them, a minute: a night's run outlives a short outage
AT_ONCE = 8  # requests: they wait for the network, not for the processor
VERSIONS = ("ETag", "etag", "generation", "LastModified", "mtime", "created")  # by store
KEPT = (
    "What is there is whole and stays, and so does what this machine has computed since; run the "
    "same command again: only what is missing is computed."
)


class Found(NamedTuple):
    """An object: its size, and what tells it from another version of it."""

    bytes: int
    version: str


class Objects:
    """What lies below an address, by names like "cells/P1/B03.parquet".

    Every method raises BadRun where the store cannot be reached, refuses, or has no such bucket.
    """

    def __init__(self, address: str):
        self.address = address.rstrip("/")
        self.faltered: list[str] = []  # why requests failed that were made again

    @cached_property
    def _system(self) -> tuple[Any, str]:
        # Once for all threads: fsspec would open a connection for each.
        try:
            return fsspec_package(self.address).core.url_to_fs(self.address)
        except (ImportError, ValueError) as reason:
            raise BadRun(
                f"{self.address} is of a kind that no installed package can reach ({reason}). For "
                "s3:// it is: pip install 'plate-profiler[s3]'; nothing was changed."
            ) from reason

    def find(self, below: str = "", *, starts: str = "") -> dict[str, Found]:
        """List the objects below a name, those whose names there start so; none is no error."""

        def ask(system: Any, path: str) -> dict[str, Found]:
            system.invalidate_cache()
            options = {"prefix": starts} if starts else {}
            found = system.find(path, detail=True, **options)
            root = self._system[1].strip("/")
            names = {name.strip("/").removeprefix(root).lstrip("/"): i for name, i in found.items()}
            wanted = "/".join(filter(None, (below, starts)))
            return {n: _found(info) for n, info in names.items() if n and n.startswith(wanted)}

        try:
            return self._ask(ask, below)
        except FileNotFoundError:
            return {}

    def read(self, name: str) -> bytes | None:
        """Read an object, None where there is none."""
        try:
            return self._ask(lambda system, path: system.cat_file(path), name)
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes) -> None:
        """Write a small object."""
        self._put(lambda system, path: system.pipe_file(path, data), name)

    def create(self, name: str, data: bytes) -> None:
        """Write a small object unless there is one; where a store cannot say so, it is replaced."""

        def ask(system: Any, path: str) -> None:
            try:
                system.pipe_file(path, data, mode="create")
            except OSError as reason:
                if not (isinstance(reason, FileExistsError) or "condition" in str(reason)):
                    raise

        self._put(ask, name)

    def changed(self, name: str) -> datetime | None:
        """When an object was written, by the store's clock; None where there is none."""

        def ask(system: Any, path: str) -> datetime:
            system.invalidate_cache()
            return system.modified(path)

        try:
            return self._ask(ask, name)
        except FileNotFoundError:
            return None

    def put(self, file: Path, name: str) -> Found:
        """Copy a file to the store."""

        def ask(system: Any, path: str) -> Found:
            system.put_file(str(file), path)
            return _found(system.info(path))

        return self._put(ask, name)

    def get(self, name: str, file: Path) -> None:
        """Copy an object to a file, whole or not at all."""
        with replacing(file) as draft:
            try:
                self._ask(lambda system, path: system.get_file(path, str(draft)), name)
            except FileNotFoundError as reason:
                raise BadRun(
                    f"{self.address}/{name} went while it was read. Try again."
                ) from reason

    def remove(self, names: Iterable[str]) -> None:
        """Remove objects; one that is not there is no error."""

        def one(name: str) -> None:
            with suppress(FileNotFoundError):
                self._ask(lambda system, path: system.rm_file(path), name)

        each_at_once(one, names)

    def _put(self, ask: Callable[[Any, str], T], name: str) -> T:
        try:
            return self._ask(ask, name)
        except FileNotFoundError as reason:
            raise BadRun(
                f"{self.address} cannot be written to: there is no such bucket ({reason}). Make "
                "it first, or check its name; nothing was changed."
            ) from reason

    def _ask(self, ask: Callable[[Any, str], T], name: str) -> T:
        system, root = self._system
        path = f"{root}/{name}" if name else root
        address = f"{self.address}/{name}".rstrip("/")
        try:
            with hearing(self.faltered.append):
                return persistent(partial(ask, system, path), address=address, tries=TRIES)
        except FileNotFoundError:
            raise
        except OSError as reason:
            raise BadRun(f"{reason}. {KEPT}") from reason


def run_address(out: Path | str) -> str | None:
    """The address of a run that lies in a store, None of one in a folder.

    Raises:
        BadRun: It goes up by "..", or is a folder of this machine after all.
    """
    address = remote_address(out)
    if address and ".." in address.split("/"):
        raise BadRun(f"{address} has '..' in it. Write the address out.")
    if address and address.startswith(("file:", "local:")):
        raise BadRun(f"{address} is a folder of this machine. Give its path alone.")
    return address and address.rstrip("/")


def each_at_once(do: Callable[[T], object], items: Iterable[T]) -> None:
    """Do something with each of some items, several at a time; the first error is raised."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in pool.map(do, items):
            pass


def _found(info: dict[str, Any]) -> Found:
    version = next((info[name] for name in VERSIONS if info.get(name)), "")
    if isinstance(version, datetime):  # in lists some stores have it as a number
        version = version.timestamp()
    return Found(int(info.get("size") or 0), str(version).strip('"'))
