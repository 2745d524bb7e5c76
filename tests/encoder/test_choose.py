"""Which cells an encoder learns from: by wells, by labels, and what is kept apart."""

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from plates.errors import BadLabels, BadRun, UnknownName
from profiler.classify.labels import read_labels
from profiler.encoder.choose import (
    CELL,
    JUDGED,
    LABEL,
    TAUGHT,
    USE,
    Draw,
    choose_by_wells,
    choose_labelled,
    counts_of,
)
from profiler.store.screen import open as open_screen
from profiler.store.tables import read_footer, scan_table, write_table

DRAW = Draw(cells=3, apart=0.3, seed=1)
KEYS = ["Metadata_Plate", "Metadata_Well", "Metadata_Site", "Metadata_ObjectNumber"]
COMPOUNDS = ["DMSO"] * 4 + ["a", "a", "b", "b", "c", "c", "d", "d"]


@pytest.fixture(scope="module")
def replicates(small_run, tmp_path_factory) -> Path:
    """The small run, as if four compounds had two wells each."""
    out = Path(shutil.copytree(small_run, tmp_path_factory.mktemp("runs") / "run"))
    told = read_footer(out / "wells.parquet")
    wells = scan_table(out / "wells.parquet").collect().sort("Metadata_Well")
    role = ["negative" if name == "DMSO" else "treatment" for name in COMPOUNDS]
    planted = wells.with_columns(
        pl.Series("Metadata_Compound", COMPOUNDS),
        pl.Series("Metadata_Role", role),
        pl.lit(1.0).alias("Metadata_Concentration"),
    )
    write_table(out / "wells.parquet", planted, level="wells", parameters=told.parameters)
    return out


def test_wells_give_their_cells_a_label_and_whole_compounds_are_kept_apart(replicates):
    chosen = choose_by_wells(open_screen(replicates), ["Metadata_Compound"], DRAW)
    counts = chosen.cells.group_by("Metadata_Well").len()
    assert counts["len"].max() == 3
    named = dict(zip(sorted(counts["Metadata_Well"]), COMPOUNDS, strict=True))
    assert [named[well] for well in chosen.cells["Metadata_Well"]] == chosen.cells[LABEL].to_list()
    taught, judged = (
        set(chosen.cells.filter(pl.col(USE) == use)[LABEL]) for use in (TAUGHT, JUDGED)
    )
    assert taught & judged == {"DMSO"}  # controls are halved
    assert judged - {"DMSO"} == set(chosen.compounds)
    assert chosen.wells is not None
    assert set(chosen.wells["Metadata_Compound"]) == judged
    wells = chosen.cells.group_by("Metadata_Well").agg(pl.col(USE).n_unique())
    assert wells[USE].max() == 1
    assert counts_of(chosen.cells) == {name: 6 for name in taught}


def test_cells_are_the_same_for_a_seed_and_come_from_as_few_fields_as_hold_them(replicates):
    screen = open_screen(replicates)
    every = [choose_by_wells(screen, [], Draw(4, 0.3, seed)).cells for seed in (1, 1, 2)]
    assert every[0].equals(every[1])
    assert not every[0].equals(every[2])
    assert every[0][LABEL].null_count() == every[0].height
    fields = every[0].group_by("Metadata_Well").agg(pl.col("Metadata_Site").n_unique())
    assert fields["Metadata_Site"].to_list() == [1] * fields.height


def test_no_cell_is_cut_or_of_a_field_that_is_not_believed(replicates):
    screen = open_screen(replicates)
    cells = screen.cells.collect()
    odd = cells.filter(pl.col("Metadata_QC_TouchesBorder"))
    assert odd.height
    chosen = choose_by_wells(screen, [], Draw(1000, 0.3, 1)).cells
    assert not chosen.join(odd, on=CELL, how="semi").height
    assert chosen.height > 100


