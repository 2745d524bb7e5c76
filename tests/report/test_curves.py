"""Dose-response drawings, read back through their own tick labels."""

import math
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from profiler.report.draw.curves import Band, Curve, Dose, dose_response, response, sparkline

CURVE = Curve(bottom=1, top=9, slope=1.5, ec50=3, ec50_low=1, ec50_high=10)
DOSES = [Dose(x, response(CURVE, x), f"well {x}") for x in (0.1, 1, 3, 10, 100)]


def draw(doses=DOSES, curve=CURVE, bands=()):
    return ET.fromstring(
        dose_response(doses, curve=curve, bands=bands, x_label="x", y_label="y", label="d")
    )


def value(text):
    return float(text.replace("−", "-").replace(",", ""))


def to_data(svg):
    """Pixel to data, from the ticks alone: (x -> dose, y -> response)."""
    ticks = [t for t in svg.iter("text") if t.get("class") == "tick"]
    across = sorted(
        (float(t.get("x")), value(t.text)) for t in ticks if t.get("text-anchor") == "middle"
    )
    up = sorted(
        (float(t.get("y")) - 3, value(t.text)) for t in ticks if t.get("text-anchor") == "end"
    )
    log_dose = np.polyfit([x for x, _ in across], [math.log10(v) for _, v in across], 1)
    height = np.polyfit([y for y, _ in up], [v for _, v in up], 1)
    return lambda x: 10 ** np.polyval(log_dose, x), lambda y: np.polyval(height, y)


def dots(svg):
    return [(float(c.get("cx")), float(c.get("cy"))) for c in svg.iter("circle")]


def classed(svg, name):
    return [e for e in svg.iter() if e.get("class") == name]


def test_wells_lie_at_their_dose_and_response():
    svg = draw()
    dose, height = to_data(svg)
    for (x, y), well in zip(dots(svg), DOSES, strict=True):
        assert dose(x) == pytest.approx(well.concentration, rel=0.01)
        assert height(y) == pytest.approx(well.response, abs=0.01)


@pytest.mark.parametrize("slope", [1.5, -1.5])
def test_line_passes_through_known_points(slope):
    curve = CURVE._replace(slope=slope)
    svg = draw(curve=curve)
    dose, height = to_data(svg)
    (line,) = classed(svg, "fit")
    xy = np.array([[float(v) for v in point.split(",")] for point in line.get("points").split()])
    heights = np.interp(np.log([1, 3, 30]), np.log(dose(xy[:, 0])), height(xy[:, 1]))
    sign = 1 if slope > 0 else -1
    by_hand = [5 + sign * 4 * math.tanh(0.75 * math.log(x / 3)) for x in (1, 3, 30)]
    assert heights == pytest.approx(by_hand, abs=0.03)


def test_replicates_share_an_x():
    svg = draw([Dose(2, 1.0), Dose(2, 3.0), Dose(20, 2.0)], curve=None)
    (x1, y1), (x2, y2), _ = dots(svg)
    assert x1 == x2
    assert y1 > y2  # pixels grow downwards


def test_ec50_and_its_interval():
    svg = draw()
    dose, _ = to_data(svg)
    (line,), (area,) = classed(svg, "ec50"), classed(svg, "ec50 area")
    left, width = float(area.get("x")), float(area.get("width"))
    assert dose(float(line.get("x1"))) == pytest.approx(3, rel=0.01)
    assert (dose(left), dose(left + width)) == pytest.approx((1, 10), rel=0.01)


def test_open_interval_ends_at_the_frame():
    svg = draw(curve=CURVE._replace(ec50_high=None))
    (area,) = classed(svg, "ec50 area")
    assert float(area.get("x")) + float(area.get("width")) == pytest.approx(312)


def test_unknown_interval_draws_no_area():
    svg = draw(curve=CURVE._replace(ec50_low=None, ec50_high=None))
    assert classed(svg, "ec50")
    assert not classed(svg, "ec50 area")


def test_extrapolated_ec50_is_not_drawn():
    assert not classed(draw(curve=CURVE._replace(ec50=5000)), "ec50")


def test_no_curve_leaves_the_wells():
    svg = draw(curve=None)
    assert len(dots(svg)) == 5
    assert not classed(svg, "fit")


def test_line_stays_inside_the_frame():
    (line,) = classed(draw([Dose(1, 4.9), Dose(10, 5.1)], curve=CURVE), "fit")
    heights = [float(point.split(",")[1]) for point in line.get("points").split()]
    assert min(heights) >= 24
    assert max(heights) <= 170


def test_bands_lie_where_the_controls_are():
    svg = draw(bands=[Band("negative", 0.5, 1.0, 1.5)])
    _, height = to_data(svg)
    (area,) = classed(svg, "band negative")
    top, size = float(area.get("y")), float(area.get("height"))
    assert (height(top), height(top + size)) == pytest.approx((1.5, 0.5), abs=0.01)
    assert area.find("title").text == "negative controls: median 1"


def test_a_step_as_steep_as_allowed_does_not_overflow():
    steep = CURVE._replace(slope=10.0)
    assert response(steep, 1e-40) == pytest.approx(1)
    assert response(steep, 1e40) == pytest.approx(9)


def test_single_well_can_be_drawn():
    assert len(dots(draw([Dose(5, 2.0)], curve=None))) == 1


def test_sparkline_has_line_and_wells_but_no_text():
    svg = ET.fromstring(sparkline(DOSES, curve=CURVE, label="s"))
    assert len(dots(svg)) == 5
    assert classed(svg, "fit")
    assert not list(svg.iter("text"))


def test_labels_are_escaped_and_cut():
    svg = dose_response(DOSES, curve=None, x_label="<script>", y_label="y" * 80, label='"<i>"')
    texts = [t.text for t in ET.fromstring(svg).iter("text")]
    assert "<script>" in texts
    assert "y" * 51 + "…" in texts
