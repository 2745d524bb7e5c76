"""Hit cards, the cells cut out for them, and the sheets of pictures."""

import base64
import io

import numpy as np
import polars as pl
import pytest
from PIL import Image

from plates.well import well_position
from profiler.report.examples import SIDE, View, example_cells, view_of
from profiler.report.montage import montages, opened
from profiler.report.run import read_run
from profiler.report.sections.cards import (
    best_wells,
    card_ids,
    card_section,
    moved_features,
)
from profiler.report.sections.doses import all_series
from profiler.report.sections.evidence import evidence
from profiler.report.thumbnail import png, thumbnail, thumbnail_path, write_thumbnail
from profiler.report.wells import well_table
from profiler.store.tables import scan_table

READOUT = "Nuclei_Intensity_MeanIntensity_GFP"
ROW = {
    "rank": 2, "rank_low": 1, "rank_high": 5, "top_share": 1.0, "score": -7.25, "direction": "down",
    "best_concentration": 10.0, "Metadata_Unit": "µM", "threshold": 3.6, "n_hits": 3, "n_wells": 4,
    "activity_q": 0.004, "mean_average_precision": 0.9, "active_concentration": 5.0,
    "replicate_correlation": 0.71, "is_replicating": True, "ec50": 1.5, "ec50_low": 1.0,
    "ec50_high": 2.0, "benchmark_concentration": 0.4, "is_biphasic": True, "viability": 0.55,
    "toxic_from": 9.0, "is_toxic_only": True,
}  # fmt: skip


def decode(source):
    body = source.partition(",")[2]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(body)))).astype(int)


@pytest.fixture
def parts(rich_copy):
    run = read_run(rich_copy)
    wells = well_table(run)
    return run, wells, all_series(run, wells)


# What a card says


def test_hits_have_cards_in_order_of_rank(parts):
    section = card_section(*parts)
    names = scan_table(parts[0].folder / "compounds.parquet").collect().filter("is_hit")
    assert [card.compound for card in section.cards] == names["Metadata_Compound"].to_list()
    assert [card.id for card in section.cards] == list(card_ids(parts[0]).values())
    assert section.cards[0].id == "card-1"


def test_controls_and_other_compounds_have_none(rich_copy, rewrite):
    compounds = scan_table(rich_copy / "compounds.parquet").collect()
    control = compounds.with_columns(Metadata_Role=pl.lit("positive"), is_hit=pl.lit(value=True))
    rewrite(rich_copy, "compounds", control)
    assert card_ids(read_run(rich_copy)) == {}


def test_evidence_gives_every_number_once():
    found = {line.name: line.text for line in evidence(ROW)}
    assert found == {
        "Rank": "2, 95 % interval 1 to 5; among the first ten in 100 % of draws",
        "Effect": "−7.25 robust sd, down, at 10 µM, threshold 3.6",
        "Hit wells": "3 of 4",
        "Activity": "q 0.004, mean average precision 0.9 at 5 µM",
        "Replicates": "correlation 0.71, above chance",
        "EC50": "1.5 µM (1 to 2)",
        "First change": "at 0.4 µM",
        "Shape": "comes down again at high doses",
        "Cells": "55 % of the negative controls'",
        "Toxic": "from 9 µM; no effect below",
    }


def test_a_change_at_every_dose_is_not_left_out():
    row = ROW | {"benchmark_concentration": None, "benchmark_outside_range": True}
    found = {line.name: line.text for line in evidence(row)}
    assert found["First change"] == "at or below the lowest dose tested"


def test_unknown_evidence_is_left_out():
    assert list(evidence({"Metadata_Compound": "x"})) == []
    assert list(evidence(dict.fromkeys(ROW))) == []


def test_phenotypes_speak_on_the_card(parts):
    card = next(c for c in card_section(*parts).cards if c.compound == "wortmannin")
    found = {line.name: line.text for line in card.evidence}
    assert found["Most alike"] == "PI-103 1 (cosine 0.91)"
    assert found["Mechanism"] == "predicted mTOR, known PI3K"
    other = next(c for c in card_section(*parts).cards if c.compound == "LY294002")
    clusters = {line.name: line.text for line in other.evidence}["Cluster"]
    assert clusters == "3 (20 of 20 wells)"


def test_features_are_as_long_as_they_moved():
    moved = moved_features({"top_features": ["Cells_A", "Cells_B"], "top_z": [8.0, -2.0]})
    assert [(f.z, f.share, f.is_up) for f in moved] == [("8", 1.0, True), ("−2", 0.25, False)]
    assert [f.z for f in moved_features({"top_features": ["Cells_A"]})] == [""]
    assert moved_features({}) == []


def test_best_wells_are_of_the_best_dose_the_middle_one_first(parts):
    _, wells, _ = parts
    row = {"Metadata_Compound": "PI-103", "best_concentration": 10.0}
    best = best_wells(wells, row)
    assert best["concentration"].to_list() == [10.0, 10.0]
    anywhere = best_wells(wells, {"Metadata_Compound": "PI-103"})
    assert anywhere.height == 20
    middle = anywhere["response"].median()
    away = (anywhere["response"] - middle).abs().to_list()
    assert away[:18] == sorted(away[:18])


# Cells


