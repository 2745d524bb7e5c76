"""Cells to label: whole, visible, not labelled yet, and those that a classifier asks for."""

import io
import re
import shutil
from base64 import b64decode

import numpy as np
import polars as pl
import pytest
from PIL import Image

from plates.errors import BadPlate, BadRecipe, UnknownName
from profiler.classify.labels import BadLabelTable, read_labels
from profiler.classify.sheet import COLUMN, DIAMETER, LINE, SIDE, crops, pictures_of, placed
from profiler.classify.suggest import Wanted, suggest
from profiler.store.screen import open as open_screen

from .conftest import KEYS, PLACES


def truth_of(found, planted):
    return found.join(planted.truth, on=list(KEYS), how="left", maintain_order="left")


def test_without_a_classifier_cells_differ(one_plate, tmp_path):
    found = suggest(one_plate.out, tmp_path / "s", wanted=Wanted(cells=20))
    table = pl.read_csv(tmp_path / "s" / "cells.csv")
    assert table.columns == [*KEYS, *PLACES, "Metadata_CellFile", "Label"]
    assert table["Label"].null_count() == 20 == table.select(KEYS).n_unique()
    run = open_screen(one_plate.out).cells.select(*KEYS, *PLACES).collect()
    there = table.join(run, on=list(KEYS), how="left", maintain_order="left")
    for place in PLACES:
        np.testing.assert_allclose(table[place], there[f"{place}_right"], atol=0.051)
    cells = truth_of(found.cells, one_plate)
    assert not cells["Metadata_QC_TouchesBorder"].any()
    kinds = cells["Label_right"].n_unique()
    assert kinds == 4  # each planted kind is among 20 of 720 cells


def test_a_classifier_asks_for_what_it_cannot_tell(one_plate, trained, tmp_path):
    found = suggest(one_plate.out, tmp_path / "s", model=trained, wanted=Wanted(cells=30))
    kinds = truth_of(found.cells, one_plate)["Label_right"]
    share = (one_plate.truth["Label"] == "strange").mean()
    assert (kinds == "strange").mean() > 2 * share
    assert "30 of " in found.notes[0]
    assert "'mixed'" in found.notes[0]


def test_labelled_cells_are_left_out(one_plate, trained, tmp_path):
    first = suggest(one_plate.out, tmp_path / "s", model=trained, wanted=Wanted(cells=30))
    labelled = first.cells.with_columns(Label=pl.lit("odd"))
    labelled.write_csv(tmp_path / "odd.csv")  # one class: fit for this, not yet for training
    wanted = Wanted(cells=30, labels=tmp_path / "odd.csv")
    again = suggest(one_plate.out, tmp_path / "s", model=trained, wanted=wanted)
    assert not first.cells.join(again.cells, on=list(KEYS), how="semi").height


def test_labels_of_cells_that_are_not_there_are_named(one_plate, planted, tmp_path):
    elsewhere = planted.labels(every=40)  # plates of another run, in the same table
    ours = one_plate.labels(every=40)
    absent = ours.head(1).with_columns(pl.lit(999, pl.Int32).alias(KEYS[3]))
    for name, table in (("good", [elsewhere, ours]), ("bad", [elsewhere, ours, absent])):
        pl.concat(table).with_columns(Rater=pl.lit("me")).write_csv(tmp_path / f"{name}.csv")
    wanted = Wanted(cells=5, labels=tmp_path / "bad.csv")
    message = f"1 of {ours.height + 1} labels are for cells that the run .*: N7 .* cell 999"
    with pytest.raises(BadLabelTable, match=message):
        suggest(one_plate.out, tmp_path / "s", wanted=wanted)
    assert not (tmp_path / "s").exists()
    found = suggest(one_plate.out, tmp_path / "s", wanted=Wanted(5, labels=tmp_path / "good.csv"))
    assert not found.cells.join(ours, on=list(KEYS), how="semi").height


def test_labels_made_by_hand_are_not_written_over(one_plate, tmp_path):
    first = suggest(one_plate.out, tmp_path, wanted=Wanted(cells=12))
    suggest(one_plate.out, tmp_path, wanted=Wanted(cells=12, seed=1))  # nothing was said yet
    first.cells.with_columns(Label=pl.lit("odd")).write_csv(tmp_path / "cells.csv")
    with pytest.raises(BadRecipe, match="has labels already"):
        suggest(one_plate.out, tmp_path, wanted=Wanted(cells=12))
    assert set(pl.read_csv(tmp_path / "cells.csv")["Label"]) == {"odd"}


def test_what_is_filled_in_is_a_label_table(one_plate, tmp_path):
    suggest(one_plate.out, tmp_path, wanted=Wanted(cells=12))
    lines = (tmp_path / "cells.csv").read_text().splitlines()
    filled = [
        lines[0],
        *(f"{line}{'ab'[i % 2]}" for i, line in enumerate(lines[1:11])),
        *lines[11:],
    ]
    (tmp_path / "labels.csv").write_text("\n".join(filled) + "\n")
    labels = read_labels(tmp_path / "labels.csv")
    assert labels.classes == ("a", "b")
    assert labels.unlabelled == 2


