"""Which compounds, mechanisms and targets gather in which cluster."""

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import polars as pl
from jaxtyping import Bool
from scipy.stats import hypergeom

from profiler.phenotype.cluster import CLUSTER
from profiler.phenotype.counts import PerWell, log_counts
from profiler.profile.fdr import q_values
from profiler.profile.labels import COMPOUND

NUMBERS = ("n_in", "n_label", "n_cluster", "n_total")
COLUMNS = {CLUSTER: pl.Int64, "kind": pl.String, "label": pl.String}
COLUMNS |= dict.fromkeys(NUMBERS, pl.Int64)
COLUMNS |= dict.fromkeys(["odds_ratio", "p_value", "q_value", "p_value_by_count"], pl.Float64)

Inside: TypeAlias = Bool[np.ndarray, "well cluster"]


def enrichment(
    wells: pl.DataFrame, *, clusters: pl.Series, kinds: Mapping[str, str]
) -> pl.DataFrame:
    """Test every label of a kind for being more often in a cluster than chance would have it.

    Args:
        wells: Annotated wells.
        clusters: Cluster of each, null for none; those wells do not count.
        kinds: From the name of a kind to its column, as in {"compound":
            "Metadata_Compound", "MOA": "Metadata_MOA"}. Labels may be null; those do not
            count. What is counted is wells for "compound", else compounds: a compound is
            in a cluster with half or more of the wells of one of its doses, and replicates
            and doses of one compound are no evidence for its mechanism.

    Returns:
        One row per cluster and label that has something in it, sorted: Cluster, kind, label,
        n_in (of the label, in the cluster), n_label, n_cluster, n_total, odds_ratio (of the
        sample; infinite where all of the label is in the cluster), p_value (one-sided
        Fisher's exact test), q_value (over all clusters and labels of the kind, those that
        have no row among them), and p_value_by_count: the same test where the cluster is
        replaced by as many wells with the cell count nearest to its median; null without counts.

    Source:
        scipy's `fisher_exact`, to which tests/phenotype/test_enrichment.py holds it.
    """
    keep = clusters.is_not_null()
    inside_wells, count = wells.filter(keep), log_counts(wells)[keep.to_numpy()]
    numbers = clusters.drop_nulls().unique().sort()
    inside = clusters.drop_nulls().to_numpy()[:, None] == numbers.to_numpy()
    alike = _by_count(inside, count)
    found = [
        _of_kind(inside_wells, kind, column, inside=inside, alike=alike)
        for kind, column in kinds.items()
    ]
    table = pl.concat([pl.DataFrame(schema=COLUMNS), *found])
    return table.with_columns(
        pl.col(CLUSTER).replace_strict(dict(enumerate(numbers)), default=None)
    )


def _by_count(inside: Inside, count: PerWell) -> Inside | None:
    """Choose for each cluster as many wells by their cell count alone."""
    if not len(count) or not np.isfinite(count).all():
        return None
    alike = np.zeros_like(inside)
    for column, chosen in zip(inside.T, alike.T, strict=True):
        gap = np.abs(count - np.median(count[column]))
        chosen[np.argsort(gap, kind="stable")[: column.sum()]] = True
    return alike


def _of_kind(
    wells: pl.DataFrame, kind: str, column: str, *, inside: Inside, alike: Inside | None
) -> pl.DataFrame:
    table = _counted(wells, column, inside) if kind == COMPOUND else _shared(wells, column, inside)
    numbers = [table[name].to_numpy() for name in NUMBERS]
    p_value = _upper_tail(*numbers)
    by_count = np.full(len(p_value), np.nan)
    if alike is not None:
        other = (
            _counted(wells, column, alike) if kind == COMPOUND else _shared(wells, column, alike)
        )
        by_count = _upper_tail(*(other[name].to_numpy() for name in NUMBERS))
    return (
        table.with_columns(
            pl.lit(kind).alias("kind"),
            pl.Series("odds_ratio", _odds_ratio(*numbers), nan_to_null=True),
            pl.Series("p_value", p_value),
            q_values(p_value),
            pl.Series("p_value_by_count", by_count, nan_to_null=True),
        )
        .filter(pl.col("n_in") > 0)
        .sort(CLUSTER, "label")
        .select(pl.col(name).cast(kind_of) for name, kind_of in COLUMNS.items())
    )


def _counted(wells: pl.DataFrame, column: str, inside: Inside) -> pl.DataFrame:
    """Count wells: one row per cluster and label, in the same order always."""
    units = wells.select(pl.col(column).cast(pl.String).alias("label"))
    return _crossed(units, inside)


def _shared(wells: pl.DataFrame, column: str, inside: Inside) -> pl.DataFrame:
    """Count compounds, each in the clusters that hold half or more of a dose's wells."""
    keys = [name for name in ("Metadata_Compound", "Metadata_Concentration") if name in wells]
    keyed = wells.select(*keys, pl.col(column).cast(pl.String).alias("label")).hstack(
        pl.DataFrame(inside, schema=[str(i) for i in range(inside.shape[1])])
    )
    named = keyed.drop_nulls("label").drop_nulls("Metadata_Compound")
    flags = pl.col([str(i) for i in range(inside.shape[1])])
    doses = named.group_by([*keys, "label"]).agg(flags.mean() >= 0.5)
    compounds = doses.group_by("Metadata_Compound", "label").agg(flags.any())
    ordered = compounds.sort("Metadata_Compound", "label")
    return _crossed(ordered.select("label"), ordered.select(flags).to_numpy().astype(bool))


def _crossed(units: pl.DataFrame, inside: Inside) -> pl.DataFrame:
    is_named = units["label"].is_not_null().to_numpy()
    labels = units["label"].drop_nulls()
    names = labels.unique().sort()
    number = labels.replace_strict(names, pl.int_range(len(names), eager=True)).to_numpy()
    member = inside[is_named]
    n_in = np.zeros((len(names), inside.shape[1]), dtype=np.int64)
    np.add.at(n_in, number.astype(np.int64), member)
    n_label = np.bincount(number.astype(np.int64), minlength=len(names))
    n_clusters = inside.shape[1]
    return pl.DataFrame(
        {
            CLUSTER: np.tile(np.arange(n_clusters), len(names)),
            "label": names.gather(np.repeat(np.arange(len(names)), n_clusters)),
            "n_in": n_in.ravel(),
            "n_label": np.repeat(n_label, n_clusters),
            "n_cluster": np.tile(member.sum(axis=0), len(names)),
            "n_total": np.full(n_in.size, len(member)),
        }
    )


def _upper_tail(
    n_in: np.ndarray, n_label: np.ndarray, n_cluster: np.ndarray, n_total: np.ndarray
) -> np.ndarray:
    tail = hypergeom.sf(n_in - 1, n_total, n_label, n_cluster)
    return np.clip(tail, 0.0, 1.0)


def _odds_ratio(
    n_in: np.ndarray, n_label: np.ndarray, n_cluster: np.ndarray, n_total: np.ndarray
) -> np.ndarray:
    outside = n_total - n_label - n_cluster + n_in
    with np.errstate(divide="ignore", invalid="ignore"):  # 0 / 0: everything is in the cluster
        return (n_in * outside) / ((n_label - n_in) * (n_cluster - n_in)).astype(float)
