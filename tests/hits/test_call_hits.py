"""From well profiles to ranked hits, whole."""

import polars as pl
import pytest

from plates.errors import BadLayout, NoControls, UnknownName
from profiler.hits import (
    HitRule,
    Hits,
    activity,
    call_hits,
    describe_curves,
    mahalanobis,
    position_effects,
    replicate_correlation,
)
from profiler.profile import feature_columns, is_role, robust_z

READOUT = "Nuclei_Intensity_MeanIntensity_GFP"
OTHER = "Cells_Texture_F1"


def called(wells: pl.DataFrame, **settings) -> Hits:
    features = feature_columns(wells)
    profiles = robust_z(wells, features=features, reference=is_role("negative"))
    return call_hits(wells, profiles, **settings)


@pytest.fixture
def plate(make_plate):
    """C001 and the positive controls raise the readout."""
    active = is_role("positive") | (
        (pl.col("Metadata_Compound") == "C001") & (pl.col("Metadata_Concentration") >= 4)
    )
    return make_plate(doses=7).with_columns(
        pl.col(READOUT) + pl.when(active).then(40.0).otherwise(0.0)
    )


def test_the_best_readout_is_found_and_ranked_by(plate):
    found = called(plate)
    assert (found.readout, found.best, found.ranked_by) == (READOUT, READOUT, "readout")
    assert found.compounds.filter(Metadata_Role="treatment")["Metadata_Compound"][0] == "C001"
    assert found.hits.filter(is_role("positive"))["rank"].max() < (
        found.hits.filter(is_role("negative"))["rank"].min()
    )
    assert found.hits.height == plate.height
    assert found.statistics.height == 3
    assert found.curves["scale"].unique().to_list() == ["raw"]


def test_curves_for_the_named_readouts_and_the_best(plate):
    found = called(plate, readout=[OTHER, "Cells_Texture_F2"])
    assert found.readout == OTHER
    assert set(found.curves["readout"]) == {READOUT, OTHER, "Cells_Texture_F2"}
    assert called(plate, readout=OTHER).readout == OTHER


def test_without_positive_controls_a_readout_can_be_named(plate):
    found = called(plate.filter(~is_role("positive")), readout=READOUT)
    assert (found.readout, found.best, found.ranked_by) == (READOUT, None, "readout")
    assert found.statistics["z_prime"].null_count() == 3
    assert found.hits["percent_effect"].null_count() == found.hits.height
    assert found.compounds["Metadata_Compound"][0] == "C001"


def test_without_positive_controls_and_readout_the_profile_ranks(plate):
    found = called(plate.filter(~is_role("positive")))
    assert (found.readout, found.best, found.ranked_by) == (None, None, "profile")
    assert found.hits["rank"].null_count() == 0
    assert found.curves.height == 0


def test_several_plates_are_fitted_on_one_scale(make_plate):
    both = pl.concat([make_plate("P"), make_plate("Q", seed=1)])
    found = called(both, readout=READOUT)
    assert found.curves["scale"].unique().to_list() == ["robust_z"]
    assert found.curves["n_wells"].unique().to_list() == [20]
    assert found.statistics.height == 6


def test_statistics_say_what_position_does(make_plate):
    wells = make_plate(negatives=0, compounds=2)
    wells = pl.concat([wells, make_plate("P").filter(is_role("negative"))])
    places = [f"{row}{column:02d}" for row in "ABCDEFGH" for column in range(1, 13)]
    wells = wells.with_columns(Metadata_Well=pl.Series(places[: wells.height][::-1]))
    edge = pl.col("Metadata_Well").str.contains("A|01|12")
    wells = wells.with_columns(pl.col(OTHER) + pl.when(edge).then(50.0).otherwise(0.0))
    found = called(wells).statistics.filter(readout=OTHER).row(0, named=True)
    effects = position_effects(wells, readouts=[OTHER], reference=is_role("negative"))
    assert found["position_reference"] == "negative"
    assert found["n_positions"] == effects["n_wells"].item() == 16
    for name in ("edge_shift", "edge_p", "row_share", "column_p", "row_trend"):
        assert found[name] == effects[name].item()
    assert found["edge_shift"] > 10


def test_positions_of_readout_profile_and_cells(plate):
    found = called(plate)
    names = [READOUT, "profile_score", "viability"]
    assert found.positions["readout"].unique(maintain_order=True).to_list() == names
    assert set(found.positions["axis"]) == {"row", "column", "run"}
    mine = found.positions.filter(readout="viability", axis="row", position="A").row(0, named=True)
    told = found.statistics["position_reference"][0]
    assert mine["n_wells"] == plate.filter(is_role(told), pl.col("Metadata_Well") < "B").height


