"""Plates into blocks: no well twice, none lost, none divided."""

import polars as pl
import pytest

from profiler.compute.worker import Task
from profiler.execute.blocks import MOST_WELLS, PER_WORKER, blocks


def plate(name: str, *, wells: int, sites: int = 3) -> Task:
    rows = [(name, f"A{well:03}", site) for well in range(wells) for site in range(sites)]
    sets = pl.DataFrame(rows, schema=["plate", "well", "site"], orient="row")
    return Task(sets, sets)


@pytest.mark.parametrize("workers", [1, 2, 7, 500])
@pytest.mark.parametrize("sizes", [(96,), (384, 384), (1, 5, 384)])
def test_every_field_is_in_one_block_whole_wells_of_one_plate_together(workers, sizes):
    tasks = [plate(f"P{i}", wells=n) for i, n in enumerate(sizes)]
    parts = blocks(tasks, workers=workers)
    together = pl.concat([part.task.todo for part in parts])
    assert together.equals(pl.concat([task.todo for task in tasks]))
    wells = [well for part in parts for well in part.wells]
    assert len(wells) == len(set(wells)) == sum(sizes)
    assert all(len({name for name, _ in part.wells}) == 1 for part in parts)
    assert max(len(part.wells) for part in parts) <= MOST_WELLS
    assert all(part.task.sets.height == len(part.task.sets) for part in parts)


def test_there_are_enough_blocks_that_nobody_waits_for_long():
    parts = blocks([plate("P", wells=384)], workers=4)
    assert len(parts) == 4 * PER_WORKER
    assert {len(part.wells) for part in parts} == {12}


def test_a_block_knows_its_plate_whole():
    task = plate("P", wells=96)
    assert all(part.task.sets.equals(task.sets) for part in blocks([task], workers=2))


def test_what_failed_is_tried_again_well_by_well():
    (block,) = blocks([plate("P", wells=4)], workers=1)[:1]
    whole = blocks([plate("P", wells=48)], workers=1)[0]
    assert block.tries == 0
    again = list(whole.singly(whole.wells[2:4]))
    assert [part.wells for part in again] == [[("P", "A002")], [("P", "A003")]]
    assert [part.task.todo.height for part in again] == [3, 3]
    assert {part.tries for part in again} == {1}
    assert whole.fields(whole.wells[:2]) == 6
    assert whole.fields([]) == 0


def test_nothing_to_do_is_no_block():
    assert blocks([], workers=2) == []
