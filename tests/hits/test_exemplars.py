"""Typical cells: by hand, turns of wells, cells that are left out."""

import numpy as np
import polars as pl
import pytest

from plates.errors import UnknownName
from profiler.hits import typical_cells

FEATURES = ["Cells_Made_A", "Cells_Made_B"]
KEY = ["Metadata_Plate", "Metadata_Well", "Metadata_Site", "Metadata_ObjectNumber"]


def cells(well: str, a: list[float], b: list[float], *, plate: str = "P") -> pl.DataFrame:
    numbers = pl.Series(range(1, len(a) + 1), dtype=pl.Int32)
    keys = {"Metadata_Plate": plate, "Metadata_Well": well, "Metadata_Site": 1}
    made = pl.DataFrame(
        {FEATURES[0]: a, FEATURES[1]: b}, schema_overrides={f: pl.Float32 for f in FEATURES}
    )
    keys = [pl.lit(value).alias(name) for name, value in keys.items()]
    return made.select(*keys, numbers.alias("Metadata_ObjectNumber"), *FEATURES)


def numbers(found: pl.DataFrame) -> list[tuple]:
    return found.select("Metadata_Well", "Metadata_ObjectNumber").rows()


def test_by_hand():
    # Medians 3 and 0, MADs 1 and 1: squares 4+1, 1+0, 0+0, 1+1, 4+4 over two features.
    table = cells("A01", [1, 2, 3, 4, 5], [-1, 0, 0, 1, 2])
    found = typical_cells(table.lazy(), wells=table, features=FEATURES, n=9)
    assert numbers(found) == [("A01", i) for i in (3, 2, 4, 1, 5)]
    expected = np.sqrt(np.array([0, 1, 2, 5, 8]) / 2) / 1.4826
    assert found["distance"].to_list() == pytest.approx(expected.tolist(), rel=1e-4)
    assert found.columns == [*KEY, "distance"]


def test_wells_take_turns_and_others_are_not_looked_at():
    near, far, other = (cells(w, [x, x + 1, x + 2], [0, 0, 0]) for w, x in
                        (("A01", 0), ("A02", 4), ("B01", 2)))  # fmt: skip
    elsewhere = cells("A01", [2, 3, 4], [0, 0, 0], plate="Q")
    table = pl.concat([near, far, other, elsewhere])
    wells = pl.concat([near, far]).select(KEY[:2])
    found = typical_cells(table, wells=wells, features=FEATURES, n=4)
    assert found["Metadata_Well"].to_list() == ["A01", "A02", "A01", "A02"]
    assert found["Metadata_Plate"].unique().to_list() == ["P"]
    assert found["Metadata_ObjectNumber"].to_list() == [3, 1, 2, 2]


def test_cells_at_the_border_and_with_gaps_are_left_out():
    table = cells("A01", [1, 2, 3, 4, 5], [0, 0, np.nan, np.inf, 0])
    table = table.with_columns(
        Metadata_QC_TouchesBorder=pl.Series([False, True, False, False, None])
    )
    found = typical_cells(table, wells=table, features=FEATURES)
    assert sorted(found["Metadata_ObjectNumber"]) == [1, 5]


def test_a_feature_without_spread_says_nothing():
    table = cells("A01", [1, 2, 3], [7, 7, 9])
    found = typical_cells(table, wells=table, features=FEATURES, n=1)
    assert found.row(0)[3:] == (2, 0.0)


def test_none():
    table = cells("A01", [1, 2], [1, 2])
    assert typical_cells(table.clear(), wells=table, features=FEATURES).height == 0
    assert typical_cells(table, wells=table.clear(), features=FEATURES).height == 0
    assert typical_cells(table, wells=table, features=FEATURES, n=0).height == 0
    assert typical_cells(table, wells=table, features=[]).height == 2


def test_the_time_point_is_told():
    early, late = (cells("A01", [1, 2, 3], [0, 0, 0]).with_columns(Metadata_Timepoint=pl.lit(t))
                   for t in (1, 2))  # fmt: skip
    found = typical_cells(pl.concat([late, early]), wells=early.select(KEY[:2]), features=FEATURES)
    assert found.columns == [*KEY, "Metadata_Timepoint", "distance"]
    assert found["Metadata_ObjectNumber"].to_list() == [2, 2, 1, 1, 3, 3]
    assert found["Metadata_Timepoint"].to_list() == [1, 2] * 3
    found = typical_cells(pl.concat([late, early]), wells=late, features=FEATURES, n=2)
    assert found["Metadata_Timepoint"].to_list() == [2, 2]


def test_a_feature_that_the_cells_lack():
    table = cells("A01", [1], [1])
    with pytest.raises(UnknownName, match="no feature called 'Cells_Made_C'. Did you mean"):
        typical_cells(table, wells=table, features=["Cells_Made_C"])


def test_the_order_of_the_table_does_not_matter():
    random = np.random.default_rng(0)
    table = cells("A01", random.normal(size=50).tolist(), random.normal(size=50).tolist())
    found = typical_cells(table, wells=table, features=FEATURES)
    assert typical_cells(table.reverse(), wells=table, features=FEATURES).equals(found)


def test_they_show_the_shift():
    random = np.random.default_rng(0)
    treated = cells("A01", random.normal(3, 1, 200).tolist(), random.normal(0, 1, 200).tolist())
    control = cells("B01", random.normal(0, 1, 200).tolist(), random.normal(0, 1, 200).tolist())
    table = pl.concat([treated, control])
    means = [
        typical_cells(table, wells=wells, features=FEATURES).join(table, on=KEY)[FEATURES[0]].mean()
        for wells in (treated, control)
    ]
    assert means == pytest.approx([3, 0], abs=0.3)
