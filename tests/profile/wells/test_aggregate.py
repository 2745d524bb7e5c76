"""Aggregating cells: by hand, against numpy, lazily, at the edges."""

import numpy as np
import polars as pl
import pytest

from plates.errors import UnknownName
from profiler.profile import aggregate
from profiler.profile.wells.aggregate import SUMMARIES

RANDOM = np.random.default_rng(0)
CELLS = pl.DataFrame(
    {
        "Metadata_Plate": "P",
        "Metadata_Well": RANDOM.choice(["A01", "A02", "B01"], 200),
        "Metadata_QC_TouchesBorder": RANDOM.random(200) < 0.1,
        "Cells_AreaShape_Area": np.where(RANDOM.random(200) < 0.2, np.nan, RANDOM.random(200)),
        "Nuclei_Intensity_MeanIntensity_DNA": RANDOM.random(200).astype(np.float32),
        "Nuclei_AreaShape_EulerNumber": RANDOM.integers(0, 2, 200),
    }
)


@pytest.mark.parametrize(("how", "truth"), [("median", np.nanmedian), ("mean", np.nanmean)])
@pytest.mark.parametrize("frame", [CELLS, CELLS.lazy()], ids=["eager", "lazy"])
def test_agrees_with_numpy(frame, how, truth):
    wells = aggregate(frame, how=how)
    assert wells["Metadata_Well"].to_list() == ["A01", "A02", "B01"]
    for well in wells.iter_rows(named=True):
        cells = CELLS.filter(Metadata_Well=well["Metadata_Well"])
        assert well["Metadata_Object_Count"] == cells.height
        for name in ("Cells_AreaShape_Area", "Nuclei_Intensity_MeanIntensity_DNA"):
            expected = truth(cells[name].to_numpy().astype(float))
            assert well[name] == pytest.approx(expected, rel=1e-12)


def test_only_keys_count_and_features_are_kept_in_float64():
    wells = aggregate(CELLS)
    assert wells.columns[:3] == ["Metadata_Plate", "Metadata_Well", "Metadata_Object_Count"]
    assert "Metadata_QC_TouchesBorder" not in wells.columns
    assert set(wells.dtypes[3:]) == {pl.Float64}


def test_a_feature_defined_in_no_cell_is_null():
    cells = pl.DataFrame({"well": ["A01", "A01"], "Cells_X_Y": [np.nan, None]}, strict=False)
    assert aggregate(cells, by=["well"])["Cells_X_Y"].to_list() == [None]


def test_an_infinite_cell_is_not_hidden():
    cells = pl.DataFrame({"well": ["A01"] * 3, "Cells_X_Y": [1.0, 2.0, np.inf]})
    assert aggregate(cells, by=["well"])["Cells_X_Y"].to_list() == [2.0]
    assert aggregate(cells, by=["well"], how="mean")["Cells_X_Y"].to_list() == [np.inf]


def test_no_cells_give_no_wells():
    assert aggregate(CELLS.clear()).shape == (0, 6)


def test_unknown_summary():
    with pytest.raises(UnknownName, match=r"no summary called 'medan'\. Did you mean 'median'"):
        aggregate(CELLS, how="medan")


TRUTH = {
    "std": lambda x: np.nanstd(x, ddof=1),
    "mad": lambda x: np.nanmedian(np.abs(x - np.nanmedian(x))),
    "iqr": lambda x: np.nanpercentile(x, 75) - np.nanpercentile(x, 25),
    "min": np.nanmin,
    "max": np.nanmax,
    "q05": lambda x: np.nanpercentile(x, 5),
    "q10": lambda x: np.nanpercentile(x, 10),
    "q25": lambda x: np.nanpercentile(x, 25),
    "q75": lambda x: np.nanpercentile(x, 75),
    "q90": lambda x: np.nanpercentile(x, 90),
    "q95": lambda x: np.nanpercentile(x, 95),
    "count": lambda x: np.isfinite(x).sum(),
}


def test_every_summary_is_tested():
    assert set(SUMMARIES) == {"median", "mean", *TRUTH}


@pytest.mark.parametrize("how", TRUTH)
def test_other_summaries_agree_with_numpy(how):
    found = aggregate(CELLS, how=how)
    for well in found.iter_rows(named=True):
        values = CELLS.filter(Metadata_Well=well["Metadata_Well"])["Cells_AreaShape_Area"]
        assert well["Cells_AreaShape_Area"] == pytest.approx(TRUTH[how](values.to_numpy()))


def test_several_summaries_are_named():
    found = aggregate(CELLS, how=["median", "mad"], features=["Cells_AreaShape_Area"])
    assert found.columns[3:] == ["Cells_AreaShape_Area_median", "Cells_AreaShape_Area_mad"]
    assert set(found.dtypes[3:]) == {pl.Float64}


def test_one_cell_has_no_deviation():
    one = pl.DataFrame({"well": ["A01"], "Cells_X_Y": [1.0]})
    assert aggregate(one, by=["well"], how=["std", "mad"]).row(0) == ("A01", 1, None, 0.0)


@pytest.mark.parametrize("how", ["median", "mean"])
def test_agrees_with_pycytominer(pycytominer, how):
    keys = ["Metadata_Plate", "Metadata_Well"]
    theirs = pycytominer.aggregate(CELLS.to_pandas(), strata=keys, operation=how)
    ours = aggregate(CELLS, how=how)
    names = ours.columns[3:]
    np.testing.assert_allclose(
        ours.select(names).to_numpy(), theirs[names], rtol=1e-7
    )  # float32 means
    wide = CELLS.with_columns(pl.col(names).cast(pl.Float64))
    theirs = pycytominer.aggregate(wide.to_pandas(), strata=keys, operation=how)
    np.testing.assert_allclose(aggregate(wide, how=how).select(names), theirs[names], rtol=1e-9)
