"""Harmony: mix batches within soft clusters of similar profiles."""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import polars as pl
from jaxtyping import Float, Int
from scipy.special import xlogy

from profiler.profile.groups import ALL, PLATE, Matrix, columns_within, group_rows, mask_of
from profiler.profile.matrix import place, usable_part
from profiler.profile.options import Count, NotNegative, Seed
from profiler.profile.outcome import Normalised, lost_table, whole_table

# Those of Korsunsky et al. 2019 and of harmonypy.
DIVERSITY = 2.0  # theta
RIDGE = 1.0  # lambda
SOFTNESS = 0.1  # sigma, in squared distances on the unit sphere
ROWS_PER_CLUSTER, MOST_CLUSTERS = 30, 100
MOST_ROUNDS, LEAST_GAIN = 10, 1e-4  # of corrections
MOST_STEPS, LEAST_CHANGE = 20, 1e-5  # of clustering before a correction
WINDOW = 3  # steps whose objectives are compared
BLOCK = 0.05  # share of the rows that are assigned at a time

Membership: TypeAlias = Float[np.ndarray, "row cluster"]
Batches: TypeAlias = Int[np.ndarray, " row"]


def harmony(
    table: pl.DataFrame,
    *,
    features: Sequence[str],
    within: str | Sequence[str] = PLATE,
    n_clusters: Count | None = None,
    diversity: NotNegative = DIVERSITY,
    seed: Seed = 0,
) -> Normalised:
    """Move batches onto one another, cluster by cluster, without knowing the treatments.

    Args:
        table: Wells or cells of all batches.
        features: Columns to correct together: components, or features of like scale.
        within: Columns whose values name a batch.
        n_clusters: By default one per 30 rows, at most 100.
        diversity: How strongly every cluster is made to hold every batch; 0: not at all.
        seed: Of the first clusters and of the order in which rows are assigned; it alone
            decides the answer.

    Returns:
        The table with `features` corrected, in float64. All rows take part, so that
        batches should hold much the same phenotypes; null as `lost` says, where a batch
        is null, as it is about the whole table.

    Source:
        Korsunsky et al. 2019, Nature Methods 16:1289, in its original form. Simulated
        batches, and one cluster by hand, in tests/profile/correction/test_harmony.py.
    """
    within = columns_within(within)
    part = usable_part(table, features, is_reference=mask_of(table, ALL))
    batch_of_row = np.zeros(table.height, dtype=np.int64)
    for i, group in enumerate(group_rows(table, within)):
        batch_of_row[group.rows] = i
    result = np.full((table.height, len(features)), np.nan)
    if len(part.columns):
        result[np.ix_(part.rows, part.columns)] = harmonise(
            part.values,
            np.unique(batch_of_row[part.rows], return_inverse=True)[1],
            n_clusters=n_clusters,
            diversity=diversity,
            seed=seed,
        )
    names = list(features)
    lost = lost_table(part.lost, [whole_table(table, within)], table=table, within=within)
    return Normalised(place(table, drop=names, names=names, values=result), names, lost)


def harmonise(
    values: Matrix,
    batches: Batches,
    *,
    n_clusters: int | None = None,
    diversity: float = DIVERSITY,
    ridge: float = RIDGE,
    seed: int = 0,
) -> Matrix:
    """Correct a matrix, as `harmony` does a table.

    Args:
        values: Finite.
        batches: Batch of each row, from 0, none of them empty.
        n_clusters: As for `harmony`.
        diversity: As for `harmony`.
        ridge: Keeps the correction of what few rows hold small.
        seed: As for `harmony`.
    """
    from sklearn.cluster import KMeans  # takes a second to import

    default = min(round(len(values) / ROWS_PER_CLUSTER), MOST_CLUSTERS)
    n_clusters = min(max(1, default if n_clusters is None else n_clusters), len(values))
    is_in = np.eye(int(batches.max()) + 1)[batches]
    random = np.random.default_rng(seed)
    mixing = Mixing(batches, is_in, is_in.mean(axis=0), diversity, random)

    direction = _unit(values)
    start = KMeans(n_clusters, n_init=10, max_iter=25, random_state=seed)  # pyright: ignore
    distance = _distance(direction, _unit(start.fit(direction).cluster_centers_))
    membership = _closeness(distance) / _closeness(distance).sum(axis=1, keepdims=True)
    before, corrected = _objective(distance, membership, mixing), values
    for _ in range(MOST_ROUNDS):
        membership, objective = _cluster(direction, membership, mixing)
        corrected = _correct(values, membership, mixing, ridge=ridge)
        direction = _unit(corrected)
        if before - objective < LEAST_GAIN * abs(before):
            break
        before = objective
    return corrected


