"""Where the time went: sums by hand, and a trace in the format that Perfetto reads."""

import json
import threading
import time
from dataclasses import replace

import polars as pl
import pytest

from profiler.events import FieldsDone, StageDone, TaskTimed
from profiler.throughput.clock import Clock
from profiler.throughput.trace import table, traced

TIMED = TaskTimed(
    name="P1 A01",
    fields=10,
    elapsed=8.0,
    seconds={"read": 1.0, "segment": 4.0, "measure": 2.0, "compute": 6.0, "write": 1.0},
    alone={"network": 0.3, "nuclei": 0.35},
    stretches=(("read", "loader_0", 0.0, 1.0), ("compute", "MainThread", 1.0, 6.0)),
)


def test_a_clock_sums_over_threads_and_keeps_stretches_only_if_asked():
    kept, summed = Clock(keeps=True), Clock()

    def work():
        for clock in (kept, summed):
            with clock("nap"):
                time.sleep(0.02)

    both = [threading.Thread(target=work, name=f"t{i}") for i in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    for clock in (kept, summed):
        assert clock.times["nap"] == 2
        assert 0.04 <= clock.seconds["nap"] < 5
    assert {stretch.thread for stretch in kept.stretches} == {"t0", "t1"}
    assert sum(s.seconds for s in kept.stretches) == pytest.approx(kept.seconds["nap"])
    assert summed.stretches == []


def test_what_fails_is_timed_too():
    clock = Clock()
    with pytest.raises(ValueError, match="no"), clock("try"):
        raise ValueError("no")
    assert clock.times["try"] == 1


def test_table_by_hand():
    found = {stage.stage: stage for stage in table([TIMED, TIMED])}
    assert list(found) == [
        "read", "compute", "segment", "network", "decode labels", "cells, cytoplasm", "measure",
        "write", "device idle",
    ]  # fmt: skip
    seconds = {name: stage.seconds for name, stage in found.items()}
    assert seconds["compute"] == 12
    assert seconds["network"] == pytest.approx(6)
    assert seconds["decode labels"] == pytest.approx(1)
    assert seconds["cells, cytoplasm"] == pytest.approx(1)
    assert seconds["device idle"] == 4
    assert found["compute"].share == 0.75
    assert found["compute"].ms_per_field == 600


def calls(name: str, *seconds: float) -> tuple[tuple[str, str, float, float], ...]:
    return tuple((name, "MainThread", float(at), each) for at, each in enumerate(seconds))


def test_the_first_call_is_apart_and_no_part_is_blamed_for_the_compiler():
    stretches = calls("segment", 2.5, 0.5, 0.4, 0.6) + calls("measure", 1.1, 0.3, 0.3, 0.3)
    timed = replace(TIMED, stretches=stretches, alone={"network": 0.1, "nuclei": 0.15})
    stages = table([timed, timed])
    names = [stage.stage for stage in stages]
    seconds = {stage.stage: stage.seconds for stage in stages}
    assert names[2:8] == [
        "segment", "segment, first call", "network", "decode labels", "cells, cytoplasm", "measure",
    ]  # fmt: skip
    assert names[8] == "measure, first call"
    assert seconds["segment, first call"] == pytest.approx(2 * 2.0)
    assert seconds["measure, first call"] == pytest.approx(2 * 0.8)
    assert seconds["cells, cytoplasm"] == pytest.approx(2 * (4 - 2 - 1.5))
    (rest,) = (stage.where for stage in stages if stage.stage == "cells, cytoplasm")
    assert rest == "of segment, the remainder"


def test_a_first_call_that_was_not_slower_or_was_the_only_one():
    quick = replace(TIMED, stretches=calls("segment", 0.3, 0.4, 0.4))
    found = {stage.stage: stage.seconds for stage in table([quick])}
    assert found["segment, first call"] == 0
    assert found["cells, cytoplasm"] == pytest.approx(0.5)
    only = {stage.stage for stage in table([replace(TIMED, stretches=calls("segment", 4.0))])}
    assert "segment, first call" not in only


def test_whole_cells_of_a_network_have_a_row_of_their_own():
    alone = replace(TIMED, alone={**TIMED.alone, "whole cells": 0.04})
    found = {stage.stage: stage.seconds for stage in table([alone])}
    assert found["whole cells"] == pytest.approx(0.4)
    assert found["cells, cytoplasm"] == pytest.approx(4 - 3.5 - 0.4)
    slow = replace(TIMED, alone={**TIMED.alone, "whole cells": 9.0})  # longer than all of it
    found = {stage.stage: stage.seconds for stage in table([slow])}
    assert (found["whole cells"], found["cells, cytoplasm"]) == pytest.approx((0.5, 0))


def test_trace_and_table_are_written(tmp_path):
    events = list(traced([FieldsDone(10, 0, 5), TIMED], out=tmp_path))
    assert events[:2] == [FieldsDone(10, 0, 5), TIMED]
    assert isinstance(events[2], StageDone)
    assert "the device was busy 75% of the time" in events[2].notes[0]
    trace = json.loads((tmp_path / "timing" / "trace.json").read_text())["traceEvents"]
    names = {e["tid"]: e["args"]["name"] for e in trace if e["name"] == "thread_name"}
    spans = [(e["name"], names[e["tid"]], e["ts"], e["dur"]) for e in trace if e["ph"] == "X"]
    assert spans == [("read", "loader_0", 0, 1e6), ("compute", "MainThread", 1e6, 6e6)]
    stages = pl.read_csv(tmp_path / "timing" / "stages.csv")
    assert dict(stages.select("stage", "seconds").iter_rows())["measure"] == 2.0


def test_nothing_is_written_unless_asked(tmp_path):
    assert list(traced([TIMED], out=None)) == [TIMED]
    assert not list(tmp_path.iterdir())
