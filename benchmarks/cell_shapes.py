"""Outlines of drawn cells around real nuclei. Host side, NumPy; see `benchmarks/cell_scenes.py`."""

from typing import NamedTuple

import numpy as np
from scipy import ndimage
from skimage.measure import label as connected

from benchmarks.cell_stains import smooth_noise

Draw = np.random.Generator
CLOSE_PX = 21.0  # between the middles of two nuclei that may share a cell
LARGEST = 2.6  # of the reaches of a cell in its directions, the middle one being 1


class Growth(NamedTuple):
    """How the cells of one scene are shaped.

    Attributes:
        area: Median area of cells before they meet, in areas of their nuclei.
        spread: Deviation of its logarithm.
        stretch: Mean of the logarithm of length over width.
        flow: Direction that all cells share, radians, or None.
        spiky: Share of cells with thin protrusions.
        wobble_px: Deviation of the outlines' waviness.
        rounded: Share of small round cells.
        paired: Share of close nuclei that share a cell.
    """

    area: float
    spread: float
    stretch: float
    flow: float | None
    spiky: float
    wobble_px: float
    rounded: float
    paired: float


def draw_growth(rng: Draw) -> Growth:
    """Draw how the cells of a scene are shaped."""
    return Growth(
        area=float(np.clip(rng.lognormal(np.log(7.5), 0.5), 1.8, 18)),
        spread=rng.uniform(0.1, 0.6),
        stretch=rng.choice([0.1, 0.45, 0.9], p=[0.25, 0.45, 0.3]),
        flow=rng.uniform(0, np.pi) if rng.random() < 0.3 else None,
        spiky=rng.choice([0.0, 0.25, 0.7], p=[0.4, 0.35, 0.25]),
        wobble_px=rng.uniform(0.2, 1.4),
        rounded=rng.choice([0.0, 0.06], p=[0.6, 0.4]),
        paired=rng.choice([0.0, 0.1], p=[0.6, 0.4]),
    )


def grow(nuclei: np.ndarray, growth: Growth, rng: Draw) -> tuple[np.ndarray, np.ndarray]:
    """Grow cells around nuclei; where two meet, the nearer by its own reach wins.

    Returns:
        Labels of the cells, and the share of its reach at which each pixel lies.
    """
    shape = nuclei.shape
    warp = growth.wobble_px * np.stack(
        [smooth_noise(rng, shape, rng.uniform(2.5, 7)) for _ in "yx"]
    )
    where = np.indices(shape) + warp
    way = np.ones(shape, np.float32)
    cells = np.zeros(shape, np.int32)
    for label, box in enumerate(ndimage.find_objects(nuclei), start=1):
        if box is None:
            continue
        inside = nuclei[box] == label
        rim = inside & ~np.asarray(ndimage.binary_erosion(inside)).astype(bool)
        points = np.argwhere(rim) + [side.start for side in box]
        spot, share = _share(where, points, float(inside.sum()), growth, rng)
        wins = share < way[spot]
        way[spot][wins] = share[wins]
        cells[spot][wins] = label
    way[nuclei > 0] = 0
    return _settle(np.where(nuclei > 0, nuclei, cells), nuclei), way


