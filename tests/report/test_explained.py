"""What a network goes by, on the page: shown where it was asked, and nothing elsewhere."""

from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from profiler.report import write_report
from profiler.report.run import read_run
from profiler.report.sections.explained import (
    MAX_SHOWN,
    explained_section,
    feature_list,
    labelled_list,
)
from profiler.store.tables import read_footer, write_table

TOLD = ["12 cells of 2 wells & <3> controls."]
FEATURES = pl.DataFrame(
    {
        "feature": ["Nuclei_A_x", "Nuclei_B_y", "Nuclei_C_z"],
        "across_cells": [0.8, -0.4, None],
        "within_wells": [0.7, 0.1, None],
        "q_within_wells": [0.001, 0.6, None],
        "between_wells": [0.9, None, None],
        "q_between_wells": [0.03, None, None],
        "n_cells": [40, 40, 3],
    }
)


def write_explained(run: Path, compound: str | None, *, name: str, sheets: int = 1) -> Path:
    folder = run / "explain" / name
    folder.mkdir(parents=True)
    about = {"name": f"{name}, 3 µM", "compound": compound, "network": "tiny", "told": TOLD}
    cells = pl.DataFrame({"kind": ["typical"]})
    write_table(folder / "explain.parquet", cells, level="explain", parameters=about)
    write_table(folder / "features.parquet", FEATURES, level="explain_features", parameters=about)
    for number in range(1, sheets + 1):
        file = "cells.png" if number == 1 else f"cells_{number}.png"
        Image.new("RGB", (40, 30), "white").save(folder / file)
    return folder


class Page(HTMLParser):
    """Ids, links, pictures and text."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.ids, self.links, self.pictures, self.text = [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found["href"]] if "href" in found else []
        self.pictures += [found] if tag == "img" else []

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def page(run_copy):
    def write() -> Page:
        return Page(write_report(run_copy).read_text(encoding="utf-8"))

    return write


def test_the_page_shows_the_sheet_the_sentences_and_the_features(run_copy, page):
    write_explained(run_copy, "wortmannin", name="wortmannin", sheets=3)
    found = page()
    assert "What the network goes by" in found.text
    assert TOLD[0] in found.text
    assert "2 more sheets beside it." in found.text
    assert "Nuclei_B_y" in found.text
    (sheet,) = (each for each in found.pictures if "each pixel adds" in each["alt"])
    assert sheet["src"].startswith("data:image/jpeg;base64,")
    assert (sheet["width"], sheet["height"]) == ("40", "30")
    assert "explain/wortmannin/features.parquet" in found.links


def test_the_compounds_card_leads_there_and_the_bar_above(run_copy, page):
    write_explained(run_copy, "wortmannin", name="wortmannin")
    write_explained(run_copy, None, name="mine")
    found = page()
    inside = [link[1:] for link in found.links if link.startswith("#")]
    assert set(inside) <= set(found.ids)
    assert inside.count("explained-2") == 1  # wortmannin's card; "mine" comes before it
    assert inside.count("explained") == 1


def test_a_run_that_was_not_asked_has_no_such_section(page):
    found = page()
    assert "explained" not in found.ids
    assert "What the network goes by" not in found.text


def test_what_was_said_of_earlier_cells_is_left_out_and_told(run_copy, page):
    write_explained(run_copy, "wortmannin", name="wortmannin")
    path = run_copy / "explain" / "wortmannin" / "explain.parquet"
    about = read_footer(path).parameters | {"computed_by": "of other cells"}
    write_table(path, pl.read_parquet(path), level="explain", parameters=about)
    found = page()
    assert "explained-1" not in found.ids
    assert "1 are of earlier cells and left out" in found.text


def test_a_lost_sheet_is_told_and_many_are_counted(run_copy, page):
    for number in range(MAX_SHOWN + 2):
        folder = write_explained(run_copy, f"c{number}", name=f"c{number}")
        (folder / "cells.png").write_bytes(b"no picture")
    found = page()
    assert found.text.count("Its sheet of cells is gone or damaged") == MAX_SHOWN
    assert "2 more are in the folder explain of the run." in found.text
    section = explained_section(read_run(run_copy))
    assert [item.sheet for item in section.items] == [None] * MAX_SHOWN
    assert section.links == {f"c{i}": f"explained-{i + 1}" for i in range(MAX_SHOWN)}


def test_the_labelled_cells_most_like_each_are_named(run_copy, page):
    folder = write_explained(run_copy, "wortmannin", name="wortmannin")
    keys = {"Metadata_Plate": "p1", "Metadata_Well": "B03", "Metadata_Site": 2}
    near = {
        "nearest_labelled": [["p1 C04 1 7", "p1 C05 1 9"], []],
        "nearest_labels": [["dying", "a<b>"], []],
        "nearest_labelled_cosines": [[0.93, 0.9], []],
    }
    cells = pl.DataFrame({"kind": ["typical", "control"], "place": [4.2, 0.1]} | near).with_columns(
        *(pl.lit(value).alias(name) for name, value in keys.items()),
        Metadata_ObjectNumber=pl.Series([14, 15]),
    )
    path = folder / "explain.parquet"
    about = read_footer(path).parameters
    write_table(path, cells, level="explain", parameters=about)
    text = page().text
    assert "Nearest labelled cells" in text
    assert "B03 site 2, 14" in text
    assert "dying (p1 C04 1 7; 0.93)" in text
    assert "a<b> (p1 C05 1 9; 0.9)" in text
    table = labelled_list(pl.concat([cells] * 10))
    assert table is not None
    assert table.rows[1][3].text == "none"
    assert table.remark == "4 more cells are not shown here; all 20 are in explain.parquet."
    assert labelled_list(cells.drop("nearest_labelled")) is None


def test_the_table_counts_what_goes_with_it_within_wells():
    table = feature_list(FEATURES)
    assert [row[0].text for row in table.rows] == ["Nuclei_<wbr>A_<wbr>x", "Nuclei_<wbr>B_<wbr>y"]
    assert table.remark.startswith("1 of 2 features go with it within wells")
    assert table.rows[1][4].sort is None
    assert feature_list(FEATURES.clear()) is None
