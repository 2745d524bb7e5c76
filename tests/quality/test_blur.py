"""Edge widths: the table is what drawn edges give, and blurs add up in it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage
from scipy.special import ndtr

from plates.synthetic import Phenotype, field
from profiler.illuminate.exposure import Exposure, expose_plane
from profiler.quality.blur import COARSE, FINE, SD_PX, edge_variance

_judged = jax.jit(lambda plane: expose_plane(plane, plane))
ROWS, COLUMNS = np.mgrid[:192, :192] - 95.5
PIXEL = 1 / 12  # variance that a pixel's own width adds


def judged(plane: np.ndarray) -> Exposure:
    return Exposure(*map(float, _judged(jnp.asarray(plane, jnp.float32))))


def disc(diameter: float, sd: float, *, at: tuple[float, float]) -> np.ndarray:
    inwards = diameter / 2 - np.hypot(ROWS - at[0], COLUMNS - at[1])
    return ndtr(inwards / np.hypot(sd, np.sqrt(PIXEL)))


def straight(sd: float, *, angle: float, at: float) -> np.ndarray:
    inwards = np.cos(angle) * ROWS + np.sin(angle) * COLUMNS - at
    return ndtr(inwards / np.hypot(sd, np.sqrt(PIXEL)))


@pytest.mark.parametrize("sd", [0.75, 1.0, 1.5, 2.0, 3.0, 4.0])
@pytest.mark.parametrize("shape", ["straight", 14, 30, 60])
def test_the_table_is_what_edges_give(shape, sd):
    rng = np.random.default_rng(0)
    drawn = [
        straight(sd, angle=rng.uniform(0, np.pi), at=rng.uniform(-8, 8))
        if shape == "straight"
        else disc(shape, sd, at=tuple(rng.uniform(-8, 8, 2)))
        for _ in range(8)
    ]
    found = [judged(plane) for plane in drawn]
    row = SD_PX.index(sd)
    assert np.mean([each.FineDetail for each in found]) == pytest.approx(FINE[row], abs=0.1)
    coarse = np.mean([each.CoarseDetail for each in found])
    assert coarse == pytest.approx(COARSE[row], abs=0.06 if shape == 30 else 0.25)


def test_a_blur_adds_its_own_variance_to_what_cells_had():
    cells = field(Phenotype(n_cells=30), size=256, seed=1).images[..., 0].astype(np.float32)
    before = judged(cells)
    for sd, detail, table in ((1.5, "FineDetail", FINE), (4.0, "CoarseDetail", COARSE)):
        after = judged(ndimage.gaussian_filter(cells, sd))
        had, has = (
            edge_variance(np.array([getattr(each, detail)]), table)[0] for each in (before, after)
        )
        assert has - had == pytest.approx(sd**2, rel=0.25)


def test_both_ratios_fall_throughout_and_ends_are_kept():
    assert np.all(np.diff(FINE) < 0)
    assert np.all(np.diff(COARSE) < 0)
    found = edge_variance(np.array([9.0, FINE[4], -99.0, np.nan]), FINE)
    np.testing.assert_allclose(found, [0, 1.25**2, 64, np.nan])
