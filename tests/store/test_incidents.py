"""What befell a run is kept, whichever command finds out."""

import polars as pl
import pytest

from profiler.events import Finished
from profiler.pipeline import run
from profiler.recipe import load_recipe
from profiler.request import Request
from profiler.store.home import at_home
from profiler.store.incidents import FILE, Incident, begin, note
from profiler.store.lock import LOCK
from profiler.store.run import FACTS
from profiler.store.screen import open as open_screen
from tests.conftest import QUICK

LOST = Incident("2026-03-02T01:14:09+00:00", "worker_lost", "A node went.", 2, 5)
KILLED = Incident("2026-03-02T02:00:00+00:00", "killed", "Process 7 was killed.")


@pytest.fixture
def out(small_run, tmp_path):
    """A run folder, as far as incidents are concerned."""
    (tmp_path / FACTS).write_bytes((small_run / FACTS).read_bytes())
    begin(tmp_path)
    return tmp_path


def struck(out) -> None:
    with pytest.raises(RuntimeError), at_home(out):
        raise RuntimeError("lightning")


def codes(out) -> list[str]:
    return pl.read_parquet(out / FILE)["code"].to_list()


def test_incidents_add_up(out):
    note(out, LOST)
    note(out, KILLED, LOST)
    assert open_screen(out).incidents.collect().rows() == [LOST, KILLED, LOST]


def test_nothing_befell_a_run_that_went_well(small_run):
    assert open_screen(small_run).incidents.collect().is_empty()
    assert (small_run / LOCK).read_text() == ""


def test_a_folder_that_is_no_run_yet_stays_empty(tmp_path):
    note(tmp_path, KILLED)
    assert not list(tmp_path.iterdir())


def test_the_next_command_keeps_how_the_one_before_ended_and_says_so(out):
    struck(out)
    with at_home(out) as home:
        assert home.notes == ("An earlier command: failed. RuntimeError: lightning",)
    with at_home(out) as home:
        assert not home.notes
    assert codes(out) == ["failed"]


def test_a_table_that_cannot_be_written_stops_nothing_and_loses_nothing(out):
    whole = (out / FILE).read_bytes()
    struck(out)
    (out / FILE).write_bytes(b"damaged")
    with at_home(out) as home:
        assert home.notes[1].startswith("That could not be kept: ")
    (out / FILE).write_bytes(whole)
    with at_home(out):
        assert codes(out) == ["failed"]


def test_a_run_that_is_to_be_replaced_takes_its_incidents_along(out):
    struck(out)
    with at_home(out, is_to_go=True) as home:
        assert home.notes == ("An earlier command: failed. RuntimeError: lightning",)
    with at_home(out) as home:
        assert (home.notes, codes(out)) == ((), [])


def test_who_asks_no_further_than_the_end_has_interrupted_nothing(small_plate, tmp_path):
    request = Request((small_plate,), tmp_path / "run", load_recipe(QUICK), wells=("A01",))
    events = run(request)
    assert any(isinstance(event, Finished) for event in events)
    events.close()
    assert (request.out / LOCK).read_text() == ""
