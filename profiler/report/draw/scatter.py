"""Points over two axes, with thresholds."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from profiler.report.draw.axis import linear_axis
from profiler.report.draw.frame import Axes, Size, axis_label, canvas, grid
from profiler.report.draw.palette import Look
from profiler.report.draw.svg import Markup, element, join

LEFT, TOP, BOTTOM, RIGHT = 44, 22, 40, 10
SIZE = Size(480, 340)


class Point(NamedTuple):
    """One point.

    Attributes:
        x: Finite.
        y: Finite.
        note: Tooltip.
        look: Colour and shape; None for the page's own colour of points.
        well: Number of the well in the page's data, if the point is one.
        href: Where a click leads.
    """

    x: float
    y: float
    note: str = ""
    look: Look | None = None
    well: int | None = None
    href: str = ""


class Threshold(NamedTuple):
    """A line across the drawing at a value of one axis, with a few words."""

    axis: Literal["x", "y"]
    value: float
    text: str = ""


def scatter(
    points: Sequence[Point],
    *,
    x_label: str,
    y_label: str,
    label: str,
    thresholds: Sequence[Threshold] = (),
    is_bare: bool = False,
) -> Markup:
    """Draw points.

    Args:
        points: At least one.
        x_label: Below the x axis.
        y_label: Above the y axis.
        label: What is drawn, for those who cannot see it.
        thresholds: Drawn below the points, and held by the axes.
        is_bare: Without ticks, for maps whose axes have no unit.

    Returns:
        An `svg` element, to be placed in HTML.
    """
    axes = _axes(points, thresholds)
    radius = 3.4 if len(points) < 1000 else 2.4
    drawn = [
        Markup("") if is_bare else grid(axes),
        *(_threshold(one, axes) for one in thresholds),
        *(_mark(point, axes, radius) for point in points),
        axis_label(x_label, x=SIZE.width / 2, y=SIZE.height - 6, text_anchor="middle"),
        axis_label(y_label, x=0, y=10),
    ]
    return canvas(drawn, "scatter", size=SIZE, label=label)


def _axes(points: Sequence[Point], thresholds: Sequence[Threshold]) -> Axes:
    xs = [p.x for p in points] + [t.value for t in thresholds if t.axis == "x"]
    ys = [p.y for p in points] + [t.value for t in thresholds if t.axis == "y"]
    x = linear_axis(xs, start=LEFT, end=SIZE.width - RIGHT)
    return Axes(x, linear_axis(ys, start=SIZE.height - BOTTOM, end=TOP))


def _threshold(threshold: Threshold, axes: Axes) -> Markup:
    x, y = axes
    if threshold.axis == "x":
        at = x(threshold.value)
        line = element("line", class_="threshold", x1=at, x2=at, y1=y.start, y2=y.end)
        text = element("text", threshold.text, class_="tick", x=at + 4, y=y.end + 8)
    else:
        at = y(threshold.value)
        line = element("line", class_="threshold", x1=x.start, x2=x.end, y1=at, y2=at)
        text = element("text", threshold.text, class_="tick", x=x.end, y=at - 4, text_anchor="end")
    return join([line, text if threshold.text else ""])


def _mark(point: Point, axes: Axes, radius: float) -> Markup:
    title = [element("title", point.note)] if point.note else []
    ring = point.look is not None and point.look.is_ring
    circle = element(
        "circle",
        *title,
        class_="mark ring" if ring else "mark",
        color=point.look.colour if point.look else None,
        data_i=point.well,
        cx=axes.x(point.x),
        cy=axes.y(point.y),
        r=radius,
    )
    return element("a", circle, href=point.href) if point.href else circle