def test_the_page_has_a_picture_and_a_key_for_each_cell(one_plate, trained, tmp_path):
    found = suggest(one_plate.out, tmp_path, model=trained, wanted=Wanted(cells=9))
    page = (tmp_path / "cells.html").read_text()
    keys = re.findall(r'data-key="([^"]+)"', page)
    rows = found.cells.drop("Label").write_csv(include_header=False).splitlines()
    assert keys == rows  # what the button saves is the list, filled in
    pictures = re.findall(r"data:image/jpeg;base64,([^\"]+)", page)
    assert len(pictures) == 9
    assert Image.open(io.BytesIO(b64decode(pictures[0]))).size == (SIDE, SIDE)
    assert '<option value="moved">' in page
    header = f'"{",".join([*KEYS, *PLACES])},Metadata_CellFile,Label"'
    assert header in page
    assert f"{found.cells[0, 0]} {found.cells[0, 1]} site 1 cell {found.cells[0, 3]}<" in page
    with Image.open(tmp_path / "cells.png") as sheet:
        assert sheet.size[0] > 5 * SIDE


def test_names_cannot_break_the_page(plant_run, tmp_path):
    planted = plant_run(plates=('<b>"P,1"',), has_pictures=False)
    suggest(planted.out, tmp_path / "s", wanted=Wanted(cells=2))
    page = (tmp_path / "s" / "cells.html").read_text()
    assert "<b>" not in page
    assert "&#34;&lt;b&gt;&#34;&#34;P,1&#34;&#34;&#34;," in page  # quoted as CSV, escaped as HTML
    assert "no picture" in page
    assert not (tmp_path / "s" / "cells.png").exists()


def test_the_cell_is_in_the_middle_of_its_crop(one_plate):
    screen = open_screen(one_plate.out)
    pictures = pictures_of(one_plate.out, screen.fields.collect())
    cells = placed(
        screen.cells.select(*KEYS, "Metadata_Timepoint", *PLACES).head(40).collect(), pictures
    )
    cells = cells.drop_nulls(LINE)
    assert cells.height > 30
    for crop in crops(cells, pictures):
        middle = np.asarray(crop)[SIDE // 2, SIDE // 2]
        assert middle[1] > 150  # the bright pixel of the cell


def test_cells_at_the_border_of_a_thumbnail_are_not_suggested(one_plate, tmp_path):
    found = suggest(one_plate.out, tmp_path, wanted=Wanted(cells=40))
    screen = open_screen(one_plate.out)
    pictures = pictures_of(one_plate.out, screen.fields.collect())
    cells = placed(screen.cells.select(*KEYS, "Metadata_Timepoint", *PLACES).collect(), pictures)
    width, height = next(size for _, _, size in pictures.views.values())  # all are alike
    far = SIDE // 4
    is_inside = pl.col(LINE).is_between(far, height - 1 - far)
    is_inside &= pl.col(COLUMN).is_between(far, width - 1 - far)
    assert cells.drop_nulls(LINE).filter(~is_inside).height > 10  # whose nuclei may be cut
    shown = cells.join(found.cells, on=KEYS, how="semi")
    assert shown.height == 40
    assert shown.select(is_inside.all()).item()


def test_a_nucleus_is_whole_by_its_own_diameter(one_plate):
    """Of a large one more is cut than of a small one, and a thumbnail has fewer pixels."""
    screen = open_screen(one_plate.out)
    pictures = pictures_of(one_plate.out, screen.fields.collect())
    cells = screen.cells.select(*KEYS, "Metadata_Timepoint", *PLACES).collect()
    height = next(size for _, _, size in pictures.views.values())[1]
    step = next(view.step for _, view, _ in pictures.views.values())
    for diameter in (4.0, 40.0, 80.0):
        sized = cells.with_columns(pl.lit(diameter).alias(DIAMETER))
        lines = placed(sized, pictures, only_whole=True)[LINE].drop_nulls()
        assert len(lines) > 5
        assert lines.is_between(diameter / 2 / step, height - 1 - diameter / 2 / step).all()
        assert lines.min() < diameter / 2 / step + 12


def test_cells_that_no_thumbnail_shows_come_only_when_asked(one_plate, tmp_path):
    """Thumbnails of two wells are left: other cells are not seen."""
    out = shutil.copytree(one_plate.out, tmp_path / "run")
    for path in (out / "thumbnails" / "N7").iterdir():
        if path.stem not in ("A01", "B02"):
            path.unlink()
    seen = suggest(out, tmp_path / "a", wanted=Wanted(cells=15))
    assert set(seen.cells["Metadata_Well"]) == {"A01", "B02"}
    every = suggest(out, tmp_path / "b", wanted=Wanted(cells=15, is_anywhere=True))
    assert every.cells["Metadata_Well"].n_unique() > 4
    assert any("in no thumbnail" in note for note in every.notes)


def test_a_run_without_thumbnails_still_lists_cells(planted, tmp_path):
    found = suggest(planted.out, tmp_path, wanted=Wanted(cells=5))
    assert found.cells.height == 5
    assert any("no thumbnails" in note for note in found.notes)


def test_the_same_seed_gives_the_same_cells(planted, trained, tmp_path):
    one, two, other = (
        suggest(planted.out, tmp_path, model=trained, wanted=Wanted(9, sample=200, seed=seed)).cells
        for seed in (0, 0, 1)
    )
    assert one.equals(two)
    assert not one.equals(other)


def test_bad_requests(one_plate, trained, tmp_path):
    with pytest.raises(BadRecipe, match="'margin' asks a classifier for its doubts"):
        suggest(one_plate.out, tmp_path, wanted=Wanted(strategy="margin"))
    with pytest.raises(UnknownName, match="Did you mean 'margin'"):
        suggest(one_plate.out, tmp_path, model=trained, wanted=Wanted(strategy="margn"))
    one_plate.truth.select(*KEYS, "Label").write_csv(tmp_path / "all.csv")
    with pytest.raises(BadPlate, match="no cell to choose from.*--anywhere"):
        suggest(one_plate.out, tmp_path, wanted=Wanted(labels=tmp_path / "all.csv"))
