"""Runs in a store, on fsspec's store in memory: what travels, what is right, who may write."""

import json
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import plates.remote as remote
from plates.errors import BadRun
from profiler.store import lease as leases
from profiler.store.home import (
    all_but_labels,
    apart,
    at_home,
    everything,
    holder,
    open_run,
    visit,
)
from profiler.store.incidents import FILE, Incident
from profiler.store.lock import LEASE, LEDGER, LOCK, locked
from profiler.store.mirror import (
    Known,
    Ledger,
    Mirror,
    address_of,
    local_files,
    mirror_of,
    working_folder,
)
from profiler.store.objects import TRIES, Objects, run_address
from profiler.store.run import FACTS

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def address(tmp_path, monkeypatch) -> str:
    monkeypatch.setenv("PROFILER_WORK", str(tmp_path / "work"))
    monkeypatch.setattr(remote, "PAUSE_S", 0)
    monkeypatch.setattr(leases, "SETTLE_S", 0)
    return f"memory://{uuid.uuid4().hex}/runs/one"


class Line:
    """A store over a line that counts what is asked, and may fail."""

    def __init__(self, objects: Objects, fault: Callable[[str, int], bool] = lambda name, n: False):
        self.system, self.root = objects._system
        self.asked: Counter[str] = Counter()
        self.paths: list[tuple[str, str]] = []
        self.fault = fault
        objects.__dict__["_system"] = (self, self.root)

    def __getattr__(self, name: str) -> Any:
        def ask(*args, **kwargs):
            self.asked[name] += 1
            if name in ("put_file", "rm_file"):
                self.paths.append((name, args[-1].removeprefix(f"{self.root}/")))
            if self.fault(name, self.asked[name]):  # of each kind, so that all meet it
                raise ConnectionResetError("503 Slow Down")
            return getattr(self.system, name)(*args, **kwargs)

        return ask


def mirror(address: str, folder: Path, *, covers=all_but_labels, **options) -> Mirror:
    folder.mkdir(parents=True, exist_ok=True)
    return mirror_of(address, folder, covers=covers, **options)


