"""A night in no time: plates that come, change, fail and go, and watchers that are ended."""

import json
import os
import shutil

import pytest

from plates.errors import BadImage, BadPlate, BadRun
from profiler.store.lock import LOCK, locked
from profiler.watch import loop
from profiler.watch.complete import judge
from profiler.watch.events import (
    Began,
    Disturbed,
    Done,
    Ended,
    Failed,
    InboxBack,
    InboxGone,
    Noted,
    Placed,
    Progress,
    Skipped,
    Trouble,
    Vanished,
    Waiting,
    Watching,
)
from profiler.watch.inbox import look
from profiler.watch.log import as_json, sentence

from .conftest import Bench, fail, finish


def kinds(events, *wanted) -> list:
    return [event for event in events if isinstance(event, wanted)]


def test_a_complete_plate_is_run_once(bench: Bench):
    bench.add("P1")
    events = bench.watch(quiet_s=60.0)
    assert [type(event) for event in events] == [
        Watching, Waiting, Began, Noted, Noted, Done, Ended,
    ]  # fmt: skip
    assert bench.runs == ["P1"]
    assert kinds(events, Ended) == [Ended("stopped", 1, 0, 0)]
    assert kinds(events, Done)[0].fields_failed == 1


def test_a_plate_that_is_still_copied_waits_until_it_is_quiet(bench: Bench):
    plate = bench.add("P1")
    for sleep in range(1, 6):  # a file every 30 s, as old as the microscope made it
        name = f"late{sleep}.tif"
        bench.on_sleep[sleep] = lambda name=name: (plate / name).write_bytes(b"more")
    bench.on_sleep[12] = bench.stop
    began = []

    def note():
        began.append((bench.now, len(list(plate.iterdir()))))

    bench.on_run["P1"] = note
    start = bench.now
    bench.watch(quiet_s=60.0)
    assert began == [(start + 5 * 30 + 60, 7)]


def test_a_file_that_grows_is_a_plate_that_is_copied(bench: Bench):
    plate = bench.add("P1")
    for sleep in (1, 2, 3):
        bench.on_sleep[sleep] = lambda n=sleep: (plate / "0.tif").write_bytes(b"pixels" * 2 * n)
    start = bench.now
    began = []
    bench.on_run["P1"] = lambda: began.append(bench.now)
    bench.watch(quiet_s=30.0)
    assert began == [start + 3 * 30 + 30]


def test_with_once_the_age_of_the_files_tells(bench: Bench):
    bench.add("P1", age_s=4000.0)
    assert bench.once(quiet_s=3600.0)[-1] == Ended("once", 1, 0, 0)


def test_with_once_a_plate_that_just_came_waits(bench: Bench):
    bench.add("P1", age_s=3000.0)
    events = bench.once(quiet_s=3600.0)
    assert events[-1] == Ended("once", 0, 0, 1)
    assert "came less than 60 min ago" in kinds(events, Waiting)[0].reason
    assert bench.runs == []


def test_an_empty_folder_waits(bench: Bench):
    bench.add("P1", files=0)
    assert "no files" in kinds(bench.once(), Waiting)[0].reason


def test_a_plate_that_fails_does_not_keep_the_next(bench: Bench):
    bench.add("P1")
    bench.add("P2")
    bench.on_run["P1"] = fail(BadPlate("No reader fits."))
    events = bench.once()
    assert sorted(bench.runs) == ["P1", "P2"]
    assert events[-1] == Ended("once", 1, 1, 0)
    assert bench.status()["plates"]["P1"]["reason"] == "No reader fits."
    assert bench.status()["counts"] | {"done": 1, "failed": 1} == bench.status()["counts"]


def test_a_failing_plate_is_tried_again_after_a_pause_then_given_up(bench: Bench):
    bench.add("P1")
    times = []
    bench.on_run["P1"] = lambda: times.append(bench.now) or fail(BadPlate("bad"))()
    events = bench.watch(quiet_s=0.0, pause_s=100.0, tries=3)
    failed = kinds(events, Failed)
    assert [event.attempt for event in failed] == [1, 2, 3]
    assert [event.again_at is None for event in failed] == [False, False, True]
    assert times[1] - times[0] == 120  # the first look after 100 s
    assert bench.status()["plates"]["P1"]["state"] == "given_up"
    assert "given up until it changes" in sentence(failed[-1])


