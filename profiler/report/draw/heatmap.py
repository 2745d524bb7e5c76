"""A plate as it lies on the bench: one coloured square per well, from 6 to 1536."""

from collections.abc import Sequence
from typing import NamedTuple

from plates.well import well_name
from profiler.report.draw.colour import ColourScale, colour_bar, ink_on
from profiler.report.draw.svg import Markup, element, join
from profiler.report.numbers import Number, defined, number, rounded

LEFT, TOP = 22, 16
LEGEND = 40


class WellMark(NamedTuple):
    """One well to draw.

    Attributes:
        row: From 0 at the top.
        column: From 0 at the left.
        value: What the colour shows; None or NaN is drawn grey.
        note: Tooltip.
        sign: A character drawn on the well, as "+" on positive controls.
        is_hit: Whether the well gets a frame.
        index: Number of the well in the page's data.
    """

    row: int
    column: int
    value: float | None
    note: str
    sign: str = ""
    is_hit: bool = False
    index: int | None = None


def heat_map(
    wells: Sequence[WellMark],
    *,
    rows: int,
    columns: int,
    scale: ColourScale,
    label: str,
    slot: str | None = None,
) -> Markup:
    """Draw a plate with its legend.

    Args:
        wells: In any order; positions that none of them holds are drawn hatched.
        rows: Of the plate.
        columns: Of the plate.
        scale: Value to colour; its ends are written below the plate.
        label: What the colours mean, for those who cannot see them.
        slot: Which of the page's choices recolours it.

    Returns:
        An `svg` element as wide as its plate needs, to be placed in HTML.
    """
    pitch = well_pitch(columns)
    width, height = LEFT + columns * pitch + 6, TOP + rows * pitch + LEGEND
    empty = {(r, c) for r in range(rows) for c in range(columns)}
    empty -= {(well.row, well.column) for well in wells}
    return element(
        "svg",
        _names(rows, columns, pitch),
        _hatched(sorted(empty), pitch),
        join(_well(well, pitch=pitch, scale=scale) for well in wells),
        _legend(scale, y=TOP + rows * pitch + 10, width=columns * pitch),
        class_="plate",
        viewBox=f"0 0 {width:g} {height:g}",
        width=width,
        height=height,
        role="img",
        data_slot=slot,
        aria_label=_summary(wells, label, rows * columns),
    )


def well_pitch(columns: int) -> Number:
    """Distance between wells: plates of more than 12 columns are drawn wider.

    >>> [well_pitch(columns) for columns in (3, 12, 24, 48)]
    [48, 24.0, 16.0, 8.0]
    """
    return min(48, (288 if columns <= 12 else 384) / columns)


def well_corner(row: int, column: int, *, pitch: Number) -> tuple[Number, Number]:
    """Top left corner of a well, x and y."""
    return LEFT + column * pitch, TOP + row * pitch


def _summary(wells: Sequence[WellMark], label: str, size: int) -> str:
    values = [well.value for well in wells if well.value is not None and defined(well.value)]
    if not values:
        return f"Plate heat map of {label}: no well of {size} has a value."
    ends = f"{number(min(values))} to {number(max(values))}"
    return f"Plate heat map of {label}: {len(values)} of {size} wells have a value, {ends}."


def _names(rows: int, columns: int, pitch: Number) -> Markup:
    every = 1 if pitch >= 14 else 4 if pitch < 10 else 2
    middle = pitch / 2

    def name(text: str, x: Number, y: Number, anchor: str) -> Markup:
        return element("text", text, class_="tick", x=x, y=y, text_anchor=anchor)

    letters = (
        name(well_name(row=r, column=0)[:-2], LEFT - 5, TOP + r * pitch + middle + 3, "end")
        for r in range(0, rows, 1 if pitch >= 10 else 2)
    )
    digits = (
        name(str(c + 1), LEFT + c * pitch + middle, TOP - 5, "middle")
        for c in range(0, columns, every)
    )
    return join([*letters, *digits])


def _hatched(empty: Sequence[tuple[int, int]], pitch: Number) -> Markup:
    if not empty:
        return Markup("")
    gap, size = pitch * 0.08, pitch * 0.84

    def path(row: int, column: int) -> str:
        x, y = well_corner(row, column, pitch=pitch)
        x, y = round(x + gap, 2), round(y + gap, 2)
        return f"M{x:g} {y:g}h{size:g}v{size:g}h{-size:g}zl{size:g} {size:g}"

    title = element("title", "no image or no result")
    return element("path", title, class_="missing", d="".join(path(*place) for place in empty))


def _well(well: WellMark, *, pitch: Number, scale: ColourScale) -> Markup:
    x, y = well_corner(well.row, well.column, pitch=pitch)
    value = well.value if defined(well.value) else None
    fill = None if value is None else scale(value)
    gap = pitch * (0.04 if pitch >= 10 else 0.02) + (0.6 if well.is_hit else 0)
    square = element(
        "rect",
        element("title", well.note),
        class_=" ".join(_classes(well, fill)),
        data_i=well.index,
        x=x + gap,
        y=y + gap,
        width=pitch - 2 * gap,
        height=pitch - 2 * gap,
        rx=min(3.0, pitch / 8),
        fill=fill,
    )
    return join([square, _sign(well, fill, x + pitch / 2, y + pitch / 2) if pitch >= 12 else ""])


def _classes(well: WellMark, fill: str | None) -> list[str]:
    return ["well", *["void"] * (fill is None), *["hit"] * well.is_hit]


def _sign(well: WellMark, fill: str | None, x: Number, y: Number) -> Markup:
    if not well.sign:
        return Markup("")
    ink = ink_on(fill) if fill else None
    return element("text", well.sign, class_="sign", x=x, y=y + 3.5, fill=ink)


def _legend(scale: ColourScale, *, y: Number, width: Number) -> Markup:
    middle = (scale.low + scale.high) / 2
    marks = ((0, scale.low, "start"), (0.5, middle, "middle"), (1, scale.high, "end"))
    bar = colour_bar(scale, x=LEFT, y=y, width=width, height=8)
    span = scale.high - scale.low

    def text(fraction: Number, value: Number, anchor: str) -> Markup:
        words, x = number(rounded(value, span)), LEFT + fraction * width
        return element("text", words, class_="tick end", x=x, y=y + 20, text_anchor=anchor)

    return element("g", bar, *(text(*mark) for mark in marks), class_="scale")
