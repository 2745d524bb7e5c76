"""Ways to cut points into clusters, each with one number that decides how many there are."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from profiler.phenotype.graph import Labels, Number, leiden
from profiler.phenotype.space import Points
from profiler.phenotype.threads import one_thread

NOISE = -1
STARTS = 3  # of k-means; the best counts
RESOLUTIONS = (0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
SIZES = (3, 5, 8, 12, 20, 30, 50)
MOST_MEANS = 20
LEAST_ROWS = 4  # per k-means cluster, on average


@dataclass(frozen=True)
class Method:
    """A clustering.

    Attributes:
        name: As recipes call it.
        parameter: What its number is called.
        grid: From the number of rows to the numbers that are tried.
        prepare: `(points, *, seed) -> fit`, where `fit(number)` labels the points.
    """

    name: str
    parameter: str
    grid: Callable[[int], tuple[Number, ...]]
    prepare: Callable[..., Callable[[Number], Labels]]


def kmeans(points: Points, *, seed: int) -> Callable[[Number], Labels]:
    """Prepare k-means: the number is that of clusters.

    It cuts a long cloud into pieces, and such cuts are stable: what it finds need not be apart.
    """
    from sklearn.cluster import KMeans  # scikit-learn takes a second to import

    def label(n_clusters: Number) -> Labels:
        model = KMeans(int(n_clusters), n_init=STARTS, random_state=seed)  # pyright: ignore
        with one_thread():
            return model.fit_predict(points).astype(np.int64)

    return label


def hdbscan(points: Points, *, seed: int) -> Callable[[Number], Labels]:
    """Prepare HDBSCAN: the number is the fewest rows of a cluster; no chance is in it."""
    from sklearn.cluster import HDBSCAN  # scikit-learn takes a second to import

    def label(min_cluster_size: Number) -> Labels:
        model = HDBSCAN(min_cluster_size=int(min_cluster_size), copy=True)  # pyright: ignore
        with one_thread():
            found = model.fit_predict(points).astype(np.int64)
        return np.where(found < 0, NOISE, found)

    return label


def _numbers_of_means(n_rows: int) -> tuple[Number, ...]:
    return tuple(range(2, min(MOST_MEANS, n_rows // LEAST_ROWS) + 1))


def _sizes(n_rows: int) -> tuple[Number, ...]:
    return tuple(size for size in SIZES if 2 * size <= n_rows)


METHODS: Mapping[str, Method] = {
    each.name: each
    for each in (
        Method("leiden", "resolution", lambda n_rows: RESOLUTIONS, leiden),
        Method("kmeans", "n_clusters", _numbers_of_means, kmeans),
        Method("hdbscan", "min_cluster_size", _sizes, hdbscan),
    )
}
