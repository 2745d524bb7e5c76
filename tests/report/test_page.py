"""The page as a browser and a suspicious reader see it."""

import json
import re
import shutil
import time
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from plates.errors import BadRun
from plates.well import FORMATS, plate_wells
from profiler.report import write_report
from profiler.report.draw.colour import ColourScale
from profiler.report.thumbnail import png, thumbnail_path
from profiler.store.tables import scan_table

VOID = {"meta", "link", "br", "img", "wbr"}
TABLES = ("fields", "wells", "statistics", "curves", "hits", "compounds")
NEW = ("activity", "replicates", "positions", "map", "clusters")
FILES = {f"{name}.parquet" for name in (*TABLES, *NEW, "enrichment", "neighbours")}
LATER = ("mechanisms", "accuracy", "consistency", "kinds", "subpopulations", "consensus")
FILES |= {f"{name}.parquet" for name in LATER}
MADE_BY = {"fields": "run", "wells": "profile"}


class Page(HTMLParser):
    """Tags, text and attributes; fails on a tag that is not closed in its turn."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.links, self.ids, self.text = [], [], [], [], ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append(tag)
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.links += [attrs[key] for key in ("href", "src", "xlink:href") if key in attrs]
        assert tag != "img" or attrs["alt"]
        assert tag != "svg" or "aria-hidden" in attrs or attrs["aria-label"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] not in (["style"], ["script"]):
            self.text += data


def read(run: Path) -> Page:
    return Page(write_report(run).read_text(encoding="utf-8"))


def words(page: Page) -> str:
    return " ".join(page.text.split())


@pytest.fixture(scope="module")
def page(fake_run) -> Page:
    return read(fake_run)


def test_html_is_valid_and_says_what_it_is(page, fake_run):
    text = (fake_run / "report.html").read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert '<html lang="en">' in text
    assert len(page.ids) == len(set(page.ids))
    assert page.tags.count("caption") == page.tags.count("table") == 5 + 6  # and in six cards


def test_verdict_is_one_line(page):
    verdict = "6 hits among 8 compounds; Z′ 0.81; 93 of 96 wells measured, 1 failed,"
    assert f"{verdict} 1 without cells, 1 not imaged." in words(page)


def test_page_needs_no_network(page, fake_run):
    text = (fake_run / "report.html").read_text(encoding="utf-8")
    assert all(link.startswith(("#", "data:")) for link in page.links if link not in FILES)
    assert not re.search(r"https?:|[^:]//[a-z]|@import|url\(", re.sub(r"data:[^\"]*", "", text))
    assert not re.search(r"\b(fetch|XMLHttpRequest|import)\b *\(", text)
    assert "default-src 'none'" in text


def test_links_inside_the_page_arrive(page):
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)


def test_user_text_is_escaped_everywhere(page, fake_run):
    text = (fake_run / "report.html").read_text(encoding="utf-8")
    assert page.tags.count("script") == 2  # our own, and its data
    assert "<script>alert" not in text
    assert text.count("&lt;script&gt;alert") > 10  # table, curves, tooltips, pictures
    assert "b" not in page.tags  # of the reason
    assert "<b>copy it</b> again." in page.text
    assert "/data/<i>P1</i>" in page.text


def test_quotes_do_not_end_attributes(run_copy, rewrite):
    wells = scan_table(run_copy / "wells.parquet").collect()
    nasty = '" onload="alert(1)'
    hostile = wells.with_columns(
        Metadata_Compound=pl.lit(nasty), Metadata_Plate=pl.lit("P'\"><svg")
    )
    rewrite(run_copy, "wells", hostile)
    text = write_report(run_copy).read_text(encoding="utf-8")
    Page(text)
    assert 'onload="alert' not in text
    assert "><svg:" not in text


def test_everything_is_there(page):
    assert page.tags.count("svg") == 8 + 8 + 2  # sparklines, curves, heat maps
    assert page.tags.count("img") == 6 + 7 + 1  # gallery; cells of six controls and a hit; sheet
    found = words(page)
    for phrase in (
        "Nuclei_Intensity_MeanIntensity_GFP", "2 more pictures are not shown", "translocation",
        "EC50 0.012 µM (0.0096 to 0.0156)", "186 of 190 fields gave results; 2 unreadable",
        "9f2c1a7e5b", "no response", "z −", "per field, median",
    ):  # fmt: skip
        assert phrase in found


def test_rich_page_shows_and_links_every_table(rich_run):
    page = read(rich_run)
    files = {link for link in page.links if link.endswith(".parquet")}
    assert files == FILES
    assert all((rich_run / file).is_file() for file in files)
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    found = words(page)
    for phrase in (
        "By plate, in order", "Profiles of replicates", "Effect and significance",
        "Map of phenotypes", "Clusters of wells that look alike", "PI-103 1 (cosine 0.91)",
        "predicted mTOR, known PI3K", "95 % interval 1 to 4",
    ):  # fmt: skip
        assert phrase in found


@pytest.mark.parametrize("missing", [*NEW, "consistency", "subpopulations", "consensus"])
def test_absent_new_table_leaves_its_section_with_a_sentence(missing, rich_copy):
    (rich_copy / f"{missing}.parquet").unlink()
    page = read(rich_copy)
    assert f"There is no {missing}.parquet in this run" in words(page)
    if missing != "replicates":  # of the readout's pairs there is a figure still
        assert f"{missing}.parquet" not in page.links


def test_a_table_that_could_not_be_made_says_why(rich_copy):
    (rich_copy / "map.parquet").unlink()
    facts = json.loads((rich_copy / "run.json").read_text(encoding="utf-8"))
    note = "No map and no clusters: 3 wells with a profile, and 10 are needed."
    facts["summary"]["phenotypes"] = ["3 clusters.", note]
    (rich_copy / "run.json").write_text(json.dumps(facts), encoding="utf-8")
    assert f"There is no map.parquet in this run. {note}" in words(read(rich_copy))


def test_data_of_the_page_is_json_whatever_the_names(rich_copy, rewrite):
    wells = scan_table(rich_copy / "wells.parquet").collect()
    nasty = "</script><script>alert(1)</script><!--\u2028\"'&"
    hostile = wells.with_columns(Metadata_Compound=pl.lit(nasty), Metadata_MOA=pl.lit(nasty))
    rewrite(rich_copy, "wells", hostile)
    text = write_report(rich_copy).read_text(encoding="utf-8")
    page = Page(text)
    assert page.tags.count("script") == 2
    found = re.search(r'id="data">(.*?)</script>', text, re.DOTALL)
    data = json.loads(found.group(1))
    moa = next(column for column in data["columns"] if column["key"] == "Metadata_MOA")
    assert moa["levels"] == [nasty]
    assert "<script>alert" not in text


def test_heat_map_and_its_data_agree(rich_run):
    text = write_report(rich_run).read_text(encoding="utf-8")
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL).group(1))
    z = next(column for column in data["columns"] if column["key"] == "z")
    scale = ColourScale(z["low"], z["high"], z["anchors"])
    maps = re.findall(r'<svg class="plate"[^>]*data-slot="first".*?</svg>', text, re.DOTALL)
    rects = [rect for one in maps for rect in ET.fromstring(one).iter("rect")]
    squares = [rect for rect in rects if rect.get("data-i")]
    assert len(squares) == 2 * 95  # F07 was not imaged
    for square in squares:
        value = z["values"][int(square.get("data-i"))]
        assert square.get("fill") == (None if value is None else scale(value))


def test_what_the_script_looks_for_is_there(rich_run):
    text = write_report(rich_run).read_text(encoding="utf-8")
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL).group(1)
    page = Page(text)
    assert set(re.findall(r'getElementById\("([\w-]+)"\)', script)) <= set(page.ids)
    assert "sheet-0" in page.ids
    for name in ("well", "scale", "end", "mark", "legend", "swatch", "controls", "sheet"):
        assert re.search(rf'class="[^"]*\b{name}\b', text), name
    assert text.count("data-choice=") == 3


@pytest.mark.parametrize("missing", TABLES)
def test_absent_table_names_its_command(missing, run_copy):
    (run_copy / f"{missing}.parquet").unlink()
    page = read(run_copy)
    found = words(page)
    if missing == "wells":  # hits and fields know the wells too
        assert "93 of 96 wells measured" in found
    else:
        assert f"There is no {missing}.parquet in this run yet. Make it with" in found
        assert f"profiler {MADE_BY.get(missing, 'hits')}" in found


def test_run_json_alone_is_a_page(run_copy):
    for table in TABLES:
        (run_copy / f"{table}.parquet").unlink()
    shutil.rmtree(run_copy / "thumbnails")
    found = words(read(run_copy))
    assert "No hits called yet" in found
    assert "There are no pictures" in found
    for table in ("fields", "wells", "statistics", "curves", "compounds"):
        assert f"There is no {table}.parquet" in found


def test_tables_without_run_json_are_a_page(run_copy):
    (run_copy / "run.json").unlink()
    assert "There is no run.json in this run." in words(read(run_copy))


def test_empty_tables_are_a_page(run_copy, rewrite):
    for table in TABLES:
        frame = scan_table(run_copy / f"{table}.parquet").collect().clear()
        rewrite(run_copy, table, frame)
    found = words(read(run_copy))
    assert "compounds.parquet has no rows." in found
    assert "wells.parquet has no rows." in found


def test_run_without_a_plate_map(run_copy, rewrite):
    """What is left when the user gave no layout and has no controls."""
    for table in ("statistics", "curves", "compounds"):
        (run_copy / f"{table}.parquet").unlink()
    layout = "Metadata_Compound", "Metadata_Role", "Metadata_Concentration", "Metadata_Unit"
    wells = scan_table(run_copy / "wells.parquet").collect().drop(layout)
    hits = scan_table(run_copy / "hits.parquet").collect().drop(layout)
    unknown = [pl.lit(None, pl.Float64).alias(n) for n in ("readout_z", "profile_score", "rank")]
    rewrite(run_copy, "wells", wells)
    rewrite(run_copy, "hits", hits.with_columns(unknown, is_hit=pl.lit(None, pl.Boolean)))
    page = read(run_copy)
    assert "no Z′, for want of controls or statistics" in words(page)
    assert "No hits called yet" in words(page)
    assert page.tags.count("img") == 8 + 1  # the sheet of the plate


def test_several_plates_are_compared(two_plates):
    page = read(two_plates)
    found = words(page)
    assert "Plates P1, P<2>" in found
    assert "186 of 192 wells measured" in found
    assert page.tags.count("svg") == 8 + 8 + 2 * 2 + 2  # and replicates, and plates in order
    assert page.text.count("P<2>") >= 4


@pytest.mark.parametrize("size", [6, 384, 1536])
def test_every_plate_size_is_drawn(size, tmp_path, rewrite):
    names = plate_wells(FORMATS[size])
    count = pl.int_range(100, 100 + len(names), eager=True)
    wells = pl.DataFrame({"Metadata_Well": names, "Metadata_Object_Count": count})
    rewrite(tmp_path, "wells", wells.with_columns(Metadata_Plate=pl.lit("P")))
    text = write_report(tmp_path).read_text(encoding="utf-8")
    page = Page(text)
    assert text.count('class="well"') == size
    assert f"{names[-1]}: " in page.text
    assert len(text) < 500_000


def test_more_plates_than_fit_are_counted(tmp_path, rewrite):
    names = plate_wells(FORMATS[1536])
    plates = [f"P{i:02d}" for i in range(9)]
    rows = [(plate, name, 5) for plate in plates for name in (names[0], names[-1])]
    columns = ["Metadata_Plate", "Metadata_Well", "Metadata_Object_Count"]
    rewrite(tmp_path, "wells", pl.DataFrame(rows, schema=columns, orient="row"))
    page = read(tmp_path)
    assert page.tags.count("svg") == 7
    assert "2 more plates are not shown here; all 9 are in wells.parquet." in words(page)


def test_writing_twice_gives_the_same_page_and_leaves_no_draft(run_copy):
    first = write_report(run_copy).read_bytes()
    assert write_report(run_copy).read_bytes() == first
    assert sorted(p.name for p in run_copy.iterdir() if "report" in p.name) == ["report.html"]


def test_page_stays_small(fake_run):
    assert write_report(fake_run).stat().st_size < 2_000_000


def test_ten_plates_of_384_stay_below_ten_megabytes(tmp_path, rewrite):
    """CPU time, as tests may share the machine; types are checked while it is measured."""
    names = plate_wells(FORMATS[384])
    plates = [f"BR{i:06d}" for i in range(10)]
    random = np.random.default_rng(0)
    n = len(names) * len(plates)
    keys = pl.DataFrame(
        {
            "Metadata_Plate": [plate for plate in plates for _ in names],
            "Metadata_Well": names * len(plates),
            "Metadata_Compound": [f"compound {i // 4}" for i in range(n)],
            "Metadata_Role": ["treatment"] * n,
        }
    )
    features = {f"Cells_Texture_X_{i}": random.normal(size=n) for i in range(30)}
    wells = keys.with_columns(Metadata_Object_Count=pl.lit(300), **features)
    z = pl.Series(random.normal(size=n))
    hits = keys.with_columns(readout=pl.lit("Cells_Texture_X_0"), readout_z=z, is_hit=z > 2)
    rewrite(tmp_path, "wells", wells)
    rewrite(tmp_path, "profiles", wells)
    rewrite(tmp_path, "hits", hits)
    places = keys.select("Metadata_Plate", "Metadata_Well").with_columns(UMAP_1=z, UMAP_2=-z)
    rewrite(tmp_path, "map", places)
    noise = random.integers(0, 255, (64, 64, 3)).astype(np.uint8)
    for plate, name in keys.select("Metadata_Plate", "Metadata_Well").iter_rows():
        path = thumbnail_path(tmp_path, plate, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if plate == plates[0] and name == "A01":
            path.write_bytes(png(noise))
        else:
            path.hardlink_to(thumbnail_path(tmp_path, plates[0], "A01"))
    start = time.process_time()
    size = write_report(tmp_path).stat().st_size
    assert size < 10_000_000
    assert time.process_time() - start < 40


def test_folder_that_is_no_run(tmp_path):
    with pytest.raises(BadRun, match=r"is no run folder: it holds neither run.json nor any of"):
        write_report(tmp_path)
    with pytest.raises(BadRun, match=r"Give the folder that `profiler run` wrote"):
        write_report(tmp_path / "absent")


def test_spoilt_files_are_named(run_copy):
    (run_copy / "run.json").write_text('{"recipe": ')
    with pytest.raises(BadRun, match=r"run.json is not JSON .* cut short or edited"):
        write_report(run_copy)
    (run_copy / "run.json").write_text(json.dumps([1]))
    (run_copy / "hits.parquet").write_bytes(b"PAR1")
    with pytest.raises(BadRun, match=r"hits.parquet is not a whole Parquet file"):
        write_report(run_copy)


def test_command_with_a_spaced_path_can_be_pasted(tmp_path, fake_run):
    run = tmp_path / "my run"
    run.mkdir()
    shutil.copy(fake_run / "run.json", run)
    assert f"profiler hits '{run}'" in words(read(run))
