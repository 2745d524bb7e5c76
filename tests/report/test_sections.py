"""Sections that show phenotypes, activity, replicates and drift, against their tables."""

import math
import xml.etree.ElementTree as ET

import numpy as np
import polars as pl
import pytest

from profiler.report.columns import page_columns
from profiler.report.draw.palette import LOOKS, OTHER
from profiler.report.run import read_run
from profiler.report.sections import embedding as embeddings
from profiler.report.sections.clusters import cluster_table, composition, composition_kind
from profiler.report.sections.consensus import consensus_figure
from profiler.report.sections.drift import drift_section
from profiler.report.sections.embedding import embedding, is_mapped, legend
from profiler.report.sections.kinds import kind_table
from profiler.report.sections.maps import on_page
from profiler.report.sections.mechanisms import accuracy_table, consistency_table
from profiler.report.sections.replicates import replicate_figures, replicate_pairs
from profiler.report.sections.volcano import treatment_effects, volcano
from profiler.report.wells import well_table
from profiler.store.tables import scan_table

READOUT = "Nuclei_Intensity_MeanIntensity_GFP"


def table(run, name):
    return scan_table(run / f"{name}.parquet").collect()


def marks(figure):
    return [e for e in ET.fromstring(figure.svg).iter("circle") if "mark" in e.get("class")]


@pytest.fixture(scope="module")
def run(rich_run):
    return read_run(rich_run)


@pytest.fixture(scope="module")
def wells(run):
    found = well_table(run)
    return on_page(found, plates=["P1", "P<2>"], points=[True] * found.height)


# Activity


def test_volcano_puts_each_treatment_at_its_effect_and_q(run, wells):
    figure = volcano(run, wells, cards={"wortmannin": "card-1"})
    points = marks(figure)
    assert len(points) == 8
    effects = treatment_effects(table(run.folder, "activity"), wells, column="z")
    truth = table(run.folder, "hits").filter(
        Metadata_Compound="PI-103", Metadata_Concentration=10.0
    )["readout_z"]
    found = effects.filter(compound="PI-103")["effect"].item()
    assert found == pytest.approx(truth.median())
    ordered = effects.sort("q_value", maintain_order=True)
    expected = -np.log10(ordered["q_value"].to_numpy())
    y = np.array([float(point.get("cy")) for point in points])
    assert abs(np.corrcoef(y, expected)[0, 1] + 1) < 1e-5
    assert "6 of 8 treatments are active" in figure.caption
    assert figure.sources == ["activity.parquet", "hits.parquet"]


def test_volcano_leads_to_cards_and_says_the_numbers(run, wells):
    svg = ET.fromstring(volcano(run, wells, cards={"wortmannin": "card-1"}).svg)
    assert [a.get("href") for a in svg.iter("a")] == ["#card-1"]
    titles = [t.text for t in svg.iter("title")]
    assert any(t.startswith("wortmannin 10 µM: effect") and "q 0.001" in t for t in titles)


def test_volcano_survives_a_q_of_zero(run, wells):
    tables = {**run.tables, "activity": table(run.folder, "activity").with_columns(q_value=0.0)}
    other = type(run)(run.folder, run.facts, tables, run.readout)
    assert all(math.isfinite(float(m.get("cy"))) for m in marks(volcano(other, wells, cards={})))


def test_without_an_effect_there_is_no_volcano(run, wells):
    unknown = wells.with_columns(pl.lit(None, pl.Float64).alias(name) for name in ("z", "score"))
    assert volcano(run, unknown, cards={}) is None


# Replicates


def test_replicates_are_counted_as_the_table_says(run, wells):
    profiles, pairs = replicate_figures(run, wells)
    assert "4 of 7 treatments replicate (57 %)" in profiles.caption
    counts = [int(t.text.split()[-3 if "that replicate" in t.text else -4])
              for t in ET.fromstring(profiles.svg).iter("title")]  # fmt: skip
    assert sum(counts) == 7
    assert pairs.sources == ["hits.parquet"]


def test_pairs_are_two_wells_of_one_treatment(wells):
    pairs = replicate_pairs(wells)
    assert set(pairs["plate"]) == {"P1"}
    assert set(pairs["plate_2"]) == {"P<2>"}
    assert (pairs["well"] == pairs["well_2"]).all()
    assert pairs.height == 80 - 3  # failed, empty and not imaged wells have none


