"""Work on a cluster, with work that is a file for each well: what fails is told, tried and kept."""

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest

from plates.errors import ProfilingError, UnknownName, lookup
from profiler.compute.worker import Task
from profiler.events import Event, FieldsDone, Incident, WellSaved
from profiler.execute.executor import About, NoCluster, Started, WorkLost
from profiler.store.lock import LOCK
from tests.execute.conftest import FORKS, kill, workers

ray = pytest.importorskip("ray", reason="needs Ray: pip install 'plate-profiler[ray]'")
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import tests

from benchmarks.cluster import take_away  # noqa: E402
from profiler.execute.cluster import TRIES, on_cluster  # noqa: E402
from profiler.execute.seat import Seat  # noqa: E402

pytestmark = FORKS
WELLS = tuple(f"A{number:02}" for number in range(1, 33))
DIES_ONCE, DIES, RAISES, RAISES_ONCE = "A06", "A11", "A20", "A27"


def plate(wells=WELLS) -> Task:
    sets = pl.DataFrame({"plate": "P", "well": wells, "site": 1})
    return Task(sets, sets)


def begin(folder: Path, work: Callable) -> Started:
    return Started(About(("Area",), "weights", "key", "a test"), partial(work, folder))


def note(folder: Path, well: str, *, said: str = "") -> int:
    """Keep that a well was begun, and say how often it has been."""
    file = folder / well
    file.write_text((file.read_text() if file.exists() else "") + f"{os.getpid()} {said}\n")
    return len(file.read_text().splitlines())


def each_well(folder: Path, task: Task) -> Iterator[Event]:
    """Work that goes wrong at some wells."""
    for well in task.todo["well"]:
        times = note(folder, well)
        time.sleep(0.02)
        if well == DIES or (well == DIES_ONCE and times == 1):
            os.kill(os.getpid(), signal.SIGKILL)
        yield FieldsDone(1, 0, 0)
        if well == RAISES or (well == RAISES_ONCE and times == 1):
            raise ValueError(f"{well} cannot be measured")
        yield WellSaved("P", well)


def seat(folder: Path) -> Seat:
    (folder / LOCK).write_text("this run")
    return Seat(1, folder, folder, "this run")


class Told(NamedTuple):
    """What came of a run."""

    folder: Path
    events: list[Event]
    error: ProfilingError
    notes: tuple[str, ...]

    def of(self, kind: type) -> list:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture(scope="module")
def told(cluster, tmp_path_factory) -> Told:
    """A run in which two workers are lost again and again."""
    folder = tmp_path_factory.mktemp("told")
    events, work = [], partial(begin, folder, each_well)
    with on_cluster(work, seat=seat(folder), address=None, workers=2) as executor:
        assert executor.about == About(("Area",), "weights", "key", "a test")
        with pytest.raises(WorkLost) as caught:
            events += (event for event in executor.run([plate()]))
    return Told(folder, events, caught.value, executor.notes)


def test_all_wells_but_those_that_never_can_are_done_once(told):
    done = Counter(event.well for event in told.of(WellSaved))
    assert done == Counter(set(WELLS) - {DIES, RAISES})


def test_the_error_says_what_failed_and_what_was_kept(told):
    assert f"2 wells were tried {TRIES} times and could not be computed" in str(told.error)
    assert "Finished wells are kept; run the same command again" in str(told.error)


@pytest.mark.parametrize("well", [DIES, RAISES])
def test_a_well_that_never_can_is_tried_thrice(told, well):
    assert len((told.folder / well).read_text().splitlines()) == TRIES


def test_every_failure_is_told_with_a_code_and_its_wells(told):
    found = Counter((event.code, event.wells[0][1]) for event in told.of(Incident))
    assert found["worker_lost", DIES_ONCE] == 1
    assert found["task_failed", RAISES_ONCE] == 1
    assert found["worker_lost", DIES] == found["task_failed", RAISES] == TRIES
    failed = [event for event in told.of(Incident) if event.code == "task_failed"]
    assert {event.message for event in failed} == {
        f"ValueError: {well} cannot be measured" for well in (RAISES, RAISES_ONCE)
    }


