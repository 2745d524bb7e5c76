"""What a list says of the wells that its cells were looked at in is read as label tables are."""

import polars as pl
import pytest

from profiler.classify.labels import read_labels
from profiler.explain.listed import read_listed
from profiler.store.cell_keys import ASIDE, CONTENT, PLACE
from profiler.store.screen import Screen
from profiler.store.screen import open as open_screen

KEYS = "Metadata_Plate,Metadata_Well,Metadata_Site,Metadata_ObjectNumber"
ROWS = """
mini,a2,1,1,c0a, 1.5,"2,5",
mini,A02,1,1,c0a,1.5,2.5,x
mini,A02,1.0,2,c0a,,nan,y
mini,A02,1,3, ,1,2,x
mini,A03,1,3,,1,2,y
mini,A03,1,4,c0b,inf,2,
"""


@pytest.fixture
def screen(small_run) -> Screen:
    return open_screen(small_run)


def test_every_row_counts_labelled_or_not_and_each_cell_once(screen, tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(f"{KEYS},{','.join(ASIDE)},Label{ROWS}")
    found = read_listed(screen, path, timepoint=None)
    number = "Metadata_ObjectNumber"
    assert found.cells.select("Metadata_Well", number).rows() == [
        ("A02", 1),
        ("A02", 2),
        ("A02", 3),
        ("A03", 3),
        ("A03", 4),
    ]
    assert (found.name, found.timepoint, found.told) == ("mine", None, ())
    assert found.noted.select(number, *ASIDE).rows() == [
        (1, "c0a", 1.5, 2.5),
        (2, "c0a", None, None),
        (4, "c0b", None, 2.0),
    ]
    # As `read_labels` reads those that have a label, for `follow`.
    labelled = pl.read_csv(path, infer_schema=False).with_columns(
        pl.Series("Label", [None, "x", "y", "x", "y", None])
    )
    labelled.write_csv(tmp_path / "labels.csv")
    theirs = read_labels(tmp_path / "labels.csv").noted
    assert theirs.equals(found.noted.filter(pl.col(number) < 3))


def test_columns_that_say_nothing_of_use_are_not_read(screen, tmp_path):
    keys = {"Metadata_Plate": "mini", "Metadata_Well": "A02", "Metadata_Site": 1}
    table = pl.DataFrame([keys | {"Metadata_ObjectNumber": 1}])
    odd = table.with_columns(pl.lit(["c0a"]).alias(CONTENT), pl.lit(b"1").alias(PLACE[0]))
    for each in (table, odd):
        each.write_parquet(tmp_path / "mine.parquet")
        found = read_listed(screen, tmp_path / "mine.parquet", timepoint=None)
        assert found.cells.height == 1
        assert not found.noted.height


def test_the_time_point_that_is_asked_for_is_the_cells(screen, tmp_path, monkeypatch):
    later = pl.concat([screen.fields, screen.fields.with_columns(Metadata_Timepoint=pl.lit(2))])
    monkeypatch.setattr(Screen, "fields", property(lambda _: later))
    path = tmp_path / "mine.csv"
    path.write_text(f"{KEYS},{CONTENT}\nmini,A02,1,1,c0a\n")
    found = read_listed(screen, path, timepoint=2)
    for cells in (found.cells, found.noted):
        assert cells["Metadata_Timepoint"].to_list() == [2]
        assert cells.schema["Metadata_Timepoint"] == pl.Int32
