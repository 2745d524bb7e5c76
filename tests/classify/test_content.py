"""Labels stay with the cells that a person looked at, or go nowhere: wells computed anew."""

import re
import shutil

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from profiler import cli
from profiler.classify.content import contents_of, follow
from profiler.classify.labels import LABEL, BadLabelTable, read_labels
from profiler.classify.suggest import Wanted, suggest
from profiler.classify.train import Trained, TrainRequest, train_classifier
from profiler.encoder.choose import Draw, choose_labelled
from profiler.store.places import well_path
from profiler.store.screen import open as open_screen
from profiler.store.tables import read_footer, write_table

from .conftest import KEYS, PLACES

OBJECT, WELL = KEYS[3], list(KEYS[:2])
ANEW = [dict(zip(WELL, well, strict=True)) for well in (("P1", "A01"), ("P1", "A02"))]
IS_OLD = pl.struct(WELL).is_in(ANEW)
AGAIN = {"inputs": [[1, 1, [["anew.tif", 1, 2, "hash"]]]]}


def written_anew(out, change):
    """The two wells as after new images: whatever `change` makes of their cells."""
    for well in ANEW:
        path = well_path(out, *well.values())
        parameters = dict(read_footer(path).parameters) | AGAIN
        cells = change(pl.read_parquet(path, hive_partitioning=False))
        write_table(path, cells.sort(OBJECT), level="cells", parameters=parameters)
    return out


def renumbered(cells):
    """The same cells by other numbers: each has that of the one before it."""
    return cells.with_columns(pl.Series(OBJECT, np.roll(cells[OBJECT], 1)))


@pytest.fixture(scope="module")
def listed(planted, tmp_path_factory) -> pl.DataFrame:
    """A list of cells to label, every one of which a person has labelled."""
    folder = tmp_path_factory.mktemp("listed")
    suggest(planted.out, folder, wanted=Wanted(cells=400, sample=1440))
    kinds = {KEYS[2]: pl.Int32, OBJECT: pl.Int32}
    table = pl.read_csv(folder / "cells.csv", schema_overrides=kinds)
    truth = planted.truth.select(*KEYS, "Label")
    return table.drop("Label").join(truth, on=list(KEYS), how="left", maintain_order="left")


@pytest.fixture
def make(planted, tmp_path):
    """A function: the run with two wells computed anew."""
    return lambda change: written_anew(shutil.copytree(planted.out, tmp_path / "anew"), change)


@pytest.fixture
def write(tmp_path):
    def write_table(table):
        table.write_csv(tmp_path / "labels.csv")
        return tmp_path / "labels.csv"

    return write_table


@pytest.fixture
def followed(write):
    """A function: what becomes of a table of labels in a run."""

    def found(table, out):
        labels = read_labels(write(table))
        return follow(labels.cells, labels.noted, open_screen(out))

    return found


def test_a_list_says_what_its_wells_are(planted, listed, followed):
    wells = listed.select(WELL).unique().rows()
    contents = contents_of(open_screen(planted.out), wells)
    own = [contents[well] for well in listed.select(WELL).rows()]
    assert own == listed["Metadata_CellFile"].to_list()
    assert len(set(contents.values())) == len(wells) == 48
    # Of digits and one e alone, a spreadsheet would write 1.2E+11 instead.
    assert all(re.fullmatch("c[0-9a-f]{16}", name) for name in contents.values())
    same = followed(listed, planted.out)
    assert same.cells.equals(listed.select(KEYS))
    assert not same.told


def test_labels_follow_their_cells_to_other_numbers(listed, make, write, tmp_path):
    out, old = make(renumbered), listed.filter(IS_OLD)
    assert 4 < old.height < listed.height
    labels = read_labels(write(listed))
    found = follow(labels.cells, labels.noted, open_screen(out))
    number = pl.when(IS_OLD).then((pl.col(OBJECT) - 2) % 30 + 1).otherwise(OBJECT)
    assert found.cells.equals(listed.select(*KEYS[:3], number.cast(pl.Int32).alias(OBJECT)))
    said = (
        f"{old.height} of {listed.height} labelled cells are of 2 wells that have been "
        r"computed anew since, or are of another run: P1 A0\d, P1 A0\d\. .* found again by where"
    )
    assert re.match(said, found.told[0])

    *_, last = train_classifier(TrainRequest(write(listed), [out], tmp_path / "m.safetensors"))
    assert isinstance(last, Trained)
    assert last.scores.accuracy > 0.9
    assert found.told[0] in last.notes


def test_a_nucleus_may_have_moved_a_little_but_not_far(listed, make, followed, tmp_path):
    def moved(far):
        return lambda cells: renumbered(cells).with_columns(pl.col(PLACES[0]) + far)

    near = followed(listed, make(moved(1.5))).cells
    shutil.rmtree(tmp_path / "anew")
    assert near.equals(followed(listed, make(renumbered)).cells)
    shutil.rmtree(tmp_path / "anew")
    message = r"of \d+ there is none, or more than one, within 3 pixels of where it was: P1 A0\d"
    with pytest.raises(BadLabelTable, match=message):
        followed(listed, make(moved(4.0)))


