"""Ranks of wells."""

import polars as pl
import pytest

from plates.errors import UnknownName
from profiler.hits import HitRule, rank_wells

SCORES = pl.DataFrame(
    {
        "Metadata_Plate": ["P"] * 8,
        "Metadata_Well": ["AA01", "B01", "A01", "A02", "A03", "A04", "A05", "A06"],
        "Metadata_QC_Status": ["ok"] * 6 + ["failed", "no_cells"],
        "readout_value": [1.0, 1.0, 1.0, 1.0, None, 1.0, None, None],
        "readout_z": [3.0, -3.0, 2.9, -50.0, None, None, None, None],
        "profile_score": [9.0, 2.0, -9.0, 3.0, 1.0, None, None, None],
        "viability": [1.0, 0.5, 0.49, 0.1, 1.0, 1.0, None, 0.0],
    }
)


def column(ranked: pl.DataFrame, name: str) -> dict:
    return dict(ranked.select("Metadata_Well", name).iter_rows())


def test_a_readout_counts_in_both_directions_and_ties_go_by_well():
    ranked = rank_wells(SCORES)
    assert ranked["Metadata_Well"].to_list()[:4] == ["A02", "B01", "AA01", "A01"]
    assert ranked["rank"].to_list() == [1, 2, 3, 4, None, None, None, None]
    hits = {"A02": True, "B01": True, "AA01": True, "A01": False}
    assert column(ranked, "is_hit") == hits | dict.fromkeys(["A03", "A04", "A05", "A06"])


def test_a_profile_counts_only_when_far():
    ranked = rank_wells(SCORES, rule=HitRule(rank_by="profile"))
    assert ranked["Metadata_Well"].to_list()[:5] == ["AA01", "A02", "B01", "A03", "A01"]
    assert column(ranked, "is_hit")["A01"] is False


def test_every_null_rank_has_its_reason():
    status = column(rank_wells(SCORES), "rank_status")
    assert {well: status[well] for well in ("A03", "A04", "A05", "A06")} == {
        "A03": "no_value",
        "A04": "no_scale",
        "A05": "failed",
        "A06": "no_cells",
    }
    assert status["A02"] == "ranked"


def test_toxic_wells_are_flagged_and_stay():
    toxic = column(rank_wells(SCORES), "is_toxic")
    assert [toxic[w] for w in ("B01", "A01", "A02", "A05", "A06")] == [
        False,
        True,
        True,
        None,
        True,
    ]


def test_the_threshold_is_the_users():
    assert rank_wells(SCORES, rule=HitRule(threshold=10.0))["is_hit"].sum() == 1


def test_unknown_ranking():
    with pytest.raises(UnknownName, match=r"no ranking called 'readuot'\. Did you mean 'readout'"):
        rank_wells(SCORES, rule=HitRule(rank_by="readuot"))


@pytest.mark.parametrize(("controls", "by"), [(2, "no_controls"), (3, "no_scale")])
def test_a_profile_needs_a_third_control(controls, by):
    roles = ["negative"] * controls + ["treatment"] * (8 - controls)
    columns = {"Metadata_Role": pl.Series(roles), "Metadata_Object_Count": pl.lit(100)}
    table = SCORES.with_columns(**columns, profile_score=None, readout_z=None)
    table = table.with_columns(Metadata_QC_Status=pl.lit("ok"), readout_value=pl.lit(1.0))
    table = table.cast({"profile_score": pl.Float64, "readout_z": pl.Float64})
    profile = rank_wells(table, rule=HitRule(rank_by="profile"))
    assert set(profile["rank_status"]) == {by}
    assert set(rank_wells(table)["rank_status"]) == {"no_scale"}  # two are enough


@pytest.mark.parametrize("threshold", [0.0, -1.0, float("nan")])
def test_a_threshold_that_every_well_reaches_is_refused(threshold):
    with pytest.raises(ValueError, match="must be above 0"):
        HitRule(threshold=threshold)
