"""Who is told to be lost, by workers that are made up: each once, and nobody who is there."""

import os
from collections import deque
from types import SimpleNamespace

import polars as pl
import pytest

ray = pytest.importorskip("ray", reason="needs Ray: pip install 'plate-profiler[ray]'")

from ray.core.generated.common_pb2 import ActorDiedErrorContext  # noqa: E402
from ray.exceptions import ActorDiedError, GetTimeoutError, RayTaskError  # noqa: E402

from plates.errors import UnknownName  # noqa: E402
from profiler.compute.worker import Task  # noqa: E402
from profiler.events import Incident, WellSaved  # noqa: E402
from profiler.execute import crew as crews  # noqa: E402
from profiler.execute.blocks import Block  # noqa: E402
from profiler.execute.cluster import BAD_LUCK, TRIES, _first, _run  # noqa: E402
from profiler.execute.crew import BAD_STARTS, Crew, Ended, Job, Lost, Told  # noqa: E402
from profiler.execute.executor import About, NoCluster, WorkLost  # noqa: E402

ABOUT = About(("Area",), "weights", "key", "a test")
DEAD = ActorDiedError()
NEVER_RAN = ActorDiedError(
    ActorDiedErrorContext(actor_id=bytes(16), error_message="Its node died.", never_started=True)
)
BUG = RayTaskError("start", "Traceback\nKeyError: 'x'", KeyError("x"))


class MadeUp:
    """Ray, as far as a crew asks it; an answer is what is got, or the error that is raised."""

    def __init__(self):
        self.killed, self.patience = [], None

    def wait(self, answers: list, *, num_returns: int, timeout: float | None) -> tuple:
        assert 1 <= num_returns <= max(1, len(answers))
        self.patience = timeout
        return answers[:num_returns], answers[num_returns:]

    def get(self, answer: "Answer", *, timeout: float | None = None) -> object:
        if isinstance(answer.says, Exception):
            raise answer.says
        return answer.says

    def nodes(self) -> list:
        return []

    def kill(self, worker: object) -> None:
        self.killed.append(worker)


class Answer(ray.ObjectRef):
    """What a worker says, or what Ray says of it."""

    def __new__(cls, says: object) -> "Answer":
        return super().__new__(cls, bytes(28), skip_adding_local_ref=True)

    def __init__(self, says: object):
        super().__init__(os.urandom(28), skip_adding_local_ref=True)
        self.says = says


@pytest.fixture
def made_up(monkeypatch) -> MadeUp:
    fake = MadeUp()
    monkeypatch.setattr(crews, "ray", fake)
    return fake


def worker(says: object = None) -> SimpleNamespace:
    return SimpleNamespace(answer=SimpleNamespace(remote=lambda: Answer(says)))


def crew(**members) -> Crew:
    return Crew(lambda: ("hired", Answer(GetTimeoutError())), **members)


def test_all_are_there(made_up):
    ours = crew(free=[worker(), worker()], starting={Answer(("here", ABOUT)): worker()})
    assert ours.missing() == ours.unborn() == []
    assert (len(ours.free), len(ours.starting), made_up.killed) == (2, 1, [])


def test_nobody_is_free(made_up):
    assert crew().missing() == []


def test_a_free_worker_that_is_gone_is_told_once_and_replaced(made_up):
    gone, there = worker(DEAD), worker()
    ours = crew(free=[gone, there])
    assert ours.missing() == [Lost(DEAD)]
    assert ours.free == [there]
    assert made_up.killed == [gone]
    assert list(ours.starting.values()) == ["hired"]
    assert ours.missing() == []
    assert made_up.patience == crews.ANSWER_S


def test_one_that_does_not_answer_in_time_is_gone(made_up):
    ours = crew(free=[worker(GetTimeoutError())])
    (lost,) = ours.missing()
    assert str(lost.error) == "It had nothing to do, and did not answer within 30 s."


@pytest.mark.parametrize(("is_silent", "patience"), [(True, crews.ANSWER_S), (False, 0)])
def test_of_those_that_start_only_the_dead_are_gone(made_up, monkeypatch, is_silent, patience):
    monkeypatch.setattr(crews, "does_not_answer", lambda nodes: is_silent)
    dead, slow, ready = Answer(DEAD), Answer(GetTimeoutError()), Answer(("here", ABOUT))
    ours = crew(starting={dead: "dead", slow: "slow", ready: "ready"})
    assert ours.unborn() == [Lost(DEAD)]
    assert made_up.patience == patience
    assert made_up.killed == ["dead"]
    assert list(ours.starting.values()) == ["slow", "ready", "hired"]
    assert ours.unborn() == []


