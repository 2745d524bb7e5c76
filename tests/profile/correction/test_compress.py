"""Compressing extremes: by hand, and what is told."""

import numpy as np
import polars as pl
import pytest

from plates.errors import BadRecipe, UnknownName
from profiler.profile import compress

TABLE = pl.DataFrame({"x": [-90.0, -1.0, 0.0, 4.0, None, float("nan"), float("inf")], "y": 1})


def test_clip():
    found = compress(TABLE, features=["x"])
    assert found.table["x"].to_list() == [-5, -1, 0, 4, None, None, None]
    assert found.table["y"].to_list() == [1] * 7
    assert found.lost.rows() == [("x", "infinite", 1)]


def test_asinh():
    found = compress(TABLE, features=["x"], shape="asinh", limit=2.0).table["x"]
    np.testing.assert_allclose(found[:4], 2 * np.arcsinh(TABLE["x"][:4].to_numpy() / 2))
    assert found[1] == pytest.approx(-1, abs=0.05)


def test_messages():
    with pytest.raises(UnknownName, match="no shape called 'sqrt'"):
        compress(TABLE, features=["x"], shape="sqrt")
    with pytest.raises(BadRecipe, match="limit is 0; it must be above 0"):
        compress(TABLE, features=["x"], limit=0.0)
