"""The watcher: look, judge, run, remember; with the clock handed in, so that tests do not wait."""

from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from plates.errors import BadPlate, BadRun, ProfilingError
from profiler.request import Request
from profiler.store.home import visit
from profiler.store.mirror import working_folder
from profiler.store.objects import run_address
from profiler.store.run import RunFacts, read_facts
from profiler.watch import status as keep
from profiler.watch.attempt import attempt, failed_early
from profiler.watch.complete import judge
from profiler.watch.events import (
    Done,
    Ended,
    Failed,
    InboxBack,
    InboxGone,
    Placed,
    Skipped,
    Trouble,
    Vanished,
    Waiting,
    WatchEvent,
    Watching,
)
from profiler.watch.folders import GoesOn, may_go_on, run_names
from profiler.watch.inbox import Inbox, Look, last_change, look, open_inbox
from profiler.watch.nights import record
from profiler.watch.records import Records, held_records
from profiler.watch.settings import Clock, Runner, Seen, Watch, Watcher
from profiler.watch.words import legible, legibly

STAGES = {"profiles", "hits", "phenotypes"}  # in the summary of a run that went to its end
AGAIN_S = 600.0  # between two walks through a plate that is settled


def watch(
    settings: Watch,
    request: Request,
    *,
    run: Runner,
    clock: Clock,
    goes_on: GoesOn = may_go_on,
) -> Iterator[WatchEvent]:
    """Run each plate of an inbox as soon as it is complete.

    Args:
        settings: What is watched.
        request: How a plate is run; its plates and its run folder are filled in.
        run: `profiler.pipeline.run`.
        clock: Time.
        goes_on: Whether a run folder is free, or of the same plate.

    Yields:
        What happens; `status.json` and the index say the same by then.

    Raises:
        BadPlate: The inbox is not there, or holds the runs or lies among them.
        BadRun: Another watcher writes to the same runs, or nobody may.
        KeyboardInterrupt: From the clock or the run; the records say that it was stopped.
    """
    inbox, about = _opened(settings), _about(settings, request)
    with held_records(settings.runs) as records:
        here = replace(settings, runs=records.folder)
        earlier = keep.read_status(here.runs)
        places = settings.runs, records.share
        me = Watcher(here, request, run, clock, inbox, earlier, about, *places, goes_on)
        try:
            for event in _events(me, records):
                yield from _told(me, event)
        except KeyboardInterrupt:
            list(_told(me, _ended(me, "stopped")))
            raise


def _opened(settings: Watch) -> Inbox:
    here, there = settings.inbox.resolve(), settings.runs.resolve()
    is_near = run_address(settings.runs) is None
    if is_near and (here == there or here in there.parents or there in here.parents):
        raise BadPlate(
            f"The inbox {settings.inbox} and the runs {settings.runs} lie in one another, so runs "
            "would be taken for plates. Choose an --out elsewhere."
        )
    try:
        return open_inbox(settings.inbox, pattern=settings.pattern)
    except OSError as error:
        raise BadPlate(
            f"The inbox {settings.inbox} cannot be read ({error.strerror}). Check the path, and "
            "that the drive is there."
        ) from error


def _about(settings: Watch, request: Request) -> dict[str, Any]:
    runs = run_address(settings.runs) or str(settings.runs)
    places = {"inbox": legible(str(settings.inbox)), "runs": legible(runs)}
    return places | {"recipe": request.recipe.name} | keep.describe_process()


def _told(me: Watcher, event: WatchEvent | None) -> Iterator[WatchEvent]:
    """Keep an event in the records, then pass it on; a disk that is full is told once."""
    trouble = ""
    if event is not None:
        event = legibly(event)
        me.status = keep.after(me.status, event, now=me.clock.now())
    try:
        keep.write_status(me.settings.runs, me.status, now=me.clock.now(), about=me.about)
        if isinstance(event, Done | Failed | Skipped):
            state, folder = me.status.plates[event.plate], _folder(me.home / event.run)
            record(me.settings, event, state=state, folder=folder)
        me.share()
    except BadRun as error:
        trouble = str(error)
    except Exception as error:  # an index can be made again: no plate shall wait for it
        trouble = f"{type(error).__name__}: {error}"
    if event is not None and not _is_as_expected(event):
        yield event
    if trouble and not me.has_trouble:
        yield Trouble(trouble)
    me.has_trouble = bool(trouble)


