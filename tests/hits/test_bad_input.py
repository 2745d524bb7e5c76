"""What a screen may lack: a clear error, or a code and a count, never a silent answer."""

import numpy as np
import polars as pl
import pytest

from plates.errors import BadLayout, NoControls, ProfilingError
from profiler.hits import (
    activity,
    average_precision,
    call_hits,
    mahalanobis,
    mean_average_precision,
    replicate_correlation,
)
from profiler.profile import feature_columns, is_role, robust_z
from profiler.summary import tell_hits

READOUT = "Nuclei_Intensity_MeanIntensity_GFP"
FEATURES = ["Cells_Texture_F1", "Cells_Texture_F2"]
DOSE = "Metadata_Concentration"
NAME = "Metadata_Compound"


def called(wells: pl.DataFrame, **settings):
    features = feature_columns(wells)
    profiles = robust_z(wells, features=features, reference=is_role("negative"))
    return call_hits(wells, profiles, **settings)


def changed(wells: pl.DataFrame, rows: pl.Expr, value: object, *columns: str) -> pl.DataFrame:
    return wells.with_columns(
        pl.when(rows).then(pl.lit(value)).otherwise(pl.col(name)).alias(name) for name in columns
    )


@pytest.mark.parametrize("left", [0, 1])
def test_no_or_one_control_well(make_plate, left):
    wells = make_plate()
    kept = wells.filter(~is_role("negative") | (is_role("negative").cum_sum() <= left))
    with pytest.raises(NoControls, match=f"Plate P has {left} negative control well"):
        called(kept)


def test_a_control_missing_on_one_plate(make_plate):
    second = make_plate("Q", seed=1)
    found = called(pl.concat([make_plate("P"), second.filter(~is_role("positive"))]))
    told = dict(
        found.statistics.filter(readout=READOUT).select("Metadata_Plate", "n_positive").rows()
    )
    assert told == {"P": 4, "Q": 0}
    assert found.hits.filter(Metadata_Plate="Q")["percent_effect"].null_count() == second.height - 4


SCORES = ("readout_z", "percent_effect", "profile_score", "viability", "count_z", "adjusted_z")


@pytest.mark.parametrize("left", [0, 1])
def test_a_plate_without_two_negative_controls_is_kept_and_not_ranked(make_plate, left):
    whole, second = make_plate("P"), make_plate("Q", seed=1)
    lacking = second.filter(~is_role("negative") | (is_role("negative").cum_sum() <= left))
    both, alone = (
        called(pl.concat([whole, lacking]), readout=READOUT),
        called(whole, readout=READOUT),
    )
    lost = both.hits.filter(Metadata_Plate="Q")
    assert lost.height == lacking.height
    assert set(lost["rank_status"]) == {"no_controls"}
    for name in (*SCORES, "mahalanobis", "rank", "is_hit"):
        assert lost[name].null_count() == lost.height, name
    kept = both.hits.filter(Metadata_Plate="P")
    for name in ("Metadata_Well", "rank", "is_hit", *SCORES):
        assert kept[name].equals(alone.hits[name]), name
    assert both.compounds["n_missing"].sum() == lost.filter(~is_role("empty")).height
    assert both.compounds.filter(is_role("treatment"))["rank"].null_count() == 0
    told = list(tell_hits(both))
    assert (
        f"No well is ranked on Q: the {lost.height} wells there are kept, with the status "
        "no_controls."
    ) in told


def test_without_negative_controls_activity_says_no_other(make_plate):
    found = activity(make_plate().filter(~is_role("negative")))
    assert found["status"].unique().to_list() == ["no_other"]
    assert found["p_value"].null_count() == found.height
    assert found["n_left_out"].sum() == 44


@pytest.mark.parametrize("value", [None, 7.0, float("nan")], ids=str)
def test_features_all_null_or_constant(make_plate, value):
    wells = make_plate().with_columns(
        pl.lit(value, dtype=pl.Float64).alias(name) for name in (READOUT, *FEATURES)
    )
    found = called(wells)
    assert found.readout is None
    assert found.ranked_by == "profile"
    assert found.hits["rank_status"].unique().to_list() == ["no_scale"]
    assert found.compounds["rank"].null_count() == found.compounds.height
    assert found.activity["status"].unique().to_list() == ["no_profile"]
    assert found.replicates["correlation"].null_count() == found.replicates.height
    named = called(wells, readout=READOUT)
    assert named.curves["status"].is_in(["no_response", "too_few_doses"]).all()


