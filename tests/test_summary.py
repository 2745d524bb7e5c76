"""What a run says of itself: every well, treatment and dose series without an answer is counted."""

import polars as pl

from profiler.hits import Hits
from profiler.summary import tell_hits

READOUT = "Cells_Test_F"


def told(*, roles: list[str], ranks: list[str], activity: pl.DataFrame | None) -> list[str]:
    quality = {"Metadata_Plate": ["P"], "readout": [READOUT], "z_prime": [0.5]}
    curves = {"status": ["ok", "too_few_doses", "no_response", "infinite"]}
    names = [f"C{i}" for i in range(len(roles))]
    compounds = {"Metadata_Compound": names, "Metadata_Role": roles, "is_hit": True}
    tables = [quality, curves, {"rank_status": ranks}, compounds, {}]
    frames = [pl.DataFrame(table) for table in tables]
    return list(tell_hits(Hits(*frames, activity, None, READOUT, READOUT, "readout")))


def test_what_has_no_verdict_is_counted_by_its_code():
    activity = pl.DataFrame(
        {"q_value": [0.01, 0.9, None, None, None], "status": ["ok", "ok", "ok"] + ["no_match"] * 2}
    )
    ranks = ["ranked", "no_cells", "not_imaged", "no_cells"]
    assert told(roles=["treatment", "positive"], ranks=ranks, activity=activity) == [
        f"P: Z' 0.50 of {READOUT}",
        "1 compound is a hit, ranked by readout: C0",
        "1 of 2 treatments with replicates are active (mAP, q at most .05)",
        "Wells not ranked: 3 (no_cells 2, not_imaged 1)",
        "Treatments not tested for activity: 3 (no_match 2, nothing_to_exchange 1)",
        "Dose series without a curve: 2 (infinite 1, too_few_doses 1)",
    ]


def test_nothing_is_said_of_what_is_whole():
    lines = told(roles=["positive"], ranks=["ranked"], activity=None)
    assert lines[1:-1] == ["0 compounds are hits, ranked by readout: none"]
