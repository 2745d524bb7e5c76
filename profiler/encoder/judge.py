"""An encoder held against the one that it began as, on cells that it did not learn from."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import polars as pl

from profiler.classify.judge import UNDEFINED
from profiler.classify.labels import LABEL
from profiler.classify.linear import fit_linear
from profiler.encoder.choose import JUDGED, PLATE, TAUGHT, USE, WELL, Chosen
from profiler.encoder.take import Taken
from profiler.hits.precision.apart import AGAINST, precisions_of
from profiler.store.cell_keys import TIMEPOINT

STRENGTH = 0.1  # scikit-learn's C, on standardised vectors
F1 = ("weighted F1", "macro F1")
PRECISION = tuple(f"mean average precision among {name}" for name in AGAINST)

Scores: TypeAlias = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Judged:
    """How good the vectors are of what was kept apart.

    Attributes:
        scores: "before" and "after" -> name of a score -> its value, NaN where there is none.
            Empty where nothing was kept apart.
        apart: Compounds, plates or wells that were.
        notes: What a person should know, in sentences.
    """

    scores: Scores
    apart: tuple[str, ...]
    notes: tuple[str, ...] = ()


def by_labels(cells: pl.DataFrame, vectors: np.ndarray) -> dict[str, float]:
    """F1 of logistic regression on vectors, taught on the cells learnt from, on those kept apart.

    Args:
        cells: With `LABEL` and `USE`.
        vectors: A row for each.
    """
    from sklearn.metrics import f1_score  # takes a second to import

    known = cells.with_row_index("row").filter(pl.col(LABEL).is_not_null())
    classes = known[LABEL].unique().sort()
    labels = known[LABEL].replace_strict(dict(zip(classes, range(len(classes)), strict=True)))
    own, codes = vectors[known["row"].to_numpy()], labels.to_numpy().astype(np.int64)
    taught, judged = (known[USE].to_numpy() == use for use in (TAUGHT, JUDGED))
    spread = own[taught].std(axis=0)
    scaled = (own - own[taught].mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    model = fit_linear(scaled[taught], codes[taught], classes=len(classes), strength=STRENGTH)
    said = model.logits(scaled[judged]).argmax(axis=1)
    ways = ("weighted", "macro")
    found = [f1_score(codes[judged], said, average=way, **UNDEFINED) for way in ways]
    return dict(zip(F1, map(float, found), strict=True))


def by_wells(cells: pl.DataFrame, vectors: np.ndarray, wells: pl.DataFrame) -> dict[str, float]:
    """How well replicates of wells kept apart find one another by the means of their cells.

    Args:
        cells: With `USE`.
        vectors: A row for each.
        wells: Of the plate map, those that judge.
    """
    keys = [name for name in (PLATE, WELL, TIMEPOINT) if name in wells.columns]
    names = [f"v{i}" for i in range(vectors.shape[1])]
    table = cells.select(PLATE, WELL, TIMEPOINT, USE).hstack(pl.DataFrame(vectors, schema=names))
    means = table.filter(pl.col(USE) == JUDGED).group_by(keys).agg(pl.col(names).mean())
    there = wells.join(means, on=keys, how="inner", maintain_order="left")
    found = precisions_of(there.drop(names), there.select(names).to_numpy())
    return dict(zip(PRECISION, found, strict=True))


def judge(chosen: Chosen, taken: Taken, *, before: np.ndarray, after: np.ndarray) -> Judged:
    """Score the encoder, and the one that it began as.

    Args:
        chosen: What was kept apart.
        taken: The cells, in rows.
        before: Vectors of the one that it began as, a row for each cell.
        after: Its own.
    """
    judges, notes = taken.cells.filter(pl.col(USE) == JUDGED), (*chosen.notes, *taken.lost)
    if not judges.height:
        none = "There is no score: none of the cells kept apart has its crop within the field."
        return Judged({}, (), (*notes, none) if (chosen.cells[USE] == JUDGED).any() else notes)
    ways = {"before": before, "after": after}
    if chosen.wells is not None:
        wells = chosen.wells
        scores = {name: by_wells(taken.cells, way, wells) for name, way in ways.items()}
        return Judged(scores, chosen.compounds, notes)
    plates = judges[PLATE].unique().sort().to_list()
    is_by_plate = not set(plates) & set(taken.cells.filter(pl.col(USE) == TAUGHT)[PLATE])
    wells = judges.select(pl.concat_str(PLATE, WELL, separator=" ")).to_series().unique().sort()
    scores = {name: by_labels(taken.cells, way) for name, way in ways.items()}
    return Judged(scores, tuple(plates if is_by_plate else wells.to_list()), notes)
