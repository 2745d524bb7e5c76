"""Loops that numpy has no words for, compiled."""

from functools import partial

import numba

# Above `@compiled()` goes `@no_type_check`: annotations are checked at run time in tests, which
# numba cannot compile.
compiled = partial(numba.njit, cache=True, nogil=True)
