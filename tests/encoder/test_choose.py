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
    _split,
    choose_by_wells,
    choose_labelled,
    counts_of,
)
from profiler.store.screen import Screen
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
    uses = chosen.cells[USE].to_list()
    assert uses == sorted(uses, reverse=True)  # taught, then judged
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


def test_wells_without_cells_are_no_replicates(replicates, tmp_path):
    out = Path(shutil.copytree(replicates, tmp_path / "run"))
    told = read_footer(out / "wells.parquet")
    wells = scan_table(out / "wells.parquet").collect()
    gone = [
        wells.tail(1).with_columns(
            pl.lit(well).alias("Metadata_Well"), pl.lit(name).alias("Metadata_Compound")
        )
        for name in ("w", "x", "y", "z")
        for well in (f"O{ord(name)}", f"P{ord(name)}")
    ]
    write_table(
        out / "wells.parquet", pl.concat([wells, *gone]), level="wells", parameters=told.parameters
    )
    for seed in range(4):
        draw = DRAW._replace(seed=seed)
        chosen = choose_by_wells(open_screen(out), [], draw)
        assert chosen.compounds == choose_by_wells(open_screen(replicates), [], draw).compounds
        assert set(chosen.compounds) < set("abcd")


def test_a_well_is_of_one_use_at_all_its_time_points():
    wells = [f"A{i:02d}" for i in range(1, 13)]
    role = ["negative" if name == "DMSO" else "treatment" for name in COMPOUNDS]
    plate = {"Metadata_Plate": ["P"] * 12, "Metadata_Well": wells}
    plate |= {"Metadata_Compound": COMPOUNDS, "Metadata_Role": role}
    times = pl.DataFrame({"Metadata_Timepoint": [1, 2, 3]})
    table = pl.DataFrame(plate).join(times, how="cross")
    there = table.select("Metadata_Plate", "Metadata_Well", "Metadata_Timepoint").with_columns(
        Metadata_Site=1, Metadata_ObjectNumber=pl.lit([1, 2, 3, 4])
    )
    cells = there.explode("Metadata_ObjectNumber")

    class Movies(Screen):
        def table(self, name: str) -> pl.LazyFrame:
            return {"wells": table, "cells": cells}[name].lazy()

    chosen = choose_by_wells(Movies(()), ["Metadata_Compound"], DRAW)
    assert chosen.cells.height == 36 * 3 == chosen.cells.unique(CELL).height
    by_well = chosen.cells.group_by("Metadata_Well").agg(pl.col(USE).n_unique(), pl.len())
    assert by_well[USE].to_list() == [1] * 12
    assert by_well["len"].to_list() == [9] * 12
    judged = chosen.cells.filter(pl.col(USE) == JUDGED)
    controls = judged.filter(pl.col(LABEL) == "DMSO")["Metadata_Well"]
    assert controls.n_unique() == 2


def test_what_is_kept_apart_besides_compounds_and_what_has_no_score_is_told():
    compounds = ["DMSO", "DMSO", "a", "a", "b", "b", "c", "c"]
    plate = pl.DataFrame(
        {
            "Metadata_Well": [f"A{i:02d}" for i in range(1, 9)],
            "Metadata_Compound": compounds,
            "Metadata_Role": ["negative"] * 2 + ["treatment"] * 6,
        }
    )
    copies = pl.concat([plate.with_columns(Metadata_Plate=pl.lit(f"P{i}")) for i in range(4)])
    use, (compound,), (plates, alone) = _split(copies, DRAW)
    used = copies.with_columns(pl.Series(USE, use))
    judging = set(used.filter(pl.col(USE) == JUDGED)["Metadata_Plate"])
    assert plates.startswith(f"Nothing is learnt from {', '.join(sorted(judging))}, copies of")
    assert not judging & set(used.filter(pl.col(USE) == TAUGHT)["Metadata_Plate"])
    assert alone.startswith(f"Only {compound} is kept apart, so there is no score among compounds")
    bare = copies.drop("Metadata_Compound", "Metadata_Role")
    why = "There is no score: the runs have no plate map with compounds."
    assert _split(bare, DRAW) == ([TAUGHT] * 32, (), (why,))


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


def named_by_well(out: Path, path: Path, names: dict[str, str]) -> Path:
    cells = open_screen(out).cells.select(KEYS).collect().sort(KEYS)
    labels = pl.col("Metadata_Well").replace_strict(names, default=None).alias("Label")
    cells.with_columns(labels).drop_nulls().write_csv(path)
    return path


def test_a_label_of_one_well_is_learnt_whatever_the_seed(replicates, tmp_path):
    screen = open_screen(replicates)
    wells = screen.wells.collect()["Metadata_Well"].sort().to_list()
    names = dict(zip(wells[:4], ["a", "b", "b", "rare"], strict=True))
    labels = read_labels(named_by_well(replicates, tmp_path / "labels.csv", names))
    for seed in range(8):
        chosen = choose_labelled(screen, labels, DRAW._replace(seed=seed, apart=0.25))
        judged = chosen.cells.filter(pl.col(USE) == JUDGED)
        assert set(judged[LABEL]) == {"b"}
        assert set(counts_of(chosen.cells)) == {"a", "b", "rare"}
        assert not any("kept apart" in note for note in chosen.notes)
    halves = [choose_labelled(screen, labels, DRAW._replace(seed=s, apart=0.5)) for s in range(8)]
    for chosen in halves:
        lost = {"a", "b", "rare"} - set(counts_of(chosen.cells))
        told = [note for note in chosen.notes if note.endswith("on other plates or wells.")]
        assert len(told) == bool(lost)
        assert all(f"All cells labelled {name!r} are kept apart" in told[0] for name in lost)


def test_where_one_label_would_be_left_nothing_is_kept_apart(replicates, tmp_path):
    screen = open_screen(replicates)
    wells = screen.wells.collect()["Metadata_Well"].sort().to_list()
    names = dict(zip(wells[:2], "ab", strict=True))
    labels = read_labels(named_by_well(replicates, tmp_path / "labels.csv", names))
    chosen = choose_labelled(screen, labels, DRAW)
    assert set(chosen.cells[USE]) == {TAUGHT}
    assert set(counts_of(chosen.cells)) == {"a", "b"}
    assert chosen.notes[-1].startswith("There is no score: whatever is kept apart, one label")


def test_most_can_be_kept_apart(replicates, tmp_path):
    screen = open_screen(replicates)
    wells = screen.wells.collect()["Metadata_Well"].sort().to_list()
    labels = read_labels(label_table(replicates, tmp_path / "labels.csv", wells=wells[:8]))
    chosen = choose_labelled(screen, labels, DRAW._replace(apart=0.75, cells=0))
    judged = chosen.cells.filter(pl.col(USE) == JUDGED)
    assert judged["Metadata_Well"].n_unique() == 6
