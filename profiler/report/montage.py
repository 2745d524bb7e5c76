"""All pictures of a plate's wells on one small sheet, laid out as the plate is."""

import base64
import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import polars as pl
from PIL import Image, UnidentifiedImageError

from plates.well import smallest_format, well_position
from profiler.report.run import Run

MAX_PIXELS = 12_000_000  # of all sheets of a page, about 5 MB of it
LARGEST, SMALLEST = 112, 24  # pixels along a tile
QUALITY = 62
READERS = 4  # threads: decoding pictures leaves Python's lock


class Montage(NamedTuple):
    """One sheet.

    Attributes:
        source: "data:image/jpeg;base64,...".
        tile: Side of a tile in pixels.
        rows: Of the plate.
        columns: Of the plate.
        n_pictures: Wells that have a picture; the tiles of others are black.
    """

    source: str
    tile: int
    rows: int
    columns: int
    n_pictures: int


def montages(run: Run, wells: pl.DataFrame, *, plates: Sequence[str]) -> dict[str, Montage]:
    """Make the sheets of some plates, in tiles so small that all fit into `MAX_PIXELS`.

    Args:
        run: Whose `thumbnails` folder is looked into.
        wells: From `well_table`.
        plates: Which plates.

    Returns:
        By plate; none for plates without any picture.
    """
    chosen = wells.filter(pl.col("plate").is_in(list(plates)))
    groups = {g["plate"][0]: g["well"] for g in chosen.partition_by("plate", maintain_order=True)}
    there = {plate: _pictured(run, plate, names) for plate, names in groups.items()}
    size = sum(smallest_format(groups[plate]).wells for plate, names in there.items() if names)
    tile = min(int((MAX_PIXELS / max(size, 1)) ** 0.5), LARGEST)
    if tile < SMALLEST:
        return {}
    return {
        plate: _montage(run, plate, names, shape=groups[plate], tile=tile)
        for plate, names in there.items()
        if names
    }


def _pictured(run: Run, plate: str, names: pl.Series) -> list[str]:
    return [name for name in names if run.picture(plate, name).is_file()]


def _montage(run: Run, plate: str, names: Sequence[str], *, shape: pl.Series, tile: int) -> Montage:
    _, rows, columns = smallest_format(shape)
    sheet = Image.new("RGB", (columns * tile, rows * tile))
    paths = [run.picture(plate, name) for name in names]
    n_pictures = 0
    for name, picture in zip(names, _shrunk(paths, tile), strict=True):
        if picture is not None:
            row, column = well_position(name)
            sheet.paste(picture, (column * tile, row * tile))
            n_pictures += 1
    return Montage(jpeg(sheet), tile, rows, columns, n_pictures)


def _shrunk(paths: Sequence[Path], tile: int) -> Iterator[Image.Image | None]:
    def shrink(path: Path) -> Image.Image | None:
        picture = opened(path.read_bytes())
        side = tile - 1  # the last row and column of a tile are black and keep neighbours apart
        # Two steps of averaging are ten times faster than one fine filter.
        return picture and picture.resize((side, side), Image.Resampling.BILINEAR, reducing_gap=1.5)

    with ThreadPoolExecutor(READERS) as pool:
        yield from pool.map(shrink, paths)


def opened(file: bytes) -> Image.Image | None:
    """Decode a picture, None where the file is no whole image."""
    try:
        picture = Image.open(io.BytesIO(file))
        texts = dict(picture.info)
        plain = picture.convert("RGB")
        plain.info.update(texts)
        return plain
    except (UnidentifiedImageError, OSError, SyntaxError):
        return None


def jpeg(picture: Image.Image, *, quality: int = QUALITY) -> str:
    """Encode a picture as a data URL."""
    out = io.BytesIO()
    picture.save(out, format="JPEG", quality=quality, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()
