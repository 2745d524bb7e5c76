"""What the page's script is told, read back as JSON."""

import json

import polars as pl
import pytest

from profiler.report.columns import MAX_LEVELS, colour_scale, kinds, notable_features, page_columns
from profiler.report.draw.colour import BLUE_GREY_RED
from profiler.report.draw.palette import LOOKS, REST, Look, look
from profiler.report.run import read_run
from profiler.report.script import script_data, script_json
from profiler.report.sections.maps import on_page
from profiler.report.wells import well_table
from profiler.store.tables import scan_table

NASTY = "</script><script>alert('1')</script> \"&\u2028"


def shown(run, plates, points=None):
    wells = well_table(run)
    return on_page(wells, plates=plates, points=points or [False] * wells.height)


@pytest.fixture(scope="module")
def told(rich_run):
    run = read_run(rich_run)
    wells = shown(run, ["P1", "P<2>"])
    return json.loads(script_data(wells, page_columns(run, wells), cards={"PI-103": "card-3"}))


def column(told, key):
    return next(column for column in told["columns"] if column["key"] == key)


def test_json_cannot_end_its_script():
    text = script_json({"a": [NASTY]})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"a": [NASTY]}


def test_json_refuses_what_is_no_json():
    with pytest.raises(ValueError, match="not JSON compliant"):
        script_json([float("nan")])


def test_numbers_are_those_of_the_table(told, rich_run):
    hits = scan_table(rich_run / "hits.parquet").collect()
    truth = {row[:2]: row[2] for row in hits.select("^Metadata_(Plate|Well)$", "readout_z").rows()}
    wells = told["wells"]
    keys = [(told["plates"][p], w) for p, w in zip(wells["plate"], wells["well"], strict=True)]
    assert sorted(keys) == sorted(truth)
    for key, value in zip(keys, column(told, "z")["values"], strict=True):
        assert value == (None if truth[key] is None else pytest.approx(truth[key], rel=1e-4))


def test_kinds_are_those_of_the_table(told, rich_run):
    roles = column(told, "role")
    wells = scan_table(rich_run / "wells.parquet").collect()
    counts = dict(wells["Metadata_Role"].value_counts().rows())
    assert roles["levels"][0] == "treatment"
    for code, level in enumerate(roles["levels"]):
        assert roles["values"].count(code) == counts[level]
    clusters = column(told, "Cluster")
    assert clusters["levels"] == ["3", "1", "2"]
    assert clusters["values"].count(None) == 2 * 10  # treated wells of the first row


def test_every_column_has_a_value_per_well(told):
    n = len(told["wells"]["well"])
    assert n == 192
    assert {len(c["values"]) for c in told["columns"]} == {n}
    assert len(told["wells"]["card"]["codes"]) == len(told["wells"]["treatment"]["codes"]) == n
    assert [c["key"] for c in told["columns"]][:2] == ["z", "readout"]


def test_wells_lead_to_their_compounds_card(told):
    cards, names = told["wells"]["card"], told["wells"]["treatment"]
    ids = [cards["levels"][code] for code in cards["codes"]]
    texts = [names["levels"][code] for code in names["codes"]]
    assert {text.split()[0] for text, id_ in zip(texts, ids, strict=True) if id_} == {"PI-103"}
    assert ids.count("card-3") == 20


def test_only_wells_on_the_page_are_told(rich_run):
    run = read_run(rich_run)
    keys = well_table(run).select("plate", "well").rows()
    points = [key == ("P<2>", "C04") for key in keys]
    wells = shown(run, ["P1"], points)
    told = json.loads(script_data(wells, page_columns(run, wells), cards={}))
    assert len(told["wells"]["well"]) == 97
    assert wells["index"].drop_nulls().to_list() == list(range(97))
    assert len(column(told, "z")["values"]) == 97


def test_plate_map_columns_and_features_are_offered(rich_copy, rewrite):
    wells = scan_table(rich_copy / "wells.parquet").collect()
    more = wells.with_columns(Metadata_MOA=pl.lit("PI3K"), Metadata_Passage=pl.lit(7))
    rewrite(rich_copy, "wells", more)
    profiles = more.with_columns(Cells_AreaShape_Area=pl.lit(2.5))
    rewrite(rich_copy, "profiles", profiles)
    run = read_run(rich_copy)
    assert set(notable_features(run)) == {
        "Cells_X",
        "Cells_AreaShape_Area",
        "Nuclei_AreaShape_Area",
    }
    found = {column.key: column for column in page_columns(run, well_table(run))}
    assert found["Metadata_MOA"].levels == ["PI3K"]
    assert found["Metadata_Passage"].label == "Passage"
    area = found["feature:Cells_AreaShape_Area"]
    assert set(area.values) == {2.5}
    assert area.scale == (-3.0, 3.0, BLUE_GREY_RED)
    assert "feature:Nuclei_AreaShape_Area" not in found  # the profiles lack it


def test_scales_run_from_the_first_to_the_99th_percentile():
    values = pl.Series([float(i) for i in range(101)])
    assert colour_scale(values, is_around_zero=False)[:2] == (1.0, 99.0)
    assert colour_scale(values, is_around_zero=True)[:2] == (-10.0, 10.0)
    assert colour_scale(pl.Series([None], dtype=pl.Float64), is_around_zero=False) is None


def test_a_column_of_names_is_no_kind():
    names = pl.Series("x", [f"name {i}" for i in range(MAX_LEVELS + 1)])
    assert kinds(names, "x") is None
    assert kinds(names[:MAX_LEVELS], "x") is not None
    assert kinds(pl.Series("x", [None], dtype=pl.String), "x") is None


def test_looks_are_told_apart():
    assert len(set(LOOKS)) == 14
    assert look(None) == look(14) == REST
    column = kinds(pl.Series("x", ["a", "b", "a", None]), "x")
    assert column is not None
    assert [column.look(i) for i in range(4)] == [LOOKS[0], LOOKS[1], LOOKS[0], REST]


def test_numbers_look_like_their_scale(rich_run):
    run = read_run(rich_run)
    column = page_columns(run, well_table(run))[0]
    assert column.scale is not None
    i = next(i for i, value in enumerate(column.values) if value is not None)
    assert column.look(i) == Look(column.scale(column.values[i]))