def _share(
    where: np.ndarray, points: np.ndarray, area: float, growth: Growth, rng: Draw
) -> tuple[tuple[slice, slice], np.ndarray]:
    """Distance from a nucleus as a share of its cell's reach, in a box around it."""
    is_round = rng.random() < growth.rounded
    times = rng.uniform(1.3, 2) if is_round else growth.area * rng.lognormal(0, growth.spread)
    reach = max(np.sqrt(area / np.pi) * (np.sqrt(max(times, 1.3)) - 1), 1.2)
    stretch = 0.0 if is_round else rng.normal(growth.stretch, 0.25 * growth.stretch)
    middle = points.mean(0)
    farthest = LARGEST * reach * np.exp(stretch / 2)
    side = int(np.abs(points - middle).max() + farthest + 4 * growth.wobble_px) + 2
    rows, columns = (
        slice(max(int(m) - side, 0), min(int(m) + side, top))
        for m, top in zip(middle, where.shape[1:], strict=True)
    )
    metric = _metric(_direction(points - middle, growth, rng), float(stretch))
    at = np.tensordot(metric, where[:, rows, columns] - middle[:, None, None], 1).astype(np.float32)
    sources = (points[:: max(1, len(points) // 14)] - middle) @ metric.T
    squares = [(at[0] - y) ** 2 + (at[1] - x) ** 2 for y, x in sources]
    distance = np.sqrt(np.minimum.reduce(squares))
    angle = np.arctan2(at[0], at[1])
    return (rows, columns), distance / (reach * _outline(angle, growth, rng, is_round=is_round))


def _direction(offsets: np.ndarray, growth: Growth, rng: Draw) -> float:
    """Cells lie along the scene's flow, their nucleus's axis, or anyhow."""
    if growth.flow is not None:
        return growth.flow + rng.normal(0, 0.3)
    if rng.random() < 0.25 or len(offsets) < 3:
        return rng.uniform(0, np.pi)
    spread = np.cov(offsets.T)
    return 0.5 * np.arctan2(2 * spread[0, 1], spread[1, 1] - spread[0, 0])


def _metric(direction: float, stretch: float) -> np.ndarray:
    """Matrix that shortens distances along a direction (from x towards y)."""
    cos, sin = np.cos(direction), np.sin(direction)
    turn = np.array([[cos, -sin], [sin, cos]])  # of (y, x)
    return turn.T @ np.diag([np.exp(stretch / 2), np.exp(-stretch / 2)]) @ turn


def _outline(angle: np.ndarray, growth: Growth, rng: Draw, *, is_round: bool) -> np.ndarray:
    """How far a cell reaches in each direction: corners or waves, and spikes."""
    if is_round:
        return np.ones_like(angle)
    is_cornered = rng.random() < 0.6
    waves = _polygon(angle, rng) if is_cornered else np.ones_like(angle)
    for order, size in ((1, 0.35), (2, 0.2), (3, 0.2), (4, 0.12), (5, 0.08)):
        waves += rng.uniform(0, size / (1 + 2 * is_cornered)) * np.cos(
            order * angle + rng.uniform(0, 2 * np.pi)
        )
    if rng.random() < growth.spiky:
        for _ in range(rng.integers(1, 5)):
            off = np.cos(angle - rng.uniform(-np.pi, np.pi)) - 1
            waves += rng.uniform(0.4, 1.6) * np.exp(rng.uniform(8, 60) * off)
    return np.clip(waves, 0.25, LARGEST)


def _polygon(angle: np.ndarray, rng: Draw) -> np.ndarray:
    """Straight edges between four to seven corners, some of them far out; 1 on average."""
    count = rng.integers(4, 8)
    step = 2 * np.pi / count
    corners = np.sort(step * (np.arange(count) + rng.uniform(-0.3, 0.3, count)))
    out = 1.2 * rng.lognormal(0, 0.45, count)
    after = np.searchsorted(corners, angle % (2 * np.pi)) % count
    before = after - 1
    gone, left = (
        (t + 4 * np.pi) % (2 * np.pi) for t in (angle - corners[before], corners[after] - angle)
    )
    far, near = out[after], out[before]
    return near * far * np.sin(gone + left) / (near * np.sin(gone) + far * np.sin(left) + 1e-6)


def _settle(cells: np.ndarray, nuclei: np.ndarray) -> np.ndarray:
    """Leave each cell the one piece that holds its nucleus, its holes filled."""
    settled = nuclei.copy()
    for label, box in enumerate(ndimage.find_objects(cells), start=1):
        if box is None:
            continue
        mine = cells[box] == label
        pieces = np.asarray(connected(mine, connectivity=1))
        named = np.unique(pieces[(nuclei[box] == label) & mine])
        whole = ndimage.binary_fill_holes(np.isin(pieces, named[named > 0]))
        settled[box][whole & (nuclei[box] == 0)] = label
    return settled


def pair(nuclei: np.ndarray, share: float, rng: Draw) -> np.ndarray:
    """Make some close nuclei one cell's: they get one id, and a bridge that holds them together."""
    ids = np.unique(nuclei[nuclei > 0])
    nuclei = nuclei.copy()
    if len(ids) < 2 or share == 0:
        return nuclei
    middles = np.array(ndimage.center_of_mass(nuclei > 0, nuclei, ids))
    gaps = np.linalg.norm(middles[:, None] - middles[None], axis=-1)
    free = set(range(len(ids)))
    for one, other in np.argwhere(np.triu(gaps < CLOSE_PX, 1)):
        if {one, other} <= free and rng.random() < share:
            free -= {one, other}
            nuclei[nuclei == ids[other]] = ids[one]
            steps = np.linspace(middles[one], middles[other], 48).round().astype(int)
            line = steps[nuclei[tuple(steps.T)] == 0]
            nuclei[tuple(line.T)] = ids[one]
    return nuclei
