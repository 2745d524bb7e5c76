"""What the clusters of the phenotype map are made of."""

from collections.abc import Mapping, Sequence

import polars as pl

from profiler.report.draw.bars import Part, share_bar
from profiler.report.draw.palette import OKABE_ITO, OTHER, by_frequency
from profiler.report.draw.svg import Markup, element, join
from profiler.report.numbers import number
from profiler.report.run import Run, table_file
from profiler.report.tables import Cell, Table, deviating, figure, left_out, stacked

MAX_CLUSTERS = 60
MAX_LABELS = 4  # enriched ones that are named
Q = 0.05
COLUMNS = ("Cluster", "Wells", "Compounds", "Stability", "Made of", "Enriched", "Stands out by")
CAPTION = (
    "Clusters of wells that look alike. Stability is the share of a cluster that is found again "
    "when wells are left out. Features are those that deviate most, in robust sds."
)


def cluster_table(run: Run) -> Table | None:
    """Lay out the clusters, by number; None without clusters.parquet."""
    clusters = run.table("clusters")
    if clusters is None:
        return None
    enrichment = run.table("enrichment")
    kind = None if enrichment is None else composition_kind(enrichment)
    colours = _colours(enrichment, kind)
    rows = [
        _row(row, _of_cluster(enrichment, row["Cluster"]), kind, colours)
        for row in clusters.sort("Cluster").head(MAX_CLUSTERS).iter_rows(named=True)
    ]
    words = f" Made of: by {kind}, the named colours are the most frequent." if kind else ""
    remark = left_out(clusters.height, MAX_CLUSTERS, what="clusters", where=table_file("clusters"))
    return Table(CAPTION + words, COLUMNS, rows, remark)


def composition_kind(enrichment: pl.DataFrame) -> str | None:
    """The kind of label with the fewest labels: mechanisms rather than compounds."""
    counts = enrichment.group_by("kind").agg(pl.col("label").n_unique()).sort("label", "kind")
    return counts["kind"][0] if counts.height else None


def composition(labels: pl.DataFrame, *, n_cluster: int, colours: Mapping[str, str]) -> list[Part]:
    """The parts of one cluster.

    Args:
        labels: Rows of enrichment.parquet of one cluster and kind.
        n_cluster: Wells of the cluster; those without such a label are a part of their own.
        colours: Of the most frequent labels; all others are one grey part.

    Returns:
        Named labels in the order of `colours`, then "others", then "no label"; none is empty.
    """
    found = dict(labels.select("label", "n_in").iter_rows())
    parts = [Part(name, colour, found[name]) for name, colour in colours.items() if found.get(name)]
    rest = sum(n for name, n in found.items() if name not in colours)
    unlabelled = n_cluster - rest - sum(part.count for part in parts)
    more = [Part("others", OTHER, rest), Part("no label", "#d8d8d8", unlabelled)]
    return [*parts, *(part for part in more if part.count > 0)]


def _colours(enrichment: pl.DataFrame | None, kind: str | None) -> dict[str, str]:
    if enrichment is None or kind is None:
        return {}
    own = enrichment.filter(pl.col("kind") == kind)
    repeated = own.select(pl.col("label").repeat_by("n_in").explode()).to_series()
    return dict(zip(by_frequency(repeated.to_list()), OKABE_ITO, strict=False))


def _of_cluster(enrichment: pl.DataFrame | None, cluster: int) -> pl.DataFrame | None:
    return None if enrichment is None else enrichment.filter(pl.col("Cluster") == cluster)


def _row(
    row: Mapping, labels: pl.DataFrame | None, kind: str | None, colours: Mapping[str, str]
) -> Sequence[Cell]:
    made_of: Markup | str = ""
    if labels is not None and kind is not None:
        parts = composition(
            labels.filter(pl.col("kind") == kind), n_cluster=row["n_wells"], colours=colours
        )
        words = ", ".join(f"{part.name} {part.count}" for part in parts)
        bar = share_bar(parts, label=f"Cluster {row['Cluster']} by {kind}: {words}")
        made_of = join([bar, element("small", words)])
    return (
        figure(row["Cluster"]),
        figure(row["n_wells"]),
        figure(row["n_compounds"]),
        figure(row["stability"]),
        Cell(made_of),
        Cell(_enriched(labels)),
        Cell(deviating(row)),
    )


def _enriched(labels: pl.DataFrame | None) -> Markup | str:
    if labels is None:
        return ""
    sure = labels.filter((pl.col("q_value") <= Q) & (pl.col("odds_ratio") > 1)).sort("q_value")
    lines = [_label(row) for row in sure.head(MAX_LABELS).iter_rows(named=True)]
    more = [f"and {sure.height - MAX_LABELS} more"] * (sure.height > MAX_LABELS)
    return element("small", stacked([*lines, *more]))


def _label(row: Mapping) -> str:
    found = f"{row['n_in']} of {row['n_label']}, q {number(row['q_value'])}"
    return f"{row['label']} ({row['kind']}) {found}"
