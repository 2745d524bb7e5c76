"""Points, lines and bars, read back as XML: places by hand, counts by numpy."""

import xml.etree.ElementTree as ET

import numpy as np
import polars as pl
import pytest

from profiler.report.draw.bars import Part, Stack, histogram, share_bar
from profiler.report.draw.lines import Line, lines
from profiler.report.draw.palette import LOOKS, by_frequency
from profiler.report.draw.scatter import Point, Threshold, scatter
from profiler.report.sections.replicates import bin_counts


def of_class(svg, tag, name):
    return [e for e in svg.iter(tag) if name in (e.get("class") or "").split()]


def numbers(elements, key):
    return np.array([float(e.get(key)) for e in elements])


def draw(points, **more):
    return ET.fromstring(scatter(points, x_label="x", y_label="y", label="l", **more))


def test_points_lie_evenly_right_and_up():
    marks = of_class(draw([Point(float(i), 2.0 * i) for i in range(5)]), "circle", "mark")
    x, y = numbers(marks, "cx"), numbers(marks, "cy")
    np.testing.assert_allclose(np.diff(x), np.diff(x)[0], atol=0.02)
    np.testing.assert_allclose(np.diff(y), np.diff(y)[0], atol=0.02)
    assert np.diff(x)[0] > 0 > np.diff(y)[0]


def test_a_point_has_its_note_look_well_and_link():
    svg = draw([Point(0.0, 0.0, "<b>", LOOKS[9], 7, "#card-1"), Point(1.0, 1.0)])
    linked, plain = of_class(svg, "circle", "mark")
    assert linked.find("title").text == "<b>"
    assert (linked.get("color"), linked.get("data-i")) == (LOOKS[9].colour, "7")
    assert linked.get("class") == "mark ring"
    assert [a.get("href") for a in svg.iter("a")] == ["#card-1"]
    assert (plain.get("class"), plain.get("color"), plain.get("data-i")) == ("mark", None, None)


def test_thresholds_lie_among_the_points():
    points = [Point(0.0, 0.0), Point(10.0, 10.0)]
    svg = draw(points, thresholds=[Threshold("x", 5.0), Threshold("y", 20.0, "q")])
    upright, level = of_class(svg, "line", "threshold")
    x, y = (numbers(of_class(svg, "circle", "mark"), key) for key in ("cx", "cy"))
    assert float(upright.get("x1")) == pytest.approx(x.mean(), abs=0.02)
    assert float(level.get("y1")) < y.min()  # above all points, and on the canvas
    assert float(level.get("y1")) > 0
    assert "q" in [text.text for text in svg.iter("text")]


def test_a_single_point_is_drawn():
    assert len(of_class(draw([Point(3.0, 3.0)]), "circle", "mark")) == 1


def test_bare_maps_have_no_ticks():
    assert not of_class(draw([Point(0.0, 0.0)], is_bare=True), "line", "grid")


def test_bins_are_numpys():
    values = np.random.default_rng(0).uniform(-0.5, 1, 500)
    edges = [-0.5 + 1.5 * i / 20 for i in range(21)]
    expected, _ = np.histogram(values, bins=np.array(edges))
    assert bin_counts(pl.Series(values), edges) == expected.tolist()
    assert bin_counts(pl.Series([1.0]), edges)[-1] == 1


def test_bars_are_as_tall_as_their_counts():
    stacks = [Stack("a", "#000000", [2, 0]), Stack("b", "#ffffff", [4, 1])]
    svg = ET.fromstring(histogram(stacks, edges=[0, 1, 2], x_label="x", mark=1.0, label="l"))
    bars = of_class(svg, "rect", "bar")
    heights, tops = numbers(bars, "height"), numbers(bars, "y")
    np.testing.assert_allclose(heights / heights[2], [2, 4, 1], rtol=1e-3)
    assert tops[1] + heights[1] == pytest.approx(tops[0], abs=0.02)  # b stands on a
    assert bars[1].find("title").text == "0 to 1: 4 b"
    (mark,) = of_class(svg, "line", "threshold")
    assert float(mark.get("x1")) == pytest.approx((44 + 470) / 2)


def test_a_histogram_without_values_is_drawn():
    stacks = [Stack("a", "#000000", [0, 0])]
    svg = ET.fromstring(histogram(stacks, edges=[0, 1, 2], x_label="x", mark=None, label="l"))
    assert not of_class(svg, "rect", "bar")


def test_shares_fill_the_bar():
    parts = [Part("PI3K", "#000000", 3), Part("none", "#ffffff", 1)]
    svg = ET.fromstring(share_bar(parts, label="l"))
    widths = numbers(of_class(svg, "rect", "bar"), "width")
    np.testing.assert_allclose(widths, [195, 65])
    assert [t.text for t in svg.iter("title")] == ["PI3K: 3 of 4", "none: 1 of 4"]
    assert widths.sum() == float(svg.get("width"))


def test_lines_break_where_a_value_is_missing():
    line = Line("P1", [1.0, 2.0, None, 4.0, 5.0], "all")
    svg = ET.fromstring(lines([line], names="ABCDE", x_label="x", y_label="y", label="l"))
    (path,) = of_class(svg, "path", "line")
    assert path.get("d").count("M") == path.get("d").count("L") == 2
    places = of_class(svg, "circle", "place")
    y = numbers(places, "cy")
    np.testing.assert_allclose(np.diff(y) / np.diff(y)[0], [1, 2, 1], rtol=2e-3)
    names = [t.text for t in svg.iter("text") if t.get("text-anchor") == "middle"]
    assert names[:5] == list("ABCDE")


def test_spreads_are_upright():
    line = Line("negative", [1.0, 2.0], "negative", [0.5, None], [1.5, 3.0])
    svg = ET.fromstring(lines([line], names=["P1", "P2"], x_label="", y_label="", label="l"))
    (spread,) = of_class(svg, "line", "spread")
    assert spread.get("x1") == spread.get("x2")
    middle = (float(spread.get("y1")) + float(spread.get("y2"))) / 2
    assert middle == pytest.approx(float(of_class(svg, "circle", "place")[0].get("cy")), abs=0.02)


def test_names_that_would_crowd_are_thinned():
    names = [f"BR00110{i:03d}" for i in range(60)]
    line = Line("all", [1.0] * 60, "all")
    svg = ET.fromstring(lines([line], names=names, x_label="", y_label="", label="l"))
    drawn = [t.text for t in svg.iter("text") if t.text in names]
    assert drawn[0] == names[0]
    assert len(drawn) * 10 * 5.5 < 480


def test_kinds_are_ordered_by_how_often_they_occur():
    assert by_frequency(["c10", "c9", "c9", "c10", "b", None]) == ["c9", "c10", "b"]
