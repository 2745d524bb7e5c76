"""Single cells cut out of the wells' thumbnails: a hit's beside its plate's controls'."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import polars as pl
from PIL import Image

from profiler.hits import typical_cells
from profiler.profile.wells.aggregate import SUMMARIES
from profiler.report.montage import jpeg, opened
from profiler.report.numbers import count
from profiler.report.run import Run
from profiler.report.thumbnail import VIEW
from profiler.store.places import well_path
from profiler.store.tables import scan_table

KEY = ["Metadata_Plate", "Metadata_Well", "Metadata_Site", "Metadata_ObjectNumber"]
BORDER = "Metadata_QC_TouchesBorder"
X, Y = "Nuclei_Location_Center_X", "Nuclei_Location_Center_Y"
MAX_CELLS = 4  # of either side
MAX_WELLS = 3  # that they are looked for in
SIDE = 64  # pixels of a thumbnail along a crop; thumbnails are a few hundred wide
GAP = 3
QUALITY = 80
ENDINGS = ("", *(f"_{summary}" for summary in SUMMARIES))

Choose = Callable[..., pl.DataFrame]


class Strip(NamedTuple):
    """Crops side by side.

    Attributes:
        source: "data:image/jpeg;base64,...".
        width: In pixels.
        height: In pixels.
        share: Of the width of a strip with as many crops as there can be.
        alt: What is seen, for those who cannot see it.
        caption: Where the cells are.
    """

    source: str
    width: int
    height: int
    share: float
    alt: str
    caption: str


class View(NamedTuple):
    """Which part of a field a thumbnail shows, in the field's pixels."""

    top: int
    left: int
    step: int


def example_cells(
    run: Run,
    wells: pl.DataFrame,
    *,
    features: Sequence[str],
    what: str,
    choose: Choose = typical_cells,
) -> Strip | None:
    """Cut typical cells out of the thumbnails of some wells.

    Args:
        run: Whose cells and thumbnails are looked into.
        wells: Rows of `well_table`; the first `MAX_WELLS` that have a thumbnail are used.
        features: Columns of the cells that typical is judged by; those the cells lack are
            left out.
        what: What the wells are, for the caption.
        choose: `profiler.hits.typical_cells`, or another of its signature.

    Returns:
        At most `MAX_CELLS` crops. Where the cells' places are unknown, or none lies within a
        thumbnail, the middles of the thumbnails instead; None without any thumbnail.
    """
    pictures = _pictures(run, wells)
    if not pictures:
        return None
    found = _within(run, pictures, features)
    if found is None or not found.height:
        return _middles(pictures, what)
    named = found.select("Metadata_Plate", "Metadata_Well").unique(maintain_order=True)
    known = measured(features, found.columns)
    chosen = choose(found.lazy(), wells=named, features=known, n=MAX_CELLS)
    rows = chosen.select(KEY).join(found, on=KEY, how="left", maintain_order="left")
    crops = [
        _crop(pictures[row["Metadata_Plate"], row["Metadata_Well"]], row["column"], row["line"])
        for row in rows.iter_rows(named=True)
    ]
    return _strip(crops, pictures, what, is_typical=True) if crops else _middles(pictures, what)


def measured(features: Sequence[str], columns: Sequence[str]) -> list[str]:
    """Columns of the cells that features of wells were summarised from, each once.

    With several summaries a well's feature ends with its own: Cells_AreaShape_Area_mad.

    >>> measured(["Cells_A_mad", "Cells_A_mean", "Cells_B_x"], ["Cells_A", "Cells_B"])
    ['Cells_A']
    """
    found = (name.removesuffix(ending) for name in features for ending in ENDINGS)
    return list(dict.fromkeys(name for name in found if name in columns))


def view_of(picture: Image.Image) -> View | None:
    """Read which part of its field a thumbnail shows; None where its file does not say.

    Args:
        picture: As opened, before it is converted.
    """
    text = str(picture.info.get(VIEW, ""))
    parts = text.split()
    if len(parts) != len(View._fields) or not all(part.isdigit() for part in parts):
        return None
    return View(*map(int, parts))


