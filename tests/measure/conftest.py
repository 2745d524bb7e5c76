"""One field with every kind of cell, measured once by each backend."""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest

from profiler.measure import FAMILIES, CellLabels, Plan, Table, measure, plan_measurement

STAINS = ("GFP", "DNA")
MAX_CELLS = 12
SHAPE = (64, 80)


class Field(NamedTuple):
    image: np.ndarray
    labels: CellLabels


class Measured(NamedTuple):
    """A table, by column."""

    plan: Plan
    table: Table

    def __getitem__(self, column: str) -> np.ndarray:
        return self.table.features[:, self.plan.columns.index(column)]


def _ellipse(y: float, x: float, height: float, width: float, tilt: float) -> np.ndarray:
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    dy, dx = rows - y, columns - x
    along, across = dy * np.cos(tilt) + dx * np.sin(tilt), dx * np.cos(tilt) - dy * np.sin(tilt)
    return (along / height) ** 2 + (across / width) ** 2 <= 1


def _field() -> Field:
    """Cells 1 to 11 without 6: tilted, touching, on the border, holed, of one pixel, a line."""
    cells = np.zeros(SHAPE, np.int32)
    cells[_ellipse(14, 14, 12, 7, 0.4)] = 1
    cells[_ellipse(14, 30, 12, 9, -0.8)] = 2  # touches cell 1
    cells[_ellipse(0, 60, 9, 14, 0.2)] = 3  # on the border
    cells[_ellipse(45, 14, 13, 11, 1.0)] = 4
    cells[_ellipse(45, 45, 12, 14, 0.1)] = 5
    cells[30, 70] = 7  # one pixel
    cells[34, 60:66] = 8  # a line
    cells[_ellipse(63, 79, 8, 6, 0.0)] = 9  # in the corner
    cells[52:56, 66:70] = 10  # a square
    cells[25, 72] = cells[26, 73] = cells[27, 72] = 11  # joined by corners
    nuclei = np.where(
        _ellipse(14, 14, 6, 4, 0.4) | _ellipse(12, 30, 5, 5, 0) | _ellipse(2, 60, 5, 6, 0)
        | _ellipse(45, 14, 6, 6, 0) | _ellipse(45, 45, 5, 7, 0.3) | (cells == 7)
        | _ellipse(61, 78, 3, 3, 0) | (cells == 11), cells, 0,
    )  # fmt: skip
    nuclei[45, 45] = 0  # a hole
    cytoplasm = np.where(nuclei > 0, 0, cells)  # rings; none for cells 7 and 11
    noise = np.random.default_rng(7).random((*SHAPE, 2))
    image = 0.1 + 0.2 * noise + 0.5 * (nuclei[..., None] > 0) * noise[..., ::-1]
    return Field(image.astype(np.float32), CellLabels(nuclei, cells, cytoplasm))


@pytest.fixture(scope="session")
def field() -> Field:
    return _field()


@cache
def _full_set(backend: str) -> Callable[[np.ndarray, CellLabels], Measured]:
    plan = plan_measurement(
        families=tuple(FAMILIES), stains=STAINS, max_cells=MAX_CELLS, backend=backend
    )
    return lambda image, labels: Measured(plan, measure(image, labels, plan=plan))


@pytest.fixture(scope="session")
def full_set() -> Callable[[str], Callable[[np.ndarray, CellLabels], Measured]]:
    """Measure a field of the one shape with all families, by a backend's one program."""
    return _full_set


@pytest.fixture(scope="session", params=["cpu", "jax"])
def run(request) -> Callable[[np.ndarray, CellLabels], Measured]:
    """Measure a field of the one shape with all families, by each backend."""
    return _full_set(request.param)


@pytest.fixture(scope="session")
def measured(run, field) -> Measured:
    return run(*field)