def test_what_was_given_up_is_tried_when_asked_or_when_it_changes(bench: Bench):
    plate = bench.add("P1")
    bench.on_run["P1"] = fail(BadPlate("bad"))
    bench.once(tries=1)
    assert "failed 1 times (bad)" in kinds(bench.once(tries=1), Skipped)[0].reason
    assert len(bench.runs) == 1
    bench.once(tries=1, again=True)
    assert len(bench.runs) == 2
    del bench.on_run["P1"]
    (plate / "mended.tif").write_bytes(b"good")
    assert kinds(bench.once(tries=1), Done)
    assert bench.index()["status"].to_list() == ["done"]


def test_an_error_of_our_own_keeps_its_traceback_and_the_watcher_goes_on(bench: Bench):
    bench.add("P1")
    bench.on_run["P1"] = fail(RuntimeError("RESOURCE_EXHAUSTED: out of memory"))
    failed = kinds(bench.once(), Failed)[0]
    assert failed.reason == "RuntimeError: RESOURCE_EXHAUSTED: out of memory"
    assert "conftest.py" in failed.traceback


def odd(name: str, error: Exception):
    """A `judge` that one plate is too much for."""

    def judged(plate, **settings):
        if plate.name == name:
            raise error
        return judge(plate, **settings)

    return judged


def test_a_plate_that_cannot_be_judged_is_tried_and_given_up_and_the_others_run(
    bench: Bench, monkeypatch
):
    bench.add("P1")
    bench.add("P2")
    monkeypatch.setattr(loop, "judge", odd("P1", ValueError("an odd index")))
    events = bench.watch(quiet_s=0.0, pause_s=100.0, tries=3)
    failed = kinds(events, Failed)
    assert [(event.plate, event.attempt) for event in failed] == [("P1", n) for n in (1, 2, 3)]
    assert [event.again_at is None for event in failed] == [False, False, True]
    assert failed[0].reason == "ValueError: an odd index"
    assert "in judged" in failed[0].traceback
    assert bench.runs == ["P2"]
    assert bench.index().sort("run")["status"].to_list() == ["given_up", "done"]
    assert [event.plate for event in kinds(bench.once(), Skipped)] == ["P1", "P2"]


def test_a_plate_that_cannot_be_judged_costs_a_try_of_each_watcher(bench: Bench, monkeypatch):
    bench.add("P1")
    monkeypatch.setattr(loop, "judge", odd("P1", MemoryError("too large")))
    tries = [event.attempt for _ in range(4) for event in kinds(bench.once(tries=2), Failed)]
    assert tries == [1, 2]
    monkeypatch.setattr(loop, "judge", judge)
    assert kinds(bench.once(again=True), Done)


def test_a_name_that_is_not_unicode_is_written_out(bench: Bench):
    bench.add(os.fsdecode(b"P\xb5m"))
    bench.on_run[r"P\udcb5m"] = fail(BadPlate("There is no " + os.fsdecode(b"\xb5.tif")))
    (failed,) = kinds(bench.once(), Failed)
    assert (failed.plate, failed.reason) == (r"P\udcb5m", r"There is no \udcb5.tif")
    assert bench.index()["reason"].to_list() == [r"There is no \udcb5.tif"]
    assert bench.index()["source"].to_list() == [str(bench.inbox / r"P\udcb5m")]
    assert "P\\udcb5m" in (bench.out / "index.html").read_text()
    bench.on_run.clear()
    assert kinds(bench.once(), Done)
    assert (bench.out / r"P\udcb5m" / "run.json").is_file()
    as_json(failed, time="").encode()
    assert kinds(bench.once(), Skipped)


def test_an_index_that_cannot_be_made_keeps_nobody(bench: Bench, monkeypatch):
    bench.add("P1")
    bench.add("P2")

    def broken(*_, **__):
        raise ValueError("an odd table")

    monkeypatch.setattr(loop, "record", broken)
    events = bench.once()
    assert set(kinds(events, Trouble)) == {Trouble("ValueError: an odd table")}
    assert len(kinds(events, Done)) == 2


def test_a_plate_that_is_done_and_out_of_reach_for_a_while_stays_done(bench: Bench, monkeypatch):
    bench.add("P1")

    def denied(_):
        raise PermissionError(13, "Permission denied")

    bench.on_sleep[2] = lambda: monkeypatch.setattr(loop, "last_change", denied)
    bench.on_sleep[4] = monkeypatch.undo
    events = bench.watch(quiet_s=0.0)
    assert isinstance(events[-2], Done)
    assert bench.status()["plates"]["P1"]["state"] == "done"


