"""Robust z: by hand, as pycytominer, by invariance, at the edges."""

import numpy as np
import polars as pl
import pytest

from profiler.profile import is_role, lost_features, robust_z

RANDOM = np.random.default_rng(0)
N = 24
FEATURES = [f"Cells_Test_F{i}" for i in range(5)]
WELLS = pl.DataFrame(
    {
        "Metadata_Plate": np.repeat(["P", "Q"], N // 2),
        "Metadata_Role": (["negative"] * 5 + ["treatment"] * 7) * 2,
        **{name: RANDOM.normal(10, 2, N) for name in FEATURES},
    }
)
NEGATIVE = is_role("negative")


def normalised(wells: pl.DataFrame, features=FEATURES) -> pl.DataFrame:
    return robust_z(wells, features=features, reference=NEGATIVE)


def lost(wells: pl.DataFrame, features=FEATURES) -> list[tuple]:
    return lost_features(wells, features=features, reference=NEGATIVE).rows()


def test_agrees_with_mad_robustize_of_pycytominer():
    for plate in ("P", "Q"):
        values = WELLS.filter(Metadata_Plate=plate).select(FEATURES).to_numpy()
        controls = values[:5]
        centre = np.median(controls, axis=0)
        mad = np.median(np.abs(controls - centre), axis=0)
        expected = (values - centre) / (1.4826 * mad)  # its epsilon of 1e-18 changes no digit
        found = normalised(WELLS).filter(Metadata_Plate=plate).select(FEATURES).to_numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_scale_and_offset_of_a_plate_do_not_matter():
    moved = WELLS.with_columns(
        pl.when(pl.col("Metadata_Plate") == "Q")
        .then(pl.col(FEATURES) * 7 - 3)
        .otherwise(pl.col(FEATURES))
    )
    expected = normalised(WELLS).select(FEATURES).to_numpy()
    np.testing.assert_allclose(normalised(moved).select(FEATURES).to_numpy(), expected, rtol=1e-9)


def test_other_columns_and_the_order_are_kept():
    shuffled = WELLS.sample(fraction=1, shuffle=True, seed=1)
    result = normalised(shuffled)
    assert result.columns == shuffled.columns
    assert result["Metadata_Plate"].to_list() == shuffled["Metadata_Plate"].to_list()


def test_nothing_is_lost_where_all_is_well():
    assert lost(WELLS) == []


@pytest.mark.parametrize("noise", [0.0, 1e-5], ids=["constant", "float32 noise"])
def test_a_feature_without_spread_on_one_plate_is_null_there_and_told(noise):
    flat = pl.lit(pl.Series(100 + noise * RANDOM.normal(size=N)))
    at_q = (pl.col("Metadata_Plate") == "Q") & NEGATIVE
    wells = WELLS.with_columns(pl.when(at_q).then(flat).otherwise(FEATURES[0]).alias(FEATURES[0]))
    result = normalised(wells)
    assert result.filter(Metadata_Plate="Q")[FEATURES[0]].null_count() == N // 2
    assert result.filter(Metadata_Plate="P")[FEATURES[0]].null_count() == 0
    assert lost(wells) == [("Q", FEATURES[0], "no_spread", N // 2)]


def test_a_small_but_real_spread_stays():
    wells = WELLS.with_columns(1 + 1e-4 * pl.col(FEATURES[0]))
    assert normalised(wells)[FEATURES[0]].null_count() == 0


def test_one_control_has_no_spread():
    wells = WELLS.filter(Metadata_Plate="P")[4:]
    assert normalised(wells)[FEATURES[0]].null_count() == 8
    assert lost(wells, [FEATURES[0]]) == [("P", FEATURES[0], "no_spread", 8)]


def test_no_control_on_one_of_two_plates():
    wells = WELLS.filter(~(NEGATIVE & (pl.col("Metadata_Plate") == "Q")))
    assert normalised(wells).filter(Metadata_Plate="Q")[FEATURES[0]].null_count() == 7
    assert lost(wells, [FEATURES[0]]) == [("Q", FEATURES[0], "no_reference", 7)]


def test_infinite_values_become_null_and_are_told():
    values = WELLS[FEATURES[0]].to_list()
    values[0], values[6] = float("inf"), float("-inf")
    wells = WELLS.with_columns(pl.Series(FEATURES[0], values))
    result = normalised(wells)[FEATURES[0]]
    assert result.is_null().arg_true().to_list() == [0, 6]
    assert result.drop_nulls().is_finite().all()
    assert lost(wells) == [("P", FEATURES[0], "infinite", 2)]


def test_a_missing_value_stays_missing_and_is_not_called_lost():
    values = [None, float("nan"), *WELLS[FEATURES[0]].to_list()[2:]]
    wells = WELLS.with_columns(pl.Series(FEATURES[0], values))
    assert normalised(wells)[FEATURES[0]].is_null().arg_true().to_list() == [0, 1]
    assert lost(wells) == []


def test_no_features():
    assert normalised(WELLS.drop(FEATURES), []).equals(WELLS.drop(FEATURES))
    assert lost(WELLS, []) == []
