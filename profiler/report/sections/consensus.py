"""The profiles that the wells of a treatment agree on, side by side."""

import numpy as np
import polars as pl

from profiler.profile.features import (
    feature_columns,
    feature_matrix,
    named_features,
    phenotype_features,
)
from profiler.report.draw.colour import BLUE_GREY_RED, ColourScale
from profiler.report.draw.matrix import Grid, matrix
from profiler.report.figure import Figure
from profiler.report.run import Run, table_file
from profiler.report.tables import left_out
from profiler.report.wells import treatment
from profiler.store.tables import scan_table

MAX_ROWS, MAX_COLUMNS = 30, 40
LIMIT = 5.0  # robust sds: the colours' ends
SOURCES = {
    "compound": "Metadata_Compound",
    "role": "Metadata_Role",
    "concentration": "Metadata_Concentration",
    "unit": "Metadata_Unit",
}


def consensus_figure(run: Run) -> Figure | None:
    """Draw the strongest treatment of each compound, by the features in which these differ most.

    Returns:
        None without consensus.parquet, or where no treatment in it has a profile.
    """
    path = run.folder / table_file("consensus")
    if not path.is_file():
        return None
    lazy = scan_table(path)
    table = lazy.filter(run.is_now(lazy)).collect()
    every = feature_columns(table)
    features = named_features(every) or phenotype_features(every)  # vectors where all are
    chosen, n_compounds = _strongest(table, features)
    if not chosen.height:
        return None
    values = feature_matrix(chosen, features)
    clipped = np.clip(np.nan_to_num(values), -LIMIT, LIMIT)
    most = np.sort(np.argsort(-clipped.std(axis=0), kind="stable")[:MAX_COLUMNS])
    rows, columns = _alike(clipped[:, most]), most[_alike(clipped[:, most].T)]
    named = chosen[rows].iter_rows(named=True)
    grid = Grid(
        [treatment({key: row.get(name) for key, name in SOURCES.items()}) for row in named],
        [features[j] for j in columns],
        values[np.ix_(rows, columns)].tolist(),
    )
    label = f"Consensus profiles of {len(rows)} treatments by {len(columns)} features"
    caption = (
        f"Of each compound the dose furthest from the controls, by the {len(columns)} of "
        f"{len(features):,} selected features that differ most between these, like beside like. "
        "Colours are robust sds if the recipe's steps end on that scale."
    )
    remark = left_out(n_compounds, len(rows), what="compounds", where=path.name)
    svg = matrix(grid, scale=ColourScale(-LIMIT, LIMIT, BLUE_GREY_RED), label=label)
    return Figure("Consensus profiles", svg, caption, [path.name], remark)


def _strongest(table: pl.DataFrame, features: list[str]) -> tuple[pl.DataFrame, int]:
    """The furthest dose of the furthest compounds, and how many compounds there are."""
    names = [pl.lit(None, pl.String).alias(n) for n in SOURCES.values() if n not in table.columns]
    table = table.with_columns(names)
    clipped = pl.col(features).cast(pl.Float64).fill_nan(None).clip(-2 * LIMIT, 2 * LIMIT)
    squares = table.select(clipped**2) if features else pl.DataFrame()
    size = squares.mean_horizontal() if features else pl.Series([None] * table.height)
    is_other = pl.col("Metadata_Role").is_in(["negative", "empty"]).fill_null(value=False)
    treated = (
        table.with_columns(size.cast(pl.Float64).alias("size"))
        .filter(~is_other, pl.col("Metadata_Compound").is_not_null(), pl.col("size").is_not_null())
        .sort("size", "Metadata_Compound", descending=[True, False])
        .unique("Metadata_Compound", keep="first", maintain_order=True)
    )
    return treated.head(MAX_ROWS), treated.height


def _alike(rows: np.ndarray) -> np.ndarray:
    """An order in which like rows lie beside one another."""
    from scipy.cluster.hierarchy import leaves_list, linkage  # takes a while to import

    if len(rows) < 3:
        return np.arange(len(rows))
    return leaves_list(linkage(rows, "average", optimal_ordering=True))