def test_runs_without_replicates_are_learnt_from_whole_and_have_no_score(small_run):
    chosen = choose_by_wells(open_screen(small_run), ["Metadata_Compound"], DRAW)
    assert set(chosen.cells[USE]) == {TAUGHT}
    assert chosen.wells is None
    assert chosen.notes == ("There is no score: it takes 3 compounds and controls.",)


def test_several_columns_make_a_label_together(small_run):
    by = ["Metadata_Compound", "Metadata_Concentration"]
    chosen = choose_by_wells(open_screen(small_run), by, DRAW)
    assert {"Mover | 10.0", "Mover | 0.1", "Idle | 1.0"} <= set(chosen.cells[LABEL].drop_nulls())


def test_what_wells_cannot_teach_is_said(replicates):
    screen = open_screen(replicates)
    with pytest.raises(UnknownName, match="no column of the wells called 'Metadata_Compund'. Did"):
        choose_by_wells(screen, ["Metadata_Compund"], DRAW)
    with pytest.raises(
        BadLabels, match="by Metadata_Plate .* have 1 labels .'mini'.; expected two"
    ):
        choose_by_wells(screen, ["Metadata_Plate"], DRAW)


def label_table(out: Path, path: Path, *, wells: list[str]) -> Path:
    cells = open_screen(out).cells.select(KEYS).collect().sort(KEYS)
    some = cells.filter(pl.col("Metadata_Well").is_in(wells))
    names = np.where(some["Metadata_ObjectNumber"].to_numpy() % 2, "odd", "even")
    some.with_columns(pl.Series("Label", names)).write_csv(path)
    return path


def test_labelled_cells_are_all_taken_with_some_beside_and_wells_kept_apart(replicates, tmp_path):
    screen = open_screen(replicates)
    wells = screen.wells.collect()["Metadata_Well"].sort().to_list()
    labels = read_labels(label_table(replicates, tmp_path / "labels.csv", wells=wells[:5]))
    chosen = choose_labelled(screen, labels, DRAW)
    known = chosen.cells.filter(pl.col(LABEL).is_not_null())
    whole = screen.cells.filter(~pl.col("Metadata_QC_TouchesBorder")).collect()
    labelled = whole.filter(pl.col("Metadata_Well").is_in(wells[:5]))
    assert known.height == labelled.height
    assert known[LABEL].to_list() == [
        "odd" if number % 2 else "even" for number in known["Metadata_ObjectNumber"]
    ]
    uses = known.group_by("Metadata_Well").agg(pl.col(USE).unique()).explode(USE)
    assert uses.height == 5
    assert set(uses[USE]) == {TAUGHT, JUDGED}
    beside = chosen.cells.filter(pl.col(LABEL).is_null())
    assert set(beside[USE]) == {TAUGHT}
    apart = set(uses.filter(pl.col(USE) == JUDGED)["Metadata_Well"])
    assert set(beside["Metadata_Well"]) == set(wells[5:])
    assert beside.height == 3 * 7
    assert apart < set(wells[:5])
    (note,) = chosen.notes
    lost = labels.cells.height - labelled.height
    assert note.startswith(f"{lost} of {labels.cells.height} labelled cells are cut by a border")
    alone = choose_labelled(screen, labels, DRAW._replace(cells=0))
    assert alone.cells.equals(known)


def test_labels_of_cells_that_are_not_there_or_of_one_well_are_said(replicates, tmp_path):
    screen = open_screen(replicates)
    path = label_table(replicates, tmp_path / "labels.csv", wells=["A01"])
    chosen = choose_labelled(screen, read_labels(path), DRAW)
    assert chosen.notes[-1] == "There is no score: all labelled cells are of one well."
    assert set(chosen.cells[USE]) == {TAUGHT}
    strange = pl.read_csv(path).with_columns(
        Metadata_ObjectNumber=pl.lit(900) + pl.int_range(pl.len())
    )
    strange.write_csv(path)
    with pytest.raises(BadRun, match="labelled cells are not in the run, such as plate mini"):
        choose_labelled(screen, read_labels(path), DRAW)
