"""Wells on a plane, like beside like: UMAP."""

import warnings

import numpy as np
from jaxtyping import Float, Int

from profiler.phenotype.space import Points
from profiler.phenotype.threads import one_thread

N_NEIGHBOURS = 15
LEAST_WELLS = 10  # fewer make no map
NAMES = ("UMAP_1", "UMAP_2")


def umap_map(
    points: Points, *, seed: int, n_neighbours: int = N_NEIGHBOURS, min_dist: float = 0.1
) -> Float[np.ndarray, "row 2"]:
    """Lay points out on a plane so that neighbours stay neighbours.

    Distances and empty room on the map mean little, and it is no evidence of clusters.

    Args:
        points: In an order of their own: chance follows the order.
        seed: Decides where points start and move; it also keeps UMAP to one thread.
        n_neighbours: As for UMAP; fewer where there are no more.
        min_dist: As for UMAP.

    Returns:
        Two coordinates of each point, centred; NaN for all of fewer than ten points, or
        where all points are the same.

    Source:
        McInnes, Healy & Melville 2018, arXiv:1802.03426, by umap-learn, to which
        tests/phenotype/test_map.py holds it. Its start is the plane of the first principal
        axes, which UMAP itself offers: spectral starts fail on graphs in several pieces.
    """
    if len(points) < LEAST_WELLS or not points.shape[1]:
        return np.full((len(points), 2), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of tensorflow, and of what a seed costs
        from umap import UMAP  # takes several seconds to import

        k = min(n_neighbours, len(points) - 1)
        model = UMAP(
            n_neighbors=k,
            # Given, as UMAP compares small tables pair by pair in Python, large ones roughly.
            precomputed_knn=_nearest(points, k),
            force_approximation_algorithm=True,
            min_dist=min_dist,
            init="pca" if points.shape[1] > 1 else "random",
            random_state=seed,
            n_jobs=1,
        )
        found = np.asarray(model.fit_transform(points), dtype=np.float64)
    return found - found.mean(axis=0)


def _nearest(
    points: Points, k: int
) -> tuple[Int[np.ndarray, "row near"], Float[np.ndarray, "row near"]]:
    """Find the rows nearest to each, itself the first, and how far they are."""
    from sklearn.neighbors import NearestNeighbors  # scikit-learn takes a second to import

    with one_thread():
        far, near = NearestNeighbors(n_neighbors=k).fit(points).kneighbors(points)
    return near, far.astype(np.float32)
