"""The frame of a drawing: its canvas, its two axes with ticks and grid, and their labels."""

from collections.abc import Sequence
from typing import NamedTuple

from profiler.report.draw.axis import Axis
from profiler.report.draw.svg import Markup, element, join
from profiler.report.numbers import Number, number

LONGEST = 52  # characters of an axis' label


class Axes(NamedTuple):
    """The two axes of one drawing."""

    x: Axis
    y: Axis


class Size(NamedTuple):
    """Of a drawing, in units of the page's pixels."""

    width: int
    height: int


def canvas(drawn: Sequence[Markup], kind: str, *, size: tuple[int, int], label: str) -> Markup:
    """Put what was drawn into one `svg` element.

    Args:
        drawn: Elements, the lowest first.
        kind: Class of the style sheet.
        size: Width and height.
        label: What is drawn, for those who cannot see it.
    """
    width, height = size
    box = f"0 0 {width} {height}"
    return element(
        "svg", *drawn, class_=kind, viewBox=box, width=width, height=height, role="img",
        aria_label=label,
    )  # fmt: skip


def grid(axes: Axes) -> Markup:
    """Draw the base line, the lines of the grid, and the ticks with their numbers."""
    x, y = axes
    base = element("line", class_="axis", x1=x.start, x2=x.end, y1=y.start, y2=y.start)
    ticks = [*(_y_tick(v, axes) for v in y.ticks()), *(_x_tick(v, axes) for v in x.ticks())]
    return join([base, *ticks])


def names_below(names: Sequence[str], axes: Axes) -> Markup:
    """Write names, not numbers, below the x axis at 0, 1, 2, ..., some where they crowd."""
    x, y = axes
    room = abs(x.end - x.start) / max(len(names), 1)
    every = max(1, round(max(map(len, names), default=1) * 6.5 / max(room, 0.1) + 0.49))
    return join(
        element("text", name, class_="tick", x=x(i), y=y.start + 15, text_anchor="middle")
        for i, name in enumerate(names)
        if i % every == 0
    )


def _x_tick(value: float, axes: Axes) -> Markup:
    x, y = axes[0](value), axes[1].start
    mark = element("line", class_="axis", x1=x, x2=x, y1=y, y2=y + 4)
    text = element("text", number(value), class_="tick", x=x, y=y + 15, text_anchor="middle")
    return join([mark, text])


def y_grid(axes: Axes) -> Markup:
    """Draw the base line and the ticks of the y axis alone."""
    x, y = axes
    base = element("line", class_="axis", x1=x.start, x2=x.end, y1=y.start, y2=y.start)
    return join([base, *(_y_tick(v, axes) for v in y.ticks())])


def _y_tick(value: float, axes: Axes) -> Markup:
    x, y = axes[0], axes[1](value)
    line = element("line", class_="grid", x1=x.start, x2=x.end, y1=y, y2=y)
    text = element("text", number(value), class_="tick", x=x.start - 5, y=y + 3, text_anchor="end")
    return join([line, text])


def axis_label(text: str, **place: object) -> Markup:
    """Write what an axis shows, cut off where it is long."""
    short = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
    return element("text", short, class_="label", **place)


def clip(value: Number, axis: Axis) -> Number:
    """The value itself, or the end of the axis that it lies beyond."""
    return min(max(value, axis.low), axis.high)
