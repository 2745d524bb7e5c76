"""What can be set of the stage."""

from collections.abc import Mapping
from dataclasses import dataclass

from profiler.phenotype.cluster import Clustering
from profiler.phenotype.neighbours import N_NEIGHBOURS
from profiler.phenotype.subpopulations import CELLS


@dataclass(frozen=True)
class Settings:
    """How phenotypes are looked for.

    Attributes:
        seed: Decides everything that is left to chance.
        wells: How wells are clustered.
        cells: How cells are.
        n_neighbours: Listed for each treatment.
        labels: From a kind of label to its column, for enrichment; "MOA" is also what
            mechanisms are predicted from. By default those in `profile.labels.USUAL_NAMES` that the
            plate map has.
    """

    seed: int = 0
    wells: Clustering = Clustering()
    cells: Clustering = CELLS
    n_neighbours: int = N_NEIGHBOURS
    labels: Mapping[str, str] | None = None