def test_pairs_correlate_as_numpy_says(run, wells):
    pairs = replicate_pairs(wells)
    expected = np.corrcoef(pairs["response"], pairs["response_2"])[0, 1]
    figure = replicate_figures(run, wells)[1]
    assert f"Pearson r {expected:.3g}" in figure.caption
    assert len(marks(figure)) == pairs.height


# Drift


def test_drift_draws_the_levels_of_the_table(run, wells):
    section = drift_section(run, wells)
    assert [f.title for f in section.figures] == ["By row", "By column", "By plate, in order"]
    svg = ET.fromstring(section.figures[0].svg)
    y = np.array([float(e.get("cy")) for e in svg.iter("circle")])
    assert len(y) == 8
    np.testing.assert_allclose(np.diff(y), np.diff(y)[0], atol=0.03)  # levels rise evenly
    assert len([e for e in svg.iter("path") if e.get("class") == "line each"]) == 2
    assert [cell.text for cell in section.tests.rows[1]] == [
        "P<2>", "0.125", "0.03", "0.5", "0.125", "0.03", "0.5",
    ]  # fmt: skip


def test_plates_are_drawn_by_the_medians_of_their_roles(run, wells):
    svg = ET.fromstring(drift_section(run, wells).figures[2].svg)
    places = [e for e in svg.iter("circle") if "place" in e.get("class")]
    y = {e.get("class").split()[1]: float(e.get("cy")) for e in places if float(e.get("cx")) < 200}
    assert y["positive"] < y["negative"]  # higher up
    medians = wells.filter(plate="P1").group_by("role").agg(pl.col("readout").median())
    level = dict(medians.rows())
    share = (y["negative"] - y["treated"]) / (y["negative"] - y["positive"])
    expected = (level["treatment"] - level["negative"]) / (level["positive"] - level["negative"])
    assert share == pytest.approx(expected, abs=0.01)


def test_one_plate_has_no_order(fake_run):
    run = read_run(fake_run)
    section = drift_section(run, well_table(run))
    assert section == ([], None)


# The map


def test_every_mapped_well_is_a_point_in_its_colour(run, wells):
    columns = page_columns(run, wells)
    found = embedding(run, wells, columns)
    assert found.chosen == "Cluster"
    points = marks(found.figure)
    places = table(run.folder, "map").drop_nulls("UMAP_1")
    assert len(points) == places.height == 192 - 6
    by_index = {int(p.get("data-i")): p for p in points}
    cluster = next(c for c in columns if c.key == "Cluster")
    for i, well in enumerate(wells.iter_rows(named=True)):
        if i in by_index:
            expected = table_cluster(run, well)
            shown = None if expected is None else LOOKS[cluster.levels.index(str(expected))].colour
            assert by_index[i].get("color") == (shown or OTHER)


def table_cluster(run, well):
    row = run.tables["map"].filter(Metadata_Plate=well["plate"], Metadata_Well=well["well"])
    return row["Cluster"].item()


def test_too_many_points_are_thinned_evenly_and_said(run, wells, monkeypatch):
    monkeypatch.setattr(embeddings, "MAX_POINTS", 50)
    shown = is_mapped(run, wells)
    assert sum(shown) == 47  # every fourth of 186
    figure = embedding(run, wells, page_columns(run, wells)).figure
    assert figure.remark == "47 of 186 wells are drawn, evenly spaced."
    assert len(marks(figure)) == 47


def test_legend_names_kinds_and_scales(run, wells):
    columns = {column.key: column for column in page_columns(run, wells)}
    entries = legend(columns["Cluster"]).entries
    assert [e.text for e in entries] == ["3", "1", "2", "none"]
    scale = legend(columns["cells"])
    assert scale.entries == []
    assert float(scale.low) < float(scale.high)
    many = columns["compound"]._replace(levels=[str(i) for i in range(20)])
    assert legend(many).entries[-1].text.startswith("6 others")


def test_without_a_map_there_is_none(fake_run):
    run = read_run(fake_run)
    wells = well_table(run)
    assert embedding(run, wells, page_columns(run, wells)) is None
    assert not any(is_mapped(run, wells))


# Clusters


def test_clusters_are_made_of_what_the_table_counts(run):
    enriched = table(run.folder, "enrichment")
    assert composition_kind(enriched) == "MOA"
    own = enriched.filter(Cluster=3, kind="MOA")
    parts = composition(own, n_cluster=70, colours={"PI3K": "#000000"})
    assert [(p.name, p.count) for p in parts] == [("PI3K", 40), ("others", 20), ("no label", 10)]
    assert sum(p.count for p in parts) == 70


