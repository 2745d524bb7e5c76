"""Cells that taught a classifier get the class they had while apart, and no other cells do."""

import shutil

import numpy as np
import polars as pl
import pytest

from profiler.classify.learned import FILE, file_of
from profiler.classify.model import Model, read_model, write_model
from profiler.classify.run import classify_cells
from profiler.classify.tables import classify_run
from profiler.classify.train import TrainRequest, train_classifier
from profiler.classify.trust.calibration import at_temperature
from profiler.classify.trust.novelty import reference_score
from profiler.store.classes import scan_classes
from profiler.store.places import well_path
from profiler.store.tables import read_footer, write_table

from .conftest import FEATURES, KEYS

CLASSES = ("dying", "moved", "normal")


@pytest.fixture(scope="module")
def labels(planted):
    """Each third cell, a tenth of them labelled wrongly: out of its own plate, none is found so."""
    wrong = pl.when(pl.int_range(pl.len()) % 10 == 0).then(pl.lit("dying")).otherwise("Label")
    return planted.labels().with_columns(wrong.alias("Label"))


@pytest.fixture(scope="module")
def model(planted, labels, tmp_path_factory) -> Model:
    folder = tmp_path_factory.mktemp("learned")
    labels.write_csv(folder / "labels.csv")
    out = folder / "mine.safetensors"
    list(train_classifier(TrainRequest(folder / "labels.csv", [planted.out], out)))
    return read_model(out)


@pytest.fixture(scope="module")
def plain(model, tmp_path_factory) -> Model:
    """The same, as files were before cells were noted."""
    out = tmp_path_factory.mktemp("plain") / "plain.safetensors"
    write_model(out, model._replace(learned=None))
    return read_model(out)


def classified(out, folder, model):
    out = shutil.copytree(out, folder)
    list(classify_cells(out, model, coverage=0.9))
    return scan_classes(out).collect().sort(KEYS)


@pytest.fixture(scope="module")
def both(planted, model, plain, tmp_path_factory):
    folder = tmp_path_factory.mktemp("both")
    return [classified(planted.out, folder / n, m) for n, m in (("a", model), ("b", plain))]


def test_it_is_noted_which_cells_were_learned_from(planted, labels, model):
    assert model.learned is not None
    assert model.learned.cells.select(KEYS).equals(labels.select(KEYS))
    footer = read_footer(well_path(planted.out, "P1", "A01"))
    own = model.learned.cells.filter(Metadata_Plate="P1", Metadata_Well="A01")
    assert set(own[FILE]) == {file_of(footer)}
    assert sorted(model.learned.seen.apart) == list(range(labels.height))  # all were judged apart
    codes = np.searchsorted(CLASSES, labels["Label"].to_numpy().astype(str))
    assert model.learnt.apart.labels[model.learned.seen.apart].tolist() == codes.tolist()


def test_they_have_the_class_they_had_while_apart(model, both):
    assert model.learned is not None
    assert model.learnt.odd is not None
    cells, seen = model.learned
    found = cells.join(both[0], on=list(KEYS), how="left", maintain_order="left")
    learnt = model.learnt
    expected = at_temperature(learnt.apart.logits[seen.apart], learnt.temperature)
    said = found.select(f"Probability_{name}" for name in CLASSES).to_numpy()
    np.testing.assert_allclose(said, expected, atol=1e-6)
    assert found["Class"].to_list() == [CLASSES[i] for i in expected.argmax(axis=1)]
    order = reference_score(learnt.odd.reference)[seen.odd]
    assert np.corrcoef(found["Novelty"], order)[0, 1] > 0.999


def test_all_others_have_theirs(labels, both):
    own, before = (each.join(labels, on=list(KEYS), how="anti") for each in both)
    assert own.height == 2 * 24 * 30 - labels.height
    assert own.equals(before)