def test_a_plate_that_is_done_is_not_run_again(bench: Bench):
    bench.add("P1")
    bench.once()
    events = bench.once()
    assert bench.runs == ["P1"]
    assert "has its results" in kinds(events, Skipped)[0].reason
    assert events[-1] == Ended("once", 0, 0, 0)


def another(bench: Bench, name: str, *full: str) -> None:
    """Put other images under a name that was used: run folders that are `full` are not theirs."""
    shutil.rmtree(bench.inbox / name)
    bench.add(name, files=4 + len(full))
    bench.others = set(full)


def test_a_name_that_comes_again_overwrites_nothing(bench: Bench):
    bench.add("P1")
    bench.once()
    first = {path: path.read_bytes() for path in (bench.out / "P1").rglob("*") if path.is_file()}
    another(bench, "P1", "P1")
    events = bench.once()
    (placed,) = kinds(events, Placed)
    assert placed == Placed("P1", "P1~2")
    assert "run folder P1~2: that of its own name is of other images" in sentence(placed)
    (done,) = kinds(events, Done)
    assert (done.plate, done.run) == ("P1", "P1~2")
    assert sentence(done).endswith("run folder P1~2.")
    assert bench.status()["plates"]["P1"]["run"] == "P1~2"
    assert {path: path.read_bytes() for path in first} == first
    assert bench.index().sort("run").select("run", "status").rows() == [
        ("P1", "done"), ("P1~2", "done"),
    ]  # fmt: skip
    assert set(bench.index()["source"]) == {str(bench.inbox / "P1")}
    assert 'href="P1~2/report.html">P1' in (bench.out / "index.html").read_text()
    (skipped,) = kinds(bench.once(), Skipped)
    assert (skipped.run, "P1~2 has its results" in skipped.reason) == ("P1~2", True)
    another(bench, "P1", "P1", "P1~2")
    assert kinds(bench.once(), Placed) == [Placed("P1", "P1~3")]


def test_the_same_folder_is_found_again_after_a_kill(bench: Bench):
    bench.add("P1")
    bench.once()
    another(bench, "P1", "P1")

    class PowerCut(BaseException):
        """What no handler sees."""

    bench.on_run["P1"] = fail(PowerCut())
    with pytest.raises(PowerCut):
        bench.once()
    assert bench.status()["running"]["run"] == "P1~2"
    bench.on_run.clear()
    events = bench.once()
    assert [event.run for event in kinds(events, Failed, Done)] == ["P1~2", "P1~2"]
    assert dict(bench.index().select("run", "status").rows()) == {"P1": "done", "P1~2": "done"}


def test_a_kill_while_the_folder_is_chosen_counts_as_a_try_and_loses_no_row(bench: Bench):
    class PowerCut(BaseException):
        """What no handler sees."""

    bench.add("P1")
    bench.once()
    another(bench, "P1", "P1")
    bench.goes_on = lambda request: fail(PowerCut())()
    with pytest.raises(PowerCut):
        bench.once()
    del bench.goes_on
    bench.on_run["P1"] = fail(BadPlate("No reader fits."))
    first, second = kinds(bench.once(), Failed)
    assert [(first.run, first.attempt), (second.run, second.attempt)] == [("", 1), ("P1~2", 2)]
    assert dict(bench.index().select("run", "status").rows()) == {"P1": "done", "P1~2": "failed"}


def test_a_folder_that_cannot_be_chosen_is_a_try(bench: Bench):
    bench.add("P1")
    bench.goes_on = lambda request: fail(BadRun("The store cannot be read."))()
    (failed,) = kinds(bench.once(), Failed)
    assert (failed.run, failed.reason) == ("", "The store cannot be read.")
    assert bench.index().select("run", "plate").rows() == [(None, "P1")]
    del bench.goes_on
    bench.once()
    assert bench.index().select("run", "status").rows() == [("P1", "done")]


def test_results_of_another_plate_are_not_taken_for_those_of_a_new_one(bench: Bench):
    bench.add("P1")
    finish(bench.out / "P1")
    finish(bench.out / "P1~2")
    bench.others = {"P1"}
    (skipped,) = kinds(bench.once(), Skipped)
    assert skipped.run == "P1~2"
    (bench.out / "status.json").unlink()
    bench.others = {"P1", "P1~2"}
    assert [event.run for event in kinds(bench.once(), Done)] == ["P1~3"]


