"""Elements, colours, numbers and axes: the small parts that every drawing uses."""

import xml.etree.ElementTree as ET
from itertools import pairwise

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from profiler.report.draw.axis import linear_axis, linear_ticks, log_axis, log_ticks
from profiler.report.draw.colour import (
    BLUE_GREY_RED,
    VIRIDIS,
    ColourScale,
    blend,
    colour_bar,
    ink_on,
    luminance,
    rgb,
)
from profiler.report.draw.svg import Markup, element
from profiler.report.numbers import number


def lab(anchors, fractions):
    colours = np.array([[rgb(blend(anchors, f)) for f in fractions]]) / 255
    return rgb2lab(colours)[0]


def test_text_and_attributes_are_escaped():
    drawn = element("text", "<script>", title='"><b>', x=1.0)
    assert drawn == '<text title="&#34;&gt;&lt;b&gt;" x="1">&lt;script&gt;</text>'
    assert ET.fromstring(drawn).attrib["title"] == '"><b>'


def test_markup_children_stay_elements():
    assert element("g", element("a"), Markup("<b></b>")) == "<g><a></a><b></b></g>"


def test_attributes_are_rounded_renamed_and_dropped():
    drawn = element("rect", stroke_width=0.12345, class_="x", fill=None)
    assert drawn == '<rect stroke-width="0.12" class="x"></rect>'


@pytest.mark.parametrize("large", [1234567.0, -98765.43])
def test_large_coordinates_keep_their_digits(large):
    assert float(ET.fromstring(element("a", x=large)).attrib["x"]) == round(large, 2)


def test_viridis_brightens_evenly():
    lightness = lab(VIRIDIS, np.linspace(0, 1, 9))[:, 0]
    steps = np.diff(lightness)
    assert steps.min() > 0.85 * steps.mean()
    assert steps.max() < 1.2 * steps.mean()


def test_diverging_map_is_even_and_balanced():
    colours = lab(BLUE_GREY_RED, np.linspace(0, 1, 9))
    steps = deltaE_ciede2000(colours[:-1], colours[1:])
    assert np.ptp(colours[:, 0] - colours[::-1, 0]) < 4  # both arms equally dark
    assert colours[:, 0].argmax() == 4
    assert steps.max() < 2 * steps.min()


def test_scale_by_hand():
    scale = ColourScale(10, 20, ["#000000", "#ffffff"])
    assert [scale(v) for v in (0, 10, 15, 20, 99)] == [
        "#000000", "#000000", "#808080", "#ffffff", "#ffffff",
    ]  # fmt: skip


def test_scale_without_span_is_its_middle_colour():
    assert ColourScale(3, 3)(3) == VIRIDIS[4]


@pytest.mark.parametrize("fraction", np.linspace(0, 1, 21))
@pytest.mark.parametrize("anchors", [VIRIDIS, BLUE_GREY_RED])
def test_ink_has_contrast(anchors, fraction):
    colour = blend(anchors, fraction)
    ink = {"#000": 0.0, "#fff": 1.0}[ink_on(colour)]
    bright, dark = sorted((luminance(colour), ink), reverse=True)
    assert (bright + 0.05) / (dark + 0.05) >= 4.5


def test_luminance_of_known_colours():
    assert luminance("#ffffff") == pytest.approx(1)
    assert luminance("#ff0000") == pytest.approx(0.2126)
    assert luminance("#777777") == pytest.approx(0.1845, abs=1e-4)


def test_colour_bar_runs_from_first_to_last_colour():
    bar = ET.fromstring(f"<g>{colour_bar(ColourScale(0, 1), x=5, y=0, width=96, height=8)}</g>")
    assert [bar[0].attrib["fill"], bar[-1].attrib["fill"]] == [VIRIDIS[0], VIRIDIS[-1]]
    assert float(bar[-1].attrib["x"]) + float(bar[-1].attrib["width"]) == pytest.approx(101)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.005, "1"), (999.6, "1,000"), (0.00012345, "0.000123"), (float("nan"), "–"),
        (float("-inf"), "–"), (123456, "123,456"), (-0.5, "−0.5"), (1e-12, "1e−12"), (100, "100"),
    ],
)  # fmt: skip
def test_numbers(value, text):
    assert number(value) == text


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3.2, 8.9), (0.001, 0.0011), (1e5, 9e6)])
def test_linear_ticks_are_even_round_and_inside(low, high):
    ticks = linear_ticks(low, high)
    steps = [b - a for a, b in pairwise(ticks)]
    assert low <= ticks[0]
    assert ticks[-1] <= high
    assert 3 <= len(ticks) <= 8
    assert max(steps) == pytest.approx(min(steps))


@pytest.mark.parametrize(("low", "high"), [(0.5, 800), (2, 9), (1e-9, 1e3), (30, 31000)])
def test_log_ticks_are_round_few_and_inside(low, high):
    ticks = log_ticks(low, high)
    assert all(low <= tick <= high for tick in ticks)
    assert 2 <= len(ticks) <= 8
    assert {f"{tick:e}"[0] for tick in ticks} <= {"1", "2", "5"}


def test_axis_of_equal_values_has_width():
    axis = linear_axis([4.0, 4.0], start=100, end=0)
    assert axis(4.0) == pytest.approx(50)
    dose = log_axis([2.0], start=0, end=10)
    assert dose(2.0) == pytest.approx(5)
    assert dose.ticks()


def test_log_axis_spaces_ratios_evenly():
    axis = log_axis([1.0, 1000.0], start=0, end=300)
    places = [axis(v) for v in (1, 10, 100, 1000)]
    assert np.diff(places) == pytest.approx(np.diff(places)[0])
