"""Annotating wells: every well keeps a row, and every gap is told."""

import polars as pl
import pytest

from plates.errors import BadLayout
from profiler.profile import annotate

STATES = {  # well -> its fields' states
    "A01": ["ok", "ok"],
    "A02": ["ok", "unreadable"],
    "A03": ["unreadable", "missing_file"],
    "A04": ["no_cells", "no_cells"],
    "A05": ["no_cells", "unreadable"],
    "A10": ["ok", "ok"],
}
FIELDS = pl.DataFrame(
    [("P", well, state) for well, states in STATES.items() for state in states],
    schema=["Metadata_Plate", "Metadata_Well", "Metadata_QC_Status"],
    orient="row",
)
WELLS = pl.DataFrame(
    {
        "Metadata_Plate": "P",
        "Metadata_Well": ["A10", "A02", "A01"],
        "Metadata_Object_Count": [7, 8, 9],
        "Cells_AreaShape_Area": [1.0, 2.0, 3.0],
    }
)
LAYOUT = pl.DataFrame(
    {
        "Metadata_Well": ["AA01", "B01", "A01", "A02", "A03", "A04", "A05"],
        "Metadata_Role": ["negative", *["treatment"] * 6],
        "Metadata_Batch": ["x"] * 7,
    }
)


def rows(table: pl.DataFrame) -> dict[str, dict]:
    return {row["Metadata_Well"]: row for row in table.iter_rows(named=True)}


def test_every_well_has_its_state_and_count():
    table, _ = annotate(WELLS, fields=FIELDS, layout=LAYOUT)
    expected = {
        "A01": ("ok", 2, 0, 9),
        "A02": ("ok", 1, 1, 8),
        "A03": ("failed", 0, 2, None),
        "A04": ("no_cells", 2, 0, 0),
        "A05": ("no_cells", 1, 1, 0),
        "A10": ("ok", 2, 0, 7),
        "B01": ("not_imaged", None, None, None),
        "AA01": ("not_imaged", None, None, None),
    }
    names = ["Status", "FieldsOk", "FieldsFailed"]
    found = {
        well: (*(row[f"Metadata_QC_{name}"] for name in names), row["Metadata_Object_Count"])
        for well, row in rows(table).items()
    }
    assert found == expected
    assert table["Metadata_Well"].to_list() == list(expected)  # by row, then column


def test_the_plate_map_and_the_features_come_along():
    table, _ = annotate(WELLS, fields=FIELDS, layout=LAYOUT)
    assert rows(table)["A02"]["Metadata_Batch"] == "x"
    assert rows(table)["A10"]["Metadata_Role"] is None
    assert rows(table)["A10"]["Cells_AreaShape_Area"] == 1.0
    assert rows(table)["B01"]["Cells_AreaShape_Area"] is None
    assert table.columns[-1] == "Cells_AreaShape_Area"


def test_every_gap_is_a_sentence():
    _, coverage = annotate(WELLS, fields=FIELDS, layout=LAYOUT)
    assert coverage.sentences() == [
        "2 wells in the plate map but not imaged: P/B01, P/AA01.",
        "1 well imaged but not in the plate map: P/A10.",
        "1 well without any usable field: P/A03.",
        "2 wells without cells: P/A04, P/A05.",
    ]


def test_long_lists_are_cut():
    layout = pl.DataFrame({"Metadata_Well": [f"H{i:02d}" for i in range(1, 13)]})
    _, coverage = annotate(WELLS, fields=FIELDS, layout=layout)
    assert "P/H08 and 4 more." in coverage.sentences()[0]


def test_without_a_plate_map_nothing_is_missing_from_it():
    table, coverage = annotate(WELLS, fields=FIELDS, layout=None)
    assert table.height == len(STATES)
    assert (coverage.not_imaged, coverage.not_in_layout) == ((), ())


def test_a_map_without_plates_serves_them_all():
    other = FIELDS.filter(Metadata_Well="A01").with_columns(Metadata_Plate=pl.lit("Q"))
    table, _ = annotate(WELLS, fields=pl.concat([FIELDS, other]), layout=LAYOUT)
    assert table.filter(Metadata_Plate="Q").height == LAYOUT.height
    assert table.filter(Metadata_Plate="Q", Metadata_Well="A01")["Metadata_Batch"].item() == "x"


def test_plates_of_the_map_that_were_not_run_are_told_and_add_nothing():
    both = pl.concat([LAYOUT.with_columns(Metadata_Plate=pl.lit(plate)) for plate in "PQ"])
    table, coverage = annotate(WELLS, fields=FIELDS, layout=both)
    assert table["Metadata_Plate"].unique().to_list() == ["P"]
    assert coverage.sentences()[-1] == ("Plates in the plate map that are not part of this run: Q.")


def test_a_map_of_other_plates_is_refused():
    layout = LAYOUT.with_columns(Metadata_Plate=pl.lit("p"))
    with pytest.raises(BadLayout, match=r"names the plates p, and none.*the run has P\. Give"):
        annotate(WELLS, fields=FIELDS, layout=layout)


def test_a_well_named_twice_is_refused():
    with pytest.raises(BadLayout, match=r"names 1 wells more than once: P/B01\. Keep one row"):
        annotate(
            WELLS, fields=FIELDS, layout=pl.concat([LAYOUT, LAYOUT.filter(Metadata_Well="B01")])
        )


def test_a_map_with_computed_columns_is_refused():
    layout = LAYOUT.with_columns(Metadata_Object_Count=1, Metadata_QC_Status=pl.lit("ok"))
    with pytest.raises(BadLayout, match="Metadata_Object_Count, Metadata_QC_Status, which the run"):
        annotate(WELLS, fields=FIELDS, layout=layout)
