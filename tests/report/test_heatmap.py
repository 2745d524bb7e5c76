"""Heat maps, read back as XML: positions and colours by hand."""

import xml.etree.ElementTree as ET

import pytest

from plates.well import FORMATS
from profiler.report.draw.colour import ColourScale
from profiler.report.draw.heatmap import LEFT, TOP, WellMark, heat_map, well_pitch

GREYS = ColourScale(0, 10, ["#000000", "#ffffff"])


def draw(wells, rows=2, columns=3, label="cells"):
    return ET.fromstring(heat_map(wells, rows=rows, columns=columns, scale=GREYS, label=label))


def squares(svg):
    return [rect for rect in svg.iter("rect") if "well" in rect.get("class", "")]


def centre(rect):
    x, y, width, height = (float(rect.get(key)) for key in ("x", "y", "width", "height"))
    return x + width / 2, y + height / 2


def test_tiny_plate_by_hand():
    svg = draw([WellMark(0, 0, 0.0, "A01: 0"), WellMark(1, 2, 5.0, "B03: 5")])
    first, last = squares(svg)
    assert (first.get("fill"), last.get("fill")) == ("#000000", "#808080")
    assert first.find("title").text == "A01: 0"
    assert centre(first) == pytest.approx((LEFT + 24, TOP + 24))  # pitch 48
    assert centre(last) == pytest.approx((LEFT + 2.5 * 48, TOP + 1.5 * 48))


def test_wells_that_are_not_there_are_crossed_out():
    svg = draw([WellMark(0, 0, 1.0, "")])
    missing = next(path for path in svg.iter("path") if path.get("class") == "missing")
    assert missing.get("d").count("M") == 5
    assert f"M{LEFT + 48 + 48 * 0.08:g} " in missing.get("d")  # A02


def test_a_full_plate_has_none_crossed_out():
    svg = draw([WellMark(r, c, 1.0, "") for r in range(2) for c in range(3)])
    assert not list(svg.iter("path"))


@pytest.mark.parametrize("value", [None, float("nan")])
def test_undefined_is_grey_not_a_colour(value):
    (well,) = squares(draw([WellMark(0, 0, value, "A01: failed")]))
    assert well.get("fill") is None
    assert well.get("class") == "well void"


def test_controls_carry_signs_that_can_be_read():
    svg = draw([WellMark(0, 0, 0.0, "", sign="−"), WellMark(0, 1, 10.0, "", sign="+")])
    signs = [(t.text, t.get("fill")) for t in svg.iter("text") if t.get("class") == "sign"]
    assert signs == [("−", "#fff"), ("+", "#000")]


def test_hits_are_framed():
    plain, hit = squares(draw([WellMark(0, 0, 1.0, ""), WellMark(0, 1, 1.0, "", is_hit=True)]))
    assert (plain.get("class"), hit.get("class")) == ("well", "well hit")


def test_legend_names_the_ends():
    texts = [t.text for t in draw([WellMark(0, 0, 1.0, "")]).iter("text")]
    assert texts[-3:] == ["0", "5", "10"]


def test_summary_is_in_words():
    svg = draw([WellMark(0, 0, 1.5, ""), WellMark(0, 1, 7.0, ""), WellMark(0, 2, None, "")])
    assert svg.get("aria-label") == "Plate heat map of cells: 2 of 6 wells have a value, 1.5 to 7."
    assert "no well of 6 has a value" in draw([]).get("aria-label")


@pytest.mark.parametrize("plate", FORMATS.values())
def test_every_format_fits_its_canvas(plate):
    wells = [WellMark(r, c, 1.0, "") for r in range(plate.rows) for c in range(plate.columns)]
    svg = draw(wells, rows=plate.rows, columns=plate.columns)
    drawn = squares(svg)
    width, height = (float(svg.get(side)) for side in ("width", "height"))
    assert len({centre(rect) for rect in drawn}) == plate.wells
    assert all(x < width and y < height for x, y in map(centre, drawn))
    assert width <= 420


@pytest.mark.parametrize(("columns", "last"), [(12, "12"), (24, "23"), (48, "45")])
def test_names_do_not_crowd(columns, last):
    svg = draw([], rows=2, columns=columns)
    names = [t.text for t in svg.iter("text") if t.get("text-anchor") == "middle"]
    assert last in names
    assert len(names) <= 26


def test_rows_after_z_are_named():
    names = {t.text for t in draw([], rows=32, columns=48).iter("text")}
    assert {"A", "Z", "AA"} & names == {"A", "AA"}  # every second row
    assert well_pitch(48) == 8


def test_notes_are_escaped():
    svg = heat_map([WellMark(0, 0, 1.0, "<script>")], rows=2, columns=3, scale=GREYS, label="<b>")
    assert "<script>" not in svg
    assert "<b>" not in svg
