"""What a person should know before looking at the maps."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import polars as pl

from profiler.embed.explain.explainer import Explained
from profiler.explain.candidates import Candidates
from profiler.explain.sides import TwoSides
from profiler.phenotype.directions import Direction

CHANCE = 0.6  # AUROC on other wells below which a direction is not to be believed
LOOKS_AROUND = 0.8  # share of the attribution in cells, over their share of the pixels
MOST_LABELS = 6  # that a sentence names
INCOMPLETE = 0.1  # share of a cell's place that the attribution may lack


def of_cells(cells: Candidates, sides: TwoSides, wanted: int) -> list[str]:
    """How many cells speak, and whether there are as many as asked for."""
    treated, well = cells.is_treated, cells.well
    n, wells = int(treated.sum()), len(set(well[treated]))
    told = [
        f"{sides.name}: {n} cells of {_wells(wells)}, held against {int((~treated).sum())} control "
        f"cells of {_wells(len(set(well[~treated])))}."
    ]
    if n < wanted:
        told.append(
            f"{wanted} cells were asked for; {n} lie whole within a field, and all are shown."
        )
    return told


def of_direction(direction: Direction) -> list[str]:
    """How far the network sets the treatment apart, and whether that holds on other wells."""
    told = [f"The mean cell lies {direction.length:.1f} sd of the control cells from their mean."]
    if direction.auroc is None:
        return [
            *told,
            "Whether that holds on other wells is not known: there are too few on a plate, of "
            "either side, to find it on some and judge it on others.",
        ]
    told.append(
        "Along a direction found without its own well, a treated cell lies further than a control "
        f"in {100 * direction.auroc:.0f} of 100 pairs (chance is 50)."
    )
    if direction.auroc < CHANCE:
        told.append(
            "That is hardly more than chance: this network does not tell the treatment from the "
            "controls, and maps of a difference that is not there mean nothing."
        )
    return told


def of_given(direction: Direction) -> list[str]:
    """How far along a line that was given its cells lie."""
    return [
        f"Along that line the mean cell lies {direction.length:.1f} sd of the control cells from "
        "their mean."
    ]


def of_mask(found: Explained, *, kinds: Sequence[str]) -> list[str]:
    """Whether the network looks at the cell, over the treated cells shown."""
    treated = np.array(kinds) != "control"
    share, mask = (np.nanmedian(x[treated]) for x in (found.share_inside, found.share_of_mask))
    told = [
        f"{100 * share:.0f}% of the attribution lies within the cells, which cover "
        f"{100 * mask:.0f}% of the pixels (medians)."
    ]
    changes = (found.without_cell, found.without_surroundings)
    own, around = (np.median(np.abs(x[treated])) for x in changes)
    if share < LOOKS_AROUND * mask or around > own:
        told.append(
            "The network goes by what lies around the cells as much as by the cells themselves: "
            f"without its surroundings a cell moves {around:.1f} sd, without the cell {own:.1f} sd "
            "(medians). Neighbours, density or background may be what it sees; or the cells' own "
            "rims, where the recipe's cells are rings around nuclei."
        )
    lacks = np.abs(found.missing) > INCOMPLETE * np.maximum(np.abs(found.place), 1.0)
    if lacks.any():
        told.append(
            f"The attribution of {lacks.sum()} of {len(lacks)} cells does not add up to their "
            "place within a tenth: their maps are rough."
        )
    return told


def of_labelled(labels: Sequence[str], nearest: pl.DataFrame) -> list[str]:
    """What people called the labelled cells, and the one nearest to each cell shown.

    Args:
        labels: Of all labelled cells that were looked at.
        nearest: From `cell_table`.
    """
    of_all = _counts(labels)
    first = nearest.select("kind", pl.col("nearest_labels").list.first().alias("label"))
    sides = {"treated cells": pl.col("kind") != "control", "controls": pl.col("kind") == "control"}
    said = []
    for what, is_side in sides.items():
        side = first.filter(is_side)["label"].drop_nulls().to_list()
        said += [f"the {len(side)} {what} shown: {_counts(side)}"] if side else []
    return [f"{len(labels)} labelled cells ({of_all}). The nearest one of {'; of '.join(said)}."]


def _counts(labels: Sequence[str]) -> str:
    counted = Counter(labels).most_common()
    more = [f"{len(counted) - MOST_LABELS} more labels"] if len(counted) > MOST_LABELS else []
    return ", ".join([*(f"{count} {label}" for label, count in counted[:MOST_LABELS]), *more])


def _wells(count: int) -> str:
    return f"{count} well{'s' * (count != 1)}"
