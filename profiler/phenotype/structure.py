"""Whether clusters are clearer than those that the same method cuts out of one normal cloud."""

import numpy as np

from profiler.phenotype.choice import by_size, silhouettes
from profiler.phenotype.graph import Labels, Number
from profiler.phenotype.methods import Method
from profiler.phenotype.space import Points

N_CLOUDS = 49
FEW_CLOUDS = 19  # for many rows
MANY_ROWS = 2_000


def structure_p_value(
    points: Points, labels: Labels, *, method: Method, number: Number, seed: int
) -> float:
    """Test a partition against one normal distribution with the same spread along each axis.

    Args:
        points: On principal axes, so that a cloud with independent axes has the same covariance.
        labels: The partition.
        method: How it was made.
        number: The method's number that it was made with.
        seed: Decides the clouds.

    Returns:
        The share of clouds, this one among them, whose mean silhouette is as large; of
        49 clouds, or of 19 above 2,000 rows. The number is taken as given, though it was
        chosen on the same rows.

    Source:
        The null of SigClust (Liu, Hayes, Nobel & Marron 2008, JASA 103:1281), with the
        silhouette in place of the 2-means cluster index.
    """
    random = np.random.default_rng([seed, len(points)])
    spread = points.std(axis=0)

    def clearness(rows: Points, found: Labels) -> float:
        width = silhouettes(rows, found, seed=seed)
        return float(np.nanmean(width)) if np.isfinite(width).any() else -1.0

    observed = clearness(points, labels)
    n_clouds = N_CLOUDS if len(points) <= MANY_ROWS else FEW_CLOUDS
    as_clear = 1
    for _ in range(n_clouds):
        cloud = random.normal(size=points.shape) * spread
        found = by_size(method.prepare(cloud, seed=seed)(number))
        as_clear += clearness(cloud, found) >= observed
    return as_clear / (n_clouds + 1)
