"""Plates into blocks of wells: what one worker of a cluster is given at a time."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from math import ceil

import polars as pl

from profiler.compute.worker import Task
from profiler.store.places import Well

PER_WORKER = 8  # blocks: the last of them keep one worker busy for 1/8 of its share alone, at most
MOST_WELLS = 24  # what a lost worker costs, at most
WELL = ("plate", "well")


@dataclass(frozen=True)
class Block:
    """Wells that a worker does in one go.

    Attributes:
        task: Them.
        tries: How often they were begun before.
    """

    task: Task
    tries: int = 0

    @property
    def wells(self) -> list[Well]:
        """The (plate, well), in order."""
        return list(self.task.todo.select(WELL).unique(maintain_order=True).iter_rows())

    def fields(self, wells: Iterable[Well]) -> int:
        """How many fields some of its wells have."""
        return self._of(wells).height

    def singly(self, wells: Iterable[Well]) -> Iterator["Block"]:
        """Some of its wells once more, each alone: one that cannot be done then stops no other."""
        for well in wells:
            yield Block(replace(self.task, todo=self._of([well])), self.tries + 1)

    def _of(self, wells: Iterable[Well]) -> pl.DataFrame:
        chosen = pl.DataFrame(list(wells), dict.fromkeys(WELL, pl.String), orient="row")
        return self.task.todo.join(chosen, on=WELL, how="semi", maintain_order="left")


def blocks(tasks: Iterable[Task], *, workers: int) -> list[Block]:
    """Divide plates so that workers of unequal speed end at nearly the same time.

    Args:
        tasks: Whole plates.
        workers: How many share the work.

    Returns:
        About `PER_WORKER` blocks for each worker, of `MOST_WELLS` wells at most; never wells of
        two plates in one.
    """
    whole = [Block(task) for task in tasks]
    n_wells = sum(len(block.wells) for block in whole)
    size = min(MOST_WELLS, max(1, ceil(n_wells / (PER_WORKER * workers))))
    return [part for block in whole for part in _divide(block, size)]


def _divide(block: Block, size: int) -> Iterator[Block]:
    wells = block.wells
    for start in range(0, len(wells), size):
        todo = block._of(wells[start : start + size])
        yield Block(replace(block.task, todo=todo))
