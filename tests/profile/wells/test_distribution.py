"""Distances between distributions: as scipy, by hand, by invariance, at the edges."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import energy_distance, ks_2samp, wasserstein_distance

from plates.errors import UnknownName
from profiler.profile import distances_to_reference, is_role
from profiler.profile.wells.distribution import DISTANCES

RANDOM = np.random.default_rng(5)
NEGATIVE = is_role("negative")
F = "Cells_Test_F"


def cells(values: dict[str, list[float]], plate: str = "P") -> pl.DataFrame:
    """Cells by well; wells A.. are negative controls."""
    return pl.DataFrame(
        [
            (plate, well, "negative" if well.startswith("A") else "treatment", float(value))
            for well, column in values.items()
            for value in column
        ],
        schema=["Metadata_Plate", "Metadata_Well", "Metadata_Role", F],
        orient="row",
    )


def simulated() -> pl.DataFrame:
    rounded = RANDOM.normal(size=900).round(1)  # with ties
    wells = RANDOM.choice(["A01", "A02", "A03", "B01", "B02"], 900)
    wells[:5] = ["A01", "A02", "A03", "B01", "B02"]
    rounded[wells == "B02"] += 0.7
    return cells({well: rounded[wells == well].tolist() for well in np.unique(wells)})


def distances(table: pl.DataFrame, metric: str = "earth_movers") -> dict[str, float | None]:
    found = distances_to_reference(table, reference=NEGATIVE, metric=metric)
    return dict(found.select("Metadata_Well", F).iter_rows())


def test_agrees_with_scipy():
    table = simulated()
    control = table.filter(NEGATIVE)[F].to_numpy()
    unit = 1.4826 * np.median(np.abs(control - np.median(control)))
    found = {metric: distances(table, metric) for metric in DISTANCES}
    for well in table["Metadata_Well"].unique():
        own = table.filter(Metadata_Well=well)[F].to_numpy() / unit
        others = table.filter(NEGATIVE, pl.col("Metadata_Well") != well)[F].to_numpy() / unit
        emd = wasserstein_distance(own, others)
        assert found["earth_movers"][well] == pytest.approx(emd, rel=1e-9)
        signed = np.copysign(emd, own.mean() - others.mean())
        assert found["signed_earth_movers"][well] == pytest.approx(signed, rel=1e-9)
        assert found["energy"][well] == pytest.approx(energy_distance(own, others), rel=1e-9)
        ks = ks_2samp(own, others).statistic
        assert found["kolmogorov_smirnov"][well] == pytest.approx(ks, rel=1e-9)


def test_by_hand():
    table = cells({"A01": [-1, 0, 1], "A02": [-1, 0, 1], "B01": [9, 10, 11]})
    assert distances(table)["B01"] == pytest.approx(10 / 1.4826)
    assert distances(table)["A01"] == 0
    assert distances(table, "kolmogorov_smirnov")["B01"] == 1
    assert distances(table, "signed_earth_movers")["B01"] > 0


def test_a_subpopulation_that_the_median_hides():
    control = RANDOM.normal(size=1000)
    shifted = np.r_[RANDOM.normal(size=900), RANDOM.normal(8, 1, 100)]
    table = cells(
        {"A01": control[:500].tolist(), "A02": control[500:].tolist(), "B01": shifted.tolist()}
    )
    found = distances(table)
    assert found["B01"] > 4 * found["A01"]


def test_unit_and_offset_do_not_matter():
    table = simulated()
    moved = table.with_columns(pl.col(F) * 1e-3 + 40)
    for metric in DISTANCES:
        expected = distances(table, metric)
        assert distances(moved, metric) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_plates_have_their_own_reference_whatever_the_order_of_cells():
    p, q = simulated(), simulated().with_columns(pl.col(F) * 3 + 1, Metadata_Plate=pl.lit("Q"))
    both = pl.concat([p, q]).sample(fraction=1, shuffle=True, seed=0)
    found = distances_to_reference(both, reference=NEGATIVE)
    assert found["Metadata_Plate"].to_list() == ["P"] * 5 + ["Q"] * 5
    for plate, table in (("P", p), ("Q", q)):
        expected = list(distances(table).values())
        assert found.filter(Metadata_Plate=plate)[F].to_list() == pytest.approx(expected)


def test_count_and_missing_values():
    table = cells({"A01": [0, 1, 2], "A02": [0, 1, np.nan], "B01": [np.nan], "B02": [5, np.inf, 5]})
    found = distances_to_reference(table, reference=NEGATIVE)
    assert found["Metadata_Object_Count"].to_list() == [3, 3, 1, 3]
    assert found[F].is_null().to_list() == [False, False, True, False]
    assert found[F].is_finite().sum() == 3


def test_one_control_well_has_nothing_to_be_held_against():
    found = distances(cells({"A01": [0, 1, 2], "B01": [5]}))
    assert found["A01"] is None
    assert found["B01"] is not None


@pytest.mark.parametrize("controls", [{}, {"A01": [3.0, 3.0]}], ids=["none", "no spread"])
def test_without_a_scale_there_is_no_distance(controls):
    assert distances(cells({**controls, "B01": [1.0, 2.0]}))["B01"] is None


def test_no_cells():
    assert distances_to_reference(simulated().clear(), reference=NEGATIVE).is_empty()


def test_unknown_metric():
    with pytest.raises(UnknownName, match="no distance called 'emd'"):
        distances(simulated(), "emd")
