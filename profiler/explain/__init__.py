"""Why a network sets a treatment's cells apart: sheets of cells, numbers, named features.

`command.py` is the order of things: `listed.py` reads which cells are meant where a table says it,
`sides.py` finds the wells of both sides, `candidates.py` their cells, `vectors.py` what the network
says of them (`compute/reread.py` reads fields again), `choose.py` takes the cells to show,
`labelled.py` and `beside.py` find those most like them, `sheet.py` draws them, and `tables.py`
writes what was found.
"""

from profiler.explain.command import Wanted, explain
from profiler.explain.events import Read, Told, Written
from profiler.explain.listed import read_listed

__all__ = ["Read", "Told", "Wanted", "Written", "explain", "read_listed"]