def test_one_feature_null_on_one_plate(make_plate):
    wells = pl.concat([make_plate("P"), make_plate("Q", seed=1)])
    found = called(changed(wells, pl.col("Metadata_Plate") == "Q", None, FEATURES[0]))
    row = found.statistics.filter(Metadata_Plate="Q", readout=FEATURES[0]).row(0, named=True)
    assert (row["n_negative"], row["n_positions"], row["z_prime"]) == (0, 0, None)
    assert found.hits["mahalanobis"].null_count() == 0
    assert found.hits["profile_score"].null_count() == 0


def test_infinite_values(make_plate):
    wells = changed(make_plate(), pl.col("Metadata_Well") == "A25", np.inf, READOUT)
    with pytest.raises(ProfilingError, match=r"is infinite in 1 wells \(P/A25\)"):
        called(wells, readout=READOUT)
    found = called(wells)  # another readout ranks
    assert found.readout != READOUT
    assert found.statistics.filter(readout=READOUT)["n_infinite"].to_list() == [1]
    profiles = robust_z(wells, features=feature_columns(wells), reference=is_role("negative"))
    distance = profiles.select("Metadata_Well", mahalanobis(profiles)).filter(Metadata_Well="A25")
    assert distance["mahalanobis"].to_list() == [None]


def test_replicates_with_different_doses_are_no_replicates(make_plate):
    wells = make_plate(replicates=1)
    found = average_precision(wells)
    treated = found.filter(is_role("treatment"))
    assert treated["status"].unique().to_list() == ["no_match"]
    assert mean_average_precision(treated, per=[NAME])["n_wells"].to_list() == [0] * 4
    compounds = called(wells).compounds.filter(is_role("treatment"))
    assert compounds["activity_p"].null_count() == 4
    assert compounds["is_replicating"].null_count() == 4
    one = is_role("treatment") & (pl.col(DOSE) == 16)
    assert replicate_correlation(changed(make_plate(), one, 16.5, DOSE))[DOSE].n_unique() == 6


def test_names_that_differ_in_case(make_plate):
    wells = changed(make_plate(), pl.col("Metadata_Well") == "A21", "c000", NAME)
    with pytest.raises(BadLayout, match="'C000' and 'c000' differ only in case"):
        called(wells)


def test_an_empty_plate(make_plate):
    whole = make_plate("P")
    empty = make_plate("Q").with_columns(
        pl.col("^(Nuclei|Cells)_.*$") * float("nan"),
        pl.lit("empty").alias("Metadata_Role"),
        pl.lit(0, dtype=pl.Int64).alias("Metadata_Object_Count"),
    )
    found = called(pl.concat([whole, empty]))
    assert set(found.hits.filter(Metadata_Plate="Q")["rank_status"]) == {"no_controls"}
    assert found.hits.filter(Metadata_Plate="P")["rank"].max() == whole.height
    failed = make_plate("Q").with_columns(
        pl.col("^(Nuclei|Cells)_.*$") * float("nan"),
        pl.lit("failed").alias("Metadata_QC_Status"),
        pl.lit(None, dtype=pl.Int64).alias("Metadata_Object_Count"),
    )
    found = called(pl.concat([whole, failed]))
    assert set(found.hits.filter(Metadata_Plate="Q")["rank_status"]) == {"failed"}
    assert found.statistics.filter(Metadata_Plate="Q")["z_prime"].null_count() == 3


def test_empty_wells_are_ranked_nowhere(make_plate):
    wells = make_plate()
    wells = changed(wells, pl.col(NAME) == "C003", "empty", "Metadata_Role")
    found = called(wells)
    assert "C003" not in found.compounds[NAME].to_list()
    assert "C003" not in found.activity[NAME].to_list()
    assert found.hits.height == wells.height


def test_a_well_twice(make_plate):
    wells = make_plate()
    with pytest.raises(BadLayout, match="Well A01 of plate P has several rows; one row per"):
        called(pl.concat([wells, wells.head(1)]))


def test_a_table_without_wells(make_plate):
    found = called(make_plate().clear())
    assert [table.height for table in found[:5]] == [0] * 5
    assert found.readout is None
