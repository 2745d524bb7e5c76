"""Scores of wells: by hand, by simulation, at the edges."""

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from plates.errors import ProfilingError
from profiler.hits import score_wells
from profiler.hits.scores.score import profile_score
from profiler.profile import feature_columns, is_role, robust_z

READOUT = "Nuclei_Intensity_MeanIntensity_GFP"


def profiled(wells: pl.DataFrame) -> pl.DataFrame:
    return robust_z(wells, features=feature_columns(wells), reference=is_role("negative"))


def scored(wells: pl.DataFrame, *, readout: str | None = READOUT) -> pl.DataFrame:
    return score_wells(wells, profiled(wells), readout=readout)


def by_hand() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "Metadata_Plate": "P",
            "Metadata_Well": ["A01", "A02", "A03", "A04", "A05", "A06"],
            "Metadata_Role": ["negative"] * 3 + ["positive", "treatment", "treatment"],
            "Metadata_QC_FieldsOk": [4, 4, 4, 4, 2, 0],
            "Metadata_Object_Count": [360, 400, 440, 400, 100, None],
            READOUT: [1.0, 2.0, 3.0, 12.0, 7.0, None],
        }
    )


def test_readout_and_count_by_hand():
    scores = scored(by_hand())
    assert scores["readout_value"].to_list() == [1.0, 2.0, 3.0, 12.0, 7.0, None]
    assert scores["readout_z"][3] == pytest.approx(10 / 1.4826)
    assert scores["percent_effect"].to_list() == [-10.0, 0.0, 10.0, 100.0, 50.0, None]
    # 100 cells in 2 fields are half of the controls' 100 a field.
    assert scores["viability"].to_list() == [0.9, 1.0, 1.1, 1.0, 0.5, None]
    assert scores["count_z"][4] == pytest.approx(-50 / (1.4826 * 10))
    assert scores["readout"].unique().to_list() == [READOUT]


def test_without_field_counts_wells_are_compared():
    scores = scored(by_hand().drop("Metadata_QC_FieldsOk"))
    assert scores["viability"].to_list() == [0.9, 1.0, 1.1, 1.0, 0.25, None]


def test_a_well_without_cells_is_wholly_dead():
    wells = by_hand().with_columns(
        pl.Series("Metadata_Object_Count", [360, 400, 440, 400, 0, None])
    )
    assert scored(wells)["viability"].to_list()[4:] == [0.0, None]


def test_without_positive_controls_there_is_no_percent_effect():
    scores = scored(by_hand().filter(~is_role("positive")))
    assert scores["percent_effect"].null_count() == 5
    assert scores["readout_z"].null_count() == 1


def test_controls_that_do_not_differ_give_no_percent_effect():
    values = pl.Series(READOUT, [1.0, 2.0, 3.0, 2.0, 7.0, None])
    assert scored(by_hand().with_columns(values))["percent_effect"].null_count() == 6


def test_without_a_readout_its_columns_are_null():
    scores = scored(by_hand(), readout=None)
    assert scores.columns == scored(by_hand()).columns
    assert scores["readout_value"].null_count() == scores.height


def test_order_and_plate_map_are_kept(make_plate):
    wells = pl.concat([make_plate("Q"), make_plate("P", seed=1)])
    scores = scored(wells)
    metadata = [name for name in wells.columns if name.startswith("Metadata_")]
    assert scores.select(metadata).equals(wells.select(metadata))


def test_plates_are_scored_apart(make_plate):
    p, q = make_plate("P"), make_plate("Q", seed=1)
    both = scored(pl.concat([p, q]))
    assert_frame_equal(both.filter(Metadata_Plate="Q"), scored(q))


def test_an_infinite_readout_is_refused():
    values = pl.Series(READOUT, [1.0, 2.0, 3.0, float("inf"), 7.0, None])
    with pytest.raises(ProfilingError, match=r"infinite in 1 wells \(P/A04\), and cannot be rank"):
        scored(by_hand().with_columns(values))


def test_profile_score_of_noise_is_like_a_normal_and_of_an_effect_is_high(make_plate):
    wells = make_plate(negatives=32, positives=16, compounds=20, doses=5, features=300)
    features = feature_columns(wells)
    shifted = pl.when(is_role("positive")).then(pl.col(features) + 2).otherwise(pl.col(features))
    wells = wells.with_columns(shifted)
    score = profile_score(profiled(wells))
    noise, effect = (score.filter(wells["Metadata_Role"] == r) for r in ("treatment", "positive"))
    assert abs(noise.median()) < 1
    assert (noise > 3).mean() < 0.05
    assert effect.min() > noise.max()


def test_profile_score_of_correlated_noise_does_not_run_away(make_plate):
    random = np.random.default_rng(1)
    wells = make_plate(negatives=32, compounds=40, doses=5, features=200)
    features = feature_columns(wells)
    factors = random.normal(size=(wells.height, 3)) @ random.normal(size=(3, len(features)))
    values = wells.select(features).to_numpy() + 2 * factors
    wells = wells.with_columns(pl.Series(n, values[:, i]) for i, n in enumerate(features))
    score = profile_score(profiled(wells)).filter(wells.select(is_role("treatment")).to_series())
    assert (score > 3).mean() < 0.05


def test_one_wild_feature_does_not_decide(make_plate):
    wells = make_plate(features=100)
    treated = pl.int_range(pl.len()) == pl.len() - 1
    wild = wells.with_columns(pl.when(treated).then(1e9).otherwise(READOUT).alias(READOUT))
    eleven = wells.with_columns(pl.when(treated).then(50.0).otherwise(READOUT).alias(READOUT))
    assert profile_score(profiled(wild))[-1] == pytest.approx(profile_score(profiled(eleven))[-1])


def test_positions_are_no_part_of_the_profile(make_plate):
    wells = make_plate()
    place = pl.Series("Cells_Location_Center_X", np.arange(wells.height) ** 3.0)
    with_place = profiled(wells.with_columns(place))
    assert profile_score(with_place).equals(profile_score(profiled(wells)))


def test_a_control_is_scored_by_the_others(make_plate):
    wells = make_plate(negatives=5, features=1, compounds=0, positives=0).with_columns(
        pl.Series(READOUT, [0.0, 1.0, 3.0, 6.0, 11.0])
    )
    values = wells[READOUT].to_numpy()
    distance = []
    for i, value in enumerate(values):
        others = np.delete(values, i)
        mad = np.median(np.abs(others - np.median(others)))
        z = (value - np.median(others)) / (1.4826 * mad)
        distance.append(min(abs(z), 10) ** (2 / 3))
    centre = np.median(distance)
    expected = (distance - centre) / (1.4826 * np.median(np.abs(distance - centre)))
    assert profile_score(profiled(wells)).to_numpy() == pytest.approx(expected)


def test_few_controls_or_features_give_no_profile_score(make_plate):
    assert profile_score(profiled(make_plate(negatives=2))).null_count() == 46
    wells = make_plate().drop(READOUT, "Cells_Texture_F1", "Cells_Texture_F2")
    assert profile_score(wells).null_count() == wells.height
    gaps = make_plate(features=4)
    last = pl.int_range(pl.len()) == pl.len() - 1
    names = feature_columns(gaps)[:3]
    gaps = gaps.with_columns(pl.when(~last).then(pl.col(names)))
    assert profile_score(profiled(gaps)).is_null().arg_true().to_list() == [gaps.height - 1]
