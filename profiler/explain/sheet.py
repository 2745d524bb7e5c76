"""A sheet of explained cells: stains, what each pixel adds, what changes without a part, kin."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter

from profiler.report.thumbnail import composite, outlines, stain_colours

TILE, GAP, BLOCK = 104, 4, 22  # pixels: a picture, between pictures, between groups of them
MARGIN, LABEL, BARS = 10, 200, 320
HEAD, FONT, SMALL = 62, 17, 14
FOR, AGAINST = (214, 93, 14), (32, 108, 184)  # told apart by the colour-blind, too
INK, SOFT, LINE = (34, 38, 42), (101, 108, 115), (200, 198, 192)
SMOOTH_PX = 1.5  # single pixels of a gradient are noise
FULL = 99.7  # percentile of the attribution that is drawn in full colour
DIM = 0.6


class Row(NamedTuple):
    """One cell of the sheet.

    Attributes:
        lines: What is said of it, the first line in bold ink.
        pixels: [side, side, channel], 0 to 1.
        inside: The cell's pixels.
        attribution: [side, side, channel].
        coarse: Grad-CAM or attention rollout, all stains together, [side, side].
        changes: One per bar, in the order of the sheet's names.
        kin: Crops of the nearest controls.
        labelled: Crops of the nearest labelled cells.
        labels: What those are labelled.
    """

    lines: Sequence[str]
    pixels: np.ndarray
    inside: np.ndarray
    attribution: np.ndarray
    coarse: np.ndarray
    changes: Sequence[float]
    kin: Sequence[np.ndarray]
    labelled: Sequence[np.ndarray] = ()
    labels: Sequence[str] = ()


class Look(NamedTuple):
    """How all rows are drawn, so that they can be compared.

    Attributes:
        stains: Names.
        limits: Black and white of each stain, [channel, 2].
        most: Attribution that is drawn in full colour.
        changes: Names of the bars.
        widest: Change whose bar is the longest.
        hottest: Coarse map's value that is drawn in full colour.
        coarse: What the coarse map is called.
        kin: How many nearest controls a row has.
        labelled: How many nearest labelled cells.
    """

    stains: Sequence[str]
    limits: np.ndarray
    most: float
    changes: Sequence[str]
    widest: float
    hottest: float
    coarse: str
    kin: int
    labelled: int


def look_of(
    rows: Sequence[Row], *, stains: Sequence[str], changes: Sequence[str], coarse: str
) -> Look:
    """Fix grey levels, colours and the length of bars by all rows together."""
    pixels = np.stack([row.pixels for row in rows])
    low, high = np.percentile(pixels, (2, 99.8), axis=(0, 1, 2))
    maps = np.abs([_smooth(row.attribution) for row in rows])
    most = float(np.percentile(maps, FULL)) or 1.0
    widest = max((abs(change) for row in rows for change in row.changes), default=1.0) or 1.0
    limits = np.stack([low, np.maximum(high, low + 1e-6)], axis=-1)
    hottest = max(float(row.coarse.max()) for row in rows) or 1.0
    kin = max(len(row.kin) for row in rows)
    labelled = max(len(row.labelled) for row in rows)
    return Look(stains, limits, most, changes, widest, hottest, coarse, kin, labelled)


def draw_sheet(rows: Sequence[Row], look: Look, *, title: str) -> Image.Image:
    """Draw explained cells, a row each, on white, for screen and print."""
    height = max(TILE, len(look.changes) * (SMALL + 3) + 2)
    left = _lefts(look)
    sheet = Image.new("RGB", (left[-1] + MARGIN, HEAD + len(rows) * (height + 2 * GAP)), "white")
    pen = ImageDraw.Draw(sheet)
    _head(pen, look, left, title)
    for number, row in enumerate(rows):
        top = HEAD + number * (height + 2 * GAP)
        pen.line([(0, top - GAP), (sheet.width, top - GAP)], fill=LINE)
        _draw_row(sheet, pen, row, look, left, top)
    return sheet


def _lefts(look: Look) -> list[int]:
    """Where the groups of a row begin: stains, maps, coarse map, bars, kin; and the end."""
    step, lefts = TILE + GAP, [LABEL]
    stains = len(look.stains) * step + BLOCK
    kin, labelled = look.kin * step, look.labelled * step
    between = BLOCK if kin and labelled else 0
    for width in (stains, stains, step + BLOCK, BARS + BLOCK, kin + between, labelled):
        lefts.append(lefts[-1] + width)
    return lefts


def _head(pen: ImageDraw.ImageDraw, look: Look, left: Sequence[int], title: str) -> None:
    pen.text((MARGIN, 4), title, fill=INK, font=_font(FONT + 2))
    top = HEAD - SMALL - GAP - 4
    for group, what in ((left[0], ""), (left[1], " adds")):
        for number, stain in enumerate(look.stains):
            pen.text(
                (group + number * (TILE + GAP), top),
                _short(stain + what),
                fill=SOFT,
                font=_font(SMALL),
            )
    for at, text in (
        (left[2], look.coarse),
        (left[3], "change with (sd)"),
        *([(left[4], "nearest controls")] if look.kin else []),
        *([(left[5], "nearest labelled cells")] if look.labelled else []),
    ):
        pen.text((at, top), text, fill=SOFT, font=_font(SMALL))


def _draw_row(
    sheet: Image.Image,
    pen: ImageDraw.ImageDraw,
    row: Row,
    look: Look,
    left: Sequence[int],
    top: int,
) -> None:
    for number, line in enumerate(row.lines):
        ink, size = (SOFT, SMALL) if number else (INK, FONT)
        pen.text(
            (MARGIN, top + number * (SMALL + 4) + 2 * (number > 0)),
            line,
            fill=ink,
            font=_font(size),
        )
    smooth = _smooth(row.attribution)
    for number in range(len(look.stains)):
        grey = _grey(row.pixels[..., number], look.limits[number])
        x = number * (TILE + GAP)
        sheet.paste(_tile(_outlined(grey, row.inside)), (left[0] + x, top))
        coloured = _coloured(grey, smooth[..., number] / look.most)
        sheet.paste(_tile(_outlined(coloured, row.inside)), (left[1] + x, top))
    sheet.paste(_tile(_outlined(_heat(row.coarse / look.hottest), row.inside)), (left[2], top))
    _bars(pen, row.changes, look, left[3], top)
    _kin(sheet, row.kin, look, left[4], top)
    _kin(sheet, row.labelled, look, left[5], top)
    for number, label in enumerate(row.labels):
        _strip(pen, label, left[5] + number * (TILE + GAP), top)


def _kin(sheet: Image.Image, crops: Sequence[np.ndarray], look: Look, left: int, top: int) -> None:
    colours = stain_colours(look.stains)
    for number, crop in enumerate(crops):
        picture = composite(crop, limits=look.limits, colours=colours)
        sheet.paste(_tile(picture), (left + number * (TILE + GAP), top))


def _strip(pen: ImageDraw.ImageDraw, label: str, left: int, top: int) -> None:
    """Write a label over the foot of a picture."""
    high = SMALL + 4
    pen.rectangle([left, top + TILE - high, left + TILE - 1, top + TILE - 1], fill=INK)
    pen.text((left + 4, top + TILE - high), _short(label), fill="white", font=_font(SMALL))


def _bars(pen: ImageDraw.ImageDraw, changes: Sequence[float], look: Look, x: int, top: int) -> None:
    """Bars to the left for what speaks for the treatment: without it, the cell lies less far."""
    names = 150
    middle, half = x + names + (BARS - names) // 2, (BARS - names) // 2 - 40
    pen.line([(middle, top), (middle, top + len(changes) * (SMALL + 3))], fill=LINE)
    for number, (name, change) in enumerate(zip(look.changes, changes, strict=True)):
        y = top + number * (SMALL + 3)
        pen.text((x, y - 1), _short(name, 20), fill=SOFT, font=_font(SMALL - 1))
        end = middle + round(half * change / look.widest)
        pen.rectangle(
            [min(middle, end), y + 3, max(middle, end), y + SMALL - 2],
            fill=AGAINST if change > 0 else FOR,
        )
        text, font = f"{change:+.1f}", _font(SMALL - 2)
        wide = round(pen.textlength(text, font=font))
        pen.text((end + 3 if change > 0 else end - 3 - wide, y), text, fill=INK, font=font)


def _smooth(attribution: np.ndarray) -> np.ndarray:
    return gaussian_filter(attribution, (SMOOTH_PX, SMOOTH_PX, 0))


def _grey(plane: np.ndarray, limits: np.ndarray) -> np.ndarray:
    low, high = limits
    return np.repeat((255 * np.clip((plane - low) / (high - low), 0, 1))[..., None], 3, axis=-1)


def _coloured(grey: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """Lay colour over a dim picture, the stronger the more opaque."""
    paint = np.where(strength[..., None] > 0, FOR, AGAINST).astype(float)
    cover = np.clip(np.abs(strength), 0, 1)[..., None] ** 0.7
    return (1 - cover) * grey * DIM + cover * paint


def _heat(coarse: np.ndarray) -> np.ndarray:
    return np.clip(coarse, 0, 1)[..., None] * np.array(FOR, float)


def _outlined(picture: np.ndarray, inside: np.ndarray) -> np.ndarray:
    picture = picture.copy()
    picture[outlines(inside.astype(np.int32))] = (
        0.35 * picture[outlines(inside.astype(np.int32))] + 0.65 * 255
    )
    return picture


def _tile(picture: np.ndarray) -> Image.Image:
    whole = Image.fromarray(np.clip(picture, 0, 255).round().astype(np.uint8))
    return whole.resize((TILE, TILE), Image.Resampling.BICUBIC)


def _short(text: str, most: int = 13) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
