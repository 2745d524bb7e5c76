"""`profiler train aggregator`: from the cells of runs to what stands for a well's cells.

The one place that knows the runs, the training (JAX) and the judging: a part of the compounds, and
of plates where a layout has enough copies, is kept apart, and says whether replicates find one
another better than by the mean and the median of the same cells.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from plates.errors import BadLabels, BadRun, NoControls
from profiler.embed.sets.examples import Sets, replicate_labels
from profiler.embed.sets.learn import SetLesson, SetSchedule, learn_sets
from profiler.embed.training.events import TrainEvent
from profiler.hits.precision.apart import (
    AGAINST,
    COMPOUND,
    PLATE,
    TREATMENT,
    WELL,
    PerWell,
    Split,
    is_well,
    precisions_of,
    split_wells,
    treated_compounds,
)
from profiler.nets.cards import write_card
from profiler.profile.controls import is_role
from profiler.profile.features import EMBEDDING, feature_columns, phenotype_features
from profiler.profile.stains import shared_stains
from profiler.profile.wells.cell_scale import Scales, cell_scales, standardised
from profiler.profile.wells.sets import SetAggregator, load_aggregator
from profiler.quality import marked
from profiler.store.columns import matching
from profiler.store.screen import Screen
from profiler.store.screen import open as open_screen

KEYS = (PLATE, WELL, "Metadata_Timepoint")


@dataclass(frozen=True)
class AggregatorRequest:
    """What is to be learnt from.

    Attributes:
        runs: Run folders, with plate maps and profiles made.
        out: Weights to write, .safetensors; their card is written beside them.
        features: Names or patterns of the cells' columns to take; all that may tell of a
            phenotype by default.
        cells: Most cells taken of a well, at random.
        apart: Share of the compounds that is kept apart.
        schedule: How far and how fast.
        seed: Of everything random.
    """

    runs: tuple[Path, ...]
    out: Path
    features: tuple[str, ...] = ()
    cells: int = 200
    apart: float = 0.2
    schedule: SetSchedule = SetSchedule()
    seed: int = 0


@dataclass(frozen=True)
class Judged:
    """How well replicates find one another, on what was kept apart.

    Attributes:
        split: What that is.
        precision: Way ("mean", "median", "learned") -> mean average precision among the negative
            controls of the plate, and among its other compounds; NaN where there is none. Empty
            where no compound is kept apart.
        notes: Why numbers are missing, in sentences.
    """

    split: Split
    precision: dict[str, tuple[float, ...]]
    notes: tuple[str, ...] = ()


class _Taken(NamedTuple):
    """The wells of the runs, and cells of each."""

    wells: pl.DataFrame
    features: list[str]
    sets: Sets


def train_aggregator(request: AggregatorRequest) -> Iterator[TrainEvent | Judged]:
    """Teach an aggregator by the replicates of runs, and judge it.

    Yields:
        What `learn_sets` does, then `Judged`, which the card keeps as well.

    Raises:
        BadLabels: There are no replicates to learn from.
        BadModel: The runs' vectors are of other stains, or of the same in another order.
        BadRun: The runs differ, have no profiles yet, or their cells have no such feature.
        NoControls: A plate map marks no negative controls.
        UnknownName: A pattern matches no column.
    """
    if request.out.suffix != ".safetensors":
        raise BadRun(f"The aggregator would be {request.out}; expected a name NAME.safetensors.")
    screen = open_screen(request.runs)
    taken = _take(screen, request)
    split = split_wells(taken.wells, share=request.apart, seed=request.seed)
    has_vectors = any(name.startswith(EMBEDDING) for name in taken.features)
    settings = {run.name: run.facts.settings for run in screen.runs}
    stains = shared_stains(settings) if has_vectors else None
    lesson = SetLesson(
        taken.sets.at(split.taught),
        tuple(taken.features),
        embedder=screen.runs[0].facts.embedder if has_vectors else None,
        schedule=request.schedule,
        seed=request.seed,
        about={"runs": [run.name for run in screen.runs]},
    )
    yield from learn_sets(lesson, out=request.out)
    learned = load_aggregator(request.out)
    found = judge(taken.wells, taken.sets, split.judged, learned) if split.compounds else {}
    judged = Judged(split, found, tuple(_tell(split)))
    scores = {
        name: {text: None if x != x else x for text, x in zip(AGAINST, each, strict=True)}
        for name, each in judged.precision.items()
    }
    apart = {"compounds_apart": split.compounds, "plates_apart": split.plates}
    apart |= {"notes": judged.notes}
    about = dict(learned.card.about) | apart | {"mean_average_precision": scores}
    write_card(request.out, replace(learned.card, about=about, stains=stains))
    yield judged


def _tell(split: Split) -> Iterator[str]:
    if not split.compounds:
        yield (
            "There is no score: it takes two compounds with two usable wells of one dose each, one "
            "to learn from and one to keep apart. The aggregator was taught by all wells."
        )
    elif len(split.compounds) == 1:
        yield (
            f"Only {split.compounds[0]} is kept apart, so there is no score among compounds: that "
            "takes two. Keep a larger share apart (--apart)."
        )


def judge(
    wells: pl.DataFrame, sets: Sets, judged: PerWell, learned: SetAggregator
) -> dict[str, tuple[float, ...]]:
    """Ask how well the replicates of some wells find one another, by each way to summarise cells.

    Args:
        wells: Annotated wells, in the order of `sets`.
        sets: Their standardised cells.
        judged: Which of them to take.
        learned: The aggregator.
    """
    chosen = sets.at(judged)
    parts = np.split(chosen.cells, chosen.starts[1:-1])
    made = {"mean": lambda x: x.mean(0), "median": lambda x: np.median(x, 0), "learned": learned}
    keys = wells.filter(pl.Series(judged)).select(pl.col("^Metadata_.*$"))
    return {
        name: precisions_of(keys, np.stack([way(p) for p in parts])) for name, way in made.items()
    }


def _take(screen: Screen, request: AggregatorRequest) -> _Taken:
    """Read cells of every well with a compound or role, on the scale of their plate's controls."""
    wells = screen.wells.collect()
    if COMPOUND not in wells.columns or "Metadata_Role" not in wells.columns:
        raise BadRun(
            "The runs have no plate map with compounds and roles, and replicates are what an "
            "aggregator is taught by. Run them with --layout."
        )
    controls = wells.filter(is_role("negative"))
    if controls.is_empty():
        raise NoControls("No well is a negative control, whose cells set the scale of a plate.")
    treated_compounds(wells)
    cells = marked(screen.cells, exclude=True)
    features = _features(cells, request.features)
    scales = cell_scales(cells, features=features, controls=controls)
    _check_scaled(wells, scales)
    varies = np.all([scale.spread > 0 for scale in scales.values()], axis=0)
    features = [name for name, does in zip(features, varies, strict=True) if does]
    if not features:
        raise BadRun("No feature varies among the control cells of every plate; choose others.")
    scales = {plate: type(s)(s.centre[varies], s.spread[varies]) for plate, s in scales.items()}
    return _sample(screen, wells, features, scales, request)


