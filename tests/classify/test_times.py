"""A run over time: every time point has classes of its own, and labels say which they are of."""

import polars as pl
import pytest

from profiler.classify.enrichment import fit_prior
from profiler.classify.labels import BadLabelTable
from profiler.classify.model import read_model
from profiler.classify.suggest import Wanted, suggest
from profiler.classify.tables import classify_run
from profiler.classify.train import Trained, TrainRequest, train_classifier
from profiler.store.run import read_facts
from profiler.store.screen import open as open_screen

from .conftest import KEYS, PLACES, TIMEPOINT, plant

EVERY = [*KEYS[:3], TIMEPOINT, KEYS[3]]  # the keys of a cell


@pytest.fixture(scope="module")
def movie(tmp_path_factory):
    """Two time points, of which only the second has compounds at work."""
    return plant(tmp_path_factory.mktemp("movie") / "run", plates=("T1",), times=2, seed=3)


@pytest.fixture(scope="module")
def screen(movie, trained):
    list(classify_run(movie.out, read_model(trained)))
    return open_screen(movie.out)


def labels(movie, folder, *, keys=EVERY, times=(1, 2)):
    """A label table of cells at some time points."""
    table = movie.truth.filter(pl.col(TIMEPOINT).is_in(times), pl.col("Label") != "strange")
    table.select(*keys, "Label").gather_every(3).unique(keys).write_csv(folder / "labels.csv")
    return folder / "labels.csv"


def test_each_cell_keeps_its_time_point(movie, screen):
    found = screen.cell_classes.collect()
    assert found.select(EVERY).is_unique().all()
    both = movie.truth.select(*EVERY, "Label").join(found, on=EVERY, how="left")
    known = both.filter(pl.col("Label") != "strange")
    assert both["Class"].null_count() == 0
    assert (known["Class"] == known["Label"]).mean() > 0.97


def test_wells_are_counted_at_each_time_point(screen):
    classes, cells = screen.classes.collect(), screen.cell_classes.collect()
    assert classes.height == 24 * 2 * 4
    whole = cells.filter(~pl.col("Metadata_QC_TouchesBorder"))
    counted = whole.group_by(*EVERY[:2], TIMEPOINT, "Class").len("n")
    both = classes.filter(pl.col("class") != "(novel)").join(
        counted,
        left_on=[*EVERY[:2], TIMEPOINT, "class"],
        right_on=[*EVERY[:2], TIMEPOINT, "Class"],
        how="left",
    )
    assert (both["n_class"] == both["n"].fill_null(0)).all()
    assert set(classes["n_cells"]) == {27}


def test_controls_are_those_of_the_same_time_point(screen):
    moved = screen.classes.collect().filter(pl.col("class") == "moved")
    for (time,), own in moved.group_by(TIMEPOINT):
        controls = own.filter(pl.col("Metadata_Role") == "negative")
        prior = fit_prior(*(controls[name].to_numpy() for name in ("n_class", "n_cells")))
        assert own["expected_share"].unique().to_list() == pytest.approx([prior.mean]), time
    assert (
        moved.group_by(TIMEPOINT).agg(pl.col("expected_share").first())["expected_share"].n_unique()
        == 2
    )


def test_compounds_are_enriched_when_they_act_and_not_before(screen):
    hits = screen.class_hits.collect()
    found = hits.filter("is_enriched").select("Metadata_Compound", TIMEPOINT, "class").rows()
    assert set(found) == {("Mover", 2, "moved"), ("Killer", 2, "dying"), ("Strange", 2, "(novel)")}
    assert hits.select("Metadata_Compound", TIMEPOINT, "class").is_unique().all()
    assert set(hits["n_wells"]) == {2, 4, 6}


def test_the_summary_counts_wells_once(screen, movie):
    notes = read_facts(movie.out).summary["classes"]
    assert notes[0].startswith("1,296 cells of 24 wells at 2 time points have a class: dying ")


def test_labels_without_time_points_are_refused(movie, tmp_path):
    table = labels(movie, tmp_path, keys=KEYS, times=(2,))
    request = TrainRequest(table, [movie.out], tmp_path / "m.safetensors")
    with pytest.raises(
        BadLabelTable, match=r"2 time points, and the label table has no Metadata_T"
    ):
        list(train_classifier(request))
    assert not (tmp_path / "m.safetensors").exists()
    with pytest.raises(
        BadLabelTable, match=r"2 time points, and the label table has no Metadata_T"
    ):
        suggest(movie.out, tmp_path / "s", wanted=Wanted(cells=5, labels=table))
    assert not (tmp_path / "s" / "cells.csv").exists()


def test_labels_with_time_points_are_of_those_cells(movie, tmp_path):
    table = labels(movie, tmp_path)
    *_, last = train_classifier(TrainRequest(table, [movie.out], tmp_path / "m.safetensors"))
    assert isinstance(last, Trained)
    assert last.scores.accuracy > 0.95  # other cells have the same numbers at the other time
    assert last.suspects.columns[:5] == EVERY
    model = read_model(tmp_path / "m.safetensors")
    assert sum(model.card.examples.values()) == pl.read_csv(table).height


def test_a_suggestion_names_time_points_and_leaves_out_the_labelled_one_alone(movie, tmp_path):
    first = suggest(movie.out, tmp_path / "s", wanted=Wanted(cells=20))
    assert first.cells.columns == [*EVERY, *PLACES, "Metadata_CellFile", "Label"]
    assert first.cells[TIMEPOINT].n_unique() == 2
    every = movie.truth.filter(~pl.col("Metadata_QC_TouchesBorder"))
    done = every.filter(pl.col(TIMEPOINT) == 1).select(*EVERY, Label=pl.lit("odd"))
    done.write_csv(tmp_path / "odd.csv")
    again = suggest(movie.out, tmp_path / "s", wanted=Wanted(cells=20, labels=tmp_path / "odd.csv"))
    assert set(again.cells[TIMEPOINT]) == {2}