def test_curves_carry_their_shape(plate):
    found = called(plate)
    table = plate.join(found.hits.select("Metadata_Well", "viability"), on="Metadata_Well")
    shapes = describe_curves(table, readouts=[READOUT])
    for name in ("shape", "area_under_curve", "benchmark_concentration", "is_biphasic"):
        assert found.curves[name].to_list() == shapes[name].to_list()
    assert found.curves.filter(Metadata_Compound="C001")["shape"].to_list() == ["trend"]


def test_selected_features_make_the_profile(plate):
    profiles = robust_z(plate, features=feature_columns(plate), reference=is_role("negative"))
    selected = profiles.drop(READOUT)
    found = call_hits(plate, profiles, selected=selected)
    assert found.readout == READOUT
    assert found.activity.equals(activity(selected))
    assert found.replicates.equals(replicate_correlation(selected))
    assert found.compounds["top_features"].explode().n_unique() == 2
    distance = selected.select("Metadata_Well", mahalanobis(selected))
    mine = found.hits.select("Metadata_Well", "mahalanobis")
    assert mine.sort("Metadata_Well").equals(distance.sort("Metadata_Well"))


def test_settings_reach_the_rules(plate):
    strict = called(plate, readout=READOUT, rule=HitRule(threshold=1e6, toxic_below=0.0))
    assert strict.hits["is_hit"].sum() == 0
    assert called(plate, readout=READOUT, rule=HitRule(toxic_below=2.0)).hits["is_toxic"].all()
    assert called(plate, rule=HitRule("profile")).ranked_by == "profile"


def test_wells_without_data_keep_a_row(plate):
    lost = pl.int_range(pl.len()) == pl.len() - 1
    features = feature_columns(plate)
    wells = plate.with_columns(
        pl.when(~lost).then(pl.col(features)),
        pl.when(~lost).then(pl.col("Metadata_Object_Count")),
        pl.when(lost)
        .then(pl.lit("not_imaged"))
        .otherwise(pl.lit("ok"))
        .alias("Metadata_QC_Status"),
    )
    found = called(wells)
    row = found.hits.row(-1, named=True)
    assert (row["rank"], row["rank_status"], row["is_toxic"]) == (None, "not_imaged", None)
    assert found.hits.height == plate.height


def test_no_negative_controls(plate):
    with pytest.raises(NoControls, match="0 negative control wells with cells, and 2 are needed"):
        called(plate.filter(~is_role("negative")))
    one = plate.filter(~is_role("negative") | (pl.col("Metadata_Well") == "A01"))
    with pytest.raises(NoControls, match="1 negative control well with cells, and 2 are needed"):
        called(one)


def test_no_negative_controls_on_any_of_two_plates(make_plate):
    both = pl.concat([make_plate("P"), make_plate("Q")]).filter(~is_role("negative"))
    with pytest.raises(NoControls, match=r"Plate P has 0 .*know what no effect looks like\. Its"):
        called(both)


def test_unknown_readout_and_ranking(plate):
    message = r"no readout called 'Cells_Texture_G1'\. Did you mean 'Cells_Texture_F1'"
    with pytest.raises(UnknownName, match=message):
        called(plate, readout="Cells_Texture_G1")
    with pytest.raises(UnknownName, match="no ranking called 'profle'"):
        called(plate, rule=HitRule("profle"))


def test_names_that_differ_in_case(plate):
    name = pl.when(pl.col("Metadata_Well") == "A21").then(pl.lit("c001"))
    wells = plate.with_columns(name.otherwise("Metadata_Compound").alias("Metadata_Compound"))
    with pytest.raises(BadLayout, match="'C001' and 'c001' differ only in case"):
        called(wells)


def test_a_readout_whose_controls_do_not_vary_ranks_nothing_and_says_so(plate):
    flat = pl.when(is_role("negative")).then(1.0).otherwise(READOUT).alias(READOUT)
    found = called(plate.with_columns(flat), readout=READOUT)
    assert found.hits["rank_status"].unique().to_list() == ["no_scale"]
    assert found.compounds["rank"].null_count() == found.compounds.height


def test_two_runs_agree_to_the_bit(plate):
    plate = plate.with_columns(Metadata_MOA=pl.col("Metadata_Compound").str.slice(3))
    first, second = called(plate), called(plate)
    for one, other in zip(first[:8], second[:8], strict=True):
        assert one.equals(other)
