"""A watcher's records, held: in the folder of runs, or in a store with a copy on this disk."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from profiler.store.atomic import replacing
from profiler.store.ending import Ended
from profiler.store.lease import leased
from profiler.store.lock import locked, settle
from profiler.store.mirror import working_folder
from profiler.store.objects import Objects, run_address
from profiler.watch import nights, status

NAMES = (status.FILE, nights.FILE, nights.PAGE)


@dataclass(frozen=True)
class Records:
    """Where they are read and written, what lets others have them, and how watchers before ended.

    Attributes:
        folder: Of this disk.
        share: Puts what has changed into the store, if they are of one.
        before: How watchers before ended that did not end well, as far as this machine knows.
        settle: Forgets them, once they are told.
    """

    folder: Path
    share: Callable[[], None]
    before: tuple[Ended, ...]
    settle: Callable[[], None]


@contextmanager
def held_records(runs: Path) -> Iterator[Records]:
    """Keep other watchers out of a folder of runs, here or in a store, for the length of a block.

    Raises:
        BadRun: Another watcher is at work there, or nothing can be written there.
    """
    address = run_address(runs)
    if address is None:
        with locked(runs) as before:
            yield Records(runs, lambda: None, before, partial(settle, runs))
        return
    folder, objects = working_folder(address), Objects(address)
    with locked(folder) as before, leased(objects, folder=folder) as own:
        known = bring(address)

        def share() -> None:
            for name in NAMES:
                path = folder / name
                data = path.read_bytes() if path.is_file() else None
                if data is not None and data != known.get(name):
                    own.check()
                    objects.put(path, name)
                    known[name] = data

        yield Records(folder, share, before, partial(settle, folder))


def bring(address: str) -> dict[str, bytes]:
    """Bring the records of runs in a store to their working folder; those that are not there go."""
    folder, objects = working_folder(address), Objects(address)
    found = {name: objects.read(name) for name in NAMES}
    for name, data in found.items():
        if data is None:
            (folder / name).unlink(missing_ok=True)
            continue
        with replacing(folder / name) as draft:
            draft.write_bytes(data)
    return {name: data for name, data in found.items() if data is not None}
