"""Communities of a graph that joins every point to its nearest neighbours."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from profiler.phenotype.space import Points
from profiler.phenotype.threads import one_thread

N_NEIGHBOURS = 15
N_ITERATIONS = 4  # each starts from what the one before has found
RANDOMNESS = 0.001  # the package's own

Number: TypeAlias = int | float  # that decides how many clusters there are
Labels: TypeAlias = Int[np.ndarray, " row"]  # 0 or more; -1 is noise


def leiden(
    points: Points, *, seed: int, n_neighbours: int = N_NEIGHBOURS
) -> Callable[[Number], Labels]:
    """Prepare Leiden clustering: the graph is made once for all resolutions.

    Args:
        points: At least two.
        seed: Decides the order in which nodes are visited.
        n_neighbours: To whom a point is joined; fewer where there are no more.

    Returns:
        A function of the resolution that labels the points; more clusters the higher it is.

    Source:
        Traag, Waltman & van Eck 2019, Scientific Reports 9:5233, by graspologic, on the graph
        of Levine et al. 2015, Cell 162:184 (PhenoGraph).
    """
    from graspologic_native import leiden as communities  # pyright: ignore

    ends, weights = shared_neighbours(points, n_neighbours=n_neighbours)
    names = [str(i) for i in range(len(points))]
    edges = [
        (names[a], names[b], weight)
        for (a, b), weight in zip(ends.tolist(), weights.tolist(), strict=True)
    ]

    def label(resolution: Number) -> Labels:
        _, found = communities(
            edges=edges,
            starting_communities=None,
            resolution=float(resolution),
            randomness=RANDOMNESS,
            iterations=N_ITERATIONS,
            use_modularity=True,
            seed=seed,
        )
        return np.array([found[name] for name in names], dtype=np.int64)

    return label


def shared_neighbours(
    points: Points, *, n_neighbours: int = N_NEIGHBOURS
) -> tuple[Int[np.ndarray, "edge 2"], Float[np.ndarray, " edge"]]:
    """Join every point to its neighbours, by how many neighbours both have in common.

    Returns:
        The two ends of each edge, and the Jaccard index of their neighbourhoods, above 0
        always, as a neighbourhood has its own point in it.
    """
    from sklearn.neighbors import NearestNeighbors  # scikit-learn takes a second to import

    n_points = len(points)
    k = min(n_neighbours, n_points - 1)
    with one_thread():
        near = NearestNeighbors(n_neighbors=k).fit(points).kneighbors_graph()
    joined = near + near.T
    around = (near + sparse.eye_array(n_points)).tocsr()
    ends = sparse.triu(joined, k=1).tocoo()
    shared = np.asarray((around[ends.row].multiply(around[ends.col])).sum(axis=1)).ravel()
    weights = shared / (2 * (k + 1) - shared)
    return np.column_stack([ends.row, ends.col]).astype(np.int64), weights
