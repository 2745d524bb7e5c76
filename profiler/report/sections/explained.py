"""What a network goes by in the cells of a treatment or class, where `profiler explain` asked."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from profiler.report.montage import jpeg, opened
from profiler.report.numbers import number
from profiler.report.run import Run
from profiler.report.tables import Cell, Table, breakable, figure, left_out, stacked
from profiler.store.tables import made_with, read_footer, scan_table

FOLDER = "explain"
MAX_SHOWN = 6  # items: a sheet is a third of a megabyte
MAX_FEATURES = 8
MAX_CELLS = 16  # those of the sheet that is shown
MAX_WIDTH = 1800  # pixels of a sheet on the page
QUALITY = 80
Q = 0.05
COLUMNS = ("Feature", "All cells", "Within wells", "q", "Between wells", "q")
CAPTION = (
    "Named features that go with the direction away from the controls: rank "
    "correlations with how far cells lie along it. Over all cells (no test, as cells of a well are "
    "alike), given the well (what else the direction is about), and of the wells' medians."
)
LABELLED = ("Cell", "Kind", "Place (sd)", "Nearest labelled cells")
LABELLED_CAPTION = (
    "What people called the cells that the network takes for the most alike, with the cosine of "
    "the angle between both, from the mean of the controls."
)


class Sheet(NamedTuple):
    """A picture of explained cells."""

    source: str
    width: int
    height: int
    alt: str


class Explained(NamedTuple):
    """One treatment, class or list of cells.

    Attributes:
        id: Of its place on the page.
        name: Compound and dose, or the name of the class or list.
        compound: As in the plate map; None for a list of cells.
        network: Which was asked.
        told: What a person should know first.
        sheet: None where its file is gone or damaged.
        more: How many more sheets there are.
        features: None where no named feature was asked.
        labelled: The labelled cells most like each cell; None where no labels were given.
        sources: Files that it shows.
    """

    id: str
    name: str
    compound: str | None
    network: str
    told: Sequence[str]
    sheet: Sheet | None
    more: str
    features: Table | None
    labelled: Table | None
    sources: Sequence[str]


class ExplainedSection(NamedTuple):
    """All that was explained, by name.

    Attributes:
        items: At most `MAX_SHOWN`.
        links: Compound -> id of its place.
        remark: What was left out.
    """

    items: Sequence[Explained]
    links: Mapping[str, str]
    remark: str


def explained_section(run: Run) -> ExplainedSection:
    """Gather what `profiler explain` wrote into the run folder; nothing where it did not run."""
    every, now = sorted((run.folder / FOLDER).glob("*/explain.parquet")), made_with(run.folder)
    files = [p for p in every if read_footer(p).parameters.get("computed_by", now) == now]
    items = [_item(run, path, number) for number, path in enumerate(files[:MAX_SHOWN], start=1)]
    links = {item.compound: item.id for item in items if item.compound is not None}
    more = len(files) - len(items)
    told = [f"{more} more are in the folder {FOLDER} of the run."] if more else []
    if old := len(every) - len(files):
        told.append(f"{old} are of earlier cells and left out: run profiler explain again.")
    return ExplainedSection(items, links, " ".join(told))


def _item(run: Run, path: Path, number: int) -> Explained:
    about = read_footer(path).parameters
    folder = path.parent
    features = folder / "features.parquet"
    beside = len(list(folder.glob("cells_*.png")))
    more = f"{beside} more sheet{'s' * (beside > 1)} beside it." if beside else ""
    shown = [path, *(features,) * features.is_file()]
    return Explained(
        f"explained-{number}",
        about["name"],
        about["compound"],
        about["network"],
        about["told"],
        _sheet(folder / "cells.png", about),
        more,
        feature_list(scan_table(features).collect()) if features.is_file() else None,
        labelled_list(scan_table(path).collect()),
        [each.relative_to(run.folder).as_posix() for each in shown],
    )


def _sheet(path: Path, about: Mapping[str, Any]) -> Sheet | None:
    picture = opened(path.read_bytes()) if path.is_file() else None
    if picture is None:
        return None
    picture.thumbnail((MAX_WIDTH, 8 * MAX_WIDTH))
    alt = (
        f"Cells of {about['name']} and controls in rows: their stains, what each pixel adds by "
        f"the network {about['network']}, what changes without a part, and the cells most like "
        "them"
    )
    return Sheet(jpeg(picture, quality=QUALITY), picture.width, picture.height, alt)


def labelled_list(cells: pl.DataFrame) -> Table | None:
    """Lay out the labelled cells most like each cell shown; None where no labels were given.

    Args:
        cells: As `profiler explain` writes them, in the order of the sheet.
    """
    if "nearest_labelled" not in cells.columns:
        return None
    rows = [
        (
            Cell(
                f"{row['Metadata_Well']} site {row['Metadata_Site']}, "
                f"{row['Metadata_ObjectNumber']}",
                note=row["Metadata_Plate"],
            ),
            Cell(row["kind"]),
            figure(row["place"]),
            Cell(stacked(_alike(row)) or "none"),
        )
        for row in cells.head(MAX_CELLS).iter_rows(named=True)
    ]
    remark = left_out(cells.height, len(rows), what="cells", where="explain.parquet")
    return Table(LABELLED_CAPTION, LABELLED, rows, remark)


def _alike(cell: Mapping[str, Any]) -> list[str]:
    names = ("nearest_labels", "nearest_labelled", "nearest_labelled_cosines")
    return [
        f"{label} ({where}; {number(cosine)})"
        for label, where, cosine in zip(*(cell[name] for name in names), strict=True)
    ]


def feature_list(features: pl.DataFrame) -> Table | None:
    """Lay out the features that go with the direction most; None without any.

    Args:
        features: As `profiler explain` writes them, the strongest first.
    """
    asked = features.filter(pl.col("across_cells").is_not_null())
    if not asked.height:
        return None
    rows = [
        (
            Cell(breakable(row["feature"])),
            figure(row["across_cells"]),
            figure(row["within_wells"]),
            figure(row["q_within_wells"]),
            figure(row["between_wells"]),
            figure(row["q_between_wells"]),
        )
        for row in asked.head(MAX_FEATURES).iter_rows(named=True)
    ]
    real = asked.filter(pl.col("q_within_wells") <= Q).height
    remark = (
        f"{number(real)} of {number(asked.height)} features go with it within wells (q at most "
        ".05); all are in features.parquet."
    )
    return Table(CAPTION, COLUMNS, rows, remark)