def test_who_was_refused_when_all_was_done_is_told_once_and_not_replaced(made_up):
    cannot = NoCluster("The machine two of the cluster has jax 0.1 and not 0.2.")
    refused = RayTaskError("start", "Traceback\nNoCluster: x", cannot)
    starting = {Answer(refused): "one", Answer(refused): "two", Answer(BUG): "faulty"}
    told, again, faulty = (ours := crew(starting=starting)).unborn()
    assert told == Lost(cannot, code="machine_refused")
    assert again == Lost(cannot, is_known=True, code="machine_refused")
    assert "could not start: KeyError: 'x'" in str(faulty.error)
    assert (ours.starting, made_up.killed) == ({}, ["one", "two", "faulty"])


def test_one_that_was_to_replace_a_lost_one_is_not_told_too(made_up):
    ours = crew(starting={Answer(DEAD): "first"})
    assert ours.wait() == Lost(DEAD)
    (second,) = ours.starting
    second.says = NEVER_RAN
    assert ours.wait() == Lost(NEVER_RAN, is_known=True)
    (third,) = ours.starting
    third.says = DEAD  # it had begun
    assert ours.wait() == Lost(DEAD)
    assert made_up.killed == ["first", "hired", "hired"]


def test_one_that_had_begun_in_place_of_a_lost_one_is_told_at_the_end(made_up):
    ours = crew(starting={Answer(DEAD): "first"})
    assert ours.wait() == Lost(DEAD)
    (second,) = ours.starting
    second.says = DEAD
    assert ours.unborn() == [Lost(DEAD)]


def test_a_place_where_workers_die_as_they_start_is_left_empty_while_others_work(made_up):
    ours = Crew(lambda: ("hired", Answer(DEAD)), free=[worker()], starting={Answer(DEAD): "first"})
    assert [ours.wait() for _ in range(BAD_STARTS)] == [Lost(DEAD)] * BAD_STARTS
    assert not ours.starting
    assert len(made_up.killed) == BAD_STARTS


def test_a_place_is_filled_again_and_again_where_nobody_else_works(made_up):
    ours = Crew(lambda: ("hired", Answer(DEAD)), starting={Answer(DEAD): "first"})
    assert [ours.wait() for _ in range(9)] == [Lost(DEAD)] * 9  # `_first` and `_run` end it
    assert list(ours.starting.values()) == ["hired"]


def test_the_first_of_a_place_is_told_even_if_it_never_ran(made_up):
    assert crew(starting={Answer(NEVER_RAN): "first"}).wait() == Lost(NEVER_RAN)


def test_a_worker_that_compiled_something_else_is_refused(made_up):
    ours = crew(starting={Answer(("one", ABOUT)): worker()})
    assert ours.wait() == ABOUT
    ours.starting = {Answer(("two", ABOUT._replace(device="another"))): worker()}
    assert ours.wait().device == "another"
    ours.starting = {Answer(("three", ABOUT._replace(computed_by="other"))): worker()}
    with pytest.raises(NoCluster, match="The machine three of .* compiled another program than"):
        ours.wait()
    assert len(ours.free) == 2


def test_an_error_of_a_start_that_nobody_foresaw_is_one_line(made_up):
    ours = crew(starting={Answer(BUG): worker()})
    with pytest.raises(NoCluster, match=r"on [\d.]+ could not start: KeyError: 'x'. Is this"):
        ours.wait()


def test_a_machine_that_cannot_work_is_told_once_and_left_out_while_others_may(made_up):
    cannot = NoCluster("The machine two of the cluster has jax 0.1 and not 0.2.")
    refusal = RayTaskError("start", "Traceback", cannot)
    ours = crew(starting={Answer(refusal): "a", Answer(refusal): "b", Answer(BUG): "c"})
    ours.free = [worker()]
    found = [ours.wait() for _ in range(3)]
    assert [each.is_known for each in found] == [False, True, False]
    assert {each.code for each in found} == {"machine_refused"}
    assert found[0].error is cannot
    assert "could not start: KeyError: 'x'" in str(found[2].error)
    assert made_up.killed == ["a", "b", "c"]
    assert not ours.starting  # nobody is hired in their place


def test_the_last_that_cannot_work_ends_the_run_with_what_it_said(made_up):
    cannot = NoCluster("The machine two of the cluster has jax 0.1 and not 0.2.")
    refusal = RayTaskError("start", "Traceback", cannot)
    ours = crew(starting={Answer(refusal): "a", Answer(refusal): "b"})
    assert ours.wait() == Lost(cannot, code="machine_refused")
    with pytest.raises(NoCluster, match=r"machine two of the cluster has jax 0\.1"):
        ours.wait()


def test_a_recipe_that_cannot_be_compiled_ends_the_run_whoever_is_there(made_up):
    cannot = UnknownName("There is no model called 'nuclie'.")
    ours = crew(starting={Answer(RayTaskError("start", "Traceback", cannot)): "a"})
    ours.free = [worker()]
    with pytest.raises(UnknownName, match="no model called 'nuclie'"):
        ours.wait()


