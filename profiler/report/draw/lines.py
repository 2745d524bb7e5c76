"""Values along numbered places: the rows and columns of a plate, the plates of a run."""

from collections.abc import Sequence
from typing import NamedTuple

from profiler.report.draw.axis import Axis, linear_axis
from profiler.report.draw.frame import Axes, Size, axis_label, canvas, names_below, y_grid
from profiler.report.draw.svg import Markup, element, join, points
from profiler.report.numbers import defined

SIZE = Size(480, 260)
LEFT, RIGHT, TOP, BOTTOM = 44, 470, 22, 220


class Line(NamedTuple):
    """One line.

    Attributes:
        name: Tooltip, with the place's name and value.
        values: One per place; the line is broken where one is None.
        kind: Class of the style sheet: "each", "all", "negative", "positive" or "treated".
        low: Lower ends of upright bars, as many as values, or none.
        high: Upper ends.
    """

    name: str
    values: Sequence[float | None]
    kind: str
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()


def lines(
    drawn: Sequence[Line], *, names: Sequence[str], x_label: str, y_label: str, label: str
) -> Markup:
    """Draw lines over the same places.

    Args:
        drawn: At least one value is defined; the last line is on top.
        names: Of the places.
        x_label: What the places are.
        y_label: What the values are.
        label: What is drawn, for those who cannot see it.
    """
    every = [v for line in drawn for v in (*line.values, *line.low, *line.high) if defined(v)]
    x = Axis(-0.5, max(len(names) - 0.5, 0.5), LEFT, RIGHT)
    axes = Axes(x, linear_axis(every, start=BOTTOM, end=TOP))
    parts = [
        y_grid(axes),
        names_below(names, axes),
        *(_line(line, axes) for line in drawn),
        axis_label(x_label, x=(LEFT + RIGHT) / 2, y=SIZE.height - 6, text_anchor="middle"),
        axis_label(y_label, x=0, y=10),
    ]
    return canvas(parts, "lines", size=SIZE, label=label)


def _line(line: Line, axes: Axes) -> Markup:
    places = [(i, v) for i, v in enumerate(line.values) if defined(v)]
    title = element("title", line.name)
    path = element("path", title, class_=f"line {line.kind}", d=_path(line.values, axes))
    ends = [_upright(i, line, axes) for i in range(len(line.low))]
    if line.kind == "each":  # dots on each of many lines would hide one another
        return path
    dots = [
        element("circle", class_=f"place {line.kind}", cx=axes.x(i), cy=axes.y(v), r=2.6)
        for i, v in places
    ]
    return join([path, *ends, *dots])


def _path(values: Sequence[float | None], axes: Axes) -> str:
    """Straight lines between neighbours that are both defined."""
    pieces: list[str] = []
    is_drawing = False
    for i, value in enumerate(values):
        if defined(value):
            pieces.append(f"{'L' if is_drawing else 'M'}{points([axes.x(i)], [axes.y(value)])}")
        is_drawing = defined(value)
    return "".join(pieces)


def _upright(i: int, line: Line, axes: Axes) -> Markup:
    low, high = line.low[i], line.high[i]
    if not (defined(low) and defined(high)):
        return Markup("")
    x, y = axes.x(i), axes.y
    return element("line", class_=f"spread {line.kind}", x1=x, x2=x, y1=y(low), y2=y(high))
