"""Tables of wells and compounds: by hand, by scipy, and what was planted comes out on top."""

import shutil

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy.stats import false_discovery_control

from plates.errors import BadRecipe
from profiler.classify.enrichment import enrichment, fit_prior
from profiler.classify.model import read_model
from profiler.classify.tables import Classified, classify_run
from profiler.store.run import read_facts
from profiler.store.screen import open as open_screen
from profiler.store.tables import read_footer


def made(out, trained) -> Classified:
    *_, last = classify_run(out, read_model(trained))
    assert isinstance(last, Classified)
    return last


@pytest.fixture(scope="module")
def done(one_plate, trained, tmp_path_factory):
    out = shutil.copytree(one_plate.out, tmp_path_factory.mktemp("done") / "run")
    return out, made(out, trained)


@pytest.fixture(scope="module")
def classes(done):
    return open_screen(done[0]).classes.collect()


@pytest.fixture(scope="module")
def hits(done):
    return open_screen(done[0]).class_hits.collect()


def test_counts_are_those_of_whole_cells(done, classes):
    cells = open_screen(done[0]).cell_classes.filter(~pl.col("Metadata_QC_TouchesBorder")).collect()
    assert classes.height == 24 * 4
    own = cells.filter(pl.col("Metadata_Well") == "B03")
    rows = classes.filter(pl.col("Metadata_Well") == "B03")
    assert rows["class"].to_list() == ["dying", "moved", "normal", "(novel)"]
    assert rows["n_cells"].to_list() == [27] * 4
    expected = [(own["Class"] == name).sum() for name in ("dying", "moved", "normal")]
    assert rows["n_class"].to_list() == [*expected, (own["Novelty_p_value"] < 0.05).sum()]
    np.testing.assert_allclose(rows["share"], rows["n_class"] / 27)
    assert rows["mean_probability"][:3].to_list() == pytest.approx(
        [own[f"Probability_{name}"].mean() for name in ("dying", "moved", "normal")], abs=1e-6
    )
    assert rows["mean_probability"][3] is None
    assert (classes["share_low"] <= classes["share"]).all()
    assert (classes["share_high"] >= classes["share"]).all()


def test_enrichment_is_against_the_plates_controls(classes):
    moved = classes.filter(pl.col("class") == "moved")
    controls = moved.filter(pl.col("Metadata_Role") == "negative")
    prior = fit_prior(*(controls[name].to_numpy() for name in ("n_class", "n_cells")))
    expected = enrichment(moved["n_class"].to_numpy(), moved["n_cells"].to_numpy(), prior)
    np.testing.assert_allclose(moved["enrichment"], expected)
    np.testing.assert_allclose(moved["expected_share"], prior.mean)
    assert set(classes["reference"]) == {"controls"}
    treated = classes.filter(pl.col("Metadata_Role") == "treatment")
    q = false_discovery_control(treated["p_value"].to_numpy())
    np.testing.assert_allclose(treated["q_value"], q)
    assert classes.filter(pl.col("Metadata_Role") == "negative")["q_value"].null_count() == 32


def test_planted_compounds_are_enriched_for_what_they_do_and_no_other(hits):
    found = hits.filter("is_enriched").select("Metadata_Compound", "class").rows()
    assert set(found) == {("Mover", "moved"), ("Killer", "dying"), ("Strange", "(novel)")}
    idle = hits.filter(pl.col("Metadata_Compound") == "Idle")
    assert idle["q_value"].min() > 0.05
    assert not hits.filter(pl.col("Metadata_Compound") == "DMSO").height
    mover = hits.row(
        by_predicate=(pl.col("Metadata_Compound") == "Mover") & (pl.col("class") == "moved"),
        named=True,
    )
    assert mover["n_wells"] == 4
    assert mover["share"] == pytest.approx(0.7, abs=0.15)
    assert hits["p_value"].is_sorted()


def test_a_phenotype_nobody_labelled_is_new_in_its_wells(classes):
    wells = classes.unique("Metadata_Well")
    strange = wells.filter(pl.col("Metadata_Compound") == "Strange")
    idle = wells.filter(pl.col("Metadata_Compound").is_in(["Idle", "Mover", "Killer"]))
    assert strange["novelty_p_value"].max() <= 0.01
    assert (idle["novelty_p_value"] < 0.05).mean() < 0.3
    assert strange["novelty"].min() > idle["novelty"].max()


def test_summary_and_footers_tell_of_it(done, trained):
    out, last = done
    notes = read_facts(out).summary["classes"]
    assert list(last.notes) == notes
    assert notes[0].startswith("648 cells of 24 wells have a class: dying ")
    assert any("are enriched (q at most .05), first " in note for note in notes)
    for name in ("classes", "class_hits"):
        footer = read_footer(out / f"{name}.parquet")
        assert footer.parameters["model"] == read_model(trained).card.sha256


def test_again_gives_the_same_tables(done, trained, classes):
    again = made(done[0], trained)
    assert_frame_equal(again.wells, classes, rel_tol=1e-12)


def test_without_a_plate_map_wells_are_held_against_their_plate(plant_run, trained):
    planted = plant_run(plates=("N7",), has_map=False)
    last = made(planted.out, trained)
    assert set(last.wells["reference"]) == {"plate"}
    assert last.wells["p_value"].null_count() == last.wells.height
    assert last.wells["enrichment"].null_count() == 0
    assert not open_screen(planted.out).has("class_hits")
    assert any("No compounds are tested" in note for note in last.notes)
    assert any("fewer than three negative controls" in note for note in last.notes)


def test_a_refused_request_removes_no_table(done, trained):
    out, _ = done
    with pytest.raises(BadRecipe, match="overage"):
        list(classify_run(out, read_model(trained), coverage=2.0))
    for name in ("classes", "class_hits"):
        assert (out / f"{name}.parquet").is_file()
