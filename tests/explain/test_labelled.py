"""The labelled cells most like a cell: found in the run, wherever else there are labels."""

from typing import NamedTuple

import numpy as np
import polars as pl
import pytest

from plates.errors import BadLayout, BadRun
from profiler.explain.beside import find_beside
from profiler.explain.candidates import TREATED, Candidates
from profiler.explain.labelled import LABEL, Labelled, find_labelled, place_labelled
from profiler.explain.sentences import of_labelled
from profiler.explain.vectors import Embedded
from profiler.phenotype.directions import Direction
from profiler.store.screen import Screen
from profiler.store.screen import open as open_screen

CELL = ["Metadata_Plate", "Metadata_Well", "Metadata_Site", "Metadata_ObjectNumber"]
KEYS = [*CELL[:3], "Metadata_Timepoint", CELL[3]]
INT = pl.Int32


class Labels(NamedTuple):
    cells: pl.DataFrame
    codes: np.ndarray
    classes: tuple[str, ...] = ("flat", "round")


@pytest.fixture
def screen(small_run) -> Screen:
    return open_screen(small_run)


@pytest.fixture
def some(screen) -> pl.DataFrame:
    """Six cells of the run that no border cuts, three of each of two wells."""
    held = screen.cells.filter(~pl.col("Metadata_QC_TouchesBorder")).select(KEYS).sort(KEYS)
    wells = pl.col(CELL[1]).is_in(["A01", "A02"])
    return held.filter(wells).collect().group_by(CELL[1], maintain_order=True).head(3).select(KEYS)


def labels_of(cells: pl.DataFrame) -> Labels:
    return Labels(cells, np.arange(cells.height) % 2)


def test_labelled_cells_of_the_run_are_found_and_others_pass_by(screen, some):
    other = some.with_columns(pl.lit("elsewhere").alias(CELL[0]))
    found = find_labelled(screen, labels_of(pl.concat([other, some])), timepoint=None)
    assert found.table.select(KEYS).equals(some)
    assert found.table[LABEL].to_list() == ["flat", "round"] * 3
    assert found.told == ("6 of 12 labelled cells are of other plates or times.",)
    untimed = find_labelled(screen, labels_of(some.drop(KEYS[3])), timepoint=None)
    assert untimed.table.select(KEYS).equals(some)


def test_cells_that_a_border_cuts_are_left_out_and_told(screen, some):
    cut = screen.cells.filter(pl.col("Metadata_QC_TouchesBorder")).select(KEYS).head(2).collect()
    found = find_labelled(screen, labels_of(pl.concat([some, cut])), timepoint=None)
    assert found.table.height == 6
    assert found.told == ("2 of 8 labelled cells are cut by a border and left out.",)
    with pytest.raises(BadRun, match="None of the 2 labelled cells lies whole within its field"):
        find_labelled(screen, labels_of(cut), timepoint=None)


def test_labels_that_are_not_of_the_run_are_refused(screen, some):
    away = some.with_columns(pl.lit("elsewhere").alias(CELL[0]))
    with pytest.raises(BadRun, match="None of the 6 .* of this run: .* plates elsewhere, .* mini"):
        find_labelled(screen, labels_of(away), timepoint=None)
    strange = some.with_columns(pl.lit(900, INT).alias(CELL[3])).unique(maintain_order=True)
    with pytest.raises(BadRun, match="2 of 2 labelled cells are not in the run, .* object 900"):
        find_labelled(screen, labels_of(strange), timepoint=None)


def test_over_time_labels_are_of_the_time_that_is_explained(screen, some):
    with pytest.raises(BadLayout, match="several time points, and the label table has no Metadata"):
        find_labelled(screen, labels_of(some.drop(KEYS[3])), timepoint=1)
    later = some.with_columns(pl.lit(2, INT).alias(KEYS[3]))
    both = labels_of(pl.concat([some, later]))
    assert find_labelled(screen, both, timepoint=1).table.select(KEYS).equals(some)
    with pytest.raises(BadRun, match="None of the 6 .* of time point 1, .* they are of 2. Name"):
        find_labelled(screen, labels_of(later), timepoint=1)


def object_number(cells: pl.DataFrame, by: str):
    """Stands for a network: its vector of a cell is the cell's number, twice."""
    assert by in cells.columns
    yield from ()
    number = cells[CELL[3]].to_numpy().astype(float)
    return Embedded(cells, np.stack([number, 2 * number], axis=1))


