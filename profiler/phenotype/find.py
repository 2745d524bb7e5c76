"""The whole stage: profiles, and perhaps cells, in; every table of phenotypes out."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from profiler.phenotype import sentences
from profiler.phenotype.cluster import CLUSTER, Clusters, cluster
from profiler.phenotype.counts import log_counts
from profiler.phenotype.enrichment import enrichment
from profiler.phenotype.map import NAMES, umap_map
from profiler.phenotype.mechanism import Mechanisms, mechanisms
from profiler.phenotype.neighbours import nearest_neighbours
from profiler.phenotype.novelty import novelty
from profiler.phenotype.sentences import Note
from profiler.phenotype.settings import Settings
from profiler.phenotype.space import Space, profile_space
from profiler.phenotype.subpopulations import subpopulations
from profiler.phenotype.treatments import find_treatments
from profiler.profile.controls import is_role
from profiler.profile.features import (
    feature_columns,
    free_of_rotation,
    phenotype_features,
    with_mean_textures,
)
from profiler.profile.labels import MECHANISM, find_labels
from profiler.profile.wells.aggregate import WELL
from profiler.profile.wells.compounds import check_wells

LEAST_WELLS = 20  # with a profile; fewer make neither clusters nor a map
LEAST_COMPOUNDS = 2


class Phenotypes(NamedTuple):
    """All tables of the stage, as docs/flow.md describes them; null where one was not made.

    Attributes:
        map: One row per well of the profiles: map, cluster, novelty.
        clusters: One row per cluster.
        enrichment: One row per cluster and label that has something in it.
        neighbours: One row per treatment and neighbour.
        subpopulations: One row per well and kind of cell.
        kinds: One row per kind of cell: what it looks like.
        mechanisms: One row per rule and treatment.
        accuracy: One row per rule, see `mechanism.accuracy`.
        notes: What was chosen, what was not made and why.
    """

    map: pl.DataFrame | None
    clusters: pl.DataFrame | None
    enrichment: pl.DataFrame | None
    neighbours: pl.DataFrame | None
    subpopulations: pl.DataFrame | None
    kinds: pl.DataFrame | None
    mechanisms: pl.DataFrame | None
    accuracy: pl.DataFrame | None
    notes: tuple[Note, ...]


def find_phenotypes(
    profiles: pl.DataFrame,
    *,
    features: Sequence[str] | None = None,
    cells: pl.LazyFrame | pl.DataFrame | None = None,
    cell_features: Sequence[str] | None = None,
    settings: Settings | None = None,
) -> Phenotypes:
    """Find phenotypes among wells and cells.

    Args:
        profiles: Annotated wells, one row each, normalised to the controls, in any order.
        features: Columns that make a profile; by default all that may speak for a phenotype.
        cells: One row per cell, in any order; without them there are no subpopulations.
        cell_features: As `features`, for cells; by default those of `features` they have, but
            for what says how a cell lies; textures as the mean of their four directions.
        settings: Seed, clusterings, labels.

    Returns:
        The tables that could be made, and a note for each that could not.

    Raises:
        BadLayout: A well occurs twice.
        UnknownName: A setting names what does not exist.
    """
    settings = settings or Settings()
    wells = _in_order(profiles)
    if features is None:
        features = phenotype_features(feature_columns(wells))
    labels = find_labels(wells, settings.labels)
    of_wells = _of_wells(wells, features, labels=labels, settings=settings)
    of_treatments = _of_treatments(wells, features, labels=labels, settings=settings)
    wanted = free_of_rotation(features) if cell_features is None else cell_features
    of_cells = _of_cells(cells, wells, wanted, settings=settings)
    named = of_treatments.named
    return Phenotypes(
        of_wells.map,
        of_wells.clusters,
        of_wells.enrichment,
        of_treatments.neighbours,
        of_cells.table,
        of_cells.kinds,
        named.table if named else None,
        named.accuracy if named else None,
        (*of_wells.notes, *of_treatments.notes, *of_cells.notes),
    )


class OfWells(NamedTuple):
    """What comes of comparing wells."""

    map: pl.DataFrame | None
    clusters: pl.DataFrame | None
    enrichment: pl.DataFrame | None
    notes: list[Note]


class OfTreatments(NamedTuple):
    """What comes of comparing treatments."""

    neighbours: pl.DataFrame | None
    named: Mechanisms | None
    notes: list[Note]


class OfCells(NamedTuple):
    """What comes of clustering cells."""

    table: pl.DataFrame | None
    kinds: pl.DataFrame | None
    notes: list[Note]


def _in_order(profiles: pl.DataFrame) -> pl.DataFrame:
    """Sort wells by plate and name, so that neither their order nor chance along it counts."""
    check_wells(profiles)
    return profiles.sort(WELL)


def _of_wells(
    wells: pl.DataFrame,
    features: Sequence[str],
    *,
    labels: Mapping[str, str],
    settings: Settings,
) -> OfWells:
    space = profile_space(wells, features=features)
    if len(space.rows) < LEAST_WELLS:
        return OfWells(None, None, None, [sentences.few_wells(len(space.rows), least=LEAST_WELLS)])
    found = cluster(wells, features=features, seed=settings.seed, how=settings.wells, space=space)
    table = _map(wells, space, found, mechanism=labels.get(MECHANISM), seed=settings.seed)
    enriched = enrichment(wells, clusters=found.labels, kinds=labels) if labels else None
    notes = sentences.of_clusters(found, method=settings.wells.method, has_labels=bool(labels))
    return OfWells(table, found.table, enriched, [*notes, *sentences.of_novelty(table)])


def _map(
    wells: pl.DataFrame, space: Space, found: Clusters, *, mechanism: str | None, seed: int
) -> pl.DataFrame:
    """Put the map, the cluster and the novelty of every well side by side."""
    place = np.full((wells.height, 2), np.nan)
    place[space.rows] = umap_map(space.points, seed=seed)
    known = pl.lit(value=False)
    if "Metadata_Role" in wells.columns:
        known |= is_role("negative") | is_role("positive")
    if mechanism is not None:
        known |= pl.col(mechanism).is_not_null()
    is_known = wells.select(known.alias("is known")).to_series().to_numpy()
    if len(is_known) != wells.height:  # a literal alone has one row
        is_known = np.full(wells.height, bool(is_known[0]))
    strange = novelty(
        space.points, is_known=is_known[space.rows], log_count=log_counts(wells)[space.rows]
    )
    numbered = strange.with_columns(pl.Series("row", space.rows, dtype=pl.UInt32))
    columns = [pl.Series(name, x, nan_to_null=True) for name, x in zip(NAMES, place.T, strict=True)]
    return (
        wells.select(WELL)
        .with_columns(*columns, found.labels.alias(CLUSTER))
        .with_row_index("row")
        .join(numbered, on="row", how="left", maintain_order="left")
        .drop("row")
    )


def _of_treatments(
    wells: pl.DataFrame,
    features: Sequence[str],
    *,
    labels: Mapping[str, str],
    settings: Settings,
) -> OfTreatments:
    if "Metadata_Compound" not in wells.columns:
        return OfTreatments(None, None, [sentences.no_compounds()])
    treatments = find_treatments(wells, features=features)
    n_compounds = len(np.unique(treatments.compound[treatments.has_profile]))
    if n_compounds < LEAST_COMPOUNDS:
        return OfTreatments(None, None, [sentences.few_compounds(n_compounds)])
    near = nearest_neighbours(treatments, n=settings.n_neighbours)
    if MECHANISM not in labels:
        return OfTreatments(near, None, [sentences.no_mechanisms()])
    named = mechanisms(wells, features=features, mechanism=labels[MECHANISM], seed=settings.seed)
    return OfTreatments(near, named, sentences.of_mechanisms(named))


def _of_cells(
    cells: pl.LazyFrame | pl.DataFrame | None,
    wells: pl.DataFrame,
    features: Sequence[str],
    *,
    settings: Settings,
) -> OfCells:
    if cells is None:
        return OfCells(None, None, [sentences.no_cells()])
    lazy = with_mean_textures(cells.lazy())
    schema = lazy.collect_schema()
    found = subpopulations(
        lazy,
        wells,
        features=[name for name in features if name in schema],
        seed=settings.seed,
        how=settings.cells,
    )
    notes = sentences.of_subpopulations(found)
    return OfCells(found.table, found.kinds, notes) if found.choice else OfCells(None, None, notes)
