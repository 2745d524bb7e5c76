"""Dose against response: every well a point, the fitted curve, and how sure its EC50 is."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from profiler.report.draw.axis import Axis, linear_axis, log_axis
from profiler.report.draw.frame import Axes, axis_label, canvas, clip, grid
from profiler.report.draw.svg import Markup, element, join, points
from profiler.report.numbers import Number, defined, number

WIDTH, HEIGHT = 320, 210
LEFT, RIGHT, TOP, BOTTOM = 40, 312, 24, 170


class Dose(NamedTuple):
    """One well: concentration (positive), response, tooltip."""

    concentration: float
    response: float
    note: str = ""


class Curve(NamedTuple):
    """A four-parameter logistic and the interval of its EC50, in the doses' unit.

    Bottom is below top; slope is negative where the response falls with the dose.
    """

    bottom: float
    top: float
    slope: float
    ec50: float
    ec50_low: float | None = None
    ec50_high: float | None = None


class Band(NamedTuple):
    """Where the wells of one control lie: kind is "negative" or "positive"."""

    kind: str
    low: float
    middle: float
    high: float


def response(curve: Curve, concentration: Number) -> float:
    """Height of a curve, in the form of `profiler.hits.fit_curves`.

    >>> response(Curve(bottom=0, top=10, slope=-1, ec50=3), 1)
    7.5
    """
    decades = math.log10(curve.ec50 / concentration) * curve.slope
    return curve.bottom + (curve.top - curve.bottom) / (1 + 10 ** min(decades, 300))


def dose_response(
    doses: Sequence[Dose],
    *,
    curve: Curve | None,
    bands: Sequence[Band] = (),
    x_label: str,
    y_label: str,
    label: str,
) -> Markup:
    """Draw one compound.

    Args:
        doses: At least one well; where several share a dose they share an x.
        curve: None where no curve could be fitted.
        bands: Where the controls lie.
        x_label: Name and unit of the concentration.
        y_label: Name of the readout, written above the axis.
        label: What is drawn, for those who cannot see it.

    Returns:
        An `svg` element, to be placed in HTML.
    """
    levels = [level for band in bands for level in (band.low, band.high)]
    axes = _axes(doses, levels, Axes(_span(LEFT, RIGHT), _span(BOTTOM, TOP)))
    drawn = [
        *(_band(band, axes) for band in bands),
        grid(axes),
        _ec50(curve, axes),
        _line(curve, axes),
        *(_dot(dose, axes, radius=3.2) for dose in doses),
        axis_label(x_label, x=(LEFT + RIGHT) / 2, y=HEIGHT - 6, text_anchor="middle"),
        axis_label(y_label, x=0, y=10),
    ]
    return canvas(drawn, "curve", size=(WIDTH, HEIGHT), label=label)


def sparkline(doses: Sequence[Dose], *, curve: Curve | None, label: str) -> Markup:
    """Draw the same without axes, small enough for a table's row."""
    axes = _axes(doses, [], Axes(_span(3, 93), _span(25, 3)))
    drawn = [_line(curve, axes), *(_dot(dose, axes, radius=1.6) for dose in doses)]
    return canvas(drawn, "spark", size=(96, 28), label=label)


def _span(start: Number, end: Number) -> Axis:
    return Axis(0, 1, start, end)


def _axes(doses: Sequence[Dose], levels: list[float], frame: Axes) -> Axes:
    heights = [dose.response for dose in doses] + levels
    x = log_axis([dose.concentration for dose in doses], start=frame.x.start, end=frame.x.end)
    return Axes(x, linear_axis(heights, start=frame.y.start, end=frame.y.end))


def _band(band: Band, axes: Axes) -> Markup:
    x, y = axes
    high, middle, low = y(band.high), y(band.middle), y(band.low)
    title = element("title", f"{band.kind} controls: median {number(band.middle)}")
    area = element(
        "rect", title, class_=f"band {band.kind}", x=x.start, y=high,
        width=x.end - x.start, height=max(low - high, 0.8),
    )  # fmt: skip
    line = element("line", class_=f"level {band.kind}", x1=x.start, x2=x.end, y1=middle, y2=middle)
    return join([area, line])


def _dot(dose: Dose, axes: Axes, *, radius: Number) -> Markup:
    title = [element("title", dose.note)] if dose.note else []
    x, y = axes.x(dose.concentration), axes.y(dose.response)
    return element("circle", *title, class_="dot", cx=x, cy=y, r=radius)


def _line(curve: Curve | None, axes: Axes, *, steps: int = 64) -> Markup:
    if curve is None:
        return Markup("")
    x, y = axes
    ratio = x.high / x.low
    doses = [x.low * ratio ** (i / steps) for i in range(steps + 1)]
    heights = [y(clip(response(curve, dose), y)) for dose in doses]
    line = points([x(dose) for dose in doses], heights)
    return element("polyline", class_="fit", points=line)


def _ec50(curve: Curve | None, axes: Axes) -> Markup:
    """The EC50 as an upright line, its interval as an area cut off at the axis' ends."""
    if curve is None or not axes.x.low <= curve.ec50 <= axes.x.high:
        return Markup("")
    x, y = axes
    middle = x(curve.ec50)
    line = element("line", class_="ec50", x1=middle, x2=middle, y1=y.end, y2=y.start)
    if not (defined(curve.ec50_low) or defined(curve.ec50_high)):
        return line
    left = x(clip(curve.ec50_low if defined(curve.ec50_low) else x.low, x))
    right = x(clip(curve.ec50_high if defined(curve.ec50_high) else x.high, x))
    area = element(
        "rect", class_="ec50 area", x=left, y=y.end, width=right - left, height=y.start - y.end
    )
    return join([area, line])
