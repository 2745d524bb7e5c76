"""Cells to be labelled, as a person sees them: crops of the run's thumbnails on one page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from profiler.report.examples import View, X, Y, view_of
from profiler.report.montage import jpeg, opened
from profiler.report.thumbnail import thumbnail_path

SIDE = 72  # pixels of a thumbnail along a crop
TICK = 4  # of the marks that point to the cell in the middle
QUALITY = 85
PLATE, WELL, SITE = "Metadata_Plate", "Metadata_Well", "Metadata_Site"
TIMEPOINT = "Metadata_Timepoint"
DIAMETER = "Nuclei_AreaShape_EquivalentDiameter"  # pixels of the field
LINE, COLUMN = "line in the thumbnail", "column in the thumbnail"


class Pictures(NamedTuple):
    """Which cells of a run are seen in its thumbnails.

    Attributes:
        views: Which part of the field each thumbnail shows, by plate, well and time point; only
            those that there are.
        sites: The site that thumbnails show, by plate.
    """

    views: Mapping[tuple[str, str, int], tuple[Path, View, tuple[int, int]]]
    sites: Mapping[str, int]


class Entry(NamedTuple):
    """A cell on the page: its name, its row of keys as CSV, its picture, and why it is there."""

    name: str
    key: str
    picture: str | None
    why: str


def pictures_of(run: Path, fields: pl.DataFrame) -> Pictures:
    """Look for thumbnails; only their headers are read.

    Args:
        run: The run folder.
        fields: Its table of fields: a thumbnail shows the first site of its plate.
    """
    has_times = fields[TIMEPOINT].n_unique() > 1
    views = {}
    for plate, well, time in fields.select(PLATE, WELL, TIMEPOINT).unique().iter_rows():
        path = thumbnail_path(run, plate, well, time if has_times else None)
        if path.is_file() and (found := _header(path)):
            views[plate, well, time] = (path, *found)
    first = fields.group_by(PLATE).agg(pl.col(SITE).min())
    return Pictures(views, dict(first.iter_rows()))


def placed(cells: pl.DataFrame, pictures: Pictures, *, only_whole: bool = False) -> pl.DataFrame:
    """Say where in its thumbnail each cell is.

    Args:
        cells: With their keys, with `X` and `Y` where the recipe measures locations, and with
            `DIAMETER` where it measures shapes.
        pictures: From `pictures_of`.
        only_whole: Whether a thumbnail shows a cell only if its border does not cut the nucleus,
            of which a half or less nobody can judge.

    Returns:
        The cells with `LINE` and `COLUMN`, null for those that no thumbnail shows.
    """
    nowhere = [pl.lit(None, pl.Int64).alias(name) for name in (LINE, COLUMN)]
    if not {X, Y} <= set(cells.columns) or not pictures.views:
        return cells.with_columns(nowhere)
    rows = [
        (plate, well, time, pictures.sites[plate], *view, *size)
        for (plate, well, time), (_, view, size) in pictures.views.items()
    ]
    keys = [PLATE, WELL, TIMEPOINT, SITE]
    names = [*keys, "top", "left", "step", "width", "height"]
    kinds = {name: cells.schema[name] for name in keys} | dict.fromkeys(names[4:], pl.Int64)
    views = pl.DataFrame(rows, schema=kinds, orient="row")
    line = ((pl.col(Y) - pl.col("top")) / pl.col("step")).round()
    column = ((pl.col(X) - pl.col("left")) / pl.col("step")).round()
    usual = pl.lit(SIDE // 4)
    radius = pl.col(DIAMETER) / 2 / pl.col("step") if DIAMETER in cells.columns else usual
    reach = radius.fill_null(usual) if only_whole else pl.lit(0)
    is_seen = line.is_between(reach, pl.col("height") - 1 - reach)
    is_seen &= column.is_between(reach, pl.col("width") - 1 - reach)
    return (
        cells.join(views, on=keys, how="left", maintain_order="left")
        .with_columns(
            pl.when(is_seen).then(line).cast(pl.Int64, strict=False).alias(LINE),
            pl.when(is_seen).then(column).cast(pl.Int64, strict=False).alias(COLUMN),
        )
        .drop(names[4:])
    )


def crops(cells: pl.DataFrame, pictures: Pictures) -> list[Image.Image | None]:
    """Cut cells out of their thumbnails, each in the middle of its crop, black beyond the border.

    Args:
        cells: From `placed`.
        pictures: From `pictures_of`.

    Returns:
        A picture per cell, None for those that no thumbnail shows.
    """
    held: dict[Path, Image.Image | None] = {}
    found: list[Image.Image | None] = []
    for row in cells.select(PLATE, WELL, TIMEPOINT, LINE, COLUMN).iter_rows():
        place, line, column = row[:3], row[3], row[4]
        if line is None or column is None:
            found.append(None)
            continue
        path = pictures.views[place][0]
        if path not in held:
            held[path] = opened(path.read_bytes())
        whole = held[path]
        found.append(None if whole is None else _crop(whole, line, column))
    return found


def contact_sheet(found: Sequence[Image.Image | None], *, across: int = 10) -> Image.Image:
    """Lay crops out on one picture, in order, row by row; grey where there is none."""
    rows = -(-len(found) // across)
    sheet = Image.new("RGB", (across * (SIDE + 2), max(rows, 1) * (SIDE + 2)), "#808080")
    for i, crop in enumerate(found):
        if crop is not None:
            sheet.paste(crop, (i % across * (SIDE + 2), i // across * (SIDE + 2)))
    return sheet


def page(entries: Sequence[Entry], *, classes: Sequence[str], header: str, about: str) -> str:
    """Draw the page: a picture and a field for the label of each cell, and a button that saves.

    Args:
        entries: The cells, the most wanted first.
        classes: What the fields propose.
        header: First line of the table that is saved.
        about: How the cells were chosen.
    """
    environment = Environment(
        loader=PackageLoader("profiler.classify"), autoescape=True, undefined=StrictUndefined
    )
    template = environment.get_template("suggest.html.jinja")
    return template.render(cells=entries, classes=classes, header=header, about=about)


def as_url(crop: Image.Image | None) -> str | None:
    """A crop as a data URL."""
    return None if crop is None else jpeg(crop, quality=QUALITY)


def _header(path: Path) -> tuple[View, tuple[int, int]] | None:
    try:
        with Image.open(path) as picture:
            view = view_of(picture)
            return None if view is None else (view, picture.size)
    except OSError:  # cut short: a cell without a picture is a cell all the same
        return None


def _crop(picture: Image.Image, line: int, column: int) -> Image.Image:
    left, top, middle = column - SIDE // 2, line - SIDE // 2, SIDE // 2
    crop = picture.crop((left, top, left + SIDE, top + SIDE))
    for i in (*range(TICK), *range(SIDE - TICK, SIDE)):
        crop.putpixel((middle, i), (255, 255, 255))
        crop.putpixel((i, middle), (255, 255, 255))
    return crop