def test_progress_takes_back_what_is_computed_again(told):
    done = sum(event.fields for event in told.of(FieldsDone))
    assert done - sum(event.fields for event in told.of(Incident)) == len(WELLS) - 2


def test_lost_workers_are_replaced(told):
    pids = {line for path in told.folder.glob("A*") for line in path.read_text().splitlines()}
    assert len(pids) >= TRIES + 1  # as many as were lost


def test_a_person_is_told_who_works(told):
    assert told.notes == ("Ray cluster of 2 machines: 2 workers of 1 core.",)


def test_no_worker_outlives_the_block(told):
    assert_nobody_works()


def assert_nobody_works() -> None:
    deadline = time.monotonic() + 10
    while workers():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def counted(folder: Path, work: Callable) -> Started:
    """A start that says who has started, and where."""
    (folder / f"ready {os.getpid()}").write_text(ray.get_runtime_context().get_node_id())
    return begin(folder, work)


def until_told(folder: Path, task: Task) -> Iterator[Event]:
    """A well that is done when it is told to."""
    yield FieldsDone(1, 0, 0)
    (folder / f"busy {os.getpid()}").touch()
    wait_for(folder, "go")
    yield WellSaved("P", task.todo["well"][0])


def wait_for(folder: Path, pattern: str, *, many: int = 1) -> list[Path]:
    deadline = time.monotonic() + 60
    while len(found := list(folder.glob(pattern))) < many:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def one_busy_one_idle(folder: Path, disturb: Callable[[list[int], list[int]], None]) -> list[Event]:
    """A run of one well on two workers; told which are at work and which not, one disturbs them."""
    events, work = [], partial(counted, folder, until_told)
    with on_cluster(work, seat=seat(folder), address=None, workers=2) as executor:
        for event in executor.run([plate(["A01"])]):
            events.append(event)
            if not (folder / "go").exists():
                ready = {int(path.name.split()[1]) for path in wait_for(folder, "ready *", many=2)}
                busy = {int(path.name.split()[1]) for path in wait_for(folder, "busy *")}
                disturb(list(busy), list(ready - busy))
                (folder / "go").touch()
    return events


def incidents(events: list[Event]) -> list[tuple]:
    return [(event.code, event.wells) for event in events if isinstance(event, Incident)]


def test_an_undisturbed_run_tells_of_nobody(cluster, tmp_path):
    events = one_busy_one_idle(tmp_path, lambda busy, idle: None)
    assert incidents(events) == []
    assert events[-1] == WellSaved("P", "A01")


def test_an_idle_worker_that_is_killed_is_told_once(cluster, tmp_path):
    events = one_busy_one_idle(tmp_path, lambda busy, idle: kill(*idle))
    assert incidents(events) == [("worker_lost", ())]
    assert WellSaved("P", "A01") in events


def test_a_busy_worker_that_is_killed_is_told_once(cluster, tmp_path):
    events = one_busy_one_idle(tmp_path, lambda busy, idle: kill(*busy))
    assert incidents(events) == [("worker_lost", (("P", "A01"),))]
    assert WellSaved("P", "A01") in events


def at_once_if_doomed(folder: Path, doomed: str) -> Started:
    """A start that waits on one machine until two others are at work, and a well is quick there."""
    is_doomed = ray.get_runtime_context().get_node_id() == doomed
    if is_doomed:
        wait_for(folder, "busy *", many=2)

    def work(folder: Path, task: Task) -> Iterator[Event]:
        yield from [WellSaved("P", task.todo["well"][0])] if is_doomed else until_told(folder, task)

    return begin(folder, work)