def fill(folder: Path, **texts: str) -> None:
    """Make files; `cells__P__A01="x"` is cells/P/A01.parquet."""
    for name, text in texts.items():
        *folders, last = name.split("__")
        suffix = {"run": ".json", "labels": ".tif"}.get(folders[0] if folders else last, ".parquet")
        path = folder.joinpath(*folders, last + suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def texts(folder: Path) -> dict[str, str]:
    return {name: (folder / name).read_text() for name in local_files(folder)}


def test_another_machine_gets_what_this_one_has_pushed(address, tmp_path):
    one, other = mirror(address, tmp_path / "one"), mirror(address, tmp_path / "other")
    fill(one.folder, run="r", hits="h", cells__P__A01="a", cells__P__A02="b")
    one.push()
    other.pull()
    assert texts(other.folder) == texts(one.folder)
    assert len(texts(one.folder)) == 4

    (one.folder / "hits.parquet").unlink()
    fill(one.folder, cells__P__A02="changed", wells="w")
    one.push()
    other.pull()
    assert texts(other.folder) == texts(one.folder)
    assert set(one.objects.find()) == set(texts(one.folder))


def test_what_is_alike_does_not_travel(address, tmp_path):
    here = mirror(address, tmp_path / "one")
    fill(here.folder, run="r", hits="h", cells__P__A01="a")
    here.push()
    again = mirror(address, tmp_path / "one")  # as a new process would
    line = Line(again.objects)
    again.pull()
    again.push()
    assert line.asked == Counter(find=1, invalidate_cache=1)


def test_a_ledger_cut_short_costs_a_journey_and_nothing_else(address, tmp_path):
    here = mirror(address, tmp_path / "one")
    fill(here.folder, run="r", hits="h", wells="w")
    here.push()
    ledger = here.folder / LEDGER
    ledger.write_bytes(ledger.read_bytes()[:-7])
    again = mirror(address, tmp_path / "one")
    line = Line(again.objects)
    again.pull()
    assert line.asked["get_file"] == 1
    assert texts(again.folder) == {"run.json": "r", "hits.parquet": "h", "wells.parquet": "w"}


def test_where_both_have_changed_the_store_is_right(address, tmp_path):
    one, other = mirror(address, tmp_path / "one"), mirror(address, tmp_path / "other")
    fill(one.folder, run="r", hits="h")
    one.push()
    other.pull()
    fill(other.folder, hits="of the other")
    other.push()
    fill(one.folder, hits="never pushed")
    one.pull()
    assert texts(one.folder)["hits.parquet"] == "of the other"


def test_a_well_that_was_not_pushed_stays_and_is_pushed_later(address, tmp_path):
    here = mirror(address, tmp_path / "one")
    fill(here.folder, run="r")
    here.push()
    fill(here.folder, cells__P__A01="computed, then killed")
    again = mirror(address, tmp_path / "one")
    again.pull()
    again.push()
    assert "cells/P/A01.parquet" in again.objects.find()


def test_what_was_left_of_another_run_goes(address, tmp_path):
    here, other = mirror(address, tmp_path / "one"), mirror(address, tmp_path / "other")
    fill(here.folder, run="r")
    here.push()
    fill(here.folder, cells__P__A01="of a run that is no more")
    other.pull()
    fill(other.folder, run="another")
    other.push()
    here.pull()
    assert texts(here.folder) == {"run.json": "another"}


def test_a_working_folder_that_was_emptied_takes_nothing_from_the_store(address, tmp_path):
    here = mirror(address, tmp_path / "one", covers=everything)
    fill(here.folder, run="r", hits="h", labels__P__A01_1_cells="l")
    here.push()
    for name in local_files(here.folder):
        (here.folder / name).unlink()
    again = mirror(address, tmp_path / "one", covers=all_but_labels)
    again.pull()
    again.push()
    assert len(again.objects.find()) == 3
    assert set(texts(again.folder)) == {"run.json", "hits.parquet"}


def test_a_well_is_there_with_its_cells_which_come_last(address, tmp_path):
    here = mirror(address, tmp_path / "one", covers=everything)
    fill(here.folder, run="r", labels__P__A01_9_cells="old", labels__P__A010_1_cells="kept")
    here.push()
    (here.folder / "labels/P/A01_9_cells.tif").unlink()
    fill(here.folder, cells__P__A01="c", images__P__A01="i", labels__P__A01_1_cells="new")
    fill(here.folder, cells__P__A02="not yet")
    line = Line(here.objects)
    here.push_well("P", "A01")
    assert line.paths[0] == ("rm_file", "labels/P/A01_9_cells.tif")
    assert line.paths[-1] == ("put_file", "cells/P/A01.parquet")
    assert len(line.paths) == 4
    assert "labels/P/A010_1_cells.tif" in here.objects.find()

    here.drop_well("P", "A01")
    assert not [name for name in local_files(here.folder) if "A01." in name or "A01_" in name]
    assert "cells/P/A01.parquet" in here.objects.find()


def test_replacing_removes_the_run_and_no_more(address, tmp_path):
    here = mirror(address, tmp_path / "one")
    fill(here.folder, run="r", hits="h", labels__P__A01_1_cells="l")
    here.push()
    beside = Objects(address.replace("/one", "/one-more"))
    beside.write("run.json", b"of another run")
    here.objects.write("notes.txt", b"by hand")
    with pytest.raises(BadRun, match=rf"{address} holds notes.txt, which no run makes"):
        here.clear()
    assert "hits.parquet" in here.objects.find()
    here.objects.remove(["notes.txt", "was never there"])
    line = Line(here.objects)
    here.clear()
    assert here.objects.find() == {}
    assert line.paths[-1] == ("rm_file", "run.json")
    assert list(beside.find()) == ["run.json"]


def test_a_place_that_holds_something_else_is_refused(address, tmp_path):
    Objects(address).write("holiday/photo.jpg", b"")
    with pytest.raises(BadRun, match=rf"{address} is not empty and is not a run folder: .*holiday"):
        mirror(address, tmp_path / "one").pull()
    nowhere = address.replace("/one", "/nowhere")
    with pytest.raises(BadRun, match=rf"{nowhere} is not a run folder: it has no run.json"):
        open_run(Path(nowhere), "nowhere")


def test_one_request_in_ten_fails_and_nothing_is_lost(address, tmp_path):
    here = mirror(address, tmp_path / "one")
    fill(here.folder, run="r", **{f"cells__P__A{n:02}": str(n) for n in range(30)})
    failed = []
    line = Line(here.objects, lambda name, n: n % 10 == 3 and not failed.append(name))
    here.push()
    for n in range(30):
        here.push_well("P", f"A{n:02}")
    there = mirror(address, tmp_path / "other")
    Line(there.objects, line.fault)
    there.pull()
    assert texts(there.folder) == texts(here.folder)
    assert {"put_file", "info", "find", "get_file"} <= set(failed)


def test_a_store_that_stays_away_is_told_with_what_is_kept(address, tmp_path):
    here = mirror(address, tmp_path / "one")
    fill(here.folder, run="r")
    line = Line(here.objects, lambda name, n: True)
    with pytest.raises(BadRun, match=rf"{address}/run.json failed {TRIES} times: .*stays, and so"):
        here.push()
    assert line.asked.total() == TRIES


def test_requests_that_were_made_again_are_told_in_a_row(address):
    with hold(address) as home:
        fill(home.folder, run="r", hits="h")
        failed = []
        Line(
            home.mirror.objects,
            lambda name, n: name == "put_file" and n < 3 and not failed.append(n),
        )
        home.push()  # two requests fail, on the way
        assert len(failed) == 2
    folder, _ = visit(address)
    (row,) = pl.read_parquet(folder / FILE).to_dicts()
    assert row["code"] == "request_failed"
    start = f"Requests to a store failed 2 times and were made again, the last: {address}/"
    assert row["message"].startswith(start)
    assert row["message"].endswith("503 Slow Down.")


def test_a_run_that_is_to_be_replaced_keeps_its_incidents_until_it_is(
    address, tmp_path, monkeypatch
):
    with hold(address) as home:
        fill(home.folder, run="r")
        home.push()
        home.note(Incident("2026-01-01", "killed", "At night."))
    monkeypatch.setenv("PROFILER_WORK", str(tmp_path / "elsewhere"))

    def replace() -> None:
        with at_home(Path(address), is_to_go=True) as home:
            home.mirror.objects.faltered.append("slow down")
            raise ZeroDivisionError  # before anything was discarded

    with pytest.raises(ZeroDivisionError):
        replace()
    folder, _ = visit(address)
    assert pl.read_parquet(folder / FILE)["code"].to_list() == ["killed", "request_failed"]


def test_tables_reach_the_store_where_an_incident_cannot_be_kept(address, monkeypatch):
    def fail(*incidents):
        raise BadRun("The disk is full")

    with hold(address) as home:
        fill(home.folder, run="r", hits="h")
        monkeypatch.setattr("profiler.store.home.note", fail)
        home.mirror.objects.faltered.append("slow down")
        home.push()
        assert {"run.json", "hits.parquet"} <= home.mirror.objects.find().keys()
        assert home.faltered() == []


def refuse(name: str, n: int) -> bool:
    raise PermissionError("Access Denied")


def test_a_store_that_refuses_is_asked_once(address, tmp_path):
    here = mirror(address, tmp_path / "one")
    fill(here.folder, run="r")
    line = Line(here.objects, refuse)
    with pytest.raises(BadRun, match="refuses access: Access Denied.*AWS_ACCESS_KEY_ID"):
        here.push()
    assert line.asked.total() == 1


def hold(address: str):
    return at_home(Path(address))


def test_a_second_run_is_refused_and_told_who_holds_it(address, monkeypatch, tmp_path):
    with hold(address):
        with pytest.raises(BadRun, match=rf"{address} is in use by process \d+ on .*, started"):
            hold(address).__enter__()  # on this machine
        monkeypatch.setenv("PROFILER_WORK", str(tmp_path / "elsewhere"))
        message = rf"{address} is in use by .* s ago. If it was killed, try again in \d+ s"
        with pytest.raises(BadRun, match=message):
            hold(address).__enter__()  # on another
    with hold(address):
        pass  # and now it is free
    assert Objects(address).read(LEASE) is None


def killed(address: str, folder: Path) -> None:
    """What a run that was killed leaves behind."""
    text = leases._signed()
    Objects(address).write(LEASE, text)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / LEASE).write_bytes(text)


