"""Explained cells as pictures in the run folder, a dozen and a half to a sheet."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from profiler.embed.explain.explainer import Explained
from profiler.explain.beside import Beside
from profiler.explain.crops import Crops
from profiler.explain.network import Network
from profiler.explain.sheet import Row, draw_sheet, look_of
from profiler.phenotype.cell_neighbours import NearestCells
from profiler.store.atomic import replacing

MOST_ROWS = 16


class Shown(NamedTuple):
    """Crops of explained cells, and of those beside them.

    Attributes:
        pixels: [cell, side, side, channel], 0 to 1.
        inside: Which pixels are the cell's, [cell, side, side].
        kin: Of each cell's nearest controls.
        labelled: Of each cell's nearest labelled cells.
    """

    pixels: np.ndarray
    inside: np.ndarray
    kin: Sequence[np.ndarray]
    labelled: Sequence[np.ndarray]


def gather_shown(crops: Crops, order: np.ndarray, beside: Beside) -> Shown:
    """Take the crops of explained cells and of those beside them.

    Args:
        crops: Of all of them.
        order: Rows of the explained ones.
        beside: The cells most like each.
    """

    def near(kin: NearestCells) -> list[np.ndarray]:
        return [crops.of(line[line >= 0])[0] for line in kin.row]

    none: list[np.ndarray] = [crops.pixels[:0]] * len(order)
    like = none if beside.labelled is None else near(beside.labelled)
    return Shown(*crops.of(order), near(beside.controls), like)


def draw_pages(
    folder: Path,
    table: pl.DataFrame,
    found: Explained,
    shown: Shown,
    *,
    title: str,
    network: Network,
) -> tuple[Path, ...]:
    """Draw the sheets, all on one scale, and remove those of an earlier time.

    Args:
        folder: Gets cells.png, cells_2.png and so on.
        table: From `cell_table`.
        found: What the network goes by, in its order.
        shown: Crops, in its order.
        title: What is explained.
        network: By which.
    """
    rows = _rows(table, found, shown, stains=network.stains)
    changes = [*(f"{stain} of controls" for stain in network.stains), "no cell", "no surroundings"]
    look = look_of(rows, stains=network.stains, changes=changes, coarse=network.coarse)
    heading = f"{title}, by {network.card.name}: orange speaks for it, blue for the controls"
    for old in folder.glob("cells*.png"):
        old.unlink()
    paths = []
    for number, start in enumerate(range(0, len(rows), MOST_ROWS), start=1):
        path = folder / (f"cells_{number}.png" if number > 1 else "cells.png")
        sheet = draw_sheet(rows[start : start + MOST_ROWS], look, title=heading)
        with replacing(path) as draft:
            sheet.save(draft, format="PNG", optimize=True)
        paths.append(path)
    return tuple(paths)


def _rows(
    table: pl.DataFrame,
    found: Explained,
    shown: Shown,
    *,
    stains: Sequence[str],
) -> list[Row]:
    several = table["Metadata_Plate"].n_unique() > 1
    rows = []
    for number, cell in enumerate(table.iter_rows(named=True)):
        changes = [cell[f"exchanged_{stain}"] for stain in stains]
        rows.append(
            Row(
                _lines(cell, has_plates=several),
                shown.pixels[number],
                shown.inside[number],
                found.attribution[number],
                found.coarse[number].sum(-1),
                [*changes, cell["without_cell"], cell["without_surroundings"]],
                list(shown.kin[number]),
                list(shown.labelled[number]),
                cell.get("nearest_labels") or (),
            )
        )
    return rows


def _lines(cell: dict, *, has_plates: bool) -> list[str]:
    where = f"{cell['Metadata_Well']} site {cell['Metadata_Site']}, {cell['Metadata_ObjectNumber']}"
    inside, mask = cell["share_inside"], cell["share_of_mask"]
    within = "" if inside is None else f"{100 * inside:.0f}% in cell (area {100 * mask:.0f}%)"
    plate = [str(cell["Metadata_Plate"])] if has_plates else []
    return [cell["kind"], *plate, where, f"at {cell['place']:+.1f} sd", within]