def test_cluster_table_names_enriched_labels_and_features(run):
    first, second = cluster_table(run).rows
    assert [cell.text for cell in first[:4]] == ["1", "16", "3", "0.75"]
    assert "PI3K (MOA) 40 of 44, q 0.01" in second[5].text
    assert "mTOR" not in second[5].text  # not sure enough
    assert second[6].text.startswith('<span class="features">5.5 Nuclei_<wbr>AreaShape_')


def test_clusters_without_enrichment_are_listed(rich_copy):
    (rich_copy / "enrichment.parquet").unlink()
    rows = cluster_table(read_run(rich_copy)).rows
    assert [row[4].text for row in rows] == ["", ""]


# Mechanisms


def test_accuracy_is_laid_out_beside_chance(run, fake_run):
    (row,) = accuracy_table(run).rows
    texts = [cell.text for cell in row]
    assert texts == ["not same compound", "8", "62 %", "–", "25 %", "0.004"]
    assert accuracy_table(read_run(fake_run)) is None


def test_the_surest_labels_come_first_and_untested_ones_last(run, fake_run):
    found = consistency_table(run)
    assert [[cell.text for cell in row] for row in found.rows] == [
        ["MOA", "PI3K", "3", "2", "0.9", "0.2", "0.01", "ok"],
        ["MOA", "mTOR", "3", "2", "0.4", "0.2", "0.3", "ok"],
        ["target", "<i>AKT</i>", "3", "2", "–", "0.2", "–", "none active"],
    ]
    assert "active compounds, each at" in found.caption
    assert consistency_table(read_run(fake_run)) is None


# Kinds of cells


def test_kinds_name_the_wells_that_are_shifted(run, wells):
    first, second = kind_table(run, wells).rows
    shares = table(run.folder, "subpopulations")
    of_first = shares.filter(subpopulation=1)["n_cells"].sum() / shares["n_cells"].sum()
    assert first[1].sort == pytest.approx(of_first)
    assert [cell.text for cell in second[2:4]] == ["0.8", "2"]  # B10 of both plates
    compound = table(run.folder, "wells").filter(Metadata_Well="B10")["Metadata_Compound"][0]
    assert f"P1 B10 {compound}" in second[4].text
    assert "10 % instead of 25 %, q 0.001" in second[4].text
    assert "5.5 Nuclei_<wbr>AreaShape_" in second[5].text


def test_without_kinds_there_is_no_table(fake_run, wells):
    assert kind_table(read_run(fake_run), wells) is None


# Consensus


def test_consensus_shows_the_furthest_dose_of_each_compound(run):
    figure = consensus_figure(run)
    svg = ET.fromstring(figure.svg)
    cells = [e for e in svg.iter("rect") if "cell" in e.get("class", "")]
    assert len(cells) == 8 * 4
    titles = [e.find("title").text for e in cells]
    assert all("10 µM" in title for title in titles)
    assert not any("DMSO" in title for title in titles)
    truth = table(run.folder, "consensus").filter(
        Metadata_Compound="PI-103", Metadata_Concentration=10.0
    )
    shown = next(t for t in titles if t.startswith("PI-103") and "Cells_Texture:" in t)
    value = float(shown.rsplit(" ", 1)[1].replace("−", "-"))
    assert value == pytest.approx(truth["Cells_Texture"].item(), rel=0.005)
    assert figure.sources == ["consensus.parquet"]


def test_more_compounds_than_fit_are_counted(rich_copy, rewrite):
    values = np.random.default_rng(0).normal(size=(50, 60))
    frame = pl.DataFrame(values, schema=[f"Cells_F{i}" for i in range(60)])
    many = frame.with_columns(Metadata_Compound=pl.format("C{}", pl.int_range(50)))
    rewrite(rich_copy, "consensus", many)
    figure = consensus_figure(read_run(rich_copy))
    cells = [e for e in ET.fromstring(figure.svg).iter("rect") if "cell" in e.get("class", "")]
    assert len(cells) == 30 * 40
    assert figure.remark.startswith("20 more compounds are not shown here")


def test_without_profiles_there_is_no_consensus(rich_copy, rewrite, fake_run):
    assert consensus_figure(read_run(fake_run)) is None
    empty = pl.DataFrame({"Metadata_Compound": ["a"], "Cells_F": [None]})
    rewrite(rich_copy, "consensus", empty.cast({"Cells_F": pl.Float64}))
    assert consensus_figure(read_run(rich_copy)) is None
