"""Kinds of cells: planted shares are recovered, wells are the units, streamed, in any order."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import kstest

from plates.errors import UnknownName
from profiler.phenotype import Clustering, cell_space, subpopulations
from profiler.phenotype.cell_space import fit_cell_space

FEATURES = ["Cells_A", "Cells_B", "Cells_C"]
CENTRES = np.array([[0.0, 0.0, 0.0], [9.0, 9.0, 9.0]])  # a usual and a rare kind of cell
TWO = Clustering("kmeans", (2,), n_resamples=3, most_rows=2_000)


def screen(
    shares: np.ndarray, *, n_controls: int = 8, n_cells: int = 120, seed: int = 0, plate: str = "P"
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Cells of wells, each with a share of the rare kind; the first wells are controls."""
    random = np.random.default_rng(seed)
    n_wells = len(shares)
    well = np.repeat(np.arange(n_wells), n_cells)
    is_rare = random.random(len(well)) < shares[well]
    values = CENTRES[is_rare.astype(int)] + random.normal(size=(len(well), 3))
    names = np.array([f"A{i:02d}" for i in range(1, n_wells + 1)])
    cells = pl.DataFrame(
        {
            "Metadata_Plate": plate,
            "Metadata_Well": names[well],
            "Metadata_Site": pl.Series(np.full(len(well), 1, dtype=np.int32)),
            "Metadata_ObjectNumber": np.tile(np.arange(1, n_cells + 1), n_wells),
            **dict(zip(FEATURES, (7 * values + 100).T, strict=True)),
        }
    )
    roles = ["negative"] * n_controls + ["treatment"] * (n_wells - n_controls)
    wells = pl.DataFrame({"Metadata_Plate": plate, "Metadata_Well": names, "Metadata_Role": roles})
    return cells, wells


PLANTED = np.array([0.1] * 12 + [0.5] * 2)


def test_planted_shares_are_recovered():
    cells, wells = screen(PLANTED)
    found = subpopulations(cells, wells, features=FEATURES, how=TWO)
    rare = found.table.filter(subpopulation=2)
    np.testing.assert_allclose(rare["share"], PLANTED, atol=0.09)
    np.testing.assert_allclose(rare["expected_share"][8:], 0.1, atol=0.02)
    np.testing.assert_allclose(rare["log2_ratio"][12:], np.log2(5), atol=0.5)
    assert (rare["q_value"][12:] < 0.001).all()
    assert (rare["q_value"][8:12] > 0.05).all()
    assert rare["q_value"][:8].null_count() == 8
    assert (
        found.table.group_by("Metadata_Well").agg(pl.col("n_cells").sum())["n_cells"].to_list()
        == [120] * 14
    )
    assert found.n_left_out == 0
    assert found.kinds["n_sampled"].sum() == pytest.approx(14 * 120, rel=0.01)
    assert [len(z) for z in found.kinds["z"]] == [3, 3]
    assert min(found.kinds["z"][1]) > 5  # in the units of the controls, of which most are usual


def test_the_number_of_kinds_is_chosen_and_the_rare_kind_is_one_of_them():
    """K-means cuts the usual kind where a cut is stable, too: no harm to the shares."""
    cells, wells = screen(PLANTED)
    how = Clustering("kmeans", (2, 3, 4, 5), n_resamples=5, most_rows=1_000)
    found = subpopulations(cells, wells, features=FEATURES, how=how)
    assert found.choice.is_stable
    assert found.choice.best.n_clusters in (2, 3)
    shares = found.table.pivot("subpopulation", index="Metadata_Well", values="share")
    gaps = [np.abs(shares[name].to_numpy() - PLANTED).max() for name in shares.columns[1:]]
    assert min(gaps) < 0.1


@pytest.mark.parametrize("method", ["leiden", "hdbscan"])
def test_other_methods_find_them_too(method):
    cells, wells = screen(PLANTED, n_cells=40)
    numbers = {"leiden": (0.05,), "hdbscan": (20,)}[method]
    how = Clustering(method, numbers, n_resamples=2, most_rows=500)
    rare = subpopulations(cells, wells, features=FEATURES, how=how).table.filter(subpopulation=2)
    np.testing.assert_allclose(rare["share"], PLANTED, atol=0.15)


