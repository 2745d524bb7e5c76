"""What a run says of itself: every well, treatment and dose series without an answer is counted."""

import polars as pl

from profiler.hits import Hits
from profiler.summary import tell_hits

READOUT = "Cells_Test_F"


def told(
    *,
    roles: list[str],
    ranks: list[str],
    activity: pl.DataFrame | None,
    consistency: pl.DataFrame | None = None,
) -> list[str]:
    quality = {"Metadata_Plate": ["P"], "readout": [READOUT], "z_prime": [0.5]}
    curves = {"status": ["ok", "too_few_doses", "no_response", "infinite"]}
    names = [f"C{i}" for i in range(len(roles))]
    compounds = {"Metadata_Compound": names, "Metadata_Role": roles, "is_hit": True}
    wells = {"Metadata_Plate": ["P"] * len(ranks), "rank_status": pl.Series(ranks, dtype=pl.String)}
    frames = [pl.DataFrame(table) for table in (quality, curves, wells, compounds, {})]
    return list(tell_hits(Hits(*frames, activity, None, consistency, READOUT, READOUT, "readout")))


def test_what_has_no_verdict_is_counted_by_its_code():
    activity = pl.DataFrame(
        {"q_value": [0.01, 0.9, None, None, None], "status": ["ok", "ok", "ok"] + ["no_match"] * 2}
    )
    ranks = ["ranked", "no_cells", "not_imaged", "no_cells"]
    assert told(roles=["treatment", "positive"], ranks=ranks, activity=activity) == [
        f"P: Z' 0.50 of {READOUT}",
        "1 compound is a hit, ranked by readout: C0",
        "1 of 2 treatments with replicates are active (mAP, q at most .05)",
        "No consistency: no column of the plate map says which mechanism or target a compound has. "
        "Call it MOA or target, or name it in [phenotype] labels.",
        "Wells not ranked: 3 (no_cells 2, not_imaged 1)",
        "Treatments not tested for activity: 3 (no_match 2, nothing_to_exchange 1)",
        "Dose series without a curve: 2 (infinite 1, too_few_doses 1)",
    ]


def test_nothing_is_said_of_what_is_whole():
    lines = told(roles=["positive"], ranks=["ranked"], activity=None)
    assert lines[1:-1] == [
        "0 compounds are hits, ranked by readout: none",
        "No activity, no replicates and no consistency: the plate map names no compounds, or no "
        "feature tells of a phenotype.",
    ]


def test_consistency_is_told_by_kind_and_what_was_not_tested_is_counted():
    consistency = pl.DataFrame(
        {
            "kind": ["MOA", "MOA", "MOA", "target"],
            "compared": ["active"] * 4,
            "q_value": [0.01, 0.2, None, None],
            "status": ["ok", "ok", "none_active", "no_match"],
        }
    )
    activity = pl.DataFrame({"q_value": [0.01], "status": ["ok"]})
    lines = told(roles=["treatment"], ranks=[], activity=activity, consistency=consistency)
    assert lines[3:6] == [
        "1 of 2 MOA labels are consistent: their active compounds are alike (mAP, q at most .05)",
        "0 of 0 target labels are consistent: their active compounds are alike (mAP, q at most "
        ".05)",
        "Labels not tested for consistency: 2 (no_match 1, none_active 1)",
    ]


def test_compounds_without_a_cell_and_features_without_a_say_are_named():
    wells = pl.DataFrame(
        {
            "Metadata_Plate": "P",
            "Metadata_Compound": ["Killer", "Killer", "Half", "Half", "Lost", "DMSO"],
            "Metadata_Role": ["treatment"] * 5 + ["negative"],
            "Metadata_QC_Status": ["no_cells", "failed", "no_cells", "ok", "failed", "no_cells"],
            "rank_status": ["no_cells", "failed", "no_cells", "ranked", "failed", "no_cells"],
        }
    )
    compounds = pl.DataFrame(
        {"Metadata_Compound": ["Half"], "Metadata_Role": ["treatment"], "is_hit": [False]}
    )
    quality = pl.DataFrame(schema={"Metadata_Plate": str, "readout": str, "z_prime": float})
    curves = pl.DataFrame(schema={"status": str})
    tables = (quality, curves, wells, compounds, curves, None, None, None)
    lines = list(tell_hits(Hits(*tables, READOUT, READOUT, "readout", n_left_out=2)))
    assert lines[1:3] == [
        "1 compound leaves no cells in any well: Killer",
        "2 features are left out of the Mahalanobis distance, as a negative control has no value.",
    ]
