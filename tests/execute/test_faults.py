"""Workers killed and machines lost in the middle of a plate: the same tables, bit for bit."""

from dataclasses import replace
from pathlib import Path

import pytest

from plates.errors import BadRun
from profiler.events import Event, FieldsDone, Forecast, Incident, TaskTimed, WellSaved
from profiler.execute.executor import NoCluster
from profiler.pipeline import run
from profiler.recipe import load_recipe
from profiler.request import Cluster, Request
from profiler.store.lock import locked
from profiler.store.run import read_facts
from profiler.store.screen import open as open_screen
from tests.execute.conftest import FORKS, assert_same_run, kill, workers

pytest.importorskip("ray", reason="needs Ray: pip install 'plate-profiler[ray]'")

from benchmarks.cluster import take_away

pytestmark = FORKS
QUICK = Path(__file__).parents[1] / "quick.toml"  # the demo's recipe with few features


@pytest.fixture
def request_(small_plate, tmp_path) -> Request:
    return Request(
        plates=(small_plate,),
        out=tmp_path / "run",
        recipe=load_recipe(QUICK),
        layout=small_plate / "platemap.csv",
        save_labels=True,
        cluster=Cluster(workers=2),
    )


class Watch:
    """How many workers are in the middle of a block, from what they tell."""

    def __init__(self):
        self.busy = 0

    def __call__(self, event: Event) -> int:
        match event:
            case Forecast(is_measured=False):
                self.busy += 1
            case TaskTimed():
                self.busy -= 1
            case Incident(wells=wells):
                self.busy -= bool(wells)
        return self.busy


def test_workers_killed_in_the_middle(cluster, request_, small_run):
    events, kills, begun = [], 0, 0
    for event in run(request_):
        events.append(event)
        begun += isinstance(event, Forecast) and not event.is_measured
        if begun > 5 * kills and kills < 2 and (at_work := workers("ray::Worker.run")):
            kill(at_work[-1])
            kills += 1
    assert kills == 2
    lost = [event for event in events if isinstance(event, Incident) and event.wells]
    assert 1 <= len(lost) <= 2  # a worker may just have ended its block
    assert {event.code for event in lost} == {"worker_lost"}
    saved = [event.well for event in events if isinstance(event, WellSaved)]
    assert len(saved) == len(set(saved)) == 12
    fields = sum(event.fields for event in events if isinstance(event, FieldsDone))
    assert fields - sum(event.fields for event in lost) == 12
    assert_same_run(request_.out, small_run)


def test_a_lost_machine(cluster, request_, small_run):
    machine, events, busy = (
        cluster.add_node(num_cpus=1, object_store_memory=80_000_000),
        [],
        Watch(),
    )
    three = replace(request_, cluster=Cluster(workers=3))
    is_lost = False
    for event in run(three):
        events.append(event)
        if busy(event) == 3 and not is_lost:
            take_away(cluster, machine)
            is_lost = True
    assert is_lost
    lost = [event for event in events if isinstance(event, Incident)]
    assert [event.code for event in lost] == ["worker_lost"]
    assert lost[0].wells
    saved = [event.well for event in events if isinstance(event, WellSaved)]
    assert len(saved) == len(set(saved)) == 12
    assert any("worker_lost" in note for note in read_facts(request_.out).summary["input"])
    assert open_screen(request_.out).incidents.collect()["code"].to_list() == ["worker_lost"]
    assert_same_run(request_.out, small_run)


def test_a_second_run_on_one_output_is_refused(request_):
    with locked(request_.out), pytest.raises(BadRun, match="is in use by process .* nothing was"):
        list(run(request_))


def test_a_cluster_that_is_not_there_leaves_the_folder_as_it_was(request_):
    nowhere = replace(request_, cluster=Cluster(address="127.0.0.1:1"))
    with pytest.raises(NoCluster, match=r"Nothing answers at 127\.0\.0\.1:1"):
        list(run(nowhere))
    assert [path.name for path in request_.out.iterdir()] == [".lock"]