def _events(me: Watcher, records: Records) -> Iterator[WatchEvent | None]:
    """All that happens; None after each round, so that `status.json` shows a pulse."""
    # Ctrl-C is how a watcher ends.
    ends = [end for end in records.before if end.code != "interrupted"]
    before = tuple(f"{end.code}. {end.message}" for end in ends)
    yield Watching(me.about["inbox"], me.about["runs"], me.request.recipe.name, before)
    records.settle()
    yield from _cut_short(me)
    is_gone = False
    while not me.clock.is_stopped():
        try:
            there = me.inbox.plates()
        except OSError as error:
            if not is_gone:
                yield InboxGone(error.strerror or str(error))
            is_gone = True
        else:
            if is_gone:
                yield InboxBack()
            is_gone = False
            yield from _round(me, there)
        yield None
        if me.settings.once:
            break
        me.clock.sleep(me.settings.poll_s)
    yield _ended(me, "stopped" if me.clock.is_stopped() else "once")


def _is_as_expected(event: WatchEvent) -> bool:
    return isinstance(event, Placed) and event.run == event.plate


def _ended(me: Watcher, reason: str) -> Ended:
    failed = me.status.count(keep.FAILED, keep.GIVEN_UP)
    return Ended(reason, me.done, failed, me.status.count(keep.WAITING))


def _cut_short(me: Watcher) -> Iterator[Failed]:
    """Count the attempt that took an earlier watcher down, so that it cannot do so for ever."""
    tries = me.settings.tries
    for name, plate in me.status.plates.items():
        if plate.state == keep.RUNNING:
            again = me.clock.now() if plate.tries < tries else None
            reason = "the watcher ended in the middle of it: killed, or out of memory?"
            yield Failed(name, plate.tries, tries, reason, again, plate.content, plate.run)


def _round(me: Watcher, there: dict[str, Path]) -> Iterator[WatchEvent]:
    """Look at every plate once, and run those that are complete, the oldest first."""
    for name in sorted(me.status.plates.keys() - there.keys()):
        if me.status.plates[name].state in (keep.WAITING, keep.FAILED):
            me.seen.pop(name, None)
            yield Vanished(name)
    ready: list[tuple[int, str, str]] = []
    due = _due(me, there)
    for name, place in there.items():
        found = _considered(me, name, place, is_due=name in due)
        if isinstance(found, str):
            ready.append((me.seen[name].look.changed_ns, name, found))
        elif found is not None:
            yield found
    for _, name, because in sorted(ready):
        if me.clock.is_stopped():
            return
        yield from attempt(me, name, place=there[name], because=because)


def _due(me: Watcher, there: Collection[str]) -> set[str]:
    """Settled plates to walk through: a file that changes in place changes no folder.

    Those that lack something are due in time; of the others one at a look, as weeks may lie there.
    """
    now = me.clock.now()
    old = {
        name: seen.looked
        for name, seen in me.seen.items()
        if seen.is_settled and name in there and now - seen.looked >= AGAIN_S
    }
    known = {name: me.status.of(name) for name in old}
    lacking = {n for n, k in known.items() if k and (k.state == keep.GIVEN_UP or k.fields_failed)}
    return lacking | set(sorted(old.keys() - lacking, key=lambda name: (old[name], name))[:1])