def test_cells_of_the_same_names_in_another_file_are_others(planted, labels, model, both, tmp_path):
    """As after another segmentation of the same plate."""
    out = shutil.copytree(planted.out, tmp_path / "run")
    path = well_path(out, "P1", "A01")
    footer = read_footer(path)
    again = pl.read_parquet(path, hive_partitioning=False)
    write_table(path, again, level="cells", parameters=footer.parameters | {"computed_by": "new"})
    found = classified(out, tmp_path / "again", model)
    is_it = (pl.col("Metadata_Plate") == "P1") & (pl.col("Metadata_Well") == "A01")
    assert found.filter(is_it).equals(both[1].filter(is_it))
    assert found.filter(~is_it).equals(both[0].filter(~is_it))
    assert not both[0].filter(is_it).equals(both[1].filter(is_it))


def test_it_is_said_how_many_there_are(planted, one_plate, labels, model, plain, tmp_path):
    def notes(out, model, name):
        *_, last = classify_run(shutil.copytree(out, tmp_path / name), model)
        return " ".join(last.notes)

    roles = pl.read_parquet(planted.out / "wells.parquet")
    controls = labels.join(
        roles.filter(Metadata_Role="negative"), on=["Metadata_Plate", "Metadata_Well"], how="semi"
    ).height
    said = f"{labels.height:,} cells of the run, {controls} of them negative controls, taught the"
    assert said in notes(planted.out, model, "a")
    assert "taught the classifier" not in notes(one_plate.out, model, "b")
    anew = shutil.copytree(planted.out, tmp_path / "anew")
    path = well_path(anew, "P1", "A01")
    changed = read_footer(path).parameters | {"computed_by": "new"}
    again = pl.read_parquet(path, hive_partitioning=False)
    write_table(path, again, level="cells", parameters=changed)
    lost = labels.filter(Metadata_Plate="P1", Metadata_Well="A01").height
    assert lost
    told = notes(anew, model, "d")
    assert f"{lost:,} cells that taught the classifier were of wells of these names, which" in told
    assert f"{labels.height - lost:,} cells of the run" in told
    assert "does not say which cells it learned from" in notes(planted.out, plain, "c")


def test_labelled_controls_are_as_often_wrong_as_wells_nobody_labelled(tmp_path, plant_run):
    """Noise tells two classes: what was learned by heart must not make compounds look enriched."""
    out = plant_run("noise", plates=("P1", "P2"), seed=3).out
    wells = pl.read_parquet(out / "wells.parquet").select(*KEYS[:2], "Metadata_Compound")
    taught = {"DMSO": "calm", "Mover": "busy"}
    labels = (
        _without_signal(out)
        .join(wells, on=KEYS[:2])
        .select(
            *KEYS, pl.col("Metadata_Compound").replace_strict(taught, default="").alias("Label")
        )
    )
    labels.write_csv(tmp_path / "labels.csv")
    path = tmp_path / "noise.safetensors"
    list(train_classifier(TrainRequest(tmp_path / "labels.csv", [out], path, balance=1.0)))
    model, more = read_model(path), []
    write_model(path, model._replace(learned=None))
    for known in (model, read_model(path)):
        *_, last = classify_run(out, known)
        busy = last.wells.filter(pl.col("class") == "busy")
        usual, idle = (
            busy.filter(pl.col("Metadata_Compound") == name)["share"].mean()
            for name in ("DMSO", "Idle")
        )
        more.append(idle - usual)
    assert more[0] == pytest.approx(0, abs=0.05)
    assert more[1] - more[0] > 0.05  # the controls alone differ: cells of Idle taught nothing


def _without_signal(out):
    """Replace all features of a run by noise, file by file; gives the keys of its cells."""
    random, keys = np.random.default_rng(0), []
    names = [f"Cells_Planted_F{i}" for i in range(60)]
    for path in sorted((out / "cells").glob("*/*.parquet")):
        footer, cells = read_footer(path), pl.read_parquet(path, hive_partitioning=False)
        noise = random.normal(size=(cells.height, len(names))).astype(np.float32)
        cells = cells.drop(FEATURES).hstack(pl.DataFrame(noise, names))
        write_table(path, cells, level="cells", parameters=footer.parameters)
        keys.append(cells.select(KEYS))
    return pl.concat(keys)
