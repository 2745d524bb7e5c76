"""How many cells of each class a well has, and how new they are together."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from profiler.classify.labels import NOVEL
from profiler.classify.model import Model
from profiler.classify.predict import CLASS, NOVELTY, NOVELTY_P, OF
from profiler.classify.trust.novelty import LEVEL, Novelty, reference_score, well_novelty

WELL = ("Metadata_Plate", "Metadata_Well")
TIMEPOINT = "Metadata_Timepoint"
NOVELTIES = ("novelty", "novelty_p_value", "novelty_p_value_by_well")


class Tally(NamedTuple):
    """Cells counted.

    Attributes:
        wells: One row per well that has cells: its keys, `n_cells` (with a class),
            `n_unclassified`, and the columns `NOVELTIES`, null without novelty.
        names: The classes, and `NOVEL` where the classifier knows novelty.
        counts: Cells of each.
        probability: Mean probability of each class over the cells; NaN for `NOVEL`.
    """

    wells: pl.DataFrame
    names: tuple[str, ...]
    counts: Int[np.ndarray, "well part"]
    probability: Float[np.ndarray, "well part"]

    @property
    def totals(self) -> Int[np.ndarray, " well"]:
        """Cells with a class in every well."""
        return self.wells["n_cells"].to_numpy()


def tally(classes: pl.LazyFrame, model: Model, *, keys: Sequence[str] = WELL) -> Tally:
    """Count the cells of every well.

    Args:
        classes: The classes of the cells that count, streamed.
        model: The classifier that they are of.
        keys: Columns that name a well, and its time point where there are several.
    """
    names = model.card.classes
    has_class, is_new = pl.col(CLASS).is_not_null(), pl.col(NOVELTY_P) < LEVEL
    found = (
        classes.group_by(list(keys))
        .agg(
            has_class.sum().cast(pl.Int64).alias("n_cells"),
            (~has_class).sum().cast(pl.Int64).alias("n_unclassified"),
            *((pl.col(CLASS) == name).sum().cast(pl.Int64).alias(f"n {name}") for name in names),
            *(pl.col(OF + name).cast(pl.Float64).mean().alias(f"p {name}") for name in names),
            is_new.sum().cast(pl.Int64).alias("new"),
        )
        .collect(engine="streaming")
        .sort(list(keys))
    )
    counts, probability = (
        found.select(f"{what} {name}" for name in names).to_numpy() for what in ("n", "p")
    )
    wells = found.select(*keys, "n_cells", "n_unclassified")
    if model.learnt.odd is None:
        empty = [pl.lit(None, pl.Float64).alias(name) for name in NOVELTIES]
        return Tally(wells.with_columns(empty), tuple(names), counts, probability.astype(float))
    nothing = np.full((wells.height, 1), np.nan)
    return Tally(
        wells.join(_novelties(classes, model, keys=keys), on=list(keys), how="left"),
        (*names, NOVEL),
        np.concatenate([counts, found.select("new").to_numpy()], axis=1),
        np.concatenate([probability.astype(float), nothing], axis=1),
    )


def _novelties(classes: pl.LazyFrame, model: Model, *, keys: Sequence[str]) -> pl.DataFrame:
    """Test every well's cells together, a plate at a time."""
    odd = model.learnt.odd
    assert odd is not None
    reference, plate = reference_score(odd.reference), keys[0]
    rows = []
    for name in classes.select(pl.col(plate).unique().sort()).collect().to_series():
        own = classes.filter(pl.col(plate) == name, pl.col(NOVELTY).is_not_null())
        held = own.select(*keys, NOVELTY, NOVELTY_P).collect(engine="streaming")
        for key, cells in held.group_by(list(keys), maintain_order=True):
            values = (cells[column].to_numpy().astype(float) for column in (NOVELTY, NOVELTY_P))
            named = np.full(cells.height, "/".join(map(str, key)))
            test = well_novelty(Novelty(*values), named, reference, reference_wells=model.wells)
            rows.append((*key, *test.row(0)[2:3], *test.row(0)[4:]))
    schema = {name: classes.collect_schema()[name] for name in keys}
    return pl.DataFrame(rows, schema=schema | dict.fromkeys(NOVELTIES, pl.Float64), orient="row")
