"""Why a network sets a treatment's cells apart: sheets of cells, numbers, named features.

`command.py` is the order of things: `sides.py` finds the wells of both sides, `candidates.py` their
cells with vectors, `fields.py` reads fields again, `choose.py` takes the cells to show, `sheet.py`
draws them and `tables.py` writes what was found.
"""

from profiler.explain.command import Wanted, explain
from profiler.explain.events import Read, Told, Written

__all__ = ["Read", "Told", "Wanted", "Written", "explain"]
