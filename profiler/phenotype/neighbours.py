"""What looks most like a treatment: its nearest phenotypes, not of the same compound."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from profiler.phenotype.treatments import KEYS, Treatments, cosines, find_treatments

N_NEIGHBOURS = 5
COLUMNS = {"treatment": pl.Int64, "neighbour": pl.Int64, "rank": pl.Int64}
COLUMNS |= {"cosine": pl.Float64, "rank_by_count": pl.Int64}


def neighbours(
    profiles: pl.DataFrame, *, features: Sequence[str], n_neighbours: int = N_NEIGHBOURS
) -> pl.DataFrame:
    """Find the nearest phenotypes of every treatment among those of other compounds.

    Args:
        profiles: Annotated wells, normalised to the controls.
        features: The columns that make a profile.
        n_neighbours: To list; fewer where there are no more.

    Returns:
        One row per treatment and rank, sorted: Metadata_Compound, Metadata_Concentration,
        rank (from 1; equals in the order of their names), neighbour_compound,
        neighbour_concentration, cosine, and rank_by_count: how many treatments of other
        compounds are at least as near to the treatment in their cell count, null without
        counts. A treatment without profile, or without effect at all, has no row.
    """
    return nearest_neighbours(find_treatments(profiles, features=features), n=n_neighbours)


def nearest_neighbours(of: Treatments, *, n: int = N_NEIGHBOURS) -> pl.DataFrame:
    """Do as `neighbours` does, where the treatments are at hand."""
    lines = []
    for rows, cosine, by_count in cosines(of):
        is_own = of.compound[rows, None] == of.compound
        cosine[is_own], by_count[is_own] = -np.inf, -np.inf
        order = np.argsort(-cosine, axis=1, kind="stable")[:, :n]
        for i, near in enumerate(order):
            near = near[np.isfinite(cosine[i, near])]
            ranks = (by_count[i] >= by_count[i, near, None]).sum(axis=1)
            known = np.isfinite(by_count[i, near])
            lines += [
                (rows.start + i, int(j), rank, float(cosine[i, j]), int(by) if is_known else None)
                for rank, (j, by, is_known) in enumerate(zip(near, ranks, known, strict=True), 1)
            ]
    found = pl.DataFrame(lines, schema=COLUMNS, orient="row")
    keys = of.table.select(KEYS)
    own, other = keys[found["treatment"]], keys[found["neighbour"]]
    other = other.rename(
        dict(zip(KEYS, ("neighbour_compound", "neighbour_concentration"), strict=True))
    )
    return pl.concat(
        [own, found.select("rank"), other, found.select("cosine", "rank_by_count")],
        how="horizontal",
    )