def test_without_a_shift_p_values_are_uniform_though_wells_vary():
    p_values = []
    for seed in range(8):
        shares = np.clip(0.3 + 0.08 * np.random.default_rng(seed).normal(size=20), 0, 1)
        cells, wells = screen(shares, n_cells=80, seed=seed)
        found = subpopulations(cells, wells, features=FEATURES, how=TWO).table
        p_values += found.filter(subpopulation=2)["p_value"][8:11].to_list()
    assert kstest(p_values, "uniform").pvalue > 0.001


def test_neither_order_nor_streaming_changes_anything(tmp_path):
    cells, wells = screen(PLANTED)
    expected = subpopulations(cells, wells, features=FEATURES, how=TWO)
    for (well,), group in cells.sample(fraction=1, shuffle=True, seed=1).group_by("Metadata_Well"):
        group.write_parquet(tmp_path / f"{well}.parquet")
    lazy = pl.scan_parquet(tmp_path / "*.parquet")
    found = subpopulations(lazy, wells.reverse(), features=FEATURES, how=TWO)
    assert found.table.equals(expected.table)


def test_the_sample_is_decided_by_the_seed_and_takes_wells_evenly():
    cells, wells = screen(np.full(10, 0.1), n_cells=1000)
    wells = wells.with_columns(
        n_cells=pl.lit(1000), is_control=pl.col("Metadata_Role") == "negative"
    )
    options = {"features": FEATURES, "n_cells": 2_000}
    one = fit_cell_space(cells.lazy(), wells, seed=1, **options)
    again = fit_cell_space(cells.reverse().lazy(), wells, seed=1, **options)
    other = fit_cell_space(cells.lazy(), wells, seed=2, **options)
    np.testing.assert_array_equal(one.points, again.points)
    assert one.points.shape != other.points.shape or not np.allclose(one.points, other.points)
    assert len(one.points) == pytest.approx(2_000, rel=0.1)


