"""A run over time: one row per well and time point, each time point judged against itself."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from plates.errors import lookup
from profiler.profile.consensus import TREATMENT
from profiler.profile.groups import PLATE
from profiler.profile.steps import CHANGES, own_within
from profiler.profile.wells.aggregate import WELL
from profiler.profile.wells.annotate import annotate

TIMEPOINT = "Metadata_Timepoint"


def has_timepoints(fields: pl.DataFrame) -> bool:
    """Whether a run has several time points; with one, no table of wells names it."""
    return fields[TIMEPOINT].n_unique() > 1


def well_keys(fields: pl.DataFrame) -> tuple[str, ...]:
    """The columns that name a row of the wells of a run.

    >>> well_keys(pl.DataFrame({"Metadata_Timepoint": [1, 2]}))
    ('Metadata_Plate', 'Metadata_Well', 'Metadata_Timepoint')
    """
    return (*WELL, TIMEPOINT) if has_timepoints(fields) else WELL


def annotate_times(
    wells: pl.DataFrame, *, fields: pl.DataFrame, layout: pl.DataFrame | None
) -> tuple[pl.DataFrame, list[str]]:
    """Join wells with their fields and the plate map, as `annotate` does, time by time.

    Args:
        wells: Aggregated by `well_keys`.
        fields: One row per field, with `Metadata_Timepoint`.
        layout: One row per well, whatever the time, or none.

    Returns:
        The table of `annotate`; over several time points with `Metadata_Timepoint` after the
        well, a row for every well at every time, sorted by plate, well and time; and what
        lacks, in sentences: those that hold of every time point once.
    """
    if TIMEPOINT not in wells.columns:
        table, coverage = annotate(wells, fields=fields, layout=layout)
        return table, coverage.sentences()
    found, told = [], {}
    for time in fields[TIMEPOINT].unique().sort():
        then = pl.col(TIMEPOINT) == time
        own = wells.filter(then).drop(TIMEPOINT)
        table, coverage = annotate(own, fields=fields.filter(then), layout=layout)
        named = pl.lit(time, dtype=pl.Int32).alias(TIMEPOINT)
        found.append(table.select(*WELL, named, pl.exclude(WELL)))
        told[time] = coverage.sentences()
    in_order = (PLATE[0], pl.col(WELL[-1]).str.len_chars(), WELL[-1], TIMEPOINT)
    return pl.concat(found).sort(*in_order), _told(told)


def _told(sentences: Mapping[int, Sequence[str]]) -> list[str]:
    counts = Counter(text for texts in sentences.values() for text in texts)
    always = [text for text, n in counts.items() if n == len(sentences)]
    then = [
        f"Time point {time}: {text}"
        for time, texts in sentences.items()
        for text in texts
        if text not in always
    ]
    return always + then


def steps_in_time(steps: Sequence[Mapping[str, Any]], wells: pl.DataFrame) -> list[dict[str, Any]]:
    """Have every step that compares wells compare those of one time point.

    Args:
        steps: As `profiler.profile.process` takes them.
        wells: The table that they are for.

    Returns:
        The steps; over several time points, those that normalise or correct do so within the
        time point, too.

    >>> wells = pl.DataFrame({"Metadata_Plate": ["P"], "Metadata_Timepoint": [1]})
    >>> steps_in_time([{"step": "normalise"}, {"step": "select"}], wells)[0]["within"]
    ('Metadata_Plate', 'Metadata_Timepoint')
    """
    if TIMEPOINT not in wells.columns:
        return [dict(step) for step in steps]
    return [_in_time(step) for step in steps]


def _in_time(step: Mapping[str, Any]) -> dict[str, Any]:
    if step.get("step") not in CHANGES:
        return dict(step)
    return {**step, "within": tuple(dict.fromkeys((*own_within(step), TIMEPOINT)))}


def treatment_keys(wells: pl.DataFrame) -> list[str]:
    """The columns that name a treatment, at one time where there are several."""
    return [name for name in (*TREATMENT, TIMEPOINT) if name in wells.columns]


def chosen_time(wells: pl.LazyFrame, *, timepoint: int | None) -> int | None:
    """The time point at which hits are called.

    Args:
        wells: As `annotate_times` returns them.
        timepoint: The one asked for; by default the last.

    Returns:
        None where the run has but one.

    Raises:
        UnknownName: The run has no such time point.
    """
    if TIMEPOINT not in wells.collect_schema():
        return None
    times = wells.select(pl.col(TIMEPOINT).unique().sort()).collect().to_series()
    found = {str(time): time for time in times}
    if timepoint is None:
        return max(found.values())
    return lookup(found, kind="time point ([hits] timepoint)", name=str(timepoint))


def at_time(table: pl.LazyFrame, time: int | None) -> pl.LazyFrame:
    """The rows of one time point, or all of them for None."""
    return table if time is None else table.filter(pl.col(TIMEPOINT) == time)
