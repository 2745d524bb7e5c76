"""`profiler train encoder`: from the cells of runs to an encoder that knows them, in order."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import polars as pl
from flax import nnx

from plates.errors import BadLabels, BadModel, BadRecipe, lookup
from profiler.classify.labels import LABEL, Labels
from profiler.compute.devices import keep_compiled_programs
from profiler.compute.reread import Reader, Source, field_reader
from profiler.embed.network.build import SIZES, Model, build, with_classes
from profiler.embed.network.config import ModelConfig
from profiler.embed.predict import make_look
from profiler.embed.training.augment import AugmentConfig
from profiler.embed.training.begun import check_begun
from profiler.embed.training.checks import check_settings
from profiler.embed.training.events import TrainEvent
from profiler.embed.training.examples import Examples, check_labels
from profiler.embed.training.learn import Lesson, learn
from profiler.embed.training.objectives import OBJECTIVES, ObjectiveConfig
from profiler.embed.training.step import Schedule, Task
from profiler.embed.training.thaw import check_thaw
from profiler.embed.weights import check_name, check_stains, load_model, save_model
from profiler.encoder.choose import (
    CELL,
    PLATE,
    TAUGHT,
    USE,
    Chosen,
    Draw,
    check_taught,
    choose_by_wells,
    choose_labelled,
    counts_of,
)
from profiler.encoder.judge import Judged, judge
from profiler.encoder.take import Read, Taken, take_crops
from profiler.recipe import Recipe, parse_recipe
from profiler.store.run import FACTS, Run
from profiler.store.screen import open as open_screen

TEMPERATURE = {"supcon": 0.1, "dino": 0.1}  # of those that want it lower than usual
BALANCE = 0.5  # of labels: controls are many, some classes few


@dataclass(frozen=True)
class EncoderRequest:
    """What is to be learnt from.

    Attributes:
        runs: Run folders; their images must still be where the runs read them.
        out: Weights to write, .safetensors; their card is written beside them.
        labels: Of cells, by a person.
        by: Columns of the plate map that label the cells of a well, such as Metadata_Compound.
            Neither labels nor columns: cells are told apart by themselves.
        start: An encoder to go on from, by name or file; or a name of `network.build.SIZES`, to
            begin from nothing.
        objective: Of `OBJECTIVES`; by default "supcon" where there are labels, else "simclr".
        cells: Most cells taken of a well and time point, besides those that a person labelled.
        apart: Share that is kept apart to judge by: of the compounds, or of the plates or wells
            that have labelled cells.
        schedule: How far and how fast; by `frozen` or `thaw` the new head learns before the
            encoder does.
        seed: Of everything random.
        replace: Whether an encoder that is there goes.
    """

    runs: tuple[Path, ...]
    out: Path
    labels: Labels | None = None
    by: tuple[str, ...] = ()
    start: str = "cells"
    objective: str | None = None
    cells: int = 20
    apart: float = 0.2
    schedule: Schedule = Schedule(steps=1_000, batch=128, learning_rate=1e-3, save_every=100)
    seed: int = 0
    replace: bool = False


class Teaching(NamedTuple):
    """What is about to be read: said before hours of work.

    Attributes:
        objective: What is learnt.
        stains: What the encoder sees, in its order.
        cells: How many are learnt from.
        labels: Label -> how many of them have it; empty where labels play no part.
        apart: How many cells judge.
        notes: What a person should know, in sentences.
    """

    objective: str
    stains: tuple[str, ...]
    cells: int
    labels: dict[str, int]
    apart: int
    notes: tuple[str, ...]


class _Start(NamedTuple):
    """The encoder that learns.

    Attributes:
        model: Its weights.
        config: What it is.
        about: Where it comes from, for the card of what it becomes.
    """

    model: Model
    config: ModelConfig
    about: dict[str, Any]


Event: TypeAlias = Teaching | Read | TrainEvent | Judged


def train_encoder(request: EncoderRequest) -> Iterator[Event]:
    """Teach an encoder with the cells of runs, and hold it against the one that it began as.

    An interrupted training goes on when started again, once the fields are read.

    Yields:
        `Teaching`, `Read` for every field, what `learn` tells, and `Judged`, which the card keeps.

    Raises:
        BadLabels: There is nothing to learn from: too few labels or cells.
        BadModel: `out` is no .safetensors file or there already, or beside it is the checkpoint of
            another training; or the encoder to go on from cannot be used, or was trained on other
            stains.
        BadPlate: Images are gone or changed.
        BadRecipe: What is asked for contradicts itself, there is nothing to thaw, runs differ in
            their stains, or the crops' pixel size is needed.
        BadRun: A run lacks labelled cells, or its images give other cells now.
        Diverged: The loss is no longer finite.
        UnknownName: There is no such encoder, objective or column.
    """
    name = _check(request)
    keep_compiled_programs()
    screen = open_screen(list(request.runs))
    start = _start(request)
    thaw, frozen = request.schedule.thaw, request.schedule.frozen
    check_thaw(thaw, nnx.state(start.model, nnx.Param), frozen=frozen)
    names = [run.name for run in screen.runs]
    recipes = {run.name: _recipe(run) for run in screen.runs}
    stains = _stains(recipes, start.config, request.start)
    readers = _readers(screen.runs, recipes, start, stains)
    draw = Draw(request.cells, request.apart, request.seed)
    chosen = (
        choose_by_wells(screen, request.by, draw)
        if request.labels is None
        else choose_labelled(screen, request.labels, draw)
    )
    chosen = chosen._replace(notes=(*chosen.notes, *_doubts(request, start, chosen, names)))
    teaching = _teaching(chosen, name, stains)
    task, drawn = _task(request, name, chosen), _key(chosen)
    # Projections are of all stains' vectors together; the backbone still serves any of them.
    pupil = start._replace(config=replace(start.config, stains=stains))
    check_begun(pupil.model, pupil.config, task, drawn=drawn, out=request.out)
    yield teaching
    taken = yield from take_crops(chosen.cells, readers)
    before = _look(start, taken)
    about = start.about | {"runs": sorted(names), "stains_seen": list(stains)}
    yield from _learn(request, pupil._replace(about=about), taken, task=task, drawn=drawn)
    after, config, card = load_model(request.out)
    after.head, config = None, replace(config, classes=(), stains=start.config.stains)
    # Judging takes a while, and what is there if it is interrupted serves any stains, too.
    save_model(request.out, after, config, about=card.about)
    judged = judge(chosen, taken, before=before, after=_look(_Start(after, config, {}), taken))
    save_model(request.out, after, config, about=dict(card.about) | _told(judged))
    yield judged


def _check(request: EncoderRequest) -> str:
    """Refuse what contradicts itself, before anything is read, and name the objective."""
    check_name(request.out)
    if request.out.exists() and not request.replace:
        raise BadModel(
            f"{request.out} is there already. Choose another --out, or use --replace; nothing was "
            "done."
        )
    if request.labels is not None and request.by:
        raise BadRecipe("Labels are of cells or of wells: give --labels or --by, not both.")
    has_labels = request.labels is not None or bool(request.by)
    name = request.objective or ("supcon" if has_labels else "simclr")
    objective = lookup(OBJECTIVES, kind="objective", name=name)
    if has_labels and not objective.uses_labels:
        raise BadRecipe(
            f"The objective {name!r} takes no labels. Leave out --labels and --by, or learn by "
            "'supcon' or 'cross_entropy'."
        )
    if objective.needs_labels and not has_labels:
        raise BadRecipe(
            f"The objective {name!r} learns from labels: give --by Metadata_Compound, or --labels "
            "with a table of cells; or learn by 'simclr'."
        )
    # `learn` does so as well, but only once all fields are read.
    check_settings(ObjectiveConfig(name), request.schedule, AugmentConfig(), objective=objective)
    if not 0 < request.apart < 1:
        raise BadRecipe(f"Found --apart {request.apart:g}; expected a share above 0 and below 1.")
    if request.labels is None and request.cells < 1:
        raise BadLabels("No cell would be taken of any well: expected --cells of 1 or more.")
    _check_stages(request)
    return name


def _check_stages(request: EncoderRequest) -> None:
    """Refuse a head that is to learn alone, where that would be for nothing."""
    schedule = request.schedule
    first, *inwards = schedule.starts
    if request.start in SIZES and max(schedule.starts) > 0:
        raise BadRecipe(
            f"{request.start!r} begins from nothing: there is nothing in its encoder to keep while "
            "the head learns alone. Leave out --freeze, or go on from an encoder (--from)."
        )
    begins = min(inwards, default=first)
    if begins >= schedule.steps:
        raise BadRecipe(
            f"The encoder would begin to learn at step {begins} of {schedule.steps}, so its head "
            "alone would learn, which is taken off at the end. Freeze it for fewer steps "
            "(--freeze), or take more (--steps)."
        )


def _start(request: EncoderRequest) -> _Start:
    if request.start in SIZES:
        config = ModelConfig(SIZES[request.start])
        model = build(config, rngs=nnx.Rngs(request.seed))
        return _Start(model, config, {"started_from": f"{request.start}, untrained"})
    model, config, card = load_model(request.start)
    model.head = None
    about = {"name": card.name, "sha256": card.sha256, "about": dict(card.about)}
    return _Start(model, replace(config, classes=()), {"started_from": about})


def _recipe(run: Run) -> Recipe:
    return parse_recipe(dict(run.facts.settings), where=str(run.folder / FACTS))


def _stains(recipes: dict[str, Recipe], config: ModelConfig, name: str) -> tuple[str, ...]:
    """The stains that the encoder sees, which all runs must have in one order."""
    seen = {
        run: config.stains or recipe.embed.channels or tuple(recipe.images.channels)
        for run, recipe in recipes.items()
    }
    first, *others = seen.items()
    for run, stains in others:
        if stains != first[1]:
            raise BadRecipe(
                f"{first[0]} has the stains {', '.join(first[1])}, and {run} {', '.join(stains)}. "
                "An encoder learns from one set of stains at a time: give runs that share theirs."
            )
    for recipe in recipes.values():
        if set(first[1]) - set(recipe.images.channels):
            check_stains(config, tuple(recipe.images.channels), name=name)
    return tuple(first[1])


def _readers(
    runs: tuple[Run, ...], recipes: dict[str, Recipe], start: _Start, stains: tuple[str, ...]
) -> dict[str, Reader]:
    """Plate -> what reads its fields."""
    readers = {}
    crops = start.config.crops
    for run in runs:
        recipe = recipes[run.name]
        told = recipe.embed.pixel_size_um
        sizes = {plate: told or run.facts.pixel_sizes.get(plate) for plate in run.facts.plates}
        unknown = [plate for plate, size in sizes.items() if size is None]
        if crops.pixel_size_um is not None and unknown:
            raise BadRecipe(
                f"The encoder's crops have {crops.pixel_size_um:g} um per pixel, and how large the "
                f"pixels of plate {unknown[0]} are is neither in the run's recipe ([embed] "
                "pixel_size_um) nor in its run.json, which keeps what the microscope said. Put it "
                "into the recipe and run the plate again."
            )
        read = field_reader(Source(run.folder, recipe, stains, crops, sizes))
        readers |= dict.fromkeys(run.facts.plates, read)
    return readers


def _teaching(chosen: Chosen, name: str, stains: tuple[str, ...]) -> Teaching:
    taught = int((chosen.cells[USE] == TAUGHT).sum())
    if taught < 2:
        raise BadLabels(
            f"{taught} cells are left to learn from, of those that lie whole within a field that "
            "is believed. Take more of each well (--cells), or more wells."
        )
    if OBJECTIVES[name].needs_labels:
        own = chosen.cells.filter(pl.col(USE) == TAUGHT)
        check_labels(*_coded(own))
    labels = dict(counts_of(chosen.cells)) if OBJECTIVES[name].uses_labels else {}
    apart = chosen.cells.height - taught
    return Teaching(name, stains, taught, labels, apart, chosen.notes)


def _task(request: EncoderRequest, name: str, chosen: Chosen) -> Task:
    """All settings that a step depends on."""
    has_labels = (chosen.cells[USE] == TAUGHT) & chosen.cells[LABEL].is_not_null()
    asked = ObjectiveConfig(name, balance=BALANCE if has_labels.any() else 0.0)
    asked = replace(asked, temperature=TEMPERATURE.get(name, asked.temperature))
    return Task(asked, request.schedule, AugmentConfig(), request.seed)


def _key(chosen: Chosen) -> str:
    """Hash of which cells are learnt from, and of their labels."""
    own = chosen.cells.filter(pl.col(USE) == TAUGHT)
    codes, _ = _coded(own)  # what a label is called plays no part
    text = own.select(*CELL, pl.Series(LABEL, codes)).write_csv()
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _doubts(
    request: EncoderRequest, start: _Start, chosen: Chosen, names: Sequence[str]
) -> Iterator[str]:
    """Say what makes the teaching, or its scores, less than they seem."""
    taught, batch = int((chosen.cells[USE] == TAUGHT).sum()), request.schedule.batch
    if taught < batch and not chosen.cells[LABEL].count():
        yield (
            f"{taught} cells to learn from are fewer than a batch of {batch}, so that a cell comes "
            "several times in each, where all are to be told apart. Take more cells (--cells), or "
            "smaller batches (--batch)."
        )
    began = start.about["started_from"]
    runs = [] if isinstance(began, str) else began["about"].get("runs")
    if isinstance(runs, list) and (again := sorted(set(names) & set(map(str, runs)))):
        yield (
            f"{request.start} has learnt from {', '.join(again)} before, perhaps what is kept "
            "apart now: that would flatter the scores, before and after."
        )


def _told(judged: Judged) -> dict[str, Any]:
    """What the card keeps; JSON has no NaN."""
    scores = {
        way: {name: None if x != x else x for name, x in found.items()}
        for way, found in judged.scores.items()
    }
    return {"scores": scores, "kept_apart": list(judged.apart), "notes": list(judged.notes)}


def _look(start: _Start, taken: Taken) -> np.ndarray:
    return make_look(start.model, start.config)(taken.crops).vectors.astype(np.float64)


def _learn(
    request: EncoderRequest, start: _Start, taken: Taken, *, task: Task, drawn: str
) -> Iterator[TrainEvent]:
    own = taken.cells.filter(pl.col(USE) == TAUGHT)
    if own.height < 2:
        raise BadLabels(
            f"{own.height} of the cells that were read can be learnt from: crops of "
            f"{start.config.crops.side} pixels reach beyond the field. Take an encoder of smaller "
            "crops."
        )
    if request.labels is not None or request.by:
        check_taught(own, what="cells whose crops lie within the field and")
    codes, classes = _coded(own)
    # A colon would make the plate's name one of several microscopes.
    groups = own[PLATE].str.replace_all(":", "_", literal=True).to_numpy().astype(str)
    # Those that are learnt from come first: a view, where a choice of rows would copy gigabytes.
    examples = Examples(taken.crops[: own.height], codes, groups)
    model, config = start.model, start.config
    if OBJECTIVES[task.objective.name].needs_labels:
        rngs = nnx.Rngs(task.seed)
        model, config = with_classes(model, config, classes=classes, rngs=rngs)
    by = list(request.by) or ("cells" if request.labels is not None else None)
    asked = (task.objective, task.schedule, task.augment, task.seed)
    lesson = Lesson(examples, *asked, about=start.about | {"by": by}, drawn=drawn)
    yield from learn(model, config, lesson, out=request.out)


def _coded(cells: pl.DataFrame) -> tuple[np.ndarray, tuple[str, ...]]:
    """The place of each cell's label among the names, -1 without one; and the names."""
    classes = tuple(cells[LABEL].drop_nulls().unique().sort())
    places = {name: i for i, name in enumerate(classes)}
    codes = cells[LABEL].replace_strict(places, default=-1, return_dtype=pl.Int32)
    return codes.to_numpy().astype(np.int32), classes
