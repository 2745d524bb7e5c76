"""What befell a run is kept, whichever command finds out."""

import polars as pl
import pytest

from profiler.store.home import at_home
from profiler.store.incidents import note
from profiler.store.run import FACTS
from profiler.store.screen import open as open_screen


def test_incidents_add_up(small_run, tmp_path):
    (tmp_path / FACTS).write_bytes((small_run / FACTS).read_bytes())
    note(tmp_path, "worker_lost", "A node went.", wells=2, fields=5)
    note(tmp_path, "killed", "Process 7 was killed.")
    found = open_screen(tmp_path).incidents.collect()
    assert found.drop("time").rows() == [
        ("worker_lost", "A node went.", 2, 5),
        ("killed", "Process 7 was killed.", 0, 0),
    ]
    assert found["time"].str.to_datetime(time_zone="UTC").is_sorted()


def test_nothing_befell_a_run_that_went_well(small_run):
    assert open_screen(small_run).incidents.collect().is_empty()


def test_a_folder_that_is_no_run_yet_stays_empty(tmp_path):
    note(tmp_path, "killed", "Process 7 was killed.")
    assert not list(tmp_path.iterdir())


def test_the_next_command_keeps_how_the_one_before_ended_and_says_so(small_run, tmp_path):
    (tmp_path / FACTS).write_bytes((small_run / FACTS).read_bytes())
    with pytest.raises(RuntimeError), at_home(tmp_path):
        raise RuntimeError("lightning")
    with at_home(tmp_path) as home:
        assert home.notes == (
            "What befell the command before this one: failed. RuntimeError: lightning",
        )
    with at_home(tmp_path) as home:
        assert not home.notes
    assert pl.read_parquet(tmp_path / "incidents.parquet")["code"].to_list() == ["failed"]
