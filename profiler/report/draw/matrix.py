"""A heat map of rows by columns, both named, such as profiles of treatments."""

from collections.abc import Sequence
from typing import NamedTuple

from profiler.report.draw.colour import ColourScale, colour_bar
from profiler.report.draw.frame import canvas
from profiler.report.draw.svg import Markup, element, join
from profiler.report.numbers import Number, defined, number

PITCH = 15
LEFT, TOP, BELOW, LEGEND, SCALE = 180, 6, 180, 34, 160
LONGEST = 28  # characters of a name; the whole of it is in the tooltip


class Grid(NamedTuple):
    """What a heat map shows.

    Attributes:
        rows: Names, from the top.
        columns: Names, from the left.
        values: One list per row; None or NaN is drawn grey.
    """

    rows: Sequence[str]
    columns: Sequence[str]
    values: Sequence[Sequence[Number | None]]


def matrix(grid: Grid, *, scale: ColourScale, label: str) -> Markup:
    """Draw a heat map with its names and its legend.

    Args:
        grid: What to show.
        scale: Value to colour; its ends are written below.
        label: What is drawn, for those who cannot see it.
    """
    width = LEFT + max(PITCH * len(grid.columns), SCALE) + 8
    bottom = TOP + PITCH * len(grid.rows)
    drawn = [
        *(_row(grid, i, scale) for i in range(len(grid.rows))),
        *(_column_name(name, j, bottom) for j, name in enumerate(grid.columns)),
        _legend(scale, y=bottom + BELOW),
    ]
    return canvas(drawn, "matrix", size=(width, bottom + BELOW + LEGEND), label=label)


def _row(grid: Grid, i: int, scale: ColourScale) -> Markup:
    y, name = TOP + PITCH * i, grid.rows[i]
    squares = (
        _square(value, LEFT + PITCH * j, y, f"{name}, {column}: {number(value)}", scale)
        for j, (column, value) in enumerate(zip(grid.columns, grid.values[i], strict=True))
    )
    title = element(
        "text", _short(name), element("title", name), class_="tick", x=LEFT - 6, y=y + PITCH - 4,
        text_anchor="end",
    )  # fmt: skip
    return join([title, *squares])


def _square(value: Number | None, x: int, y: int, note: str, scale: ColourScale) -> Markup:
    is_known = defined(value)
    return element(
        "rect", element("title", note), class_="cell" if is_known else "cell void", x=x, y=y,
        width=PITCH - 1, height=PITCH - 1, fill=scale(value) if is_known else None,
    )  # fmt: skip


def _column_name(name: str, j: int, bottom: int) -> Markup:
    x, y = LEFT + PITCH * j + PITCH - 4, bottom + 6
    return element(
        "text", _short(name), element("title", name), class_="tick", text_anchor="end",
        transform=f"translate({x} {y}) rotate(-90)",
    )  # fmt: skip


def _legend(scale: ColourScale, *, y: int) -> Markup:
    bar = colour_bar(scale, x=LEFT, y=y, width=SCALE, height=8)
    ends = (
        element("text", number(value), class_="tick", x=x, y=y + 20, text_anchor=anchor)
        for value, x, anchor in ((scale.low, LEFT, "start"), (scale.high, LEFT + SCALE, "end"))
    )
    return element("g", bar, *ends, class_="scale")


def _short(name: str) -> str:
    """Leave out the middle of a long name: features differ at both ends."""
    half = LONGEST // 2
    return name if len(name) <= LONGEST else f"{name[: half - 1]}…{name[-half:]}"