def test_a_plate_that_has_grown_is_gone_on_with_though_nothing_is_known_of_it(bench: Bench):
    bench.add("P1")
    finish(bench.out / "P1")
    bench.parts = {"P1"}
    events = bench.once()
    assert kinds(events, Skipped) == []
    assert [event.run for event in kinds(events, Done)] == ["P1"]


def test_a_plate_whose_images_cannot_be_read_now_is_tried_again_not_run_elsewhere(bench: Bench):
    bench.add("P1")
    finish(bench.out / "P1")
    trouble = [BadImage("P1/1.tif cannot be read.", code="unreadable")]
    bench.goes_on = lambda *_, **__: fail(trouble[0])() if trouble else True
    bench.on_sleep[2] = trouble.clear
    events = bench.watch(quiet_s=0.0, pause_s=100.0)
    failed, done = kinds(events, Failed, Done)
    assert (failed.reason, failed.traceback) == ("P1/1.tif cannot be read.", "")
    assert (failed.again_at is None, done.run) == (False, "P1")
    assert bench.runs == ["P1"]


def test_a_status_from_before_run_folders_were_kept_is_read(bench: Bench):
    bench.add("P1")
    bench.once()
    status = bench.status()
    for key in ("run", "fields_failed"):
        del status["plates"]["P1"][key]
    (bench.out / "status.json").write_text(json.dumps(status))
    (skipped,) = kinds(bench.once(), Skipped)
    assert skipped.run == "P1"


def test_plates_that_are_run_again_are_counted_where_it_ends(bench: Bench):
    plate = bench.add("P1")
    bench.once()
    (plate / "late.tif").write_bytes(b"late")
    assert bench.once()[-1] == Ended("once", 1, 0, 0)


def test_a_plate_that_was_run_by_hand_is_done_and_enters_the_index(bench: Bench):
    bench.add("P1")
    finish(bench.out / "P1")
    bench.once()
    assert bench.runs == []
    assert bench.index()["z_prime"].to_list() == [0.61]
    bench.once()
    assert bench.index().height == 1


def test_a_run_that_did_not_end_is_gone_on_with(bench: Bench):
    bench.add("P1")
    finish(bench.out / "P1")
    (bench.out / "P1" / "report.html").unlink()
    bench.once()
    assert bench.runs == ["P1"]


def test_results_of_other_settings_are_left_and_told(bench: Bench):
    bench.add("P1")
    finish(bench.out / "P1")
    facts = bench.out / "P1" / "run.json"
    facts.write_text(facts.read_text().replace('"max_cells": 512', '"max_cells": 99'))
    assert "made with other settings" in kinds(bench.once(), Skipped)[0].reason


def test_a_plate_that_grows_after_it_was_done_is_run_again(bench: Bench):
    plate = bench.add("P1")
    bench.on_sleep[5] = lambda: (plate / "late.tif").write_bytes(b"late")
    events = bench.watch(quiet_s=30.0)
    assert bench.runs == ["P1", "P1"]
    assert len(kinds(events, Done)) == 2


def walks(monkeypatch) -> list:
    """The plates that are walked through from now on, in turn."""
    walked = []

    def walk(plate):
        walked.append(plate.name)
        return look(plate)

    monkeypatch.setattr(loop, "look", walk)
    return walked


def test_a_file_that_changes_in_place_is_seen_within_some_minutes(bench: Bench):
    plate = bench.add("P1")
    times = []
    bench.on_run["P1"] = lambda: times.append(bench.now)
    bench.on_sleep[5] = lambda: (plate / "1.tif").write_bytes(b"pixels and the rest of them")
    start = bench.now
    bench.watch(quiet_s=30.0)
    assert times == [start + 30, start + 30 + 600 + 30]


def test_a_plate_that_was_given_up_is_tried_when_a_file_is_mended_in_place(bench: Bench):
    plate = bench.add("P1")
    bench.on_run["P1"] = fail(BadPlate("the index is damaged"))

    def mend():
        (plate / "1.tif").write_bytes(b"a good index")
        bench.on_run.clear()

    bench.on_sleep[10] = mend
    events = bench.watch(quiet_s=30.0, pause_s=30.0, tries=2)
    assert [event.attempt for event in kinds(events, Began)] == [1, 2, 1]
    assert isinstance(events[-2], Done)


