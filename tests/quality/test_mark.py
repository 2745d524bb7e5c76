"""Verdicts on cells and wells: lazily, without hiding the files from filters."""

from pathlib import Path

import polars as pl
import pytest

from profiler.quality import as_unusable, flag_few, judge, marked, tell_few, tell_quality
from profiler.store.mark import mark_cells
from profiler.store.tables import scan_checked, write_table

from .conftest import CHECKS, change, tables

CELLS = 3  # of each field


@pytest.fixture
def judged() -> pl.DataFrame:
    numbers, fields = tables(24)
    for row in (2, 13):
        bad = {"Image_QC_FineDetail_DNA": -2.4, "Image_QC_PowerSlope_DNA": -3.4}
        numbers = change(numbers, row, **bad)
    numbers = change(numbers, 5, Image_QC_Contrast_DNA=0.9)
    return judge(numbers, fields=fields, checks=CHECKS).table


@pytest.fixture
def run(tmp_path, judged) -> Path:
    write_table(tmp_path / "quality.parquet", judged, level="quality", parameters={})
    keys = judged.select(pl.nth(0, 1, 2, 3))
    for (well,), fields in keys.group_by("Metadata_Well"):
        cells = fields.join(
            pl.DataFrame({"Metadata_ObjectNumber": range(1, CELLS + 1)}), how="cross"
        )
        cells = cells.with_columns(Metadata_QC_TouchesBorder=pl.lit(value=False), x=1.5)
        write_table(tmp_path / f"{well}.parquet", cells, level="cells", parameters={})
    return tmp_path


def cells(run: Path) -> pl.LazyFrame:
    paths = sorted(run.glob("?0*.parquet")) + sorted(run.glob("?1*.parquet"))
    wells = [path.stem for path in paths]
    keys = {"Metadata_Plate": ["P1"] * len(wells), "Metadata_Well": wells}
    return scan_checked(paths, keys=keys)


def test_cells_carry_the_verdict_of_their_field(run, judged):
    table = mark_cells(run, cells(run)).collect()
    assert table.columns[5:8] == ["Metadata_QC_TouchesBorder", "Metadata_QC_Field", "x"]
    expected = dict(judged.select("Metadata_Well", "Metadata_QC_Verdict").iter_rows())
    assert table.height == 24 * CELLS
    for well, verdict in table.select("Metadata_Well", "Metadata_QC_Field").iter_rows():
        assert verdict == expected[well]
    assert table["Metadata_QC_Field"].value_counts().height == 3


def test_without_verdicts_cells_are_as_they_were(run):
    (run / "quality.parquet").unlink()
    assert mark_cells(run, cells(run)).collect_schema() == cells(run).collect_schema()


def test_a_filter_on_wells_still_leaves_other_files_unopened(run):
    frame = mark_cells(run, cells(run))
    (run / "B12.parquet").write_bytes(b"damaged")
    some = frame.filter(pl.col("Metadata_Well") == "A03")
    assert some.collect()["Metadata_QC_Field"].to_list() == ["focus"] * CELLS
    assert "FILTER" not in some.select("x").explain().split("SELECTION")[0]


def test_marked_cells_count_or_not(run):
    frame = mark_cells(run, cells(run))
    assert marked(frame, exclude=False).collect().height == 24 * CELLS
    kept = marked(frame, exclude=True).collect()
    assert kept.height == 21 * CELLS
    assert set(kept["Metadata_QC_Field"]) == {"ok"}
    assert marked(cells(run), exclude=True).collect().height == 24 * CELLS


def test_bad_fields_become_failed_ones_and_empty_ones_stay(judged):
    fields = tables(24)[1]
    found = as_unusable(fields, quality=judged)
    assert found.columns == fields.columns
    changed = found.filter(pl.col("Metadata_QC_Status") != "ok")
    assert changed["Metadata_Well"].to_list() == ["A03", "B02"]
    assert set(changed["Metadata_QC_Status"]) == {"focus"}


def test_wells_with_few_cells_are_flagged_and_named():
    wells = pl.DataFrame(
        {
            "Metadata_Plate": "P1",
            "Metadata_Well": ["A01", "A02", "A03", "A04"],
            "Metadata_Object_Count": [0, 9, 10, None],
            "x": 1.0,
        }
    )
    found = flag_few(wells, min_cells=10)
    assert found["Metadata_QC_LowCount"].to_list() == [True, True, False, None]
    assert found.columns[-2:] == ["Metadata_QC_LowCount", "x"]
    assert list(tell_few(found, min_cells=10)) == [
        "2 wells have fewer than 10 cells: P1/A01, P1/A02."
    ]
    assert list(tell_few(flag_few(wells, min_cells=0), min_cells=0)) == []


def test_flagged_fields_are_counted_with_their_cells(judged):
    (said,) = tell_quality(judged, exclude=True)
    assert said == "3 of 24 fields are flagged (focus 2, empty 1); their 300 cells do not count."
    (said,) = tell_quality(judged, exclude=False)
    assert "count all the same, as [profile] exclude_bad_fields says" in said
    assert list(tell_quality(judged.clear(), exclude=True)) == []


def told(counts: list[int], doubtful: list[int], sure: list[float | None]) -> list[str]:
    """What is said of fields that are all believed."""
    table = pl.DataFrame(
        {
            "Metadata_QC_Verdict": "ok",
            "Metadata_Object_Count": pl.Series(counts, dtype=pl.Int32),
            "Metadata_Object_Doubtful": pl.Series(doubtful, dtype=pl.Int32),
            "Metadata_Object_Confidence": pl.Series(sure, dtype=pl.Float32),
        }
    )
    return list(tell_quality(table, exclude=True))


def test_cells_expected_to_be_wrong_are_counted_by_their_mean_confidence():
    (said,) = told([900, 100, 0], [0, 0, 0], [0.99, 0.9, None])
    assert said.startswith("Of 1,000 cells about 19 (1.9%) are expected to be wrong, by their mean")
    assert said.endswith(" confidence of 0.981.")


def test_cells_left_out_are_counted():
    assert told([90], [1], [1.0])[1] == (
        "1 more cell was left out: below [segment] min_confidence."
    )
    assert told([0, 0], [2, 1200], [None, None]) == [
        "1,202 more cells were left out: below [segment] min_confidence."
    ]


def test_a_network_without_calibration_is_told_and_an_older_run_is_not_blamed(judged):
    assert told([90], [0], [None]) == [
        "No cell has a confidence, as the network is not calibrated."
    ]
    assert not any("confidence" in said for said in tell_quality(judged, exclude=True))


def test_what_fields_say_of_their_objects_stands_beside_the_verdict():
    numbers, fields = tables(8)
    counted = fields.with_columns(
        Metadata_Object_Doubtful=pl.lit(2, pl.Int32),
        Metadata_Object_Confidence=pl.lit(0.9, pl.Float32),
    )
    table = judge(numbers, fields=counted, checks=CHECKS).table
    assert table["Metadata_Object_Doubtful"].to_list() == [2] * 8
    assert table["Metadata_Object_Confidence"].to_list() == [pytest.approx(0.9)] * 8
