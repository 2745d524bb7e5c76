"""Wells into clusters of like profiles, and what each of these looks like."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from plates.errors import lookup
from profiler.phenotype.choice import N_RESAMPLES, Choice, choose, silhouettes
from profiler.phenotype.counts import log_counts
from profiler.phenotype.graph import Labels, Number
from profiler.phenotype.methods import METHODS, NOISE
from profiler.phenotype.space import Points, Space, Values, profile_space
from profiler.phenotype.structure import structure_p_value
from profiler.profile.controls import is_role
from profiler.profile.features import EMBEDDING, feature_matrix
from profiler.profile.scaling.control_spread import control_spread, furthest

MOST_ROWS = 10_000  # that are clustered; the rest joins its nearest
N_FEATURES = 10  # that describe a cluster
CLUSTER = "Cluster"


@dataclass(frozen=True)
class Clustering:
    """How to cluster.

    Attributes:
        method: A name in `METHODS`: "leiden", "kmeans" or "hdbscan".
        numbers: Resolutions, numbers of clusters or smallest cluster sizes to choose from;
            one fixes it; by default the method's grid.
        n_resamples: Subsamples by which their stability is judged.
        most_rows: Rows that are clustered; others join the cluster of the nearest.
    """

    method: str = "leiden"
    numbers: tuple[Number, ...] | None = None
    n_resamples: int = N_RESAMPLES
    most_rows: int = MOST_ROWS


class Clusters(NamedTuple):
    """Clusters of wells.

    Attributes:
        labels: Cluster of each well, from 1, the largest first; null for noise and for a
            well without profile.
        table: One row per cluster, as `clusters.parquet` in docs/flow.md.
        choice: How many clusters, and what else was tried.
        p_value: That one normal cloud has clusters as clear; null for one cluster.
    """

    labels: pl.Series
    table: pl.DataFrame
    choice: Choice
    p_value: float | None


def cluster(
    profiles: pl.DataFrame,
    *,
    features: Sequence[str],
    seed: int = 0,
    how: Clustering | None = None,
    space: Space | None = None,
) -> Clusters:
    """Cluster wells by their profiles, into as many clusters as are stable.

    Args:
        profiles: Wells, normalised to the controls, in an order of their own: sort by
            plate and well first, as chance follows the order.
        features: The columns that make a profile.
        seed: Decides all that is left to chance.
        how: Method and what is chosen from; Leiden by default.
        space: The wells as points, if they are at hand.

    Returns:
        Labels, one row per cluster, and how the number was chosen (see `choice.choose`).
        Features that describe a cluster are those whose median is furthest out relative to the
        spread of the controls, in the units of the profiles.

    Raises:
        UnknownName: The method is none.
    """
    how = how or Clustering()
    method = lookup(METHODS, kind="clustering", name=how.method)
    space = space or profile_space(profiles, features=features)
    points, rows = space
    chosen = _sample(len(points), most=how.most_rows, seed=seed)
    choice = choose(
        points[chosen], method, seed=seed, numbers=how.numbers, n_resamples=how.n_resamples
    )
    best = choice.best
    labels = spread_labels(points, chosen, best.labels)
    p_value = None
    if best.number is not None and best.n_clusters > 1:
        p_value = structure_p_value(
            points[chosen], best.labels, method=method, number=best.number, seed=seed
        )
    of_well = np.full(profiles.height, NOISE, dtype=np.int64)
    of_well[rows] = labels
    width = np.full(profiles.height, np.nan)
    width[rows] = silhouettes(points, labels, seed=seed)
    table = _describe(profiles, features, of_well, width=width, stability=best.of_cluster)
    numbered = pl.Series(CLUSTER, of_well + 1, dtype=pl.Int64)
    return Clusters(numbered.replace(NOISE + 1, None), table, choice, p_value)


def _sample(n_rows: int, *, most: int, seed: int) -> np.ndarray:
    if n_rows <= most:
        return np.arange(n_rows)
    return np.sort(np.random.default_rng([seed, n_rows]).choice(n_rows, most, replace=False))


def spread_labels(points: Points, chosen: np.ndarray, labels: Int[np.ndarray, " chosen"]) -> Labels:
    """Give every point the label of the nearest one that has been clustered.

    Args:
        points: All of them.
        chosen: Which of these were clustered.
        labels: Theirs.
    """
    if len(chosen) == len(points):
        return labels
    from sklearn.metrics import pairwise_distances_argmin  # scikit-learn takes a second to import

    nearest = pairwise_distances_argmin(points, points[chosen])  # in pieces of bounded memory
    result = labels[nearest]
    result[chosen] = labels
    return result


def _describe(
    profiles: pl.DataFrame,
    features: Sequence[str],
    labels: Labels,
    *,
    width: Float[np.ndarray, " well"],
    stability: Float[np.ndarray, " cluster"],
) -> pl.DataFrame:
    values, count = feature_matrix(profiles, features), log_counts(profiles)
    is_control = np.zeros(profiles.height, dtype=bool)
    if "Metadata_Role" in profiles.columns:
        is_control = profiles.select(is_role("negative")).to_series().to_numpy()
    plate = profiles["Metadata_Plate"].to_numpy()
    spread = control_spread(values[is_control], plate=plate[is_control])
    has_compound = "Metadata_Compound" in profiles.columns
    lines = []
    for number in range(len(stability)):
        inside = labels == number
        names, medians = most_deviating(values[inside], features, spread=spread)
        compounds = profiles.filter(inside)["Metadata_Compound"] if has_compound else None
        lines.append(
            {
                CLUSTER: number + 1,
                "n_wells": int(inside.sum()),
                "n_compounds": None if compounds is None else compounds.drop_nulls().n_unique(),
                "stability": stability[number],
                "silhouette": _mean(width[inside]),
                "log2_count_ratio": _median(count[inside]),
                "features": names,
                "z": medians,
            }
        )
    return pl.DataFrame(lines, schema=COLUMNS).with_columns(
        pl.col("stability", "silhouette", "log2_count_ratio").fill_nan(None)
    )


COLUMNS = {CLUSTER: pl.Int64, "n_wells": pl.Int64, "n_compounds": pl.Int64}
COLUMNS |= {"stability": pl.Float64, "silhouette": pl.Float64, "log2_count_ratio": pl.Float64}
COLUMNS |= {"features": pl.List(pl.String), "z": pl.List(pl.Float64)}


def most_deviating(
    values: Values, features: Sequence[str], *, spread: Float[np.ndarray, " feature"]
) -> tuple[list[str], list[float]]:
    """Name the ten features whose median is furthest out, and these medians.

    Args:
        values: Rows of a cluster; NaN where there is no value.
        features: The names of its columns; embeddings among them, which say nothing to a reader,
            are passed over.
        spread: Of the controls in each, from `control_spread`.
    """
    means_something = np.array([not name.startswith(EMBEDDING) for name in features], dtype=bool)
    known = means_something & np.atleast_1d(np.isfinite(values).any(axis=0))
    medians = np.nanmedian(values[:, known], axis=0)
    names = [name for name, is_known in zip(features, known, strict=True) if is_known]
    first = furthest(medians, spread[known], most=N_FEATURES)
    return [names[i] for i in first], medians[first].tolist()


def _mean(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _median(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else None
