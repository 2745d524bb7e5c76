"""What can be set of the stage, and how labels are recognised among the columns of a plate map."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from plates.errors import lookup
from profiler.phenotype.cluster import Clustering
from profiler.phenotype.enrichment import COMPOUND
from profiler.phenotype.neighbours import N_NEIGHBOURS
from profiler.phenotype.subpopulations import CELLS

MECHANISM, TARGET = "MOA", "target"
USUAL_NAMES = {  # kind of label -> how plate maps call its column, after `Metadata_`, in any case
    COMPOUND: ("compound",),
    MECHANISM: ("moa", "mechanism", "mechanism_of_action", "moas"),
    TARGET: ("target", "targets", "gene", "gene_target", "target_gene"),
}


@dataclass(frozen=True)
class Settings:
    """How phenotypes are looked for.

    Attributes:
        seed: Decides everything that is left to chance.
        wells: How wells are clustered.
        cells: How cells are.
        n_neighbours: Listed for each treatment.
        labels: From a kind of label to its column, for enrichment; "MOA" is also what
            mechanisms are predicted from. By default those in `USUAL_NAMES` that the plate map
            has.
    """

    seed: int = 0
    wells: Clustering = Clustering()
    cells: Clustering = CELLS
    n_neighbours: int = N_NEIGHBOURS
    labels: Mapping[str, str] | None = None


def find_labels(wells: pl.DataFrame, asked: Mapping[str, str] | None) -> dict[str, str]:
    """Find the columns that label wells with compounds, mechanisms and targets.

    Args:
        wells: Annotated wells.
        asked: From the kind to its column; by default the usual names are looked for.

    Returns:
        From the kind to its column, without columns that hold nothing.

    Raises:
        UnknownName: A column that was asked for is not there.
    """
    if asked is not None:
        for name in asked.values():
            lookup(wells.schema, kind="column", name=name)
        found = dict(asked)
    else:
        plain = {name.removeprefix("Metadata_").lower(): name for name in reversed(wells.columns)}
        found = {
            kind: next(plain[name] for name in names if name in plain)
            for kind, names in USUAL_NAMES.items()
            if any(name in plain for name in names)
        }
    return {kind: name for kind, name in found.items() if wells[name].null_count() < wells.height}
