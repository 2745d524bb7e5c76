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


def open(runs: str | Path | Sequence[str | Path]) -> Screen:
    """Open one run folder, or several, lazily.

    Args:
        runs: Folders that `profiler run` has written.

    Returns:
        A `Screen`, whose tables (`cells`, `fields`, `wells`, `profiles`, `statistics`, `curves`,
        `hits`, `compounds`) are polars LazyFrames: nothing is read until asked.

    Raises:
        BadRun: A folder is not a run, or the runs do not fit together.
    """
    from profiler.store.screen import (
        open as open_screen,
    )  # here: `profiler --help` waits for nothing

    return open_screen(runs)
