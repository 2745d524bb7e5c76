"""Mechanism of action by the nearest neighbour, beside what cell counts alone would say."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import polars as pl
from jaxtyping import Bool, Int

from plates.errors import lookup
from profiler.phenotype.treatments import BATCH, KEYS, Treatments, cosines, find_treatments

N_SHUFFLES = 999
STATUS = {
    "ok": "the nearest neighbour has a mechanism",
    "tie": "the nearest neighbours are equally near and of several mechanisms: none is predicted",
    "no_profile": "the treatment has no profile",
    "no_neighbour": "no other treatment with a mechanism may be a neighbour",
}

Barred: TypeAlias = Bool[np.ndarray, "query treatment"]
Numbers: TypeAlias = Int[np.ndarray, " treatment"]


class Mechanisms(NamedTuple):
    """What `mechanisms` found.

    Attributes:
        table: As `mechanisms.parquet` in docs/flow.md, and `status`, a key of `STATUS`.
        accuracy: One row per rule, see `accuracy`.
    """

    table: pl.DataFrame
    accuracy: pl.DataFrame


def _same_compound(of: Treatments, rows: slice) -> Barred:
    return of.compound[rows, None] == of.compound


def _same_compound_or_batch(of: Treatments, rows: slice) -> Barred:
    barred = _same_compound(of, rows)
    members = of.table.select(pl.int_range(pl.len()).alias("treatment"), "batches")
    for (_,), group in members.explode("batches").drop_nulls().group_by("batches"):
        inside = np.zeros(len(of.unit), dtype=bool)
        inside[group["treatment"].to_numpy()] = True
        barred |= inside[rows, None] & inside
    return barred


RULES: Mapping[str, Callable[[Treatments, slice], Barred]] = {
    "not_same_compound": _same_compound,
    "not_same_compound_or_batch": _same_compound_or_batch,
}


def mechanisms(
    profiles: pl.DataFrame,
    *,
    features: Sequence[str],
    mechanism: str,
    batch: str = BATCH,
    rules: Sequence[str] | None = None,
    seed: int = 0,
) -> Mechanisms:
    """Predict every treatment's mechanism: that of the nearest profile of another compound.

    Args:
        profiles: Annotated wells, normalised to the controls.
        features: The columns that make a profile.
        mechanism: Column with the known mechanisms; null where none is known.
        batch: Column with the batch.
        rules: Names in `RULES`: which treatments may not be neighbours. By default the
            first, and the second where the table has batches.
        seed: Decides the shuffles of `accuracy`.

    Raises:
        UnknownName: A rule does not exist, or the table lacks the column of mechanisms, or
            that of batches though a rule needs it.
    """
    treatments = find_treatments(profiles, features=features, mechanism=mechanism, batch=batch)
    if rules is None:
        has_batches = batch in profiles.columns and profiles[batch].count() > 0
        rules = list(RULES)[: 1 + has_batches]
    if "not_same_compound_or_batch" in rules:
        lookup(profiles.schema, kind="column", name=batch)
    found = [predict(treatments, rule=rule) for rule in rules]
    judged = [accuracy(treatments, each, seed=seed) for each in found]
    table = pl.concat([each.table for each in found]).sort("rule", *KEYS)
    return Mechanisms(table, pl.concat(judged))


class Prediction(NamedTuple):
    """The predictions by one rule.

    Attributes:
        table: One row per treatment, see `predict`.
        nearest: The first of each treatment's nearest neighbours, -1 without.
        is_asked: Whether a right answer is among those that may be given.
    """

    table: pl.DataFrame
    nearest: Numbers
    is_asked: Bool[np.ndarray, " treatment"]


def predict(of: Treatments, *, rule: str) -> Prediction:
    """Predict by one rule.

    Args:
        of: Treatments, with known mechanisms.
        rule: A name in `RULES`.

    Returns:
        One row per treatment, sorted: Metadata_Compound, Metadata_Concentration, known,
        predicted, cosine (of the nearest neighbour), is_right (null where the mechanism is
        not known, or no treatment that may be a neighbour has it; else whether it is
        predicted), rule, predicted_by_count (the mechanism of the treatment nearest in cell
        count, among the same ones), status (a key of `STATUS`). Both predictions are null
        where the nearest tie and have several mechanisms.

    Raises:
        UnknownName: There is no such rule.
    """
    bar = lookup(RULES, kind="rule", name=rule)
    label, names = _numbered(of.table["known"])
    n = len(label)
    nearest, by_count = np.full((2, n), -1)
    predicted, cosine = np.full(n, -1), np.full(n, np.nan)
    is_asked, has_any = np.zeros((2, n), dtype=bool)
    for rows, alike, count in cosines(of):
        may_be = ~bar(of, rows) & (label >= 0) & of.has_profile
        has_any[rows] = may_be.any(axis=1)
        is_asked[rows] = (may_be & (label[rows, None] == label)).any(axis=1) & (label[rows] >= 0)
        nearest[rows], predicted[rows] = _of_nearest(np.where(may_be, alike, -np.inf), label)
        by_count[rows] = _of_nearest(np.where(may_be, count, -np.inf), label)[1]
        own = np.arange(nearest[rows].size)
        cosine[rows] = np.where(nearest[rows] >= 0, alike[own, nearest[rows]], np.nan)
    status = np.select(
        [~of.has_profile, ~has_any, predicted < 0], ["no_profile", "no_neighbour", "tie"], "ok"
    )
    table = of.table.select(
        *KEYS,
        "known",
        names.gather(_or_null(predicted)).alias("predicted"),
        pl.Series("cosine", cosine, nan_to_null=True),
        pl.when(pl.Series(is_asked)).then(pl.Series(predicted == label)).alias("is_right"),
        pl.lit(rule).alias("rule"),
        names.gather(_or_null(by_count)).alias("predicted_by_count"),
        pl.Series("status", status.tolist(), dtype=pl.String),
    )
    return Prediction(table, nearest, is_asked)


def _numbered(known: pl.Series) -> tuple[Numbers, pl.Series]:
    """Number the mechanisms in the order of their names; -1 where none is known."""
    names = known.drop_nulls().unique().sort()
    number = {name: i for i, name in enumerate(names)}
    return np.array([number.get(name, -1) for name in known], dtype=np.int64), names


def _or_null(numbers: Numbers) -> pl.Series:
    return pl.Series([int(i) if i >= 0 else None for i in numbers], dtype=pl.Int64)


def _of_nearest(likeness: np.ndarray, label: Numbers) -> tuple[Numbers, Numbers]:
    """Find the first of the nearest, and the mechanism of all of them; -1 for none."""
    if not likeness.shape[1]:
        return np.full(len(likeness), -1), np.full(len(likeness), -1)
    best = likeness.max(axis=1, keepdims=True)
    is_nearest = (likeness == best) & np.isfinite(best)
    nearest = np.where(is_nearest.any(axis=1), is_nearest.argmax(axis=1), -1)
    least = np.where(is_nearest, label, len(label)).min(axis=1)
    agree = np.where(is_nearest, label, -1).max(axis=1) == least
    return nearest, np.where((nearest >= 0) & agree, least, -1)


def accuracy(of: Treatments, by: Prediction, *, seed: int = 0) -> pl.DataFrame:
    """Score the predictions of a rule, beside cell counts and beside chance.

    Args:
        of: The treatments.
        by: Their predictions.
        seed: Decides the shuffles.

    Returns:
        One row: rule, n_treatments (those whose `is_right` is not null), n_right, accuracy,
        n_right_by_count, accuracy_by_count, chance: the mean accuracy when mechanisms are
        shuffled among compounds, and p_value: the share of 999 shuffles and of the order as
        it is that are as accurate. Compounds, not treatments, are shuffled: doses of a
        compound have their mechanism in common. Counts of a table without cell counts are null.
    """
    asked, table = by.is_asked, by.table
    scored = table.filter(pl.Series(asked))
    n = scored.height
    right = int(scored["is_right"].sum())
    has_counts = bool(np.isfinite(of.count).any())
    same = pl.col("predicted_by_count").eq_missing(pl.col("known"))
    by_count = int(scored.select(same.sum()).item()) if has_counts else None
    shuffled = _shuffled(of, by, seed=seed) if n else np.zeros(0)
    line = (
        table["rule"].first(),
        n,
        right,
        right / n if n else None,
        by_count,
        by_count / n if n and by_count is not None else None,
        float(shuffled.mean()) if n else None,
        float(((shuffled >= right / n).sum() + 1) / (N_SHUFFLES + 1)) if n else None,
    )
    return pl.DataFrame([line], schema=ACCURACY, orient="row")


ACCURACY = {"rule": pl.String, "n_treatments": pl.Int64, "n_right": pl.Int64}
ACCURACY |= {"accuracy": pl.Float64, "n_right_by_count": pl.Int64, "accuracy_by_count": pl.Float64}
ACCURACY |= {"chance": pl.Float64, "p_value": pl.Float64}


def _shuffled(of: Treatments, by: Prediction, *, seed: int) -> np.ndarray:
    """Accuracies with the mechanisms shuffled among compounds, the neighbours as they are."""
    known = of.table.select(KEYS[0], "known").drop_nulls("known")
    unit = known.unique(maintain_order=True)  # a compound of two mechanisms counts as two
    place = {row: i for i, row in enumerate(unit.iter_rows())}
    owner = np.array([place.get(row, -1) for row in of.table.select(KEYS[0], "known").iter_rows()])
    label = _numbered(unit["known"])[0]
    asked = np.flatnonzero(by.is_asked & (by.nearest >= 0))
    own, other = owner[asked], owner[by.nearest[asked]]
    random = np.random.default_rng([seed, len(label)])
    movable = np.unique(owner[by.is_asked])  # others have a mechanism that no one else has

    def right() -> int:
        shuffled = label.copy()
        shuffled[movable] = random.permutation(label[movable])
        return int((shuffled[own] == shuffled[other]).sum())

    return np.array([right() for _ in range(N_SHUFFLES)]) / by.is_asked.sum()
