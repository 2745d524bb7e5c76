"""What was found, as tables: one row per cell shown, one per named feature."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from profiler.embed.explain.explainer import Explained
from profiler.explain.beside import Beside, cosines
from profiler.explain.candidates import Candidates
from profiler.explain.sides import CELL
from profiler.phenotype.direction_features import LEAST_ROWS, direction_features
from profiler.profile.features import PREFIXES

PER_CELL = (
    "share_inside", "share_of_mask", "coarse_inside", "coarse_mask",
    "without_cell", "without_surroundings", "missing",
)  # fmt: skip
PER_STAIN = ("emptied", "exchanged")


def cell_table(
    cells: Candidates,
    rows: Mapping[str, np.ndarray],
    found: Explained,
    *,
    stains: Sequence[str],
    place: np.ndarray,
    beside: Beside,
) -> pl.DataFrame:
    """Lay explained cells out.

    Args:
        cells: All candidates.
        rows: Kind of cell -> rows of the candidates, in the order of the explanations.
        found: What the network goes by.
        stains: Names of its channels.
        place: Of all candidates along the direction.
        beside: The cells most like each explained one.

    Returns:
        One row per cell: its keys, `kind`, `place`, the numbers of `Explained` under their names,
        those of a stain with its name behind (emptied_DNA), `share_DNA` (the stain's share of the
        attribution's absolute values), `nearest_controls` ("plate well site object") and their
        `nearest_cosines`; where labels were given, `nearest_labelled`, their `nearest_labels` and
        `nearest_labelled_cosines`.
    """
    order = np.concatenate(list(rows.values()))
    kinds = [kind for kind, those in rows.items() for _ in those]
    columns: dict[str, Any] = {"kind": kinds, "place": place[order]}
    columns |= {name: getattr(found, name) for name in PER_CELL}
    mass = np.abs(found.attribution).sum((1, 2))
    share = mass / np.maximum(mass.sum(1, keepdims=True), 1e-30)
    for number, stain in enumerate(stains):
        columns[f"share_{stain}"] = share[:, number]
        columns |= {f"{name}_{stain}": getattr(found, name)[:, number] for name in PER_STAIN}
    columns |= _nearest(beside)
    keys = cells.table[order.tolist()].select(*CELL, "Metadata_Timepoint")
    numbers = [
        pl.Series(name, values, nan_to_null=True)
        if isinstance(values, np.ndarray)
        else pl.Series(name, values)
        for name, values in columns.items()
    ]
    return keys.with_columns(numbers)


def _nearest(beside: Beside) -> dict[str, Any]:
    columns: dict[str, Any] = {
        "nearest_controls": beside.named(beside.controls),
        "nearest_cosines": cosines(beside.controls),
    }
    if beside.labelled is not None:
        columns |= {
            "nearest_labelled": beside.named(beside.labelled),
            "nearest_labels": beside.labels(beside.labelled),
            "nearest_labelled_cosines": cosines(beside.labelled),
        }
    kinds = {name: pl.Float64 if name.endswith("cosines") else pl.String for name in columns}
    return {
        name: pl.Series(name, list(values), pl.List(kinds[name]))
        for name, values in columns.items()
    }


def feature_table(cells: Candidates, place: np.ndarray, *, seed: int) -> pl.DataFrame:
    """Ask which named features go with the direction, among cells of a well and among wells.

    Args:
        cells: All candidates, with named features.
        place: Of each along the direction.
        seed: Of the permutations.

    Returns:
        One row per feature, sorted by across_cells, the strongest first: feature; across_cells,
        Spearman's correlation of all cells, which has no test, as cells of a well are alike;
        within_wells and q_within_wells, the same given the well: what else the direction is
        about, treatment left out; between_wells and q_between_wells, of wells' medians; n_cells.
        Null where it could not be asked: fewer than five wells, few values, no variation. No
        rows where cells have no named features.
    """
    features = [name for name in cells.table.columns if name.startswith(PREFIXES)]
    if not features or cells.table.height < LEAST_ROWS:
        return pl.DataFrame(schema=_FEATURES)
    table = cells.table.with_columns(pl.Series("well", cells.well), pl.Series("place", place))
    wells = table.group_by("well", maintain_order=True).agg(
        pl.col([*features, "place"]).cast(pl.Float64).median()
    )
    ask = partial(direction_features, features=features, seed=seed)
    across = ask(table, place, permutations=1)
    found = across.select("feature", across_cells="correlation", n_cells=pl.col("n_rows"))
    asked = {"within_wells": ask(table, place, given="well")}
    if wells.height >= LEAST_ROWS:
        asked["between_wells"] = ask(wells, wells["place"].to_numpy())
    for name, one in asked.items():
        columns = one.select(
            "feature", pl.col("correlation").alias(name), pl.col("q_value").alias(f"q_{name}")
        )
        found = found.join(columns, on="feature", how="left", maintain_order="left")
    lacking = [
        pl.lit(None, kind).alias(name) for name, kind in _FEATURES.items() if name not in found
    ]
    return found.with_columns(lacking).select(
        pl.col(name).cast(kind) for name, kind in _FEATURES.items()
    )


_FEATURES = {
    "feature": pl.String,
    "across_cells": pl.Float64,
    "within_wells": pl.Float64,
    "q_within_wells": pl.Float64,
    "between_wells": pl.Float64,
    "q_between_wells": pl.Float64,
    "n_cells": pl.Int64,
}
