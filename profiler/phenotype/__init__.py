"""Profiles in, phenotypes out: clusters, maps, neighbours, mechanisms, kinds of cells, novelty."""

from profiler.phenotype.cluster import Clustering, Clusters, cluster
from profiler.phenotype.enrichment import enrichment
from profiler.phenotype.find import Phenotypes, find_phenotypes
from profiler.phenotype.map import umap_map
from profiler.phenotype.mechanism import Mechanisms, mechanisms
from profiler.phenotype.neighbours import neighbours
from profiler.phenotype.novelty import novelty
from profiler.phenotype.sentences import Note
from profiler.phenotype.settings import Settings
from profiler.phenotype.space import profile_space
from profiler.phenotype.subpopulations import Subpopulations, subpopulations

__all__ = [
    "Clustering",
    "Clusters",
    "Mechanisms",
    "Note",
    "Phenotypes",
    "Settings",
    "Subpopulations",
    "cluster",
    "enrichment",
    "find_phenotypes",
    "mechanisms",
    "neighbours",
    "novelty",
    "profile_space",
    "subpopulations",
    "umap_map",
]
