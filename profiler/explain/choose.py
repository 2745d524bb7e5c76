"""Which cells to show: those that are usual for their side, and those that show it most."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

Rows = Int[np.ndarray, " chosen"]


class Chosen(NamedTuple):
    """Rows of the candidates.

    Attributes:
        typical: Treated cells nearest to the median place of the treated.
        extreme: Treated cells that lie furthest along.
        controls: Control cells nearest to the controls' median place.
    """

    typical: Rows
    extreme: Rows
    controls: Rows


def choose_cells(
    place: Float[np.ndarray, " cell"],
    *,
    is_treated: Bool[np.ndarray, " cell"],
    well: np.ndarray,
    cells: int,
) -> Chosen:
    """Choose treated cells, two of three typical, and a control for every four of them.

    Args:
        place: Along the direction that is explained.
        is_treated: On which side a cell is.
        well: Of each cell; wells take turns.
        cells: How many treated ones; where there are fewer, all.

    Returns:
        The most typical and the most extreme first; none is in two of the lists.
    """
    treated, controls = np.flatnonzero(is_treated), np.flatnonzero(~is_treated)
    cells = min(cells, len(treated))
    n_extreme = cells // 3
    furthest = _in_turn(-place[treated], well[treated])[:n_extreme]
    extreme = treated[furthest]
    rest = np.setdiff1d(treated, extreme)
    usual = np.abs(place[rest] - np.median(place[treated])) if len(treated) else place[rest]
    typical = rest[_in_turn(usual, well[rest])[: cells - n_extreme]]
    n_controls = max(2, cells // 4)
    near = np.abs(place[controls] - np.median(place[controls]))
    return Chosen(typical, extreme, controls[_in_turn(near, well[controls])[:n_controls]])


def reference_cells(
    vectors: Float[np.ndarray, "cell feature"], *, well: np.ndarray, cells: int
) -> Rows:
    """Choose the cells nearest to the mean of all, wells in turn: what others are held against.

    Args:
        vectors: Of the control cells alone.
        well: Of each.
        cells: How many.
    """
    spread = vectors.std(axis=0)
    scale = np.where(spread > 0, spread, np.inf)
    away = (((vectors - vectors.mean(axis=0)) / scale) ** 2).sum(axis=1)
    return _in_turn(away, well)[:cells]


def _in_turn(cost: Float[np.ndarray, " row"], well: np.ndarray) -> Rows:
    """Order rows by cost, the best of every well before the second best of any."""
    order = np.argsort(cost, kind="stable")
    seen: dict[str, int] = {}
    turn = np.zeros(len(cost), int)
    for row in order:
        name = str(well[row])
        turn[row] = seen[name] = seen.get(name, -1) + 1
    return np.lexsort((cost, turn))