def test_an_idle_machine_that_is_lost_is_told_once(cluster, tmp_path):
    machine = cluster.add_node(num_cpus=1, object_store_memory=80_000_000)
    events, work = [], partial(at_once_if_doomed, tmp_path, machine.node_id)
    with on_cluster(work, seat=seat(tmp_path), address=None, workers=3) as executor:
        for event in executor.run([plate(["A01", "A02", "A03"])]):
            events.append(event)
            if isinstance(event, WellSaved) and not (tmp_path / "go").exists():
                take_away(cluster, machine)
                (tmp_path / "go").touch()
    assert incidents(events) == [("worker_lost", ())]
    assert sum(isinstance(event, WellSaved) for event in events) == 3


def forever(folder: Path, task: Task) -> Iterator[Event]:
    yield FieldsDone(1, 0, 0)
    time.sleep(600)


def test_an_interrupt_ends_the_workers(cluster, tmp_path):
    work = partial(begin, tmp_path, forever)

    def interrupted() -> None:
        with on_cluster(work, seat=seat(tmp_path), address=None, workers=1) as executor:
            for _ in executor.run([plate()]):
                assert workers()
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert_nobody_works()


def test_a_run_in_which_nothing_succeeds_ends_early(cluster, tmp_path):
    def fails(folder: Path, task: Task) -> Iterator[Event]:
        note(folder, task.todo["well"][0])
        yield from ()
        raise UnknownName("There is no plate called 'Q'.")

    work = partial(begin, tmp_path, fails)
    with (
        pytest.raises(
            WorkLost, match="4 failures in a row, and no well between; the last: .*no plate called"
        ),
        on_cluster(work, seat=seat(tmp_path), address=None, workers=1) as executor,
    ):
        list(executor.run([plate()]))
    assert len(list(tmp_path.glob("A*"))) == 4


def test_a_recipe_that_cannot_be_compiled_is_told_as_it_is_here(cluster, tmp_path):
    def refuses() -> Started:
        return lookup({"nuclei": 1}, kind="model", name="nuclie")

    with (
        pytest.raises(UnknownName, match="no model called 'nuclie'. Did you mean 'nuclei'"),
        on_cluster(refuses, seat=seat(tmp_path), address=None, workers=1),
    ):
        pass


def test_a_machine_that_does_not_see_the_run_folder(cluster, tmp_path):
    other = Seat(1, tmp_path, tmp_path / "elsewhere", "this run", patience_s=0.1)
    with (
        pytest.raises(NoCluster, match="does not see .*elsewhere as this one does"),
        on_cluster(partial(begin, tmp_path, forever), seat=other, address=None, workers=1),
    ):
        pass


def first_refused(folder: Path, work: Callable) -> Started:
    """A start on two machines, of which one is not set up as the other."""
    try:
        (folder / "refused").touch(exist_ok=False)
    except FileExistsError:
        return begin(folder, work)
    raise NoCluster("The machine two of the cluster has jax 0.1 and not 0.2.")


def test_a_machine_that_is_not_set_up_is_left_out_and_told(cluster, tmp_path):
    def done(folder: Path, task: Task) -> Iterator[Event]:
        yield from (WellSaved("P", well) for well in task.todo["well"])

    work = partial(first_refused, tmp_path, done)
    with on_cluster(work, seat=seat(tmp_path), address=None, workers=2) as executor:
        events = list(executor.run([plate()]))
    assert [event for event in events if isinstance(event, Incident)] == [
        Incident("machine_refused", "The machine two of the cluster has jax 0.1 and not 0.2.")
    ]
    assert {event.well for event in events if isinstance(event, WellSaved)} == set(WELLS)


def test_workers_that_die_before_they_are_ready(cluster, tmp_path):
    def dies() -> Started:
        os._exit(1)

    with (
        pytest.raises(NoCluster, match=r"3 workers of the cluster were lost before .*installed"),
        on_cluster(dies, seat=seat(tmp_path), address=None, workers=1),
    ):
        pass