def test_a_run_killed_in_this_working_folder_needs_no_waiting(address):
    killed(address, working_folder(address))
    with hold(address) as home:
        assert "was killed; this one goes on" in home.notes[0]


def test_a_killed_run_is_an_incident_once_though_lock_and_lease_speak_of_it(address):
    with hold(address) as home:
        fill(home.folder, run="r")
    killed(address, working_folder(address))
    (working_folder(address) / LOCK).write_text('{"pid": 7, "host": "here", "started": "then"}')
    with hold(address) as home:
        found = pl.read_parquet(home.folder / FILE)
        assert found["code"].to_list() == ["killed"]
        assert found["message"][0].startswith("Process 7 on here, started then, was killed")


def test_what_befalls_a_run_is_in_the_store_at_once(address):
    lost = Incident("2026-03-02T01:14:09+00:00", "worker_lost", "A node went.")
    with hold(address) as home:
        fill(home.folder, run="r")
        home.note(lost)  # no run is there yet, so that this waits
        assert FILE not in Objects(address).find()
        home.push()
        home.note(lost)
        (home.folder / FILE).unlink()  # as if nothing more was pushed
        Objects(address).get(FILE, home.folder / FILE)
        assert pl.read_parquet(home.folder / FILE).rows() == [lost, lost]