class Scripted(Crew):
    """A crew to which things happen in a given order; whoever is given a block is busy with it."""

    def __init__(self, *news: object, missing: tuple = (), unborn: tuple = ()):
        super().__init__(lambda: ("hired", Answer(None)), free=["one"])
        self.news, self.gone, self.jobs = deque(news), deque(missing), []
        self.late = list(unborn)

    def give(self, block: Block) -> None:
        self.busy[len(self.jobs)] = job = Job(block, self.free.pop())
        self.jobs.append(job)

    def wait(self) -> object:
        news = self.news.popleft()
        if isinstance(news, NoCluster):
            raise news
        job = self.jobs[-1]
        if isinstance(news, WellSaved):
            job.note(news)
            return Told(news)
        if news == "done" or news is DEAD or news is BUG:
            self.busy.popitem()
            self.free.append("another")
            return Ended(job, None if news == "done" else news)
        return news

    def missing(self) -> list[Lost]:
        return self.gone.popleft() if self.gone else []

    def unborn(self) -> list[Lost]:
        return self.late


def ran(scripted: Scripted, *, early: tuple = (), wells: tuple = ("A01",)) -> list:
    sets = pl.DataFrame({"plate": "P", "well": wells, "site": 1})
    return list(_run(scripted, 1, list(early), [Task(sets, sets)]))


SAVED = WellSaved("P", "A01")


def lost(events: list) -> list:
    return [(each.code, each.wells) for each in events if isinstance(each, Incident)]


def test_an_undisturbed_run_tells_of_nobody():
    assert ran(Scripted(SAVED, "done")) == [SAVED]


def test_who_is_gone_at_the_end_is_told():
    assert lost(ran(Scripted(SAVED, "done", missing=([Lost(DEAD)],)))) == [("worker_lost", ())]


def test_who_was_lost_while_it_started_is_told_at_the_end_but_for_one_that_is_known():
    unborn = (Lost(DEAD), Lost(NEVER_RAN, is_known=True))
    assert lost(ran(Scripted(SAVED, "done", unborn=unborn))) == [("worker_lost", ())]
    assert lost(ran(Scripted(*unborn, SAVED, "done"))) == [("worker_lost", ())]


def test_many_that_ray_sends_to_a_lost_machine_end_no_run_in_which_others_work():
    known = [Lost(NEVER_RAN, is_known=True)] * 3 * BAD_LUCK
    assert ran(Scripted(*known, SAVED, "done")) == [SAVED]
    with pytest.raises(WorkLost, match=f"^{BAD_LUCK + 1} failures in a row, and no well between"):
        ran(Idle(*known))


class Idle(Scripted):
    """A crew of which nobody is free or at work."""

    def give(self, block: Block) -> None:
        raise AssertionError("nobody is there")

    def __init__(self, *news: object):
        super().__init__(*news)
        self.free, self.jobs = [], [None]


def test_who_was_lost_before_the_first_was_ready_is_told_in_the_run():
    early = Scripted(Lost(DEAD), ABOUT)
    early.jobs = [None]
    about, before = _first(early, most=BAD_LUCK)
    assert about == ABOUT
    assert lost(ran(Scripted(SAVED, "done"), early=tuple(before))) == [("worker_lost", ())]


def test_a_machine_that_was_refused_is_told_as_such():
    refused = Lost(NoCluster("The machine two has jax 0.1."), code="machine_refused")
    again = refused._replace(is_known=True)
    assert lost(ran(Scripted(refused, again, SAVED, "done"))) == [("machine_refused", ())]
    early = Scripted(refused, ABOUT)
    early.jobs = [None]
    assert _first(early, most=BAD_LUCK) == (ABOUT, [refused])


def test_a_busy_worker_is_told_once_with_its_wells():
    told = lost(ran(Scripted(DEAD, SAVED, "done")))
    assert told == [("worker_lost", (("P", "A01"),))]


def test_a_worker_that_is_lost_after_its_last_well_is_told_too():
    assert lost(ran(Scripted(SAVED, DEAD))) == [("worker_lost", ())]
    assert lost(ran(Scripted(SAVED, BUG))) == [("task_failed", ())]


def test_who_idled_is_asked_before_a_failed_block_is_given_again():
    events = ran(Scripted(DEAD, SAVED, "done", missing=([Lost(DEAD)],)))
    assert lost(events) == [("worker_lost", (("P", "A01"),)), ("worker_lost", ())]
    assert events[-1] == SAVED


def test_who_is_gone_is_told_before_the_run_ends_without_a_well():
    scripted = Scripted(*[DEAD] * TRIES, missing=([], [], [], [Lost(DEAD)]))
    events = []
    sets = pl.DataFrame({"plate": "P", "well": ["A01"], "site": 1})
    with pytest.raises(WorkLost, match="1 well was tried 3 times and could not be computed"):
        events += (event for event in _run(scripted, 1, [], [Task(sets, sets)]))
    assert len(lost(events)) == TRIES + 1


def test_a_cluster_that_fails_in_the_middle_is_an_incident():
    with pytest.raises(
        WorkLost, match=r"No room\. Finished wells are kept; run the same"
    ) as caught:
        ran(Scripted(NoCluster("No room.")))
    assert caught.value.is_incident