def test_a_thumbnail_says_which_part_of_its_field_it_shows():
    image = np.zeros((1300, 1100, 1), np.uint16)
    file = thumbnail(image, None, None, limits=np.array([[0, 1]]), colours=["#ffffff"])
    picture = opened(file)
    # 1100 is more than 4 x 256: blocks of two, 512 of the field's pixels in the middle
    assert view_of(picture) == View(top=(1300 - 512) // 2, left=(1100 - 512) // 2, step=2)
    assert picture.size == (256, 256)


@pytest.mark.parametrize("text", ["", "1 2", "1 2 3 4", "1 2 x", "-1 2 3"])
def test_other_pictures_do_not_say(text):
    file = png(np.zeros((4, 4, 3), np.uint8), texts={"profiler:view": text})
    assert view_of(opened(file)) is None


def test_crops_are_cut_around_their_cells(rich_copy):
    """The field's pixels hold their own row and column, so each crop tells where it was cut."""
    y, x = np.mgrid[:120, :120]
    image = np.stack([x, y], axis=-1).astype(np.uint16)
    limits = np.array([[0, 120], [0, 120]])
    file = thumbnail(image, None, None, limits=limits, colours=["#ff0000", "#00ff00"])
    write_thumbnail(rich_copy, "P1", "A09", picture=file)
    run = read_run(rich_copy)
    wells = well_table(run).filter(plate="P1", well="A09")

    def choose(cells, *, wells, features, n):
        keys = ["Metadata_Plate", "Metadata_Well", "Metadata_Site", "Metadata_ObjectNumber"]
        assert features == [READOUT]  # the cells lack the other
        assert wells.rows() == [("P1", "A09")]
        assert n == 4
        assert "Cells_AreaShape_Area" not in cells.collect_schema()  # no other feature is read
        found = cells.select(keys).collect()
        numbers = found["Metadata_ObjectNumber"].to_list()
        assert numbers == [7, 8, 9, 12, 13, 14, 17, 18, 19]  # whole crops lie inside
        return found.filter(pl.col("Metadata_ObjectNumber").is_in([13, 9]))

    features = [f"{READOUT}_mad", f"{READOUT}_mean", "Cells_X"]  # of two summaries
    strip = example_cells(run, wells, features=features, what="PI-103", choose=choose)
    picture = decode(strip.source)
    assert picture.shape == (SIDE, 2 * SIDE + 3, 3)
    centres = [picture[SIDE // 2, SIDE // 2, :2], picture[SIDE // 2, SIDE + 3 + SIDE // 2, :2]]
    # Cell 9 lies at column 3, row 1 of the grid, cell 13 in its middle: 12 + 24 i pixels.
    expected = np.array([[84, 36], [60, 60]]) * 255 / 120
    np.testing.assert_allclose(centres, expected, atol=8)
    assert strip.caption == "PI-103: 2 typical cells of A09"
    assert strip.share == 0.5


def test_typical_cells_of_the_engine_are_used(rich_copy):
    run = read_run(rich_copy)
    wells = well_table(run).filter(plate="P1", well="A09")
    strip = example_cells(run, wells, features=["Cells_AreaShape_Area"], what="x")
    assert strip.caption == "x: 4 typical cells of A09"
    assert strip.share == 1.0


def test_without_places_the_middles_are_shown(rich_copy):
    run = read_run(rich_copy)
    wells = well_table(run)
    no_cells = wells.filter(plate="P1", well="D10")  # a picture, but no cell file
    assert "middles of fields of D10" in example_cells(run, no_cells, features=[], what="x").caption
    picture = np.full((80, 80, 3), 9, np.uint8)
    write_thumbnail(rich_copy, "P1", "A09", picture=png(picture))  # says nothing of its place
    old = wells.filter(plate="P1", well="A09")
    assert "middles of fields" in example_cells(run, old, features=[], what="x").caption
    none = wells.filter(plate="P1", well="H11")
    assert example_cells(run, none, features=[], what="x") is None


# Sheets


def paint(run, plate, well, colour):
    picture = np.full((60, 60, 3), colour, np.uint8)
    write_thumbnail(run, plate, well, picture=png(picture))


def test_tiles_lie_as_the_wells_do(rich_copy):
    red, green = (250, 0, 0), (0, 250, 0)
    paint(rich_copy, "P1", "H12", red)
    paint(rich_copy, "P1", "B03", green)
    run = read_run(rich_copy)
    sheets = montages(run, well_table(run), plates=["P1", "P<2>"])
    assert list(sheets) == ["P1"]  # the other has no pictures
    sheet = sheets["P1"]
    picture, tile = decode(sheet.source), sheet.tile
    assert picture.shape == (8 * tile, 12 * tile, 3)
    for well, colour in (("H12", red), ("B03", green), ("C07", (0, 0, 0))):
        row, column = well_position(well)
        middle = picture[row * tile + tile // 2, column * tile + tile // 2]
        np.testing.assert_allclose(middle, colour, atol=20)
    assert sheet.n_pictures == len(list((rich_copy / "thumbnails" / "P1").glob("*.png")))


def test_tiles_shrink_until_all_fit(rich_copy, monkeypatch):
    run = read_run(rich_copy)
    wells = well_table(run)
    monkeypatch.setattr("profiler.report.montage.MAX_PIXELS", 96 * 50**2)
    assert montages(run, wells, plates=["P1"])["P1"].tile == 50
    monkeypatch.setattr("profiler.report.montage.MAX_PIXELS", 96 * 10**2)
    assert montages(run, wells, plates=["P1"]) == {}


def test_spoilt_pictures_are_left_black(rich_copy):
    path = thumbnail_path(rich_copy, "P1", "A01")
    path.write_bytes(path.read_bytes()[:100])
    run = read_run(rich_copy)
    sheet = montages(run, well_table(run), plates=["P1"])["P1"]
    assert sheet.n_pictures == len(list(path.parent.glob("*.png"))) - 1
    assert decode(sheet.source)[: sheet.tile - 8, : sheet.tile - 8].max() < 30