def test_a_machine_that_shares_the_working_folder_waits_all_the_same(address, monkeypatch):
    with monkeypatch.context() as there:
        there.setattr(leases.socket, "gethostname", lambda: "elsewhere")
        killed(address, working_folder(address))
    with pytest.raises(BadRun, match=r"in use by process \d+ on elsewhere.* try again in \d+ s"):
        hold(address).__enter__()


def test_a_run_killed_elsewhere_is_replaced_once_its_lease_has_expired(
    address, tmp_path, monkeypatch
):
    monkeypatch.setattr(leases, "EXPIRES_S", 0.0)
    killed(address, tmp_path / "elsewhere")
    with hold(address) as home:
        assert "has not been heard of for" in home.notes[0]
        assert "this run takes its place" in home.notes[0]


def test_of_two_that_begin_at_once_one_is_refused(address, monkeypatch):
    def late(self, name, data):
        self.write(name, data)
        self.write(name, b'{"pid": 7, "host": "elsewhere", "started": "now"}')

    monkeypatch.setattr(Objects, "create", late)
    with pytest.raises(BadRun, match="in use by process 7 on elsewhere.*has just started"):
        hold(address).__enter__()
    assert b"elsewhere" in (Objects(address).read(LEASE) or b"")  # theirs is left alone


def test_a_run_that_lost_its_lease_writes_no_more(address):
    def lose() -> None:
        with hold(address) as home:
            fill(home.folder, run="r")
            Objects(address).write(LEASE, b'{"pid": 7, "host": "elsewhere", "started": "now"}')
            home.mirror.check.__self__.renew()  # the heartbeat
            home.push()

    with pytest.raises(BadRun, match=r"lease of .* is lost: it is with process 7 on elsewhere"):
        lose()
    assert FACTS not in Objects(address).find()
    assert b"elsewhere" in (Objects(address).read(LEASE) or b"")


def test_a_worker_of_a_run_that_lost_its_lease_writes_no_more(address):
    with hold(address) as run:
        fill(run.folder, run="r")
        run.push()
        worker = apart(address, lease=holder(Path(address)))
        with worker.for_a_while():
            fill(worker.folder, cells__P__A01="a", images__P__A01="i", cells__P__A02="b")
            line = Line(worker.mirror.objects)
            worker.saved("P", "A01")
            assert line.asked["put_file"] == 2
            assert line.asked["cat_file"] == 1
            Objects(address).write(LEASE, b'{"pid": 7, "host": "elsewhere", "started": "now"}')
            with pytest.raises(BadRun, match=rf"lease of {address} is no longer that of this"):
                worker.saved("P", "A02")
            assert line.asked["put_file"] == 2
        assert not worker.folder.exists()
    assert set(Objects(address).find("cells")) == {"cells/P/A01.parquet"}


def test_a_lease_that_cannot_be_renewed_ends(address, monkeypatch):
    with hold(address) as home:
        home.mirror.check()
        monkeypatch.setattr(leases, "EXPIRES_S", -1.0)
        with pytest.raises(BadRun, match="is lost: it could not be renewed"):
            home.mirror.check()
        monkeypatch.undo()