def test_of_settled_plates_without_faults_one_is_walked_through_at_a_look(
    bench: Bench, monkeypatch
):
    whole, lacking = ("A", "B", "C"), ("X", "Y")
    for name in (*whole, *lacking):
        bench.add(name)
    bench.once()
    status = bench.status()
    for name in whole:
        status["plates"][name]["fields_failed"] = 0
    (bench.out / "status.json").write_text(json.dumps(status))
    walked = walks(monkeypatch)
    bench.on_sleep[19] = walked.clear
    bench.on_sleep[20] = lambda: walked.append("20")
    bench.on_sleep[21] = lambda: walked.append("21")
    bench.on_sleep[24] = bench.stop
    bench.watch(poll_s=30.0)
    assert walked == ["20", "A", "X", "Y", "21", "B", "C"]
    assert bench.runs == [*whole, *lacking]


def test_the_same_across_a_restart(bench: Bench):
    plate = bench.add("P1")
    bench.once()
    (plate / "late.tif").write_bytes(b"late")
    bench.once()
    assert bench.runs == ["P1", "P1"]


def test_a_plate_that_changes_while_it_runs_does_not_count_and_is_run_again(bench: Bench):
    plate = bench.add("P1")
    changes = iter([lambda: (plate / "late.tif").write_bytes(b"late")])
    bench.on_run["P1"] = lambda: next(changes, lambda: None)()
    events = bench.watch(quiet_s=30.0)
    assert "while it was run" in kinds(events, Disturbed)[0].reason
    assert bench.runs == ["P1", "P1"]
    assert kinds(events, Began)[1].attempt == 1  # that was not its fault
    assert events[-1].done == 1


def test_an_inbox_that_goes_and_comes_back(bench: Bench):
    bench.add("P1")
    away = bench.inbox.with_name("away")
    bench.on_sleep[2] = lambda: bench.inbox.rename(away)
    bench.on_sleep[6] = lambda: away.rename(bench.inbox)
    events = bench.watch(quiet_s=90.0)
    assert [type(e) for e in kinds(events, InboxGone, InboxBack)] == [InboxGone, InboxBack]
    assert "No such file" in kinds(events, InboxGone)[0].reason
    assert events[-1].done == 1


def test_an_inbox_that_goes_while_a_plate_runs_costs_no_try(bench: Bench):
    bench.add("P1")
    away = bench.inbox.with_name("away")

    def unmount():
        if bench.inbox.exists() and not bench.sleeps:
            bench.inbox.rename(away)
            raise BadPlate("There is no such folder.")

    bench.on_run["P1"] = unmount
    bench.on_sleep[3] = lambda: away.rename(bench.inbox)
    events = bench.watch(quiet_s=0.0)
    assert kinds(events, Failed) == []
    assert "cannot be read any more" in kinds(events, Disturbed)[0].reason
    assert events[-1].done == 1


def test_a_drive_that_is_unmounted_leaves_an_empty_folder_and_is_told(bench: Bench, monkeypatch):
    from dataclasses import replace

    from profiler.watch.inbox import open_inbox

    real = open_inbox(bench.inbox)
    monkeypatch.setattr(loop, "open_inbox", lambda *_, **__: replace(real, device=real.device + 1))
    bench.on_sleep[3] = bench.stop
    assert "not mounted" in kinds(bench.watch(), InboxGone)[0].reason


def test_a_plate_that_is_taken_away_is_told(bench: Bench):
    plate = bench.add("P1")
    bench.on_sleep[1] = lambda: shutil.rmtree(plate)
    events = bench.watch(quiet_s=90.0)
    assert kinds(events, Vanished) == [Vanished("P1")]
    assert events[-1].waiting == 0


def test_the_oldest_plate_is_first(bench: Bench):
    for name, age_s in (("A", 20.0), ("B", 30.0), ("C", 10.0)):
        bench.add(name, age_s=age_s)
    bench.once()
    assert bench.runs == ["B", "A", "C"]


def test_a_stop_lets_the_plate_go_and_costs_no_try(bench: Bench):
    bench.add("P1")
    bench.add("P2")
    bench.on_run["P1"] = bench.stop
    bench.on_run["P2"] = bench.stop
    events = bench.watch(quiet_s=0.0)
    assert len(bench.runs) == 1
    assert "stopped while it was run" in kinds(events, Disturbed)[0].reason
    assert events[-1].reason == "stopped"
    status = bench.status()
    assert (status["state"], status["running"]) == ("stopped", None)
    bench.on_run.clear()
    assert [event.attempt for event in kinds(bench.once(), Began)] == [1, 1]