def _considered(me: Watcher, name: str, place: Path, *, is_due: bool) -> WatchEvent | str | None:
    """What to tell of a plate; or, as a string, why it may be taken. Odd ones end nothing."""
    seen = me.seen.get(name)
    settled = seen.look if seen and seen.is_settled else None
    if seen and is_due:
        me.seen[name] = replace(seen, looked=me.clock.now())
    try:
        if settled and not is_due and last_change(settled.folders) == settled.folders_ns:
            return None
        found = look(place)
    except OSError as error:  # nothing is asked of one that is done
        reason = f"it cannot be read ({error.strerror})"
        return None if settled else _waiting(me.status.of(name), name, reason)
    if settled == found:
        return None
    try:
        return _consider(me, name, place, found)
    except Exception as error:  # what a plate holds must not keep the watcher from the next
        return failed_early(me, name, error)


def _consider(me: Watcher, name: str, place: Path, found: Look) -> WatchEvent | str | None:
    now, known, seen = me.clock.now(), me.status.of(name), me.seen.get(name)
    if seen is None or seen.look != found:
        me.seen[name] = Seen(found, now)
    if seen is None and (settled := _settled(me, name, place, found)):
        me.seen[name] = Seen(found, now, is_settled=True, looked=now)
        return settled
    if known and known.state == keep.FAILED and known.again_at > now and not me.settings.once:
        return None
    if not found.files:
        return _waiting(known, name, "it has no files yet")
    quiet_s = now - me.seen[name].since
    if me.settings.once:  # there is no second look: the files' own times must do
        quiet_s = max(quiet_s, now - found.changed_ns / 1e9)
    least_s = me.settings.quiet_s
    verdict = judge(place, manifest=me.settings.manifest, quiet_s=quiet_s, least_s=least_s)
    return verdict.because if verdict.is_complete else _waiting(known, name, verdict.because)


def _waiting(known: keep.PlateState | None, name: str, reason: str) -> Waiting | None:
    is_told = known and known.state == keep.WAITING and known.reason == reason
    return None if is_told or (known and known.state == keep.FAILED) else Waiting(name, reason)


def _settled(me: Watcher, name: str, place: Path, found: Look) -> Skipped | None:
    """Whether a plate that this session sees first was done, or given up, before."""
    known = me.status.of(name)
    is_same = known is not None and known.content == found.digest()
    if known is None:
        return _run_before(me, name, place, found)
    if known.state == keep.DONE and is_same:
        return _with_results(me, name, found, run=known.run or name)
    if known.state == keep.GIVEN_UP and is_same and not me.settings.again:
        reason = f"it failed {known.tries} times ({known.reason}), and has not changed since"
        return Skipped(name, reason, found.digest(), known.run)
    return None


def _run_before(me: Watcher, name: str, place: Path, found: Look) -> Skipped | None:
    """Whether a plate of which nothing is known has results: of a run by hand, perhaps."""
    for run in run_names(name):
        skipped = _with_results(me, name, found, run=run)
        request = replace(me.request, plates=(place,), out=me.home / run)
        try:
            if not skipped or me.goes_on(request, as_it_is=True):
                return skipped
        except ProfilingError:  # it may be half copied: the attempt says so once it is complete
            return None
    return None


def _with_results(me: Watcher, name: str, found: Look, *, run: str) -> Skipped | None:
    out = me.home / run
    facts, where = _finished(out), run_address(out) or out
    if not facts:
        return None
    return Skipped(name, f"{where} has its results{_of(facts, me)}", found.digest(), run)


def _folder(out: Path) -> Path:
    """Where a run is read on this disk."""
    address = run_address(out)
    return working_folder(address) if address else out


def _finished(out: Path) -> RunFacts | None:
    """What a run folder says, if a run went to its end there."""
    with suppress(BadRun):
        address = run_address(out)
        out = visit(address)[0] if address else out
        facts = read_facts(out)
        if facts.summary.keys() >= STAGES and (out / "report.html").is_file():
            return facts
    return None


def _of(facts: RunFacts, me: Watcher) -> str:
    """Say so where results are not those that would be made now: computing costs a night."""
    if facts.settings == me.request.recipe.model_dump(mode="json"):
        return ""
    return ", made with other settings; `profiler run` computes it with these"
