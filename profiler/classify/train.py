"""From a table of labelled cells to a classifier on disk, and what is to be thought of it."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import polars as pl

from plates.errors import BadRecipe
from profiler.classify.gather import Gathered, gather
from profiler.classify.judge import COVERAGE, Scores, judge
from profiler.classify.labels import Labels, read_labels
from profiler.classify.learn import Learnt, learn, with_novelty
from profiler.classify.learned import learned_of
from profiler.classify.model import KIND, Card, Model, check_place, write_model
from profiler.classify.parts import level_to_hold_out
from profiler.classify.suspects import as_csv, last_name, name_of, write_list
from profiler.classify.trust.calibration import at_temperature
from profiler.classify.trust.conformal import needed
from profiler.classify.trust.label_errors import find_label_errors
from profiler.store.screen import open as open_screen

PACKAGES = ("plate-profiler", "numpy", "polars", "scikit-learn", "scipy")


@dataclass(frozen=True)
class TrainRequest:
    """What to learn from, and how.

    Attributes:
        labels: Table of labelled cells.
        runs: Whose cells they are; folders or addresses.
        out: The classifier to write, .safetensors.
        column: Of the labels; by default the only one besides the keys.
        features: Columns to use, names or patterns; by default all features and embeddings.
        balance: 0 for classes as frequent as their labels, 1 for equally frequent ones.
        is_mixed: Whether a test may have cells of one plate on both sides.
        seed: The same seed gives the same classifier.
    """

    labels: Path
    runs: Sequence[Path]
    out: Path
    column: str | None = None
    features: Sequence[str] = ()
    balance: float = 0.0
    is_mixed: bool = False
    seed: int = 0


class Doing(NamedTuple):
    """Something that takes a while begins."""

    what: str


class Trained(NamedTuple):
    """A classifier is on disk.

    Attributes:
        path: Where.
        scores: Of cells held out.
        suspects: Labels that the cells speak against: their keys, `Label`, `Instead`, and
            `Support` (0 where nothing speaks for the label), the most suspicious first.
        suspects_path: Where these are, as CSV.
        notes: What a person should know, in sentences.
    """

    path: Path
    scores: Scores
    suspects: pl.DataFrame
    suspects_path: Path
    notes: tuple[str, ...]


Event: TypeAlias = Doing | Trained


def train_classifier(request: TrainRequest) -> Iterator[Event]:
    """Learn a classifier of cells, judge it on cells held out, and write it.

    Yields:
        `Doing` before each long step, at last `Trained`.

    Raises:
        BadLabelTable: See `read_labels` and `rows_of`.
        SharedGroups: A test would have a plate on both sides; see `level_to_hold_out`.
        BadRecipe: A balance outside 0 to 1.
        BadModel: The name of the file, which may be another network's, or embeddings of several
            networks or orders of stains.
        BadRun: A run cannot be read, or differs from the others.
    """
    check_place(request.out)
    if not 0 <= request.balance <= 1:
        raise BadRecipe(f"The balance is {request.balance:g}; expected 0 (as labelled) to 1.")
    labels = read_labels(request.labels, column=request.column)
    screen = open_screen(request.runs)
    yield Doing("Reading cells")
    found = gather(screen, labels, patterns=request.features, seed=request.seed)
    level = level_to_hold_out(found.examples, classes=labels.classes, is_mixed=request.is_mixed)
    options = {"balance": request.balance, "seed": request.seed}
    yield Doing(f"Judging by {level} held out")
    scores = judge(found.examples, classes=labels.classes, level=level, **options)
    yield Doing("Learning from all labels")
    learnt = learn(found.examples, classes=len(labels.classes), **options)
    learnt = with_novelty(learnt, found.examples, around=found.around, seed=request.seed)
    learned = learned_of(found.cells, learnt, runs=[run.folder for run in screen.runs])
    suspects = _suspects(labels, found, learnt)
    text, last = as_csv(suspects), last_name(request.out)
    card = replace(_card(request, labels, found, learnt, scores), suspects=name_of(text))
    write_model(request.out, Model(card, learnt, _wells(found, learnt), learned))
    beside, kept = write_list(request.out, text, last=last)
    notes = (
        *_tell(request, labels, found, learnt),
        *tell_scores(scores),
        *([kept] if kept else []),
    )
    yield Trained(request.out, scores, suspects, beside, notes)


def tell_scores(scores: Scores) -> Iterator[str]:
    """Say how good a classifier is, and where the numbers are from."""
    yield (
        f"Held out by {scores.held_out} in {scores.folds} parts: F1 {scores.f1_weighted:.3f} "
        f"weighted, {scores.f1_macro:.3f} macro; {scores.accuracy:.1%} of cells right."
    )
    yield (
        f"Calibration error {scores.error:.3f} (before: {scores.error_before:.3f}); sets hold the "
        f"class of {scores.covered:.1%} of cells where {scores.coverage:.0%} is promised."
    )
    if scores.held_out == "cells":
        yield "Cells of one well were on both sides of the test: these scores are too good."
    if scores.unseen:
        yield f"{scores.unseen} cells were judged without their class being known: counted wrong."


def _tell(request: TrainRequest, labels: Labels, found: Gathered, learnt: Learnt) -> Iterator[str]:
    if labels.unlabelled:
        yield f"{labels.unlabelled} rows of {request.labels} have no label and are left out."
    yield from found.notes
    plates = np.unique(found.examples.plates)
    if len(plates) == 1:
        yield (
            f"All labels are of plate {plates[0]}: how well the classifier does on another plate, "
            "its scores do not say."
        )
    elif request.is_mixed:
        yield "Plates were on both sides of the test, as asked: scores are too good for a new one."
    counts = np.bincount(learnt.apart.labels, minlength=len(labels.classes))
    least = needed(COVERAGE)
    few = [name for name, n in zip(labels.classes, counts, strict=True) if n < least]
    if few:
        said = f"fewer than {least} labelled cells and will be in every set at {COVERAGE:.0%}"
        yield f"{len(few)} classes have {said}: {', '.join(few)}."
    if learnt.odd is None:
        yield "There are too few labels to say which cells are new."


def _card(
    request: TrainRequest, labels: Labels, found: Gathered, learnt: Learnt, scores: Scores
) -> Card:
    counts = np.bincount(found.examples.labels, minlength=len(labels.classes)).tolist()
    recall = scores.by_class.select("Class", "Recall").rows()
    kept = {name: value for name, value in scores._asdict().items() if name != "by_class"}
    return Card(
        kind=KIND,
        classes=list(labels.classes),
        features=found.features,
        embedder=found.embedder,
        examples=dict(zip(labels.classes, counts, strict=True)),
        plates=np.unique(found.examples.plates).tolist(),
        labels=hashlib.sha256(request.labels.read_bytes()).hexdigest(),
        strength=learnt.strength,
        balance=float(request.balance),
        temperature=learnt.temperature.value,
        seed=request.seed,
        scores=kept | {"recall": dict(recall)},
        packages={name: version(name) for name in PACKAGES},
        stains=list(found.stains) if found.stains else None,
    )


def _wells(found: Gathered, learnt: Learnt) -> np.ndarray:
    wells = np.unique(found.examples.wells, return_inverse=True)[1]
    return wells[learnt.odd.rows] if learnt.odd else np.zeros(0, int)


def _suspects(labels: Labels, found: Gathered, learnt: Learnt) -> pl.DataFrame:
    rows, codes = learnt.apart.rows, learnt.apart.labels
    names = np.array(labels.classes, dtype=object)
    if not len(rows):
        return found.cells.clear().with_columns(Label=pl.lit(""), Instead=pl.lit(""), Support=0.0)
    errors = find_label_errors(at_temperature(learnt.apart.logits, learnt.temperature), codes)
    return found.cells[rows[errors.cells]].with_columns(
        pl.Series("Label", names[codes[errors.cells]], dtype=pl.String),
        pl.Series("Instead", names[errors.instead], dtype=pl.String),
        pl.Series("Support", errors.support.round(4)),
    )