def test_a_second_signal_leaves_the_records_whole(bench: Bench):
    bench.add("P1")
    bench.on_run["P1"] = fail(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        bench.once()
    assert bench.status()["state"] == "stopped"


def test_a_watcher_that_is_killed_counts_as_a_try_and_cannot_go_on_for_ever(bench: Bench):
    bench.add("P1")

    class PowerCut(BaseException):
        """What no handler sees."""

    bench.on_run["P1"] = fail(PowerCut())
    for _ in range(3):
        with pytest.raises(PowerCut):
            bench.once(tries=3)
    assert bench.status()["running"]["tries"] == 3
    events = bench.once(tries=3)
    assert "killed, or out of memory" in kinds(events, Failed)[0].reason
    assert bench.status()["plates"]["P1"]["state"] == "given_up"
    assert len(bench.runs) == 3
    assert bench.index()["status"].to_list() == ["given_up"]


def test_how_a_watcher_before_ended_is_told_once_unless_it_was_stopped(bench: Bench):
    def before() -> tuple[str, ...]:
        (event,) = kinds(bench.once(), Watching)
        return event.before

    bench.out.mkdir()
    lock = bench.out / LOCK
    lock.write_text(json.dumps({"pid": 7, "host": "night", "started": "2026-01-01"}))
    (told,) = before()
    assert told.startswith("killed. Process 7 on night, started 2026-01-01, was killed")
    assert before() == ()
    bench.add("P1")
    bench.on_run["P1"] = fail(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        bench.once()
    bench.on_run.clear()
    assert before() == ()


def test_two_watchers_on_the_same_runs_are_refused(bench: Bench):
    with locked(bench.out), pytest.raises(BadRun, match="is in use by"):
        bench.once()


@pytest.mark.parametrize("place", ["inbox", "inbox/runs", "."])
def test_runs_in_the_inbox_are_refused(bench: Bench, place):
    bench.out = bench.inbox.parent / place
    with pytest.raises(BadPlate, match="lie in one another"):
        bench.once()


def test_an_inbox_that_was_never_there_is_an_error(bench: Bench):
    bench.inbox.rmdir()
    with pytest.raises(BadPlate, match="cannot be read"):
        bench.once()


def test_a_full_disk_is_told_once_and_the_watcher_goes_on(bench: Bench, monkeypatch):
    bench.add("P1")
    bench.add("P2")

    def full(*_, **__):
        raise BadRun("The disk is full.")

    monkeypatch.setattr(loop.keep, "write_status", full)
    events = bench.once()
    assert kinds(events, Trouble) == [Trouble("The disk is full.")]
    assert len(kinds(events, Done)) == 2


def test_progress_is_told_once_a_minute(bench: Bench):
    bench.add("P1")

    def pass_time():
        bench.now += 61

    bench.on_run["P1"] = pass_time
    assert kinds(bench.once(), Progress) == [Progress("P1", 2, 2, 1)]


def test_status_has_a_pulse_while_nothing_happens(bench: Bench):
    bench.on_sleep[3] = bench.stop
    bench.watch(poll_s=30.0)
    assert bench.status()["updated"] > bench.status()["started"]


def test_a_status_of_another_program_is_not_trusted(bench: Bench):
    bench.add("P1")
    bench.out.mkdir()
    (bench.out / "status.json").write_text('{"plates": [')
    assert kinds(bench.once(), Done)


def test_folders_of_nights_hold_plates_of_their_own(bench: Bench):
    bench.add("monday/P1")
    bench.add("tuesday/P1")
    bench.add("tuesday/.copying")
    bench.once(pattern="*/*")
    assert sorted(bench.runs) == ["monday/P1", "tuesday/P1"]
    assert (bench.out / "tuesday" / "P1" / "run.json").is_file()


def test_nothing_in_the_inbox_is_ever_touched(bench: Bench):
    plate = bench.add("P1")
    before = {path: path.stat().st_mtime_ns for path in bench.inbox.rglob("*")}
    bench.once()
    assert {path: path.stat().st_mtime_ns for path in bench.inbox.rglob("*")} == before
    assert plate.is_dir()
