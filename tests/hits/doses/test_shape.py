"""Descriptions of dose series: planted shapes, benchmark and area by hand, toxicity, gaps."""

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from profiler.hits.doses.shape import SHAPES, describe_curves

READOUT = "Nuclei_Intensity_MeanIntensity_GFP"
TREATED = pl.col("Metadata_Role") == "treatment"
DOSE = pl.col("Metadata_Concentration").log(2)


def planted(wells: pl.DataFrame, effect: pl.Expr, *, noise: float = 0.3) -> pl.DataFrame:
    return wells.with_columns(
        pl.col(READOUT) * noise + pl.when(TREATED).then(effect).otherwise(0.0)
    )


def described(wells: pl.DataFrame, **options) -> pl.DataFrame:
    return describe_curves(wells, readouts=[READOUT], **options)


@pytest.mark.parametrize(("sign", "direction"), [(1, "up"), (-1, "down")])
def test_a_trend_either_way(make_plate, sign, direction):
    found = described(planted(make_plate(doses=8), sign * DOSE / 2))
    assert found.schema == SHAPES
    assert found["shape"].to_list() == ["trend"] * 4
    assert found["direction"].to_list() == [direction] * 4
    assert found["trend_p"].to_numpy() == pytest.approx(5e-5, abs=1e-5)
    assert (found["trend_r2"] > 0.8).all()
    assert not found["is_biphasic"].any()
    assert found["area_under_curve"].to_numpy() == pytest.approx(sign * 1.75, abs=0.4)
    assert found["Metadata_Unit"].to_list() == ["nM"] * 4


def test_benchmark_and_area_by_hand(make_plate):
    # Without noise in the treated wells the curve is straight in the log dose.
    wells = make_plate(compounds=1, doses=8)
    straight = pl.when(TREATED).then(DOSE).otherwise(pl.col(READOUT))
    row = described(wells.with_columns(straight.alias(READOUT))).row(0, named=True)
    controls = wells.filter(pl.col("Metadata_Role") == "negative")[READOUT].to_numpy()
    changed = np.maximum(np.arange(8), controls.mean())  # the monotone fit, if 0 is below
    base = controls.mean() if controls.mean() <= 0 else (16 * controls.mean()) / 18
    limit = base + 1.349 * controls.std(ddof=1)
    assert np.log2(row["benchmark_concentration"]) == pytest.approx(limit, abs=1e-9)
    area = np.trapezoid(np.where(changed > base, changed, base) - base, np.arange(8)) / 7
    assert row["area_under_curve"] == pytest.approx(area, abs=0.02)


def test_noise_has_no_trend(make_plate):
    shapes = pl.concat(
        describe_curves(
            make_plate(compounds=4, doses=8, features=15, seed=seed),
            readouts=[f"Cells_Texture_F{i}" for i in range(1, 15)],
        )
        for seed in range(8)
    )
    assert shapes.height == 448
    assert (shapes["shape"] == "trend").mean() == pytest.approx(0.05, abs=0.045)
    assert shapes["is_biphasic"].mean() < 0.035
    told = shapes.filter(shape="no_trend").select(
        "direction", "area_under_curve", "benchmark_concentration", "is_toxic_only"
    )
    assert told.null_count().row(0) == (told.height,) * 4


def test_a_hump_is_biphasic_and_a_plateau_is_not(make_plate):
    wells = make_plate(doses=9, replicates=3)
    hump = described(planted(wells, 4 * (-((DOSE - 4) ** 2) / 4).exp()))
    assert hump["is_biphasic"].all()
    assert set(hump["turning_dose"].round(9)) <= {8.0, 16.0, 32.0}
    plateau = described(planted(wells, 4 / (1 + (-2 * (DOSE - 3)).exp())))
    assert not plateau["is_biphasic"].any()
    assert plateau["turning_dose"].null_count() == 4


def test_effects_of_dying_cells_are_toxic_only(make_plate):
    wells = make_plate(compounds=2, doses=9, replicates=3)
    dies = pl.when(TREATED & (DOSE >= 6)).then(0.1).otherwise(1.0)
    late = pl.when(DOSE >= 6).then(5.0).otherwise(0.0)
    found = described(planted(wells, late).with_columns(viability=dies))
    assert found["toxic_from"].to_list() == pytest.approx([64.0, 64.0])
    assert found["is_toxic_only"].to_list() == [True, True]
    early = pl.when(DOSE >= 2).then(5.0).otherwise(0.0)
    found = described(planted(wells, early).with_columns(viability=dies))
    assert found["is_toxic_only"].to_list() == [False, False]
    lives = described(planted(wells, late).with_columns(viability=pl.lit(1.0)))
    assert lives["toxic_from"].null_count() == 2
    assert described(planted(wells, late))["toxic_from"].null_count() == 2


def test_statuses(make_plate):
    wells = make_plate(compounds=1, doses=8)
    two = described(make_plate(compounds=1, doses=2))
    assert two.select("shape", "trend_p").row(0) == ("too_few_doses", None)
    last = pl.int_range(pl.len()) == pl.len() - 1
    endless = wells.with_columns(pl.when(last).then(np.inf).otherwise(READOUT).alias(READOUT))
    assert described(endless).select("shape", "trend_p").row(0) == ("infinite", None)
    constant = described(wells.with_columns(pl.lit(0.1).alias(READOUT)))
    assert constant.select("shape", "trend_p", "trend_r2").row(0) == ("no_trend", None, None)


def test_without_controls_nothing_is_told_of_dose_0(make_plate):
    wells = planted(make_plate(doses=8), DOSE).filter(TREATED)
    found = described(wells)
    assert found["shape"].to_list() == ["trend"] * 4
    assert (
        found["area_under_curve"].null_count() == found["benchmark_concentration"].null_count() == 4
    )


def test_the_seed_alone_decides(make_plate):
    wells = make_plate(doses=8)
    whole = described(wells, seed=2)
    shuffled = wells.sample(fraction=1, shuffle=True, seed=1)
    assert_frame_equal(described(shuffled, seed=2), whole)
    some = wells.filter(pl.col("Metadata_Compound") != "C000")
    kept = whole.filter(pl.col("Metadata_Compound") != "C000")
    assert_frame_equal(described(some, seed=2), kept)


def test_nothing_to_describe(make_plate):
    wells = make_plate()
    for frame in (wells.drop("Metadata_Compound"), wells.filter(~TREATED)):
        assert described(frame).equals(SHAPES.to_frame())


def test_a_benchmark_passed_before_the_lowest_dose_has_no_concentration(make_plate):
    wells = make_plate(doses=8)
    above = described(planted(wells, 8 + DOSE))
    assert above["shape"].to_list() == ["trend"] * 4
    assert above["benchmark_concentration"].null_count() == 4
    assert above["benchmark_outside_range"].to_list() == [True] * 4
    within = described(planted(wells, DOSE))
    assert within["benchmark_concentration"].null_count() == 0
    assert within["benchmark_outside_range"].to_list() == [False] * 4
    never = described(wells)
    assert never.filter(shape="no_trend")["benchmark_outside_range"].drop_nulls().is_empty()
    dying = planted(wells, 8 + DOSE).with_columns(viability=pl.when(TREATED).then(0.1).otherwise(1))
    assert described(dying)["is_toxic_only"].to_list() == [True] * 4  # not before they die