class Mixing(NamedTuple):
    """What decides how batches are spread over clusters.

    Attributes:
        batches: Of each row, [row].
        is_in: 1 where a row is of a batch, [row, batch].
        share: Of each batch among all rows, [batch].
        diversity: As for `harmony`.
        random: Gives the order of rows.
    """

    batches: Batches
    is_in: Float[np.ndarray, "row batch"]
    share: Float[np.ndarray, " batch"]
    diversity: float
    random: np.random.Generator


def _cluster(direction: Matrix, membership: Membership, mixing: Mixing) -> tuple[Membership, float]:
    """Move centres and memberships in turn until the objective stands still."""
    history = []
    for _ in range(MOST_STEPS):
        distance = _distance(direction, _unit(membership.T @ direction))
        membership = _assign(distance, membership, mixing)
        history.append(_objective(distance, membership, mixing))
        if len(history) > WINDOW + 1:
            old, new = sum(history[-WINDOW - 1 : -1]), sum(history[-WINDOW:])
            if abs(old - new) < LEAST_CHANGE * abs(old):
                break
    return membership, history[-1]


def _assign(distance: Membership, membership: Membership, mixing: Mixing) -> Membership:
    """Assign rows to near clusters that have few of their batch, some rows at a time."""
    closeness, membership = _closeness(distance), membership.copy()
    is_in, share = mixing.is_in, mixing.share
    observed = is_in.T @ membership
    expected = np.outer(share, membership.sum(axis=0))
    order = mixing.random.permutation(len(membership))
    for rows in np.array_split(order, int(np.ceil(1 / BLOCK))):
        observed -= is_in[rows].T @ membership[rows]
        expected -= np.outer(share, membership[rows].sum(axis=0))
        wanted = ((expected + 1) / (observed + 1)) ** mixing.diversity
        new = closeness[rows] * wanted[mixing.batches[rows]]
        membership[rows] = new / new.sum(axis=1, keepdims=True)
        observed += is_in[rows].T @ membership[rows]
        expected += np.outer(share, membership[rows].sum(axis=0))
    return membership


def _objective(distance: Membership, membership: Membership, mixing: Mixing) -> float:
    """Distances, less entropy, plus what clusters miss of batches."""
    observed = mixing.is_in.T @ membership
    expected = np.outer(mixing.share, membership.sum(axis=0))
    surplus = mixing.diversity * np.log((observed + 1) / (expected + 1))  # [batch, cluster]
    disorder = xlogy(membership, membership).sum() + (observed * surplus).sum()
    return float((membership * distance).sum() + SOFTNESS * disorder)


def _correct(values: Matrix, membership: Membership, mixing: Mixing, *, ridge: float) -> Matrix:
    """Subtract each batch's shift within each cluster: ridge regressions with an intercept."""
    counts = membership.T @ mixing.is_in  # [cluster, batch]
    n_clusters, n_batches = counts.shape
    members = [np.flatnonzero(mixing.batches == batch) for batch in range(n_batches)]
    moments = np.stack([membership[rows].T @ values[rows] for rows in members], axis=1)
    left = np.zeros((n_clusters, n_batches + 1, n_batches + 1))
    left[:, 0, 0] = counts.sum(axis=1)
    left[:, 0, 1:] = left[:, 1:, 0] = counts
    left[:, range(1, n_batches + 1), range(1, n_batches + 1)] = counts + ridge
    right = np.concatenate([moments.sum(axis=1, keepdims=True), moments], axis=1)
    shifts = np.linalg.solve(left, right)[:, 1:]  # without the intercept, which stays
    corrected = values.copy()
    for batch, rows in enumerate(members):
        corrected[rows] -= membership[rows] @ shifts[:, batch]
    return corrected


def _distance(direction: Matrix, centres: Float[np.ndarray, "cluster feature"]) -> Membership:
    return 2 * (1 - direction @ centres.T)


def _closeness(distance: Membership) -> Membership:
    return np.exp((distance.min(axis=1, keepdims=True) - distance) / SOFTNESS)


def _unit(rows: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length > 0, length, 1)