def _check_scaled(wells: pl.DataFrame, scales: Scales) -> None:
    lacking = sorted(set(wells[PLATE]) - set(scales))
    if lacking:
        raise NoControls(
            f"{len(lacking)} plates have no cells of negative controls, which set a plate's scale: "
            f"{', '.join(lacking[:5])}. Mark controls there, or leave out the runs they are in."
        )


def _features(cells: pl.LazyFrame, patterns: Sequence[str]) -> list[str]:
    every = phenotype_features(feature_columns(cells))
    chosen = set(matching(every, patterns, table="cells") if patterns else every)
    if not chosen:
        raise BadRun("The cells have no feature that tells of a phenotype, and no embedding.")
    return [name for name in every if name in chosen]


def _sample(
    screen: Screen,
    wells: pl.DataFrame,
    features: list[str],
    scales: Scales,
    request: AggregatorRequest,
) -> _Taken:
    """Draw cells of every well; of the same well always the same ones."""
    keys = [name for name in KEYS if name in wells.columns]
    known = wells.filter(pl.col(COMPOUND).is_not_null() | is_role("negative"), ~is_role("empty"))
    known = known.select(pl.col("^Metadata_.*$")).with_row_index("well")
    places, parts = [], []
    for part in screen.parts():
        table = marked(part, exclude=True).select(*keys, *features)
        table = table.join(known.select(*keys, "well").lazy(), on=keys, how="inner").collect()
        values, is_usable = standardised(table, features=features, scales=scales)
        number = table["well"].to_numpy()
        for well in np.unique(number[is_usable]):
            rows = np.flatnonzero(is_usable & (number == well))
            random = np.random.default_rng([request.seed, int(well)])
            n = min(request.cells, len(rows))
            parts.append(values[np.sort(random.choice(rows, n, replace=False))])
            places.append(int(well))
    if not parts:
        raise BadLabels("No well with a compound has usable cells, so there is nothing to learn.")
    order = np.argsort(places)
    parts, chosen = [parts[i] for i in order], known[np.array(places)[order]]
    starts = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
    named = [name for name in TREATMENT if name in chosen.columns]
    is_control = is_well(chosen, is_role("negative"))
    labels = replicate_labels(chosen.select(named).rows(), is_control=is_control)
    plates = chosen[PLATE].rank("dense").to_numpy().astype(np.int64)
    sets = Sets(np.concatenate(parts), starts, labels, plates)
    return _Taken(chosen.drop("well"), features, sets)
