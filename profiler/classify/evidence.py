"""What of a class's logit a network's vectors hold, as a line that can be followed to pixels.

A classifier is linear in its columns, so a class's logit above the mean of all classes is a sum,
of which the columns of the embedding are one part and named features the other.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Bool, Float

from plates.errors import BadLayout, BadModel, BadRun, NoControls, UnknownName, lookup
from profiler.classify.gather import drawn
from profiler.classify.model import Model
from profiler.classify.predict import CLASS
from profiler.classify.scale import CLIP, Scale, on_scale, plate_scale
from profiler.phenotype.directions import separation
from profiler.profile.controls import is_role
from profiler.profile.features import EMBEDDING
from profiler.store.cell_keys import KEYS, TIMEPOINT
from profiler.store.classes import classes_path
from profiler.store.places import stored
from profiler.store.screen import Screen
from profiler.store.screen import open as open_screen
from profiler.store.tables import read_footer

PLATE, WELL = "Metadata_Plate", "Metadata_Well"
SAMPLE = 4_000  # cells of either side that say what the logit is made of
MOST_WELLS = 48  # those with the most cells of the class: a dozen cells are shown
MANY_CLIPPED = 0.01  # of the values: the line knows no clipping
HALF = 0.5


class ClassEvidence(NamedTuple):
    """A class as a line among a network's vectors, and the cells to ask about it.

    Attributes:
        name: The class.
        cells: Keys of its cells, all of one plate: those in the wells that have most of them, and
            in the plate's negative controls.
        timepoint: Theirs; None where the run has one.
        weights: Logits per unit of each number of the vector, on that plate's scale; 0 for one
            that the classifier does not go by.
        embedder: SHA-256 of the network.
        told: What a person should know of it, in sentences.
    """

    name: str
    cells: pl.DataFrame
    timepoint: int | None
    weights: Float[np.ndarray, " feature"]
    embedder: str
    told: tuple[str, ...]


class _Sides(NamedTuple):
    """Keys of the class's cells, and of control cells of other classes, on one plate."""

    plate: str
    own: pl.DataFrame
    others: pl.DataFrame


def class_evidence(
    out: Path, model: Model, name: str, *, timepoint: int | None = None
) -> ClassEvidence:
    """Find what the embedding says of a class, on the plate that has most of its cells.

    Args:
        out: The run folder; `profiler classify` has been through it with this classifier.
        model: The classifier.
        name: Of the class.
        timepoint: In a run over time; by default that of the hits, or else the last.

    Raises:
        UnknownName: There is no such class or time point.
        BadModel: The classifier goes by no embedding, or gives it no weight.
        BadRun: The run has no classes, those of another classifier, or no cell of this one.
        BadLayout: No plate map says which wells are controls.
        NoControls: No plate with cells of the class has control cells of other classes.
    """
    weights = _above_mean(model, name)
    is_seen = _embedded(model)
    screen, features = open_screen(out), model.card.features
    time = _time(screen, timepoint)
    sides = _sides(screen, model, name, time)
    every = screen.cells.filter(pl.col(PLATE) == sides.plate)
    scale = plate_scale(every, features=features)
    own, others = (_vectors(every, keys, scale, features) for keys in sides[1:])
    told = _tell(name, own * weights, others * weights, is_seen=is_seen)
    slope = np.divide(weights, scale.spread, out=np.zeros_like(weights), where=scale.spread > 0)
    line = _on_vectors(every, dict(zip(features, slope, strict=True)))
    if not line.any():
        raise BadModel(
            f"The classifier gives no weight to the embedding for {name!r} on plate {sides.plate}, "
            "so no pixels speak for it."
        )
    short = model.card.sha256[:12]
    about = f"Asked of classifier {short}, on plate {sides.plate}, which has most of its cells."
    notes = (about, *told, *_tell_clipped(own[:, is_seen]))
    return ClassEvidence(name, sides.own, time, line, str(model.card.embedder), notes)


def _above_mean(model: Model, name: str) -> Float[np.ndarray, " feature"]:
    """Weights of a class's logit less the mean of all classes that had examples."""
    number = {each: column for column, each in enumerate(model.card.classes)}
    column = lookup(number, kind="class of the classifier", name=name)
    linear = model.learnt.linear
    known = np.isfinite(linear.bias)
    return linear.weights[:, column] - linear.weights[:, known].mean(axis=1)


def _embedded(model: Model) -> Bool[np.ndarray, " feature"]:
    """Which of the classifier's columns are a network's."""
    is_seen = np.array([name.startswith(EMBEDDING) for name in model.card.features], bool)
    if not is_seen.any():
        raise BadModel(
            f"The classifier goes by {len(is_seen)} named features and no embedding, so no network "
            "and no pixels stand behind its classes. Train one on cells with vectors (profiler "
            "train classifier, on a run whose recipe has an [embed] model), or explain a compound."
        )
    return is_seen


def _time(screen: Screen, timepoint: int | None) -> int | None:
    times = screen.fields.select(pl.col(TIMEPOINT).unique().sort()).collect()[TIMEPOINT].to_list()
    if timepoint is not None and timepoint not in times:
        raise UnknownName(
            f"The run has no time point {timepoint}; it has {times[0]} to {times[-1]}."
        )
    if len(times) == 1:
        return None
    return timepoint or screen.facts.settings.get("hits", {}).get("timepoint") or times[-1]