def _pictures(run: Run, wells: pl.DataFrame) -> dict[tuple[str, str], Image.Image]:
    """The first few wells' thumbnails that are whole."""
    found: dict[tuple[str, str], Image.Image] = {}
    for plate, well in wells.select("plate", "well").iter_rows():
        path = run.picture(plate, well)
        picture = opened(path.read_bytes()) if path.is_file() else None
        if picture is not None:
            found[plate, well] = picture
        if len(found) == MAX_WELLS:
            break
    return found


def _within(
    run: Run, pictures: dict[tuple[str, str], Image.Image], features: Sequence[str]
) -> pl.DataFrame | None:
    """Cells whose whole crop lies in their well's thumbnail, with line and column in it."""
    tables = [_within_one(run, key, picture, features) for key, picture in pictures.items()]
    there = [table for table in tables if table is not None]
    return pl.concat(there, how="diagonal") if there else None


def _within_one(
    run: Run, key: tuple[str, str], picture: Image.Image, features: Sequence[str]
) -> pl.DataFrame | None:
    view, path = view_of(picture), well_path(run.folder, *key)
    if view is None or not path.is_file():
        return None
    cells = scan_table(path)
    names = cells.collect_schema().names()
    if not {X, Y} <= set(names):
        return None
    wanted = dict.fromkeys([*KEY, BORDER, X, Y, *measured(features, names)])
    placed = (
        cells.filter(pl.col("Metadata_Site") == _shown_site(run, key[0]), run.is_now(cells))
        .select(name for name in wanted if name in names)
        .with_columns(
            line=((pl.col(Y) - view.top) / view.step).round().cast(pl.Int64, strict=False),
            column=((pl.col(X) - view.left) / view.step).round().cast(pl.Int64, strict=False),
        )
    )
    half = min(SIDE, *picture.size) // 2
    inside = pl.col("column").is_between(half, picture.width - half)
    return placed.filter(inside & pl.col("line").is_between(half, picture.height - half)).collect()


def _shown_site(run: Run, plate: str) -> int:
    """The site that stands for its well: the plate's first (`profiler.compute.pictures`)."""
    fields = run.table("fields")
    sites = None if fields is None else fields.filter(Metadata_Plate=plate)["Metadata_Site"]
    first = None if sites is None else sites.min()
    return int(first) if isinstance(first, int) else 1


def _crop(picture: Image.Image, column: int, line: int) -> Image.Image:
    side = min(SIDE, *picture.size)
    left = min(max(column - side // 2, 0), picture.width - side)
    top = min(max(line - side // 2, 0), picture.height - side)
    return picture.crop((left, top, left + side, top + side))


def _middles(pictures: dict[tuple[str, str], Image.Image], what: str) -> Strip:
    crops = [_crop(p, p.width // 2, p.height // 2) for p in pictures.values()]
    return _strip(crops, pictures, what, is_typical=False)


def _strip(
    crops: Sequence[Image.Image],
    pictures: dict[tuple[str, str], Image.Image],
    what: str,
    *,
    is_typical: bool,
) -> Strip:
    height = max(crop.height for crop in crops)
    width = sum(crop.width + GAP for crop in crops) - GAP
    sheet = Image.new("RGB", (width, height), "white")
    left = 0
    for crop in crops:
        sheet.paste(crop, (left, 0))
        left += crop.width + GAP
    several = len({plate for plate, _ in pictures}) > 1
    where = ", ".join(f"{plate} {well}" if several else well for plate, well in pictures)
    kind = "typical cells" if is_typical else "middles of fields"
    n = count(len(crops), "typical cell") if is_typical else kind
    caption = f"{what}: {n} of {where}"
    share = min(len(crops) / MAX_CELLS, 1.0)
    alt = f"Pictures of {kind} of {what}, {where}"
    return Strip(jpeg(sheet, quality=QUALITY), width, height, share, alt, caption)