def returned(generator):
    while True:
        try:
            next(generator)
        except StopIteration as end:
            return end.value


def test_vectors_are_taken_from_the_mean_control_of_the_plate(screen, some):
    marked = find_labelled(screen, labels_of(some), timepoint=None)
    origins = {"mini": np.array([1.0, 5.0])}
    known = returned(place_labelled(marked, screen, origins=origins, embed=object_number))
    number = some[CELL[3]].to_numpy()
    np.testing.assert_array_equal(known.vectors, np.stack([number - 1, 2 * number - 5], axis=1))

    found = returned(place_labelled(marked, screen, origins={}, embed=object_number))
    role = screen.wells.filter(pl.col("Metadata_Role") == "negative").select(CELL[:2])
    is_whole = ~pl.col("Metadata_QC_TouchesBorder")
    controls = screen.cells.filter(is_whole).join(role, on=CELL[:2]).collect()
    mean = controls[CELL[3]].mean()
    np.testing.assert_allclose(found.vectors[:, 0], number - mean)


def test_labelled_cells_without_a_vector_are_counted(screen, some):
    marked = find_labelled(screen, labels_of(some), timepoint=None)
    origins = {"mini": np.zeros(2)}

    def two(cells: pl.DataFrame, by: str):
        found = yield from object_number(cells[:2], by)
        return found

    found = returned(place_labelled(marked, screen, origins=origins, embed=two))
    assert found.told == (
        "2 of 6 labelled cells were looked at: a sample of each label, or those that have vectors.",
    )


def cells_of(wells: str) -> pl.DataFrame:
    columns = [pl.Series("Metadata_Well", list(wells)), pl.lit("P").alias("Metadata_Plate")]
    whole = pl.int_range(1, len(wells) + 1, dtype=INT, eager=True)
    return pl.DataFrame(columns[:1]).with_columns(
        columns[1],
        pl.lit(1, INT).alias("Metadata_Site"),
        pl.lit(1, INT).alias("Metadata_Timepoint"),
        whole.alias("Metadata_ObjectNumber"),
    )


def test_the_nearest_by_angle_are_beside_a_cell_but_never_itself():
    """Cells at known angles: object i of the candidates stands at place[i] degrees."""
    place = np.radians([0, 90, 10, 80, 200])
    origin = np.array([3.0, -2.0])
    vectors = np.stack([np.cos(place), np.sin(place)], axis=1) * 7 + origin
    table = cells_of("ttccc").with_columns(pl.Series(TREATED, [True] * 2 + [False] * 3))
    marks = np.radians([0, 40, 91, 20])
    names = pl.Series(LABEL, ["itself", "far", "up", "near"])
    labelled = Labelled(
        cells_of("txyz").with_columns(names), np.stack([np.cos(marks), np.sin(marks)], axis=1), ()
    )
    line = Direction(np.array([1.0, 0.0]), 1.0, {"P": origin}, 1.0, None)
    found = find_beside(Candidates(table, vectors), np.array([0, 1]), line, labelled)
    assert found.labelled is not None
    assert found.labels(found.labelled) == [["near", "far", "up"], ["up", "far", "near"]]
    assert found.named(found.labelled)[0] == ["P z 1 4", "P x 1 2", "P y 1 3"]
    np.testing.assert_allclose(found.labelled.cosine[0], np.cos(np.radians([20, 40, 91])))
    assert found.named(found.controls) == [
        ["P c 1 3", "P c 1 4", "P c 1 5"],
        ["P c 1 4", "P c 1 3", "P c 1 5"],
    ]
    assert set(found.rows.tolist()) == {2, 3, 4, 6, 7, 8}
    assert find_beside(Candidates(table, vectors), np.array([0]), line, None).labelled is None


def test_what_the_nearest_ones_are_called_is_counted():
    nearest = pl.DataFrame(
        {
            "kind": ["typical", "extreme", "control", "control"],
            "nearest_labels": [["round", "flat"], ["round"], ["flat"], []],
        },
        schema_overrides={"nearest_labels": pl.List(pl.String)},
    )
    assert of_labelled(["round"] * 3 + ["flat"], nearest) == [
        "4 labelled cells (3 round, 1 flat). The nearest one of the 2 treated cells shown: 2 "
        "round; of the 1 controls shown: 1 flat."
    ]
    many = [str(number) for number in range(8)]
    assert "1 0, 1 1, 1 2, 1 3, 1 4, 1 5, 2 more labels" in of_labelled(many, nearest)[0]