def _sides(screen: Screen, model: Model, name: str, time: int | None) -> _Sides:
    classes = screen.cell_classes.select(*KEYS, CLASS)
    classes = classes if time is None else classes.filter(pl.col(TIMEPOINT) == time)
    _check_model(screen, model)
    counts = classes.filter(pl.col(CLASS) == name).group_by(PLATE, WELL).len().collect()
    controls = _controls(screen)
    counted = counts.join(controls, on=PLATE, how="semi").group_by(PLATE).agg(pl.col("len").sum())
    if not counts.height:
        raise BadRun(f"No cell of the run is of class {name!r}, so none can be shown.")
    if not counted.height:
        raise NoControls(
            f"The plates with cells of class {name!r} have no negative controls to hold them "
            "against. Mark them in the plate map (role negative)."
        )
    plate = counted.sort("len", PLATE, descending=[True, False])[PLATE][0]
    here = counts.filter(pl.col(PLATE) == plate).sort("len", WELL, descending=[True, False])
    most = here[WELL][:MOST_WELLS]
    held = controls.filter(pl.col(PLATE) == plate)[WELL]
    there = classes.filter(
        pl.col(PLATE) == plate, pl.col(WELL).is_in(pl.concat([most, held]).implode())
    )
    found = there.collect().sort(list(KEYS))
    own = found.filter(pl.col(CLASS) == name).drop(CLASS)
    others = found.filter(pl.col(CLASS) != name, pl.col(WELL).is_in(held.implode())).drop(CLASS)
    if not others.height:
        raise NoControls(
            f"No cell in the negative controls of plate {plate} is of another class than {name!r}: "
            "there is nothing to hold it against. Ask for another class."
        )
    return _Sides(plate, own, others)


def _controls(screen: Screen) -> pl.DataFrame:
    """Plate and well of the negative controls."""
    wells = screen.wells
    if "Metadata_Role" not in wells.collect_schema():
        raise BadLayout(
            "The run's wells have no Metadata_Role, so controls are not known. Run it again with a "
            "plate map (--layout)."
        )
    return wells.filter(is_role("negative")).select(PLATE, WELL).unique().collect()


def _check_model(screen: Screen, model: Model) -> None:
    """Refuse classes that another classifier gave; those of a run are all of one."""
    folder = screen.runs[0].folder
    made = read_footer(classes_path(folder, stored(folder)[0])).parameters["model"]
    if made != model.card.sha256:
        raise BadRun(
            f"The run's classes are of classifier {made[:12]}, and this one is "
            f"{model.card.sha256[:12]}. Give that one, or classify the run with this one."
        )


def _vectors(
    every: pl.LazyFrame, keys: pl.DataFrame, scale: Scale, features: list[str]
) -> Float[np.ndarray, "cell feature"]:
    """A sample of some cells on their plate's scale."""
    wells = keys[WELL].unique().implode()
    there = every.filter(pl.col(WELL).is_in(wells)).join(keys.lazy(), on=list(KEYS), how="semi")
    some = drawn(there, count=SAMPLE, seed=0).select(*KEYS, *features)
    held = some.collect(engine="streaming").sort(*KEYS)
    return on_scale(held, scale, features=features).vectors


def _on_vectors(cells: pl.LazyFrame, slope: dict[str, float]) -> Float[np.ndarray, " feature"]:
    columns = [name for name in cells.collect_schema() if name.startswith(EMBEDDING)]
    return np.array([slope.get(name, 0.0) for name in columns])


def _tell(
    name: str,
    own: Float[np.ndarray, "cell feature"],
    others: Float[np.ndarray, "other feature"],
    *,
    is_seen: Bool[np.ndarray, " feature"],
) -> Iterator[str]:
    """What the logits of both sides are made of; each column's part of them comes in."""
    seen, rest = (
        float(own[:, part].sum(axis=1).mean() - others[:, part].sum(axis=1).mean())
        for part in (is_seen, ~is_seen)
    )
    yield (
        f"The logit of {name!r} (above the mean of all classes) is {seen + rest:.1f} higher in its "
        f"cells than in control cells of other classes: {seen:+.1f} by the {is_seen.sum()} columns "
        f"of the embedding, {rest:+.1f} by {(~is_seen).sum()} other columns, which maps of pixels "
        "do not show."
    )
    if seen < HALF * (seen + rest):
        yield "Most of what speaks for the class is in those other columns."
    place = np.concatenate([own[:, is_seen].sum(axis=1), others[:, is_seen].sum(axis=1)])
    pairs = separation(place, np.arange(len(place)) < len(own))
    yield (
        f"By the embedding's part alone, a cell of the class lies further along than one of those "
        f"in {100 * pairs:.0f} of 100 pairs (chance is 50). The classes are the classifier's own: "
        "this says what they are made of, not whether they are right."
    )


def _tell_clipped(vectors: Float[np.ndarray, "cell feature"]) -> Iterator[str]:
    share = float((np.abs(vectors) >= CLIP).mean())
    if share > MANY_CLIPPED:
        yield (
            f"{share:.0%} of its cells' numbers lie beyond {CLIP:g} robust sds, where the "
            "classifier counts no further and the line does."
        )
