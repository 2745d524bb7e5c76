"""Which cells and doses are meant: read as label tables are, refused where not clear."""

import polars as pl
import pytest

from plates.errors import BadLayout, BadRun, UnknownName
from profiler.explain.listed import read_listed
from profiler.explain.sides import compound_sides, listed_sides
from profiler.store.screen import Screen
from profiler.store.screen import open as open_screen

HEADER = "Metadata_Plate,Metadata_Well,Metadata_Site,Metadata_ObjectNumber"
TIMED = f"{HEADER},Metadata_Timepoint"


@pytest.fixture
def screen(small_run) -> Screen:
    return open_screen(small_run)


@pytest.fixture
def ask(screen, tmp_path):
    def listed(text: str, **options):
        path = tmp_path / "mine.csv"
        path.write_text(text)
        return listed_sides(screen, read_listed(screen, path, **{"timepoint": None} | options))

    return listed


def test_listed_cells_are_read_in_any_spelling(ask):
    found = ask(f"{HEADER},Note\nmini,a2,1.0,2,x\n mini ,A02,1,1,\nmini,r01c02,1,2,\n")
    assert found.listed is not None
    assert found.listed.rows() == [("mini", "A02", 1, 1), ("mini", "A02", 1, 2)]
    assert found.treated.rows() == [("mini", "A02")]
    assert found.timepoint is None


@pytest.mark.parametrize("number", ["14x", "3000000000", "14.7"])
def test_object_numbers_that_are_none_are_named_by_row(ask, number):
    with pytest.raises(BadLayout, match=f"not a whole number: '{number}' in row 2"):
        ask(f"{HEADER}\nmini,A02,1,1\nmini,A02,1,{number}\n")


def test_a_list_without_a_cell_or_of_another_plate_is_refused(ask):
    with pytest.raises(BadLayout, match=r"mine.csv lists no cell"):
        ask(f"{HEADER}\n")
    with pytest.raises(BadRun, match="1 wells of 'mine' are not in the run, such as other A02"):
        ask(f"{HEADER}\nother,A02,1,1\n")


def test_the_time_point_of_listed_cells_is_theirs(ask):
    assert ask(f"{TIMED}\nmini,A02,1,1,1\n").listed is not None
    with pytest.raises(UnknownName, match="no time point 3; it has 1 alone"):
        ask(f"{TIMED}\nmini,A02,1,1,3\n")
    with pytest.raises(BadLayout, match=r"cells of 2 time points \(1 to 3\)"):
        ask(f"{TIMED}\nmini,A02,1,1,3\nmini,A02,1,1,1\n")
    with pytest.raises(BadLayout, match="of time point 1, and time point 2 is asked for"):
        ask(f"{TIMED}\nmini,A02,1,1,1\n", timepoint=2)


def test_in_a_run_over_time_a_list_must_say_when(screen, ask, monkeypatch):
    later = pl.concat([screen.fields, screen.fields.with_columns(Metadata_Timepoint=pl.lit(2))])
    monkeypatch.setattr(Screen, "fields", property(lambda _: later))
    with pytest.raises(BadLayout, match="The run has 2 time points, and .* no Metadata_Timepoint"):
        ask(f"{HEADER}\nmini,A02,1,1\n")


def test_a_time_point_that_a_run_of_one_has_not_is_refused(screen):
    asked = {"concentration": 10.0}
    assert compound_sides(screen, "Mover", **asked, timepoint=1).timepoint is None
    with pytest.raises(UnknownName, match="no time point 3; it has 1 alone"):
        compound_sides(screen, "Mover", **asked, timepoint=3)


@pytest.mark.parametrize("dose", [float("nan"), float("inf"), float("-inf"), -10.0])
def test_a_concentration_that_is_none_does_not_pool_the_doses(screen, dose):
    with pytest.raises(UnknownName, match=f"not on the run's plates at {dose:g}; it is at 0.1, 1"):
        compound_sides(screen, "Mover", concentration=dose, timepoint=None)
