"""Bars: how often values occur, and what parts make up a whole."""

from collections.abc import Sequence
from typing import NamedTuple

from profiler.report.draw.axis import Axis, linear_ticks
from profiler.report.draw.frame import Axes, Size, axis_label, canvas, y_grid
from profiler.report.draw.svg import Markup, element, join
from profiler.report.numbers import Number, number

SIZE = Size(480, 340)
LEFT, RIGHT, TOP, BOTTOM = 44, 470, 22, 300


class Stack(NamedTuple):
    """How many values of one kind lie in each bin, drawn on top of the stacks before it."""

    name: str
    colour: str
    counts: Sequence[int]


class Part(NamedTuple):
    """One part of a whole."""

    name: str
    colour: str
    count: int


def histogram(
    stacks: Sequence[Stack],
    *,
    edges: Sequence[Number],
    x_label: str,
    mark: Number | None,
    label: str,
) -> Markup:
    """Draw how often values occur.

    Args:
        stacks: At least one; counts are one fewer than edges.
        edges: Of the bins, ascending.
        x_label: What the values are.
        mark: Where to draw an upright line, if anywhere.
        label: What is drawn, for those who cannot see it.
    """
    totals = [sum(counts) for counts in zip(*(stack.counts for stack in stacks), strict=True)]
    x = Axis(edges[0], edges[-1], LEFT, RIGHT)
    axes = Axes(x, Axis(0, max(totals) * 1.05 or 1, BOTTOM, TOP))
    drawn = [
        y_grid(axes),
        *(_bars(stacks, i, edges, axes) for i in range(len(totals))),
        _x_ticks(axes),
        _mark(mark, axes),
        axis_label(x_label, x=(LEFT + RIGHT) / 2, y=SIZE.height - 6, text_anchor="middle"),
        axis_label("Number", x=0, y=10),
    ]
    return canvas(drawn, "scatter", size=SIZE, label=label)


def _bars(stacks: Sequence[Stack], i: int, edges: Sequence[Number], axes: Axes) -> Markup:
    """The bars of one bin, the first stack at the bottom."""
    x, y = axes
    left, right = x(edges[i]), x(edges[i + 1])
    between = f"{number(edges[i])} to {number(edges[i + 1])}"
    bars, below = [], 0
    for stack in stacks:
        count = stack.counts[i]
        if count:
            title = element("title", f"{between}: {count:,} {stack.name}")
            top, bottom = y(below + count), y(below)
            bars.append(
                element(
                    "rect", title, class_="bar", x=left + 0.5, y=top, width=right - left - 1,
                    height=bottom - top, fill=stack.colour,
                )
            )  # fmt: skip
        below += count
    return join(bars)


def _x_ticks(axes: Axes) -> Markup:
    x, y = axes
    return join(
        element("text", number(v), class_="tick", x=x(v), y=y.start + 15, text_anchor="middle")
        for v in linear_ticks(x.low, x.high)
    )


def _mark(value: Number | None, axes: Axes) -> Markup:
    if value is None or not axes.x.low <= value <= axes.x.high:
        return Markup("")
    at = axes.x(value)
    return element("line", class_="threshold", x1=at, x2=at, y1=axes.y.start, y2=axes.y.end)


def share_bar(parts: Sequence[Part], *, label: str) -> Markup:
    """Draw the parts of a whole as one bar, small enough for a table's row."""
    width, height, total = 260, 16, sum(part.count for part in parts)
    drawn, x = [], 0.0
    for part in parts:
        wide = width * part.count / max(total, 1)
        title = element("title", f"{part.name}: {part.count:,} of {total:,}")
        drawn.append(
            element(
                "rect", title, class_="bar", x=x, y=0, width=wide, height=height, fill=part.colour
            )
        )
        x += wide
    return canvas(drawn, "share", size=(width, height), label=label)
