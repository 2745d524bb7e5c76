"""Colour maps in which equal steps of a value look equally large."""

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from profiler.report.draw.svg import element, join
from profiler.report.numbers import Number

Rgb = tuple[int, int, int]

# Nine samples of matplotlib's viridis (CC0).
VIRIDIS = (
    "#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c",
    "#28ae80", "#5ec962", "#addc30", "#fde725",
)  # fmt: skip
# Straight lines in OKLCH from (0.54, 0.14, 250°) and (0.54, 0.14, 35°) to a light grey (0.92).
BLUE_GREY_RED = (
    "#1b71bc", "#558fc9", "#85acd4", "#b3c8df", "#e8e3e2",
    "#debdb5", "#d19889", "#c2725e", "#b14a31",
)  # fmt: skip


class ColourScale(NamedTuple):
    """How values become colours.

    Attributes:
        low: Value of the first colour; anything below looks the same.
        high: Value of the last colour; anything above looks the same.
        anchors: Colours at equal steps from low to high, "#rrggbb".
    """

    low: float
    high: float
    anchors: Sequence[str] = VIRIDIS

    def __call__(self, value: Number) -> str:
        """Colour of a finite value, "#rrggbb"."""
        span = self.high - self.low
        fraction = (value - self.low) / span if span > 0 else 0.5
        return blend(self.anchors, min(max(fraction, 0.0), 1.0))


def rgb(colour: str) -> Rgb:
    """Take "#rrggbb" apart.

    >>> rgb("#ff8000")
    (255, 128, 0)
    """
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def blend(anchors: Sequence[str], fraction: Number) -> str:
    """Colour at a fraction of the way through a list of colours.

    >>> blend(["#000000", "#ff0000", "#ffffff"], 0.75)
    '#ff8080'
    """
    place = fraction * (len(anchors) - 1)
    left = min(int(place), len(anchors) - 2)
    pairs = zip(rgb(anchors[left]), rgb(anchors[left + 1]), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * (place - left)):02x}" for a, b in pairs)


def ink_on(colour: str) -> str:
    """Black or white, whichever reads better on a colour.

    >>> ink_on("#440154"), ink_on("#fde725")
    ('#fff', '#000')
    """
    return "#000" if luminance(colour) > 0.179 else "#fff"


def luminance(colour: str) -> float:
    """Relative luminance, 0 for black to 1 for white.

    Source:
        WCAG 2.2; 0.179 is where black and white have the same contrast.
    """
    linear = [_linear(part / 255) for part in rgb(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _linear(part: float) -> float:
    return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4


def colour_bar(
    scale: ColourScale, *, x: Number, y: Number, width: Number, height: Number
) -> Markup:
    """Draw the colours of a scale from left to right, in 48 steps."""
    steps = 48
    step = width / steps

    def strip(i: int) -> Markup:
        # Half a unit of overlap hides the seams that anti-aliasing would show.
        wide = step + 0.5 * (i < steps - 1)
        fill = blend(scale.anchors, i / (steps - 1))
        return element("rect", x=x + i * step, y=y, width=wide, height=height, fill=fill)

    return join(strip(i) for i in range(steps))
