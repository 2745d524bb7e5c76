"""Pictures of wells: the controls beside the strongest hits."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import polars as pl

from profiler.report.montage import jpeg, opened
from profiler.report.numbers import count, number
from profiler.report.run import Run
from profiler.report.tables import left_out
from profiler.report.wells import IS_TREATED, treatment

MAX_PICTURES = 48
MAX_CONTROLS = 6  # of either kind
MAX_SIDE = 320  # pixels; larger files are shrunk before they go into the page
QUALITY = 85  # a fifth of the bytes of a PNG


class Picture(NamedTuple):
    """One well's picture with its caption."""

    source: str  # data: URL
    alt: str
    well: str
    treatment: str
    figures: str


class Group(NamedTuple):
    """Pictures under one heading."""

    title: str
    pictures: Sequence[Picture]


class Gallery(NamedTuple):
    """All groups, and what was left out."""

    groups: Sequence[Group]
    remark: str


def gallery(run: Run, wells: pl.DataFrame) -> Gallery:
    """Choose and embed pictures, at most `MAX_PICTURES`.

    Args:
        run: Whose `thumbnails` folder is looked into.
        wells: From `well_table`.

    Returns:
        Negative controls, positive controls, then hits by rank; every well in plate order
        where no hits are called. Groups without pictures are left out.
    """
    there = wells.filter(pl.Series(_has_picture(run, wells), dtype=pl.Boolean))
    # The first of every plate before the second of any: hits are compared with their own plate's.
    fair = there.sort(pl.int_range(pl.len()).over("plate", "role"), maintain_order=True)
    negative = fair.filter(role="negative").head(MAX_CONTROLS)
    positive = fair.filter(role="positive").head(MAX_CONTROLS)
    rest = MAX_PICTURES - negative.height - positive.height
    title, others = _others(there)
    chosen = {
        "Negative controls": negative,
        "Positive controls": positive,
        title: others.head(rest),
    }
    groups = [Group(name, _pictures(run, group)) for name, group in chosen.items() if group.height]
    shown = sum(group.height for group in chosen.values())
    remark = left_out(there.height, shown, what="pictures", where="the thumbnails folder")
    return Gallery(groups, remark)


def _has_picture(run: Run, wells: pl.DataFrame) -> list[bool]:
    keys = wells.select("plate", "well").iter_rows()
    return [run.picture(plate, well).is_file() for plate, well in keys]


def _others(there: pl.DataFrame) -> tuple[str, pl.DataFrame]:
    treated = there.filter(IS_TREATED).sort("rank", nulls_last=True, maintain_order=True)
    hits = treated.filter(pl.col("is_hit"))
    return ("Strongest hits", hits) if hits.height else ("Treated wells", treated)


def _pictures(run: Run, wells: pl.DataFrame) -> list[Picture]:
    several = wells["plate"].n_unique() > 1
    return [_picture(run, well, several=several) for well in wells.iter_rows(named=True)]


def _picture(run: Run, well: dict[str, Any], *, several: bool) -> Picture:
    path = run.picture(well["plate"], well["well"])
    name = f"{well['plate']} {well['well']}" if several else well["well"]
    contents = treatment(well)
    parts = [
        f"z {number(well['z'])}" if well["z"] is not None else "",
        count(well["cells"], "cell") if well["cells"] is not None else "",
    ]
    figures = " · ".join(part for part in parts if part)
    alt = f"Cells of plate {well['plate']}, well {well['well']}, {contents}".rstrip(", ")
    return Picture(embedded(path.read_bytes()), alt, name, contents, figures)


def embedded(file: bytes) -> str:
    """Turn an image file into a data URL of a small JPEG.

    Returns:
        "data:image/jpeg;base64,...", or an empty string where the file is no whole image:
        the page then shows its caption alone.
    """
    picture = opened(file)
    if picture is None:
        return ""
    picture.thumbnail((MAX_SIDE, MAX_SIDE))
    return jpeg(picture, quality=QUALITY)