def test_of_two_nuclei_side_by_side_none_is_taken(listed, make, followed):
    """As where a nucleus has been cut in two."""
    one = listed.filter(IS_OLD).row(0, named=True)
    is_it = (pl.col(WELL[1]) == one[WELL[1]]) & (pl.col(OBJECT) == one[OBJECT])

    def cut(cells):
        half = cells.filter(is_it).with_columns(pl.lit(99, pl.Int32).alias(OBJECT))
        return pl.concat([cells, half.with_columns(pl.col(PLACES[1]) + 2)])

    message = f"but of 1 there is none, or more than one, .*: P1 {one[WELL[1]]} site 1 cell"
    with pytest.raises(BadLabelTable, match=message):
        followed(listed, make(cut))


def test_without_places_nothing_is_matched(listed, make, write, tmp_path):
    table = write(listed.drop(PLACES))
    request = TrainRequest(table, [make(renumbered)], tmp_path / "m.safetensors")
    message = "2 wells that have been computed anew .* Nothing was matched, .* does not say where"
    with pytest.raises(BadLabelTable, match=f"{message}.*take the column Metadata_CellFile out"):
        list(train_classifier(request))
    assert not (tmp_path / "m.safetensors").exists()


def test_only_labels_that_say_their_content_are_looked_at(listed, make, followed):
    """Others go by number alone, as ever."""
    out, keys = make(renumbered), listed.select(KEYS)
    for table in (
        listed.drop("Metadata_CellFile"),
        listed.with_columns(pl.when(~IS_OLD).then("Metadata_CellFile").alias("Metadata_CellFile")),
    ):
        assert followed(table, out).cells.equals(keys)
        assert not followed(table, out).told
    unlabelled = listed.with_columns(pl.when(~IS_OLD).then("Label").alias("Label"))
    assert followed(unlabelled, out).cells.equals(listed.filter(~IS_OLD).select(KEYS))


def test_one_number_for_two_cells_and_two_labels_for_one(listed, make, followed):
    out = make(renumbered)
    old = listed.filter(IS_OLD).head(1)
    since = old.with_columns(pl.lit("c" + "0" * 16).alias("Metadata_CellFile"))
    with pytest.raises(BadLabelTable, match="other cells under the same numbers, .* P1 A0"):
        followed(pl.concat([listed, since]), out)
    now = (pl.col(OBJECT) - 2) % 30 + 1
    by_number = old.with_columns(now.alias(OBJECT), pl.lit(None).alias("Metadata_CellFile"))
    rest = listed.join(by_number, on=list(KEYS), how="anti")
    with pytest.raises(BadLabelTable, match="two of them are one cell now: P1 A0"):
        followed(pl.concat([rest, by_number], how="vertical_relaxed"), out)


def test_a_well_without_cells_now_is_named_as_such(listed, make, followed, tmp_path):
    out = make(lambda cells: cells.clear())
    with pytest.raises(BadLabelTable, match="2 wells that have been computed .* there is none, or"):
        followed(listed, out)
    for well in ANEW:
        well_path(out, *well.values()).unlink()
    assert followed(listed, out).cells.equals(listed.select(KEYS))  # `rows_of` says what is wrong


def test_suggestions_and_explanations_follow_them_too(
    listed, make, write, followed, one_plate, tmp_path
):
    out = make(renumbered)
    done = followed(listed, out).cells
    every = Wanted(cells=1440, sample=100_000, labels=write(listed))
    found, notes = suggest(out, tmp_path / "s", wanted=every)
    assert followed(listed, out).told[0] == notes[-1]
    assert not found.join(done, on=list(KEYS), how="semi").height
    there = open_screen(out).cells.filter(~pl.col("Metadata_QC_TouchesBorder")).collect()
    assert found.height == there.height - done.height
    suggest(one_plate.out, tmp_path / "n", wanted=Wanted(5, labels=write(listed)))  # pass by

    path = write(listed.drop(PLACES))
    with pytest.raises(BadLabelTable, match="Nothing was matched"):
        suggest(out, tmp_path / "t", wanted=Wanted(5, labels=path))
    assert not (tmp_path / "t").exists()
    words = ["explain", str(out), "--compound", "Mover", "--labels", str(path)]
    said = CliRunner().invoke(cli.app, words)
    assert isinstance(said.exception, BadLabelTable), said.output
    assert "Nothing was matched" in str(said.exception)


def test_an_encoder_is_taught_by_the_cells_that_were_meant(listed, make, write, followed):
    out, path = make(renumbered), write(listed)
    chosen = choose_labelled(open_screen(out), read_labels(path), Draw(0, 0.3, 0))
    done = followed(listed, out)
    wanted = listed.select("Label").hstack(done.cells)
    seen = chosen.cells.filter(pl.col(LABEL).is_not_null())
    both = seen.join(wanted, on=list(KEYS), how="left", suffix=" meant")
    assert seen.height == listed.height
    assert both[LABEL].equals(both[f"{LABEL} meant"])
    assert done.told[0] in chosen.notes


def test_the_list_says_where_the_cell_lies_where_the_recipe_measures_it(
    plant_run, followed, tmp_path
):
    blind = plant_run(lacks=tuple(PLACES))
    found = suggest(blind.out, tmp_path / "s", wanted=Wanted(cells=8)).cells
    assert found.columns == [*KEYS, "Metadata_CellFile", "Label"]
    other = found.with_columns(
        pl.lit("c0").alias("Metadata_CellFile"), pl.Series("Label", list("abab" * 2))
    )
    with pytest.raises(BadLabelTable, match="8 of 8 labelled cells .* the run, does not say where"):
        followed(other, blind.out)
