"""What a classifier says of cells: their class, how sure, what else, and how new they are."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from plates.errors import BadModel, BadRecipe
from profiler.classify.learned import Seen
from profiler.classify.model import Model
from profiler.classify.scale import Scale, on_scale
from profiler.classify.trust.calibration import at_temperature
from profiler.classify.trust.conformal import Conformal, fit_conformal, prediction_sets
from profiler.classify.trust.novelty import cell_novelty
from profiler.classify.trust.shapes import Logits, PerCell, Probabilities, Sets, Vectors
from profiler.classify.trust.whole import odd_scores
from profiler.profile.features import EMBEDDING
from profiler.profile.stains import Stains, check_stains

CLASS, PROBABILITY, SET = "Class", "Class_Probability", "Class_Set"
NOVELTY, NOVELTY_P = "Novelty", "Novelty_p_value"
OF = "Probability_"  # and the class's name
MOST_NAMES = 5


class Judge(NamedTuple):
    """A classifier that is ready to judge cells.

    Attributes:
        model: It.
        conformal: What its sets are made by.
    """

    model: Model
    conformal: Conformal


class Said(NamedTuple):
    """What was said of cells with a profile: one row each.

    Attributes:
        probabilities: Calibrated.
        sets: Which classes each may be.
        novelty: From 0, amid the known, to 1; null without novelty.
        p_value: Share of known cells as odd.
    """

    probabilities: Probabilities
    sets: Sets
    novelty: PerCell | None
    p_value: PerCell | None


def judge_of(model: Model, *, coverage: float) -> Judge:
    """Make a classifier ready.

    Args:
        model: From `read_model`.
        coverage: Share of cells whose set is to hold their class, between 0 and 1.

    Raises:
        BadRecipe: Another coverage.
    """
    if not 0 < coverage < 1:
        raise BadRecipe(
            f"The coverage is {coverage:g}; expected a share between 0 and 1, such as 0.9."
        )
    apart = model.learnt.apart
    if not len(apart.labels):
        classes = len(model.card.classes)
        every = Conformal(np.full(classes, np.inf), coverage, np.zeros(classes, int))
        return Judge(model, every)
    probabilities = at_temperature(apart.logits, model.learnt.temperature)
    return Judge(model, fit_conformal(probabilities, apart.labels, coverage=coverage))


def check_fits(
    model: Model,
    columns: Sequence[str],
    *,
    embedder: str | None,
    stains: Stains | None,
    where: str,
) -> None:
    """Check that cells have what a classifier judges by.

    Args:
        model: The classifier.
        columns: Of the cells.
        embedder: Hash of the network whose vectors they have, as their file says.
        stains: Those of the vectors, as `stains_of` the run's settings; not compared where the run
            or the classifier's card does not tell.
        where: The file, for the message.

    Raises:
        BadModel: Columns are missing, or vectors are of another network, of other stains, or of
            the same in another order.
    """
    there = set(columns)
    missing = [name for name in model.card.features if name not in there]
    if missing:
        more = f" and {len(missing) - MOST_NAMES} more" if len(missing) > MOST_NAMES else ""
        raise BadModel(
            f"{where} lacks {len(missing)} of the {len(model.card.features)} columns that the "
            f"classifier judges by: {', '.join(missing[:MOST_NAMES])}{more}. It was made by "
            "another recipe: run with the one that the labelled cells were made by, or train on "
            "cells of this one."
        )
    if not has_vectors(model):
        return
    if embedder != model.card.embedder:
        raise BadModel(
            f"{where} has embeddings of network {_short(embedder)}, and the classifier was trained "
            f"on those of {_short(model.card.embedder)}. Run with the same [embed] model, or train "
            "on cells of this one."
        )
    check_stains(model.card.stains, stains, what="the classifier", where=where)


def has_vectors(model: Model) -> bool:
    """Whether a classifier judges by columns of a network."""
    return any(name.startswith(EMBEDDING) for name in model.card.features)


def say(judge: Judge, vectors: Vectors, *, seen: Seen | None = None) -> Said:
    """Judge cells.

    Args:
        judge: From `judge_of`.
        vectors: On their plate's scale, in the order of the card's features.
        seen: Which of them the classifier learned from: of these, it says what was said while
            they were held apart. None for cells that are all new to it.
    """
    learnt = judge.model.learnt
    logits = learnt.linear.logits(vectors)
    if seen:
        logits = _apart(logits, learnt.apart.logits, seen.apart)
    probabilities = at_temperature(logits, learnt.temperature)
    sets = prediction_sets(probabilities, judge.conformal)
    return Said(probabilities, sets, *_novelty(judge, vectors, logits, seen))


def classes_of(
    cells: pl.DataFrame, judge: Judge, scale: Scale, *, seen: Seen | None = None
) -> pl.DataFrame:
    """Judge the cells of a plate.

    Args:
        cells: With the classifier's features, in any order.
        judge: From `judge_of`.
        scale: How the cells of the plate vary, in the order of the card's features.
        seen: As for `say`.

    Returns:
        One row per cell: `Class`, `Class_Probability`, `Class_Set`, one `Probability_` per class,
        `Novelty` and `Novelty_p_value`; null for a cell of which fewer than half of the features
        are defined, and the last two where the classifier knows no novelty.
    """
    scaled = on_scale(cells, scale, features=judge.model.card.features)
    own = Seen(*(each[scaled.has_profile] for each in seen)) if seen else None
    said = say(judge, scaled.vectors[scaled.has_profile], seen=own)
    names = judge.model.card.classes
    first = np.array(names, dtype=object)[said.probabilities.argmax(axis=1)]
    columns = {CLASS: pl.Series(first, dtype=pl.String)}
    columns |= {PROBABILITY: pl.Series(said.probabilities.max(axis=1), dtype=pl.Float32)}
    columns |= {SET: _set_names(said.sets, names)}
    columns |= {
        OF + name: pl.Series(column, dtype=pl.Float32)
        for name, column in zip(names, said.probabilities.T, strict=True)
    }
    for name, values in ((NOVELTY, said.novelty), (NOVELTY_P, said.p_value)):
        known = [None] * len(first) if values is None else values
        columns[name] = pl.Series(known, dtype=pl.Float32)
    return _in_place(pl.DataFrame(columns), scaled.has_profile)


def _novelty(
    judge: Judge, vectors: Vectors, logits: Logits, seen: Seen | None
) -> tuple[PerCell | None, PerCell | None]:
    odd = judge.model.learnt.odd
    if odd is None:
        return None, None
    classes = len(judge.model.card.classes)
    scores = odd_scores(vectors, logits, odd.places, classes=classes)
    if seen:
        known = odd.reference
        scores = {name: _apart(own, known[name], seen.odd) for name, own in scores.items()}
    found = cell_novelty(scores, odd.reference)
    return found.score, found.p_value


def _apart(said: np.ndarray, apart: np.ndarray, places: np.ndarray) -> np.ndarray:
    """What is said of cells, replaced by what was said apart where there is such."""
    found = said.copy()
    found[places >= 0] = apart[places[places >= 0]]
    return found


def _set_names(sets: Sets, names: Sequence[str]) -> pl.Series:
    members = [
        pl.when(pl.Series(column)).then(pl.lit(name))
        for name, column in zip(names, sets.T, strict=True)
    ]
    listed = pl.concat_list(members).list.drop_nulls().alias(SET)
    rows = pl.DataFrame({"row": np.arange(len(sets))})
    return rows.select(listed).to_series().cast(pl.List(pl.String))


def _in_place(found: pl.DataFrame, is_judged: np.ndarray) -> pl.DataFrame:
    """Give every cell its row; those that were not judged have nulls."""
    row = np.full(len(is_judged), -1)
    row[is_judged] = np.arange(found.height)
    index = pl.Series(row, dtype=pl.Int64)
    return found.select(pl.all().gather(index.set(index < 0, None)))


def _short(embedder: str | None) -> str:
    return embedder[:12] if embedder else "unknown"