def laid_out(
    features: pl.DataFrame, well: np.ndarray, *, n_controls: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Name the cells of wells, of which the first are controls."""
    n_wells = int(well.max()) + 1
    wells = np.array([f"A{i + 1:02d}" for i in range(n_wells)])
    cells = features.with_columns(
        pl.lit("P").alias("Metadata_Plate"),
        pl.Series("Metadata_Well", wells[well]),
        pl.lit(1).alias("Metadata_Site"),
        pl.int_range(pl.len()).alias("Metadata_ObjectNumber"),
    )
    roles = ["negative"] * n_controls + ["treatment"] * (n_wells - n_controls)
    plate = pl.DataFrame({"Metadata_Plate": "P", "Metadata_Well": wells, "Metadata_Role": roles})
    return cells, plate


@pytest.mark.parametrize("n_cells", [10, 20, 50])
def test_two_wells_of_few_control_cells_do_not_hide_what_treated_cells_have(n_cells):
    """Stretched by the noise of so few, shares came out .76 to .92 apart."""
    random = np.random.default_rng(n_cells)
    well = np.repeat(np.arange(24), [n_cells] * 2 + [100] * 22)
    values = random.normal(size=(len(well), 40)) + 1.4 * np.outer(well >= 18, np.arange(40) < 8)
    names = [f"Cells_F{i}" for i in range(40)]
    cells = pl.DataFrame(values, schema=names)
    found = subpopulations(*laid_out(cells, well, n_controls=2), features=names, how=TWO)
    share = found.table.filter(subpopulation=2)["share"].to_numpy()
    assert share[18:].mean() - share[:18].mean() > 0.92


def test_neither_heavy_tails_nor_usual_differences_hide_what_treated_cells_have():
    """A seventh of the wells moves two sds in twelve of forty features."""
    random = np.random.default_rng(3)
    n_wells, n_cells = 28, 100
    well = np.repeat(np.arange(n_wells), n_cells)
    usual = random.normal(size=(len(well), 4))  # size, brightness: all cells differ in them
    values = usual @ random.normal(size=(4, 40)) + random.normal(size=(len(well), 40))
    values += 2.0 * np.outer(well >= 24, np.arange(40) < 12)
    tails = random.standard_cauchy(size=(len(well), 3)) ** 5
    names = [f"Cells_F{i}" for i in range(40)] + [f"Cells_HuMoment_{i}" for i in range(3)]
    cells = pl.DataFrame(np.hstack([values, tails]), schema=names)
    found = subpopulations(*laid_out(cells, well, n_controls=12), features=names, how=TWO)
    share = found.table.filter(subpopulation=2)["share"].to_numpy()
    assert share[:24].max() < 0.1
    assert share[24:].min() > 0.8
    assert not any("Hu" in name for name in found.kinds["features"][1][:5])


def test_pieces_make_no_difference(monkeypatch):
    cells, wells = screen(PLANTED)
    expected = subpopulations(cells, wells, features=FEATURES, how=TWO).table
    monkeypatch.setattr(cell_space, "MOST_BYTES", 8 * 3 * 17)  # seventeen cells at a time
    assert subpopulations(cells, wells, features=FEATURES, how=TWO).table.equals(expected)


def test_every_plate_has_its_own_scale():
    first, of_first = screen(PLANTED)
    second, of_second = screen(PLANTED, plate="Q", seed=1)
    second = second.with_columns(pl.col(FEATURES) * 5 - 300)
    found = subpopulations(
        pl.concat([first, second]), pl.concat([of_first, of_second]), features=FEATURES, how=TWO
    )
    rare = found.table.filter(subpopulation=2)
    np.testing.assert_allclose(rare["share"], np.tile(PLANTED, 2), atol=0.12)


def test_cells_without_profile_and_plates_without_controls_are_told():
    cells, wells = screen(PLANTED)
    lacking = cells.with_columns(
        pl.when(pl.col("Metadata_ObjectNumber") > 3).then(pl.col(FEATURES)).name.keep()
    )
    other, _ = screen(PLANTED[:2], n_controls=2, plate="no controls")
    found = subpopulations(pl.concat([lacking, other]), wells, features=FEATURES, how=TWO)
    assert found.n_left_out == 14 * 3 + 2 * 120
    alone = found.table.filter(Metadata_Plate="no controls")
    assert alone["n_cells"].to_list() == [0] * 4
    assert alone["share"].null_count() == alone["p_value"].null_count() == 4


def test_features_that_do_not_vary_are_left_out():
    cells, wells = screen(PLANTED)
    flat = cells.with_columns(Cells_B=pl.lit(3.0))
    found = subpopulations(flat, wells, features=FEATURES, how=TWO)
    assert found.features == ["Cells_A", "Cells_C"]


@pytest.mark.parametrize("features", [[], ["Cells_B"]])
def test_nothing_to_cluster_by_is_no_table(features):
    cells, wells = screen(PLANTED)
    found = subpopulations(cells.with_columns(Cells_B=1.0), wells, features=features, how=TWO)
    assert (found.table.height, found.choice, found.n_left_out) == (0, None, cells.height)


def test_no_controls_or_hardly_a_cell_is_no_table():
    cells, wells = screen(PLANTED)
    assert not subpopulations(cells, wells.drop("Metadata_Role"), features=FEATURES).table.height
    assert not subpopulations(cells.head(20), wells, features=FEATURES).table.height
    assert not subpopulations(cells.head(0), wells, features=FEATURES).table.height


def test_cells_without_a_name_are_refused():
    cells, wells = screen(PLANTED)
    with pytest.raises(UnknownName, match=r"no column of cells called 'Metadata_ObjectNumber'"):
        subpopulations(cells.drop("Metadata_ObjectNumber"), wells, features=FEATURES)
    with pytest.raises(UnknownName, match=r"no clustering called 'kmean'. Did you mean 'kmeans'"):
        subpopulations(cells, wells, features=FEATURES, how=Clustering("kmean"))
