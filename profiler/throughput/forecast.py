"""What a run will take, from what is known before it and from its first fields."""

import json
import math
import os
import resource
import sys
from pathlib import Path

KNOWN = "costs.json"
BATCHES_IN_FLIGHT = 7  # read ahead 3, placed 2, behind 2, each a batch of raw pixels
PROGRAMS = 500_000_000  # what XLA and numba hold once they have compiled
HOST_BYTES_PER_PIXEL = 900  # of the field at hand on a CPU: benchmarks/plate.py checks the sum
WARM = 1  # batches that do not tell a field's cost, since they wait for the compiler
ENOUGH = 2  # batches after those that do


def peak_bytes() -> int:
    """Most memory that this process has held so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def memory_bytes(*, field_bytes: int, pixels: int, size: int, is_cpu: bool) -> int:
    """Memory that this process will need at most.

    Args:
        field_bytes: Raw pixels of one field.
        pixels: Of one plane.
        size: Fields in a batch.
        is_cpu: Whether the fields are computed in this process's own memory.
    """
    work = HOST_BYTES_PER_PIXEL * pixels if is_cpu else 0
    return peak_bytes() + PROGRAMS + BATCHES_IN_FLIGHT * size * field_bytes + work


class Pace:
    """What a field costs, told by the time at which batches are done."""

    def __init__(self) -> None:
        self._done: list[tuple[float, int]] = []

    def add(self, *, at: float, fields: int) -> None:
        """A batch is through."""
        self._done.append((at, fields))

    @property
    def is_enough(self) -> bool:
        """Whether this batch is the first that lets a field's cost be told."""
        return len(self._done) == WARM + ENOUGH

    @property
    def seconds_per_field(self) -> float | None:
        """None if there were too few batches."""
        if len(self._done) < WARM + ENOUGH:
            return None
        fields = sum(fields for _, fields in self._done[WARM:])
        return (self._done[-1][0] - self._done[WARM - 1][0]) / max(fields, 1)


def recall(key: str) -> float | None:
    """What a field of this kind cost in an earlier run on this machine, in seconds."""
    return _known().get(key)


def remember(key: str, seconds_per_field: float) -> None:
    """Keep what a field cost; where that cannot be kept, the next run will not know."""
    costs = _known() | {key: float(seconds_per_field)}
    path = _path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        draft.write_text(json.dumps(costs, indent=1))
        draft.replace(path)
    except OSError:
        return


def _known() -> dict[str, float]:
    try:
        found = json.loads(_path().read_text())
    except (OSError, ValueError):
        return {}
    pairs = found.items() if isinstance(found, dict) else ()
    return {key: cost for key, cost in pairs if isinstance(cost, float) and math.isfinite(cost)}


def _path() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "plate-profiler" / KNOWN
