"""Kinds of cells, how many of each a well has, and whether that differs from the controls."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Float

from plates.errors import lookup
from profiler.phenotype.cell_space import NAME, CellSpace, fit_cell_space, pieces
from profiler.phenotype.choice import Choice, choose
from profiler.phenotype.cluster import Clustering, most_deviating
from profiler.phenotype.graph import Labels
from profiler.phenotype.methods import METHODS, NOISE
from profiler.phenotype.shift import deviation_p_values, plain, shares_apart
from profiler.phenotype.space import Points
from profiler.profile.controls import is_role
from profiler.profile.fdr import q_values
from profiler.profile.wells.aggregate import WELL

CELLS = Clustering("kmeans", tuple(range(2, 11)), n_resamples=10, most_rows=10_000)
PART = "subpopulation"
LEAST_CELLS = 100  # sampled, with a profile
HALF = 0.5  # a cell, added to each count so that its logarithm exists


class Subpopulations(NamedTuple):
    """What `subpopulations` found.

    Attributes:
        table: As `subpopulations.parquet` in docs/flow.md; no rows without a plate that
            has control cells, or with too few cells.
        kinds: One row per subpopulation: subpopulation, n_sampled (cells it was found by),
            stability, and the most deviating features with their medians z, in robust
            standard deviations of the control cells.
        choice: How many subpopulations; null where there is no row.
        n_left_out: Cells in no subpopulation: without profile, noise, or on a plate
            without control cells.
        features: Those that vary among the control cells of every plate.
        method: How they were clustered.
    """

    table: pl.DataFrame
    kinds: pl.DataFrame
    choice: Choice | None
    n_left_out: int
    features: list[str]
    method: str


class Anchors(NamedTuple):
    """Points whose nearest decides what a cell is: centres of clusters, or clustered cells."""

    points: Points
    labels: Labels


def subpopulations(
    cells: pl.LazyFrame | pl.DataFrame,
    wells: pl.DataFrame,
    *,
    features: Sequence[str],
    seed: int = 0,
    how: Clustering = CELLS,
) -> Subpopulations:
    """Cluster cells, count the kinds in every well, and test each share against the controls.

    A lazy table is streamed, three times, and never held: memory is the sample, about
    `how.most_rows` cells, once in its own type and three times in float64, and for each of
    polars' threads a batch of 100,000 cells at most and 200 MiB.

    Args:
        cells: One row per cell, named by plate, well, site and object number.
        wells: Annotated wells: Metadata_Plate, Metadata_Well, Metadata_Role.
        features: Columns that make a cell's profile.
        seed: Decides sample and clusters.
        how: Method, and how many cells are clustered; see `choice.choose` for the number.

    Returns:
        One row per well with cells and subpopulation, sorted: Metadata_Plate, Metadata_Well,
        subpopulation (from 1, the largest first), n_cells, share (of the well's cells in any),
        expected_share (mean of the plate's control wells; for one of these, of the others),
        log2_ratio of both, half a cell added to each count, p_value and q_value (see
        `shift.deviation_p_values`; q among wells that are no controls, null for those), and
        p_value_by_count: the same test on the number of cells in the well.

    Raises:
        UnknownName: The method, or a column that names cells, does not exist.
    """
    method = lookup(METHODS, kind="clustering", name=how.method)
    lazy = cells.lazy()
    known = _wells_with_cells(lazy, wells)
    n_cells = int(known["n_cells"].sum())
    space = fit_cell_space(lazy, known, features=features, n_cells=how.most_rows, seed=seed)
    points = space.points
    if len(points) < LEAST_CELLS:
        none, kinds = pl.DataFrame(schema=COLUMNS), pl.DataFrame(schema=KINDS)
        return Subpopulations(none, kinds, None, n_cells, space.features, how.method)
    choice = choose(
        points,
        method,
        seed=seed,
        numbers=how.numbers,
        least_clusters=2,
        n_resamples=how.n_resamples,
    )
    anchors = _anchors(points, choice.best.labels, is_compact=how.method == "kmeans")
    counts = _count(lazy, known, space=space, anchors=anchors, n_parts=choice.best.n_clusters)
    table = _shifts(known, counts)
    n_left_out = n_cells - int(counts.sum())
    kinds = _describe(space, choice)
    return Subpopulations(table, kinds, choice, n_left_out, space.features, how.method)


COLUMNS = {"Metadata_Plate": pl.String, "Metadata_Well": pl.String, PART: pl.Int64}
COLUMNS |= {"n_cells": pl.Int64, "share": pl.Float64, "expected_share": pl.Float64}
COLUMNS |= {"log2_ratio": pl.Float64, "p_value": pl.Float64, "q_value": pl.Float64}
COLUMNS |= {"p_value_by_count": pl.Float64}


KINDS = {PART: pl.Int64, "n_sampled": pl.Int64, "stability": pl.Float64}
KINDS |= {"features": pl.List(pl.String), "z": pl.List(pl.Float64)}


def _describe(space: CellSpace, choice: Choice) -> pl.DataFrame:
    lines = []
    for i, stability in enumerate(choice.best.of_cluster):
        inside = choice.best.labels == i
        found = most_deviating(space.scaled[inside], space.features, spread=space.spread)
        lines.append((i + 1, int(inside.sum()), float(stability), *found))
    return pl.DataFrame(lines, schema=KINDS, orient="row")


def _wells_with_cells(cells: pl.LazyFrame, wells: pl.DataFrame) -> pl.DataFrame:
    schema = cells.collect_schema()
    for name in NAME:
        lookup(schema, kind="column of cells", name=name)
    found = cells.group_by(WELL).agg(pl.len().cast(pl.Int64).alias("n_cells"))
    control = is_role("negative") if "Metadata_Role" in wells.columns else pl.lit(value=False)
    roles = wells.select(*WELL, control.alias("is_control")).unique(WELL)
    joined = found.collect(engine="streaming").join(roles, on=WELL, how="left")
    return joined.with_columns(pl.col("is_control").fill_null(value=False)).sort(WELL)


def _anchors(points: Points, labels: Labels, *, is_compact: bool) -> Anchors:
    if not is_compact:
        return Anchors(points, labels)
    numbers = np.unique(labels)
    return Anchors(np.array([points[labels == i].mean(axis=0) for i in numbers]), numbers)


def _count(
    cells: pl.LazyFrame, wells: pl.DataFrame, *, space: CellSpace, anchors: Anchors, n_parts: int
) -> np.ndarray:
    """Count the cells of every well and subpopulation, streaming."""
    from sklearn.metrics import pairwise_distances_argmin  # scikit-learn takes a second to import

    def label(batch: pl.DataFrame) -> pl.DataFrame:
        labels = np.full(batch.height, NOISE)
        for rows, is_whole, points in pieces(batch, space):
            if len(points):
                nearest = pairwise_distances_argmin(points, anchors.points)
                labels[rows][is_whole] = anchors.labels[nearest]
        return batch.select(WELL).with_columns(pl.Series(PART, labels, dtype=pl.Int64))

    schema = cells.collect_schema()
    kinds = {name: schema[name] for name in WELL} | {PART: pl.Int64}
    found = (
        cells.select(*WELL, *space.features)
        .map_batches(label, streamable=True, schema=pl.Schema(kinds))
        .group_by(*WELL, PART)
        .agg(pl.len().cast(pl.Int64).alias("n"))
        .collect(engine="streaming")
        .filter(pl.col(PART) != NOISE)
    )
    numbered = wells.select(WELL).with_row_index("row")
    placed = found.join(numbered, on=WELL, how="inner")
    counts = np.zeros((wells.height, n_parts), dtype=np.int64)
    counts[placed["row"].to_numpy(), placed[PART].to_numpy()] = placed["n"].to_numpy()
    return counts


def _shifts(wells: pl.DataFrame, counts: np.ndarray) -> pl.DataFrame:
    """Hold the counts of every well against those of its plate's controls."""
    n_wells, n_parts = counts.shape
    plate = wells["Metadata_Plate"].rank("dense").to_numpy().astype(np.int64) - 1
    is_control = wells["is_control"].to_numpy()
    total = counts.sum(axis=1, keepdims=True)
    against = {"plate": plate, "is_control": is_control}
    p_value = deviation_p_values(shares_apart(counts), **against)
    logarithm = np.log2(np.maximum(wells["n_cells"].to_numpy(), 1))[:, None]
    by_count = deviation_p_values(plain(logarithm), **against)
    asked = np.where(is_control[:, None], np.nan, p_value)
    share = np.where(total > 0, counts / np.maximum(total, 1), np.nan)
    rounded = (counts + HALF) / (total + 2 * HALF)
    ratio = np.log2(rounded / _expected(rounded, total[:, 0] > 0, **against))
    expected = _expected(share, total[:, 0] > 0, **against)
    numbers = {
        "n_cells": counts,
        "share": share,
        "expected_share": expected,
        "log2_ratio": np.where(total > 0, ratio, np.nan),
        "p_value": p_value,
        "q_value": q_values(asked.ravel()).to_numpy(),
        "p_value_by_count": np.repeat(by_count, n_parts, axis=1),
    }
    keys = wells.select(pl.col(WELL).repeat_by(n_parts).explode())
    parts = pl.Series(PART, np.tile(np.arange(1, n_parts + 1), n_wells), dtype=pl.Int64)
    columns = [pl.Series(name, x.ravel(), nan_to_null=True) for name, x in numbers.items()]
    return keys.with_columns(parts, *columns).select(*COLUMNS)


def _expected(
    share: Float[np.ndarray, "well part"],
    has_cells: np.ndarray,
    *,
    plate: np.ndarray,
    is_control: np.ndarray,
) -> Float[np.ndarray, "well part"]:
    """Mean share of the plate's control wells, a control itself left out; NaN without."""
    member = (is_control & has_cells)[:, None]
    summed = np.zeros((plate.max(initial=0) + 1, share.shape[1]))
    number = np.zeros((len(summed), 1))
    np.add.at(summed, plate, np.where(member, share, 0.0))
    np.add.at(number, plate, member.astype(float))
    others, n_others = summed[plate] - np.where(member, share, 0.0), number[plate] - member
    with np.errstate(invalid="ignore"):
        return np.where(n_others > 0, others / np.maximum(n_others, 1), np.nan)
