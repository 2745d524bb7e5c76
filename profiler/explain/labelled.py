"""Labelled cells of a run as a network sees them: what people called the cells most like a cell."""

from collections.abc import Generator, Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from plates.errors import BadLayout, BadRun
from profiler.explain.cells import cells_at, check_there, keyed, whole
from profiler.explain.events import Read
from profiler.explain.sides import CELL, ROLE, WELL
from profiler.explain.vectors import Embed, Embedded
from profiler.store.cell_keys import KEYS, TIMEPOINT
from profiler.store.screen import Screen

PLATE = WELL[0]
LABEL = "Label"


@runtime_checkable
class Labels(Protocol):
    """Cells that have a label, such as `classify.labels.read_labels` gives."""

    @property
    def cells(self) -> pl.DataFrame:
        """Their keys, one row each."""
        ...

    @property
    def codes(self) -> Int[np.ndarray, " cell"]:
        """Class of each, a place in `classes`."""
        ...

    @property
    def classes(self) -> Sequence[str]:
        """Their names."""
        ...


class Marked(NamedTuple):
    """Labelled cells of a run that can be shown.

    Attributes:
        table: `CELL`, Metadata_Timepoint and `LABEL`, one row each.
        told: What was left out, in sentences.
    """

    table: pl.DataFrame
    told: tuple[str, ...]


def find_labelled(screen: Screen, labels: Labels, *, timepoint: int | None) -> Marked:
    """Find the labelled cells of a run, at the time point that is explained.

    Args:
        screen: Of one run.
        labels: Perhaps of several runs: plates that this one has not pass by.
        timepoint: That is explained; None where the run has one.

    Raises:
        BadRun: None of the cells is of the run, or one is on its plates and not there, or none
            lies whole within its field.
        BadLayout: The run has several time points, and the labels name none.
    """
    names = pl.Series(LABEL, labels.classes, pl.String)[labels.codes.tolist()]
    every = labels.cells.with_columns(names)
    own = _of_run(screen, every)
    if timepoint is not None:
        own = _at_time(own, timepoint)
    wells = own.select(WELL).unique(maintain_order=True)
    found = keyed(cells_at(screen.cells, wells, timepoint)).collect()
    check_there(own, found, what="labelled")
    keys = [name for name in KEYS if name in own.columns]
    there = own.join(found, on=keys, how="left", maintain_order="left")
    kept = whole(there).select(*CELL, TIMEPOINT, LABEL)
    if not kept.height:
        raise BadRun(
            f"None of the {own.height} labelled cells lies whole within its field, so none can be "
            "shown. Label others, or leave --labels out."
        )
    return Marked(kept, tuple(_left_out(every, own, kept)))


class Labelled(NamedTuple):
    """Labelled cells as a network sees them.

    Attributes:
        table: `CELL`, Metadata_Timepoint and `LABEL`, one row each.
        vectors: From the mean of their plate's controls, [cell, feature] float64.
        told: What a person should know of them, in sentences.
    """

    table: pl.DataFrame
    vectors: Float[np.ndarray, "cell feature"]
    told: tuple[str, ...]


def place_labelled(
    marked: Marked, screen: Screen, *, origins: Mapping[str, np.ndarray], embed: Embed
) -> Generator[Read, None, Labelled]:
    """Let a network look at labelled cells, and take the mean of their plate's controls off.

    Args:
        marked: From `find_labelled`.
        screen: Of the same run.
        origins: Plate -> mean vector of its control cells, where that is known already.
        embed: From `embedder`.

    Yields:
        Fields that are read again, if any are.

    Raises:
        BadRun: No labelled cell is left that has a vector, on a plate that has controls.
    """
    others = sorted(set(marked.table[PLATE]) - set(origins))
    controls = _control_cells(screen, marked.table, others)
    if controls.height:
        origins = {**origins, **_means((yield from embed(controls, PLATE)))}
    kept = marked.table.filter(pl.col(PLATE).is_in(list(origins)))
    seen = (yield from embed(kept, LABEL)) if kept.height else None
    if seen is None or not seen.table.height:
        raise BadRun(
            f"None of the {marked.table.height} labelled cells lies whole within its field, on a "
            "plate with negative controls, and has a vector. Label others, or leave --labels out."
        )
    vectors = seen.vectors - np.stack([origins[plate] for plate in seen.table[PLATE]])
    return Labelled(seen.table, vectors, (*marked.told, *_looked_at(marked.table, kept, seen)))


def _of_run(screen: Screen, every: pl.DataFrame) -> pl.DataFrame:
    plates = screen.wells.select(pl.col(PLATE).unique().sort()).collect()[PLATE]
    own = every.filter(pl.col(PLATE).is_in(plates.implode()))
    if not own.height:
        theirs = every[PLATE].unique().sort().to_list()
        raise BadRun(
            f"None of the {every.height} labelled cells is of this run: they are of plates "
            f"{_listed(theirs)}, and it has {_listed(plates.to_list())}."
        )
    return own


def _at_time(own: pl.DataFrame, timepoint: int) -> pl.DataFrame:
    if TIMEPOINT not in own.columns:
        raise BadLayout(
            f"The run has several time points, and the label table has no {TIMEPOINT}, so it does "
            "not say which cells are meant. Add that column."
        )
    at = own.filter(pl.col(TIMEPOINT) == timepoint)
    if not at.height:
        times = _listed(own[TIMEPOINT].unique().sort().to_list())
        raise BadRun(
            f"None of the {own.height} labelled cells of the run is of time point {timepoint}, "
            f"which is explained; they are of {times}. Name one of those: --timepoint."
        )
    return at


def _left_out(every: pl.DataFrame, own: pl.DataFrame, kept: pl.DataFrame) -> list[str]:
    away, cut = every.height - own.height, own.height - kept.height
    told = []
    if away:
        told.append(f"{away} of {every.height} labelled cells are of other plates or times.")
    if cut:
        told.append(f"{cut} of {own.height} labelled cells are cut by a border and left out.")
    return told


def _control_cells(screen: Screen, marked: pl.DataFrame, plates: Sequence[str]) -> pl.DataFrame:
    """Cells of the negative controls of some plates, at the time point of the labelled ones."""
    is_held = pl.col(PLATE).is_in(list(plates)) & (pl.col(ROLE) == "negative")
    wells = screen.wells.filter(is_held).select(WELL).unique().collect().sort(WELL)
    time = int(marked[TIMEPOINT][0])
    return whole(keyed(cells_at(screen.cells, wells, time)).collect())


def _means(seen: Embedded) -> dict[str, np.ndarray]:
    plate = seen.table[PLATE].to_numpy()
    return {str(name): seen.vectors[plate == name].mean(axis=0) for name in np.unique(plate)}


def _looked_at(marked: pl.DataFrame, kept: pl.DataFrame, seen: Embedded) -> list[str]:
    lost, apart = marked.height - kept.height, kept.height - seen.table.height
    told = []
    if lost:
        told.append(f"{lost} labelled cells are on plates without negative controls and left out.")
    if apart:
        told.append(
            f"{seen.table.height} of {kept.height} labelled cells were looked at: a sample of "
            "each label, or those that have vectors."
        )
    return told


def _listed(names: Sequence[object]) -> str:
    shown = ", ".join(map(str, names[:3]))
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown
