"""Scales of plates: against numpy, whatever the gain, and where nothing varies."""

import numpy as np
import polars as pl
import pytest

from profiler.classify import scale
from profiler.classify.scale import on_scale, plate_scale

NAMES = ["Cells_A_B", "Cells_C_D", "Cells_E_F"]


@pytest.fixture
def values():
    drawn = np.random.default_rng(0).gamma(2.0, 5.0, (200, 3))
    drawn[:, 2] = 7.0
    drawn[3, 0] = np.nan
    return drawn


def frame(values):
    table = pl.DataFrame(values.astype(np.float32), NAMES)
    return table.with_columns(pl.all().fill_nan(None))


@pytest.mark.parametrize("most_bytes", [2**27, 8 * 200])  # all columns at once, one by one
def test_centre_and_spread_are_numpys(values, monkeypatch, most_bytes):
    monkeypatch.setattr(scale, "MOST_BYTES", most_bytes)
    found = plate_scale(frame(values).lazy(), features=NAMES)
    kept = values.astype(np.float32).astype(float)
    centre = np.nanmedian(kept, axis=0)
    spread = 1.4826 * np.nanmedian(np.abs(kept - centre), axis=0)
    np.testing.assert_allclose(found.centre, centre)
    np.testing.assert_allclose(found.spread, [*spread[:2], 0.0])
    np.testing.assert_allclose(found.known, [199 / 200, 1, 1])
    assert found.cells == 200


def test_gain_and_offset_of_a_plate_do_not_matter(values):
    other = values * [3.0, 0.5, 2.0] + [100.0, -4.0, 1.0]
    one, two = (
        on_scale(frame(x), plate_scale(frame(x).lazy(), features=NAMES), features=NAMES)
        for x in (values, other)
    )
    np.testing.assert_allclose(one.vectors, two.vectors, atol=1e-4)
    assert one.gaps == two.gaps == 1


def test_gaps_and_constants_are_the_median_and_debris_is_clipped(values):
    whole = plate_scale(frame(values).lazy(), features=NAMES)
    odd = pl.DataFrame(
        {"Cells_A_B": [None, 1e9], "Cells_C_D": [None, 5.0], "Cells_E_F": [0.0, 1e6]}
    )
    found = on_scale(odd, whole, features=NAMES)
    assert found.vectors[0].tolist() == [0, 0, 0]
    assert found.vectors[1, 0] == scale.CLIP
    assert found.vectors[1, 2] == 0
    assert found.has_profile.tolist() == [False, True]
    assert found.gaps == 2


def test_a_plate_without_cells_has_no_spread():
    empty = plate_scale(frame(np.zeros((0, 3))).lazy(), features=NAMES)
    assert empty.spread.tolist() == [0, 0, 0]
    assert empty.cells == 0
