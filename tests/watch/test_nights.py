"""The index of runs: what a row says, what the page shows, and what is asked of it."""

import uuid
from pathlib import Path

import polars as pl
import pytest

from plates.errors import BadPlate, BadRun
from profiler.store import lease
from profiler.store.tables import write_table
from profiler.watch import nights
from profiler.watch.page import page

from .conftest import Bench, fail


def test_a_row_says_how_good_a_plate_is(bench: Bench):
    bench.add("P1")
    bench.once()
    (row,) = bench.index().rows(named=True)
    counts = {"wells": 1, "fields": 2, "fields_ok": 1, "fields_empty": 0, "fields_failed": 1}
    found = {"run": "P1", "plate": "P1", "status": "done", "cells": 7, "z_prime": 0.61, "ssmd": 9.0}
    assert row | counts | found | {"tries": 0, "readout": "Cells_X"} == row
    assert row["source"] == str(bench.inbox / "P1")


def test_a_row_of_a_run_in_a_store(bench: Bench, monkeypatch, tmp_path):
    pytest.importorskip("fsspec")
    monkeypatch.setenv("PROFILER_WORK", str(tmp_path / "work"))
    monkeypatch.setattr(lease, "SETTLE_S", 0)
    runs = f"memory://{uuid.uuid4().hex}/runs"
    bench.out = Path(runs)
    bench.add("Plate 1 (a)")
    bench.once()
    folders, tables = nights.with_index([runs])
    (row,) = tables["runs"].collect().rows(named=True)
    found = {"run": "Plate 1 (a)", "plate": "Plate 1 (a)", "cells": 7, "z_prime": 0.61}
    assert row | found == row
    assert folders == [f"{runs}/Plate 1 (a)"]
    bench.once()  # what was done before is looked up, not run
    assert bench.runs == ["Plate 1 (a)"]


def test_a_failed_plate_has_a_row_until_it_is_done(bench: Bench):
    bench.add("P1")
    bench.on_run["P1"] = fail(BadPlate("No reader fits."))
    bench.once()
    assert bench.index().select("status", "reason", "tries", "cells").rows() == [
        ("failed", "No reader fits.", 1, None)
    ]
    del bench.on_run["P1"]
    bench.once()
    assert bench.index().select("status", "reason").rows() == [("done", None)]


def test_a_plate_in_a_folder_of_its_own_is_told_apart_on_the_page(bench: Bench):
    bench.add("P1")
    bench.others = {"P1"}
    bench.on_run["P1"] = fail(BadPlate("No reader fits."))
    bench.once()
    assert bench.index().select("run", "status").rows() == [("P1~2", "failed")]
    assert "P1 (P1~2)" in " ".join(page(bench.index()).split())
    bench.on_run.clear()
    bench.others = {"P1", "P1~2"}  # mended, it fits another folder: the failure is no longer told
    bench.once()
    assert bench.index().select("run", "status").rows() == [("P1~3", "done")]


def test_an_index_that_is_lost_or_damaged_is_made_again(bench: Bench):
    bench.add("P1")
    bench.once()
    (bench.out / "index.parquet").write_bytes(b"PAR1")
    bench.once()
    assert bench.index()["plate"].to_list() == ["P1"]


def test_the_page_links_reports_and_trusts_no_name(bench: Bench):
    bench.add("a b")
    bench.once()
    text = page(bench.index())
    assert 'href="a%20b/report.html"' in text
    assert "0.61" in text
    odd = bench.index().with_columns(plate=pl.lit("<script>"), reason=pl.lit("a & b"))
    assert "<script>" not in page(odd)
    assert "a &amp; b" in page(odd)


def test_a_folder_of_runs_stands_for_the_runs_that_are_done(bench: Bench):
    for name in ("P1", "P2"):
        bench.add(name)
    bench.on_run["P2"] = fail(BadPlate("bad"))
    bench.once()
    folders, tables = nights.with_index(["elsewhere", str(bench.out)])
    assert folders == ["elsewhere", f"{bench.out}/P1"]
    assert tables["runs"].collect().height == 2


def test_run_folders_are_left_as_they_are(tmp_path):
    table = pl.DataFrame({"table": ["cells"]})
    write_table(tmp_path / "index.parquet", table, level="index", parameters={})  # a run's own
    assert nights.with_index([str(tmp_path)]) == ([str(tmp_path)], {})


def test_a_night_without_a_done_plate_says_where_to_look(bench: Bench):
    bench.add("P1")
    bench.on_run["P1"] = fail(BadPlate("bad"))
    bench.once()
    with pytest.raises(BadRun, match=r"No plate of .* is done yet; .*index\.html says why"):
        nights.with_index([str(bench.out)])
