"""From a night's screening plates to ranked hits.

>>> import profiler
>>> screen = profiler.open("runs/bbbc013")  # doctest: +SKIP
>>> screen.hits.collect()  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from profiler.store.screen import Screen

__all__ = ["open"]


def open(
    runs: str | Path | Sequence[str | Path],
    *,
    features: str = "same",
    repeated_plates: bool = False,
) -> Screen:
    """Open one run folder, or several, lazily.

    Args:
        runs: Folders that `profiler run` has written, or addresses (`s3://bucket/run`).
        features: Which columns several runs have together: "same" refuses runs that differ,
            "common" takes the columns that all have, "all" fills in null.
        repeated_plates: Whether a plate may be in several runs.

    Returns:
        A `Screen`, whose tables (`cells`, `wells`, `profiles`, `hits`, `compounds`, ...; see
        `docs/schema.md`) are polars LazyFrames: nothing is read until asked.

    Raises:
        BadRun: A folder is not a run, or the runs do not fit together.
        UnknownName: `features` is none of the three.
    """
    # Here: `profiler --help` waits for nothing.
    from profiler.store.screen import open as open_screen

    return open_screen(runs, features=features, repeated_plates=repeated_plates)
