"""How many clusters: the most that all come back when a fifth of the rows is left out."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import polars as pl
from jaxtyping import Float

from profiler.phenotype.graph import Labels, Number
from profiler.phenotype.methods import NOISE, Method
from profiler.phenotype.space import Points

LEAST_STABILITY = 0.75  # Hennig 2007: below it, a cluster is a doubtful pattern
SHARE = 0.8  # of the rows, in each subsample
N_RESAMPLES = 20
MOST_SILHOUETTES = 5_000  # rows; of more, a sample
LEVEL = 1e-9  # coordinates nearer than this, relative to the largest, are the same

Several: TypeAlias = Sequence[np.ndarray]  # labels or rows, one array for each subsample


class Candidate(NamedTuple):
    """One number that was tried.

    Attributes:
        number: The method's; null for the single cluster that is always a candidate.
        labels: What it gives for all rows.
        n_clusters: Noise is none.
        agreement: Mean adjusted Rand index between the clusters of a subsample and those
            of all rows, over the rows of the subsample.
        of_cluster: The stability of each cluster: its mean largest Jaccard index with a
            cluster of a subsample, over the rows of the subsample.
    """

    number: Number | None
    labels: Labels
    n_clusters: int
    agreement: float
    of_cluster: Float[np.ndarray, " cluster"]

    @property
    def stability(self) -> float:
        """That of the least stable cluster; 0 without one."""
        return float(self.of_cluster.min()) if len(self.of_cluster) else 0.0


class Choice(NamedTuple):
    """The partition chosen, and what it was chosen from.

    Attributes:
        best: The candidate chosen; its clusters are numbered from 0, the largest first.
        is_stable: Whether it reaches the stability asked for.
        tried: One row per candidate: number, n_clusters, stability, agreement, is_chosen.
    """

    best: Candidate
    is_stable: bool
    tried: pl.DataFrame


def choose(
    points: Points,
    method: Method,
    *,
    seed: int,
    numbers: Sequence[Number] | None = None,
    least_clusters: int = 1,
    n_resamples: int = N_RESAMPLES,
) -> Choice:
    """Cluster points, with the largest number of clusters that is stable.

    Args:
        points: In an order of their own, as chance follows the order.
        method: How to cluster.
        seed: Decides all that is left to chance.
        numbers: What to try; the method's own grid by default.
        least_clusters: Fewer are not chosen if there is a choice.
        n_resamples: Subsamples, each of 80% of the rows, without replacement.

    Returns:
        Of the candidates whose least stable cluster has 0.75 or more, that with the most
        clusters, and of these the most stable; if none has, the most stable of all; the
        first of the grid among equals. One cluster of all rows is always a candidate, of
        stability 1. Where more than half of the clusters are single rows there is none: a
        row alone always comes back. The adjusted Rand index is told, but does not decide: it hardly
        notices when one of many clusters is cut in two.

    Source:
        Hennig 2007, Comput Stat Data Anal 52:258, for the stability of a cluster and its
        level; the rule, most clusters of which the worst is above a level, is that of
        Tibshirani & Walther 2005, J Comput Graph Stat 14:511.
    """
    found = [_single(len(points))]
    if len(points) >= 2 and _varies(points):
        found += _candidates(points, method, seed=seed, numbers=numbers, n_resamples=n_resamples)
    whole = [each for each in found if not _crumbles(each)] or found
    enough = [each for each in whole if each.n_clusters >= least_clusters] or whole
    stable = [each for each in enough if each.stability >= LEAST_STABILITY]
    most = max((each.n_clusters for each in stable), default=0)
    best = max(
        [each for each in stable if each.n_clusters == most] or enough,
        key=lambda each: each.stability,
    )
    return Choice(best, bool(stable), _tell(found, best))


def _crumbles(candidate: Candidate) -> bool:
    sizes = np.bincount(candidate.labels[candidate.labels != NOISE])
    return 2 * int((sizes == 1).sum()) > len(sizes)


def _single(n_rows: int) -> Candidate:
    return Candidate(None, np.zeros(n_rows, np.int64), min(n_rows, 1), 1.0, np.ones(min(n_rows, 1)))


def _varies(points: Points) -> bool:
    size = np.abs(points).max(initial=0.0)
    return bool((np.ptp(points, axis=0) > LEVEL * size).any())


def _candidates(
    points: Points,
    method: Method,
    *,
    seed: int,
    numbers: Sequence[Number] | None,
    n_resamples: int,
) -> list[Candidate]:
    grid = method.grid(len(points)) if numbers is None else tuple(numbers)
    random = np.random.default_rng([seed, len(points)])
    size = max(2, round(SHARE * len(points)))
    subsamples = [
        np.sort(random.choice(len(points), size, replace=False)) for _ in range(n_resamples)
    ]
    fit = method.prepare(points, seed=seed)
    again = [[] for _ in grid]
    for rows in subsamples:
        refit = method.prepare(points[rows], seed=seed)  # once for the whole grid
        for of_number, number in zip(again, grid, strict=True):
            of_number.append(refit(min(number, len(rows))))
    return [
        _judge(number, by_size(fit(number)), subsamples=subsamples, again=of_number)
        for number, of_number in zip(grid, again, strict=True)
    ]


def _judge(number: Number, labels: Labels, *, subsamples: Several, again: Several) -> Candidate:
    from sklearn.metrics import adjusted_rand_score  # scikit-learn takes a second to import

    n_clusters = int(labels.max(initial=NOISE)) + 1
    pairs = [(labels[rows], other) for rows, other in zip(subsamples, again, strict=True)]
    agreement = float(np.mean([adjusted_rand_score(*pair) for pair in pairs]))
    overlap = np.array([_largest_jaccard(*pair, n_clusters) for pair in pairs])
    n_seen = np.isfinite(overlap).sum(axis=0)
    mean = np.nansum(overlap, axis=0) / np.where(n_seen > 0, n_seen, np.nan)
    return Candidate(number, labels, n_clusters, agreement, np.nan_to_num(mean))


def _largest_jaccard(
    labels: Labels, other: Labels, n_clusters: int
) -> Float[np.ndarray, " cluster"]:
    """Find for each cluster the likest of the others; NaN where it has no row here."""
    n_others = int(other.max(initial=NOISE)) + 1
    table = np.zeros((n_clusters + 1, n_others + 1))
    np.add.at(table, (labels, other), 1)  # noise, -1, is the last of both
    union = table.sum(axis=1, keepdims=True) + table.sum(axis=0, keepdims=True) - table
    is_here = table.sum(axis=1)[:n_clusters] > 0
    share = (table / np.maximum(union, 1))[:n_clusters, :n_others].max(axis=1, initial=0.0)
    return np.where(is_here, share, np.nan)


def by_size(labels: Labels) -> Labels:
    """Number clusters from 0, the largest first, equals by their first row; noise stays."""
    old, first, size = np.unique(labels, return_index=True, return_counts=True)
    is_cluster = old != NOISE
    old, first, size = old[is_cluster], first[is_cluster], size[is_cluster]
    new = np.full(int(labels.max(initial=0)) + 2, NOISE)  # the last is noise's
    new[old[np.lexsort((first, -size))]] = np.arange(len(old))
    return new[labels]


def silhouettes(points: Points, labels: Labels, *, seed: int) -> Float[np.ndarray, " row"]:
    """Tell how much nearer each point is to its own cluster than to the next, -1 to 1.

    Returns:
        NaN for noise, for points left out of a sample of 5,000, and with a single cluster.

    Source:
        Rousseeuw 1987, J Comput Appl Math 20:53, by scikit-learn.
    """
    from sklearn.metrics import silhouette_samples  # scikit-learn takes a second to import

    rows = np.flatnonzero(labels != NOISE)
    if len(rows) > MOST_SILHOUETTES:
        rows = np.random.default_rng(seed).choice(rows, MOST_SILHOUETTES, replace=False)
    result = np.full(len(labels), np.nan)
    if 1 < len(np.unique(labels[rows])) < len(rows):
        result[rows] = silhouette_samples(points[rows], labels[rows])
    return result


def _tell(found: Sequence[Candidate], best: Candidate) -> pl.DataFrame:
    def lines() -> Iterator[tuple]:
        for each in found:
            yield each.number, each.n_clusters, each.stability, each.agreement, each is best

    kinds = {"number": pl.Float64, "n_clusters": pl.Int64}
    kinds |= {"stability": pl.Float64, "agreement": pl.Float64, "is_chosen": pl.Boolean}
    return pl.DataFrame(list(lines()), schema=kinds, orient="row")
