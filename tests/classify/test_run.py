"""Classes of a run: what files say, what is done again, and what is refused."""

import shutil

import numpy as np
import polars as pl
import pytest

from plates.errors import BadModel, BadRecipe, BadRun
from profiler.classify.model import read_model
from profiler.classify.predict import judge_of
from profiler.classify.run import classify_cells
from profiler.store.classes import scan_classes
from profiler.store.places import well_path
from profiler.store.screen import open as open_screen
from profiler.store.tables import read_footer, write_table

from .conftest import FEATURES, KEYS


@pytest.fixture
def out(one_plate, tmp_path):
    return shutil.copytree(one_plate.out, tmp_path / "run")


def classified(out, trained, coverage=0.9):
    return list(classify_cells(out, read_model(trained), coverage=coverage))


def test_planted_classes_are_found_on_a_plate_of_another_gain(out, trained, one_plate):
    done = classified(out, trained)
    assert len(done) == 24
    assert sum(event.cells for event in done) == one_plate.truth.height
    found = scan_classes(out).collect()
    both = found.join(one_plate.truth.select(*KEYS, "Label"), on=list(KEYS))
    known = both.filter(pl.col("Label") != "strange")
    assert (known["Class"] == known["Label"]).mean() > 0.97
    held = known.select(pl.col("Class_Set").list.contains(pl.col("Label")).mean()).item()
    assert held > 0.85
    strange = both.filter(pl.col("Label") == "strange")
    assert strange["Novelty"].mean() > known["Novelty"].mean() + 0.25


def test_columns_say_all_there_is(out, trained):
    classified(out, trained)
    found = scan_classes(out).collect()
    assert found.columns == [
        *KEYS[:3], "Metadata_Timepoint", KEYS[3], "Metadata_QC_TouchesBorder",
        "Class", "Class_Probability", "Class_Set",
        "Probability_dying", "Probability_moved", "Probability_normal",
        "Novelty", "Novelty_p_value",
    ]  # fmt: skip
    each = found.select("^Probability_.*$").to_numpy()
    np.testing.assert_allclose(each.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(each.max(axis=1), found["Class_Probability"])
    assert (found["Class"] == np.array(["dying", "moved", "normal"])[each.argmax(axis=1)]).all()
    assert found["Novelty_p_value"].is_between(0, 1, closed="right").all()


def test_footers_name_the_classifier_and_the_cells(out, trained):
    classified(out, trained)
    footer = read_footer(well_path(out, "N7", "A01", table="classes"))
    assert footer.level == "cell_classes"
    assert footer.parameters["model"] == read_model(trained).card.sha256
    assert footer.parameters["coverage"] == 0.9
    assert len(footer.parameters["cells"]) == len(footer.parameters["plate"]) == 64


def test_only_what_lacks_is_done_again(out, trained):
    classified(out, trained)
    path = well_path(out, "N7", "B02", table="classes")
    before = {p: p.stat().st_mtime_ns for p in path.parent.iterdir()}
    content = path.read_bytes()
    path.unlink()
    (path.parent / "A01.parquet").write_bytes(b"cut short")
    (path.parent / "Z99.parquet").write_bytes(content)  # of a well that is gone
    again = classified(out, trained)
    assert [event.well for event in again] == ["A01", "B02"]
    assert {event.total for event in again} == {2}
    assert path.read_bytes() == content
    untouched = {p: t for p, t in before.items() if p.stem not in ("A01", "B02")}
    assert {p: p.stat().st_mtime_ns for p in untouched} == untouched
    assert not (path.parent / "Z99.parquet").exists()
    assert classified(out, trained) == []


def test_another_coverage_is_another_classification(out, trained):
    classified(out, trained)
    sizes = [scan_classes(out).select(pl.col("Class_Set").list.len().mean()).collect().item()]
    assert len(classified(out, trained, coverage=0.99)) == 24
    sizes.append(scan_classes(out).select(pl.col("Class_Set").list.len().mean()).collect().item())
    assert sizes[1] > sizes[0]


def test_classes_of_earlier_cells_are_not_shown(out, trained, plant_run):
    classified(out, trained)
    other = plant_run("other", plates=("N7",), seed=9, count=20)
    shutil.copy(well_path(other.out, "N7", "C03"), well_path(out, "N7", "C03"))
    with pytest.raises(BadRun, match=r"1 of 24 wells .* classes of earlier cells, such as N7 C03"):
        open_screen(out).table("cell_classes")
    assert len(classified(out, trained)) == 24
    assert open_screen(out).cell_classes.collect().height == 24 * 30 - 10


def test_half_a_classification_is_not_shown(out, trained):
    assert not open_screen(out).has("cell_classes")
    with pytest.raises(BadRun, match="has no cell_classes yet. Make them with: profiler classify"):
        open_screen(out).table("cell_classes")
    events = classify_cells(out, read_model(trained), coverage=0.9)
    next(events)
    events.close()
    with pytest.raises(BadRun, match="23 of 24 wells of .* have no classes"):
        scan_classes(out)


def test_cells_without_half_of_their_features_have_no_class(plant_run, trained):
    planted = plant_run(plates=("N7",))
    path = well_path(planted.out, "N7", "A01")
    footer, cells = read_footer(path), pl.read_parquet(path)
    first = pl.int_range(pl.len()) == 0
    broken = cells.with_columns(
        pl.when(first).then(None).otherwise(pl.col(name)).alias(name) for name in FEATURES[:7]
    )
    write_table(path, broken, level="cells", parameters=footer.parameters)
    classified(planted.out, trained)
    found = pl.read_parquet(well_path(planted.out, "N7", "A01", table="classes"))
    assert found.select("Class", "Class_Set", "Novelty").row(0) == (None, None, None)
    assert found["Class"].null_count() == 1


def test_a_run_of_another_recipe_is_refused_by_columns(plant_run, trained):
    planted = plant_run(plates=("N7",), lacks=("Cells_Planted_F3", "Embedding_0001"))
    message = r"lacks 2 of the 12 columns .*: Cells_Planted_F3, Embedding_0001\. .*another recipe"
    with pytest.raises(BadModel, match=message):
        classified(planted.out, trained)
    assert not (planted.out / "classes").exists()


@pytest.mark.parametrize(("embedder", "named"), [("b" * 64, "b" * 12), (None, "unknown")])
def test_vectors_of_another_network_are_refused(plant_run, trained, embedder, named):
    planted = plant_run(plates=("N7",), embedder=embedder)
    message = rf"embeddings of network {named}, .* trained on those of a{{12}}"
    with pytest.raises(BadModel, match=message):
        classified(planted.out, trained)


@pytest.mark.parametrize("coverage", [0.0, 1.0, 90.0])
def test_a_coverage_that_is_none(trained, coverage):
    with pytest.raises(BadRecipe, match="expected a share between 0 and 1"):
        judge_of(read_model(trained), coverage=coverage)
