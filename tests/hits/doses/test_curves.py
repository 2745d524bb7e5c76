"""Dose-response tables: statuses, anchors, missing wells, noise."""

import numpy as np
import polars as pl
import pytest
from scipy import stats

from plates.errors import BadLayout
from profiler.hits import fit_curves
from profiler.hits.doses.curves import CURVES

READOUT = "Nuclei_Intensity_MeanIntensity_GFP"
TREATED = pl.col("Metadata_Role") == "treatment"


def responding(wells: pl.DataFrame, *, ec50: float, change: float = 8.0) -> pl.DataFrame:
    dose = pl.col("Metadata_Concentration")
    rise = pl.when(TREATED).then(change / (1 + (ec50 / dose) ** 1.5)).otherwise(0.0)
    return wells.with_columns(pl.col(READOUT) * 0.3 + rise)


def one(wells: pl.DataFrame, **settings) -> dict:
    return fit_curves(wells, readouts=[READOUT], **settings).row(0, named=True)


@pytest.mark.parametrize("change", [8.0, -8.0])
def test_a_responder_either_way(make_plate, change):
    wells = responding(make_plate(doses=9), ec50=16.0, change=change)
    curves = fit_curves(wells, readouts=[READOUT])
    assert curves["status"].to_list() == ["ok"] * 4
    assert curves["Metadata_Compound"].to_list() == ["C000", "C001", "C002", "C003"]
    assert (curves["slope"].sign() == np.sign(change)).all()
    assert curves["bottom"].to_numpy() == pytest.approx(min(0, change), abs=0.6)
    assert curves["top"].to_numpy() == pytest.approx(max(0, change), abs=0.6)
    assert ((curves["ec50_low"] < 16) & (curves["ec50_high"] > 16)).all()
    assert (curves["r2"] > 0.95).all()
    first = one(wells)
    assert [first[n] for n in ("n_wells", "n_doses", "n_anchors")] == [18, 9, 16]
    assert first["Metadata_Unit"] == "nM"


def test_the_columns_draw_the_curve(make_plate):
    row = one(responding(make_plate(doses=9), ec50=16.0))
    dose = 4.0
    power = (np.log10(row["ec50"]) - np.log10(dose)) * row["slope"]
    height = row["bottom"] + (row["top"] - row["bottom"]) / (1 + 10**power)
    assert height == pytest.approx(8 / (1 + 4**1.5), abs=0.5)


def test_spearman_agrees_with_scipy_on_treated_wells(make_plate):
    wells = responding(make_plate(compounds=1), ec50=4.0)
    treated = wells.filter(TREATED)
    expected = stats.spearmanr(treated["Metadata_Concentration"], treated[READOUT]).statistic
    assert one(wells)["spearman"] == pytest.approx(expected)


def test_noise_is_no_response_in_over_95_percent(make_plate):
    wells = make_plate(compounds=10, doses=8, replicates=2, features=60)
    curves = fit_curves(
        wells, readouts=[name for name in wells.columns if name.startswith("Cells_")]
    )
    assert curves.height == 590
    assert (curves["status"] != "no_response").mean() < 0.05
    silent = curves.filter(status="no_response")
    shape = ["ec50", "ec50_low", "ec50_high", "bottom", "top", "slope"]
    assert silent.select(pl.col(shape).is_null().all()).row(0) == (True,) * 6
    assert silent.select(pl.col("r2", "p_value", "spearman").is_not_null().all()).row(0)


def test_a_constant_readout_is_no_response(make_plate):
    for value in (0.0, 0.1):
        row = one(make_plate().with_columns(pl.lit(value).alias(READOUT)))
        assert (row["status"], row["r2"], row["p_value"]) == ("no_response", None, None)


def test_too_few_doses(make_plate):
    assert one(make_plate(doses=3))["status"] == "too_few_doses"
    assert one(make_plate(doses=4, replicates=1), anchored=False)["status"] == "too_few_doses"
    assert one(responding(make_plate(doses=4), ec50=3.0))["status"] == "ok"


@pytest.mark.parametrize("ec50", [1e-2, 1e4])
def test_an_ec50_beyond_the_doses_is_outside_range(make_plate, ec50):
    wells = responding(make_plate(doses=8, replicates=4), ec50=ec50, change=max(8.0, ec50))
    row = one(wells)
    assert row["status"] == "outside_range"
    assert not 1 <= row["ec50"] <= 128


def test_anchors_are_of_the_plates_of_the_compound(make_plate):
    p = make_plate("P", negatives=6)
    q = make_plate("Q", negatives=3).with_columns(
        pl.when(TREATED).then(pl.lit("other")).otherwise("Metadata_Compound").alias(
            "Metadata_Compound"
        )
    )  # fmt: skip
    curves = fit_curves(pl.concat([p, q]), readouts=[READOUT])
    assert curves.filter(Metadata_Compound="C000")["n_anchors"].item() == 6
    assert curves.filter(Metadata_Compound="other")["n_anchors"].item() == 3
    assert one(p, anchored=False)["n_anchors"] == 0


def test_positive_controls_of_the_same_compound_stay_out(make_plate):
    wells = responding(make_plate(doses=9, compounds=1), ec50=16.0)
    name = pl.when(pl.col("Metadata_Role") == "positive").then(pl.lit("C000"))
    same = wells.with_columns(name.otherwise("Metadata_Compound").alias("Metadata_Compound"))
    assert fit_curves(same, readouts=[READOUT]).equals(fit_curves(wells, readouts=[READOUT]))


def test_a_missing_well_is_left_out_of_its_readout_alone(make_plate):
    wells = responding(make_plate(doses=9, compounds=1), ec50=16.0)
    gap = pl.when(pl.col("Metadata_Well") == "A21").then(None).otherwise(READOUT).alias(READOUT)
    broken = wells.with_columns(gap)
    curves = fit_curves(broken, readouts=[READOUT, "Cells_Texture_F1"])
    counts = dict(curves.select("readout", "n_wells").iter_rows())
    assert counts == {READOUT: 17, "Cells_Texture_F1": 18}
    without = fit_curves(wells.filter(pl.col("Metadata_Well") != "A21"), readouts=[READOUT])
    assert curves.filter(readout=READOUT).equals(without)


def test_an_infinite_response_is_coded(make_plate):
    wells = make_plate(compounds=1)
    last = pl.int_range(pl.len()) == pl.len() - 1
    row = one(wells.with_columns(pl.when(last).then(np.inf).otherwise(READOUT).alias(READOUT)))
    assert (row["status"], row["ec50"], row["r2"]) == ("infinite", None, None)


def test_nothing_to_fit(make_plate):
    wells = make_plate()
    for frame in (wells.drop("Metadata_Compound"), wells.filter(~TREATED)):
        assert fit_curves(frame, readouts=[READOUT]).schema == CURVES
    assert fit_curves(wells, readouts=[]).height == 0


def test_two_units_of_one_compound_are_refused(make_plate):
    unit = pl.when(pl.col("Metadata_Well") == "A21").then(pl.lit("uM")).otherwise(pl.lit("nM"))
    with pytest.raises(BadLayout, match="'C000' are in nM and in uM"):
        one(make_plate().with_columns(unit.alias("Metadata_Unit")))