def test_the_heartbeat_beats(address, monkeypatch):
    monkeypatch.setattr(leases, "RENEW_S", 0.01)
    with hold(address) as home:
        first = home.mirror.objects.changed(LEASE)
        for _ in range(1000):
            if home.mirror.objects.changed(LEASE) > first:
                break
        else:
            pytest.fail("the lease was not renewed")


def test_errors_speak_of_the_address(address):
    with (
        pytest.raises(BadRun, match=rf"^{address}/x is bad$"),
        hold(address) as home,
    ):
        raise BadRun(f"{home.folder}/x is bad")


def test_what_a_failing_stage_has_done_reaches_the_store(address):
    def fail(error: type[BaseException]) -> None:
        with hold(address) as home:
            fill(home.folder, run="r")
            raise error

    with pytest.raises(KeyboardInterrupt):  # who interrupts does not want to wait
        fail(KeyboardInterrupt)
    assert Objects(address).find() == {}  # nor is the lease left behind
    with pytest.raises(ZeroDivisionError):
        fail(ZeroDivisionError)
    assert FACTS in Objects(address).find()


def test_a_folder_of_this_machine_is_held_as_ever(tmp_path):
    with at_home(tmp_path / "run") as home:
        assert (home.folder, home.name, home.mirror) == (tmp_path / "run", tmp_path / "run", None)
        home.push()
        home.saved("P", "A01")
        assert [path.name for path in home.folder.iterdir()] == [LOCK]


def test_looking_at_a_run_brings_what_is_asked_for(address, tmp_path):
    there = mirror(address, tmp_path / "one", covers=everything)
    fill(there.folder, run="r", hits="h", cells__P__A01="c", images__P__A01="i", labels__P__A01="l")
    there.push()
    folder, fetch = visit(address)
    assert set(texts(folder)) == {"run.json", "hits.parquet"}
    fetch("images")
    assert {"cells/P/A01.parquet", "images/P/A01.parquet"} == set(texts(folder)) - {
        "run.json",
        "hits.parquet",
    }


def test_looking_at_a_run_disturbs_none_that_is_at_work_here(address):
    with hold(address) as home:
        fill(home.folder, run="r", cells__P__A01="written this moment")
        folder, fetch = visit(address)
        fetch("cells")
        assert texts(folder) == {"run.json": "r", "cells/P/A01.parquet": "written this moment"}


def test_looking_at_a_run_that_was_killed(address, tmp_path):
    there = mirror(address, tmp_path / "one")
    fill(there.folder, run="r")
    there.push()
    folder = working_folder(address)
    with locked(folder):
        text = (folder / LOCK).read_text()
    (folder / LOCK).write_text(text or json.dumps({"pid": 1}))  # nobody holds it
    assert texts(visit(address)[0]) == {"run.json": "r"}


def test_where_working_folders_lie(monkeypatch, tmp_path):
    monkeypatch.setenv("PROFILER_WORK", str(tmp_path))
    assert working_folder("s3://b/runs/a b") == tmp_path / "s3/b/runs/a%20b"
    assert address_of(tmp_path.parent) is None
    monkeypatch.delenv("PROFILER_WORK")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert working_folder("s3://b/x") == tmp_path / "cache/plate-profiler/runs/s3/b/x"


def test_a_folder_is_a_mirror_if_it_has_been_one(monkeypatch, tmp_path):
    monkeypatch.setenv("PROFILER_WORK", str(tmp_path))
    folder = working_folder("s3://b/runs/a b")
    folder.mkdir(parents=True)
    (folder / FACTS).write_text("{}")
    assert address_of(folder) is None  # a run that somebody keeps below the same folder
    Ledger(folder / LEDGER).note(FACTS, Known(2, 0, ""))
    assert address_of(folder) == "s3://b/runs/a b"
    assert address_of(folder.parent) is None


def test_addresses_that_are_none():
    assert run_address("runs/x") is None
    assert run_address(Path("s3://bucket/runs/x/")) == "s3://bucket/runs/x"
    with pytest.raises(BadRun, match="Write the address out"):
        run_address("s3://bucket/../other")
    with pytest.raises(BadRun, match="Give its path alone"):
        run_address("file:///data/runs/x")


def test_a_store_that_no_package_knows():
    with pytest.raises(BadRun, match=r"no installed package .*pip install 'plate-profiler\[s3\]'"):
        Objects("nosuchstore://bucket/run").find()
