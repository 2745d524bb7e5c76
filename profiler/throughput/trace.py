"""Where the time of a run went: a table, and a trace that Perfetto opens."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple, TypeAlias

import polars as pl

from profiler.events import Event, StageDone, TaskTimed
from profiler.store.atomic import replacing

FOLDER = "timing"  # in the run folder
TRACE, STAGES = "trace.json", "stages.csv"
WAITING = "device idle"
STAGE_OF = {  # stage -> what it is and who does it
    "look": "formats and grey levels of the plate, before its first field",
    "read": "loader threads",
    "decode": "loader threads",
    "gather": "planes into a batch",
    "copy": "to the device",
    "compute": "device busy",
    "segment": "of compute",
    "measure": "of compute",
    "fetch": "from the device; writer thread",
    "pictures": "writer thread",
    "tables": "writer thread",
    "write": "writer thread",
    "store": "wells to an object store; a thread of its own",
}

Row: TypeAlias = tuple[str, str, float]  # stage, where, seconds


class Stage(NamedTuple):
    """One line of the table.

    Attributes:
        stage: What was done.
        where: By whom.
        seconds: Summed over threads and tasks.
        share: Of the tasks' whole time; those of several threads add up to more than 1.
        ms_per_field: The same for one field.
    """

    stage: str
    where: str
    seconds: float
    share: float
    ms_per_field: float


def traced(events: Iterable[Event], *, out: Path | None) -> Iterator[Event]:
    """Pass events on; at the end write where the time went, and tell it.

    Args:
        events: Of the tasks.
        out: The run folder; None writes and tells nothing.
    """
    tasks: list[TaskTimed] = []
    for event in events:
        if out is not None and isinstance(event, TaskTimed):
            tasks.append(event)
        yield event
    if out is not None and tasks:
        stages = table(tasks)
        write_trace(out / FOLDER / TRACE, tasks)
        _write(out / FOLDER / STAGES, pl.DataFrame(stages).write_csv())
        yield StageDone("time", tuple(sentences(stages, out=out)))


def table(tasks: Sequence[TaskTimed]) -> list[Stage]:
    """Lay out the stages of all tasks in the order of the flow.

    The first call of `segment` and of `measure` in a task is apart where stretches were kept: it
    may have waited for the compiler. The parts of `segment` are compiled into one program: the
    rest of it is divided by what each took alone, for one field, and the last is what remains.
    """
    seconds: dict[str, float] = {}
    for task in tasks:
        for name, spent in task.seconds.items():
            seconds[name] = seconds.get(name, 0.0) + spent
    elapsed = sum(task.elapsed for task in tasks)
    fields = max(sum(task.fields for task in tasks), 1)
    rows = [(name, STAGE_OF.get(name, ""), seconds[name]) for name in STAGE_OF if name in seconds]
    rows += [(name, "", spent) for name, spent in seconds.items() if name not in STAGE_OF]
    first = {name: _compiling(tasks, name) for name in ("segment", "measure")}
    warm = seconds.get("segment", 0.0) - (first["segment"] or 0.0)
    _put_after(rows, "segment", _first("segment", first), _parts(tasks[0].alone, warm, fields))
    _put_after(rows, "measure", _first("measure", first))
    rows.append((WAITING, "waiting for fields", elapsed - seconds.get("compute", 0.0)))
    return [
        Stage(name, where, spent, spent / elapsed, 1000 * spent / fields)
        for name, where, spent in rows
    ]


def _put_after(rows: list[Row], name: str, *parts: list[Row]) -> None:
    at = next((i for i, row in enumerate(rows, 1) if row[0] == name), len(rows))
    rows[at:at] = [row for part in parts for row in part]


def _compiling(tasks: Iterable[TaskTimed], name: str) -> float | None:
    """What first calls took longer than the later ones of their task; None if that is not known."""
    found = []
    for task in tasks:
        first, *later = [s[3] for s in task.stretches if s[0] == name] or [0.0]
        found += [max(0.0, first - median(later))] if later else []
    return sum(found) if found else None


def _first(name: str, found: Mapping[str, float | None]) -> list[Row]:
    seconds = found[name]
    where = f"of {name}, compiling: less the median of its other calls"
    return [] if seconds is None else [(f"{name}, first call", where, seconds)]


def _parts(alone: Mapping[str, float], segment: float, fields: int) -> list[Row]:
    """The parts of `segment`, its first call left out."""
    if not alone:
        return []
    network = min(fields * alone["network"], segment)
    nuclei = min(max(fields * alone["nuclei"], network), segment)
    cells = min(fields * alone.get("whole cells", 0.0), segment - nuclei)
    where = "of segment, by its time alone"
    return [
        ("network", where, network),
        ("decode labels", where, nuclei - network),
        *([("whole cells", where, cells)] if "whole cells" in alone else []),
        ("cells, cytoplasm", "of segment, the remainder", segment - nuclei - cells),
    ]


def sentences(stages: Sequence[Stage], *, out: Path) -> Iterator[str]:
    """The table as text, and where the trace is."""
    busy = next((stage.share for stage in stages if stage.stage == "compute"), 0.0)
    yield f"the device was busy {busy:.0%} of the time; stages of several threads overlap"
    yield f"{'stage':20}{'seconds':>9}{'share':>7}{'ms/field':>10}  where"
    for name, where, seconds, share, each in stages:
        yield f"{name:20}{seconds:9.2f}{share:7.0%}{each:10.1f}  {where}"
    yield f"{out / FOLDER / TRACE} opens in https://ui.perfetto.dev"


def write_trace(path: Path, tasks: Sequence[TaskTimed]) -> None:
    """Write all stretches of work as a Chrome trace, one process a task, one row a thread."""
    entries = []
    for number, task in enumerate(tasks, 1):
        threads = {name: i for i, name in enumerate(sorted({s[1] for s in task.stretches}), 1)}
        entries.append(_named("process_name", number, 0, task.name))
        entries += [_named("thread_name", number, i, name) for name, i in threads.items()]
        entries += [
            {
                "name": name,
                "ph": "X",
                "ts": round(1e6 * start, 1),
                "dur": round(1e6 * seconds, 1),
                "pid": number,
                "tid": threads[thread],
            }
            for name, thread, start, seconds in task.stretches
        ]
    _write(path, json.dumps({"traceEvents": entries, "displayTimeUnit": "ms"}))


def _write(path: Path, text: str) -> None:
    with replacing(path) as draft:
        draft.write_text(text)


def _named(kind: str, process: int, thread: int, name: str) -> dict:
    return {"name": kind, "ph": "M", "pid": process, "tid": thread, "args": {"name": name}}
