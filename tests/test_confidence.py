"""Confidence through a whole run: in the cells, counted by field, and what filtering leaves out."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tifffile
from scipy import ndimage

import profiler
from plates.errors import BadRecipe
from profiler.events import Event, Planned
from profiler.pipeline import run
from profiler.recipe import Recipe, load_recipe, parse_recipe
from profiler.request import Request

QUICK = Path(__file__).parent / "quick.toml"  # the demo's recipe with few features
SURE, DOUBTFUL = "Metadata_Object_Confidence", "Metadata_Object_Doubtful"


def recipe(**segment) -> Recipe:
    table = load_recipe(QUICK).model_dump(mode="json")
    own = {"model": "nuclei-any-size"}  # takes the fibre for a nucleus, if a doubtful one
    return parse_recipe(table | {"segment": table["segment"] | own | segment})


@pytest.fixture(scope="module")
def plate(small_plate, tmp_path_factory) -> tuple[Path, tuple[int, int]]:
    """The small plate with a fibre in the middle of the widest gap of A01, and where that is."""
    folder = Path(shutil.copytree(small_plate, tmp_path_factory.mktemp("dusty") / "mini"))
    path = next(folder.glob("mini_A01_s1_DNA*"))
    image = tifffile.imread(path)
    lit = ndimage.gaussian_filter(image.astype(float), 2) > np.percentile(image, 60)
    away = ndimage.distance_transform_edt(np.pad(~lit, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(away.argmax(), image.shape)
    y, x = np.indices(image.shape)
    bent = y - row - 4 * np.sin((x - column) / 4)
    fibre = np.exp(-((bent / 2.5) ** 2) - ((x - column) / 16) ** 4)
    least, most = np.percentile(image, (1, 99.8))
    added = image + 0.5 * (most - least) * fibre
    tifffile.imwrite(path, np.clip(added, 0, np.iinfo(image.dtype).max).astype(image.dtype))
    return folder, (int(row), int(column))


def begun(plate: Path, out: Path, **segment) -> Iterator[Event]:
    return run(Request((plate,), out, recipe(**segment), wells=("A01",), save_labels=True))


def cells(out: Path) -> pl.DataFrame:
    return profiler.open(out).cells.collect()


def nuclei(out: Path) -> np.ndarray:
    return tifffile.imread(out / "labels" / "mini" / "A01_1_nuclei.tif")


@pytest.fixture(scope="module")
def whole(plate, tmp_path_factory) -> Path:
    """A01 of the dusty plate, nothing left out."""
    out = tmp_path_factory.mktemp("whole") / "run"
    list(begun(plate[0], out))
    return out


@pytest.fixture(scope="module")
def least(plate, whole) -> float:
    """A threshold between the fibre's confidence, the lowest of all, and the next."""
    sure = cells(whole)["Metadata_QC_Confidence"].to_numpy()
    (row, column), labels = plate[1], nuclei(whole)
    assert np.argmin(sure) + 1 == labels[row - 6 : row + 7, column].max() > 0
    return float(np.sort(sure)[:2].mean())


@pytest.fixture(scope="module")
def filtered(plate, least, tmp_path_factory) -> Path:
    """The same without the fibre."""
    out = tmp_path_factory.mktemp("filtered") / "run"
    list(begun(plate[0], out, min_confidence=least))
    return out


def test_every_cell_has_a_confidence_and_every_field_its_mean(whole):
    sure = cells(whole)["Metadata_QC_Confidence"]
    assert sure.dtype == pl.Float32
    assert sure.is_between(0, 1).all()
    (field,) = profiler.open(whole).fields.collect().iter_rows(named=True)
    assert field[SURE] == pytest.approx(sure.mean(), rel=1e-5)
    assert field[DOUBTFUL] == 0


def test_a_fibre_is_left_out_and_counted(plate, whole, filtered):
    before, after = cells(whole), cells(filtered)
    assert after.height == before.height - 1
    assert after["Metadata_ObjectNumber"].to_list() == list(range(1, after.height + 1))
    row, column = plate[1]
    assert not nuclei(filtered)[row - 6 : row + 7, column].any()
    assert nuclei(filtered).max() == after.height
    own = ("Nuclei_AreaShape_Area", "Cells_AreaShape_Area", "Metadata_QC_Confidence")
    expected = before.filter(pl.col(own[2]) > before[own[2]].min()).select(own)
    assert after.select(own).equals(expected)
    for table in ("fields", "quality"):
        (field,) = getattr(profiler.open(filtered), table).collect().iter_rows(named=True)
        assert (field["Metadata_Object_Count"], field[DOUBTFUL]) == (after.height, 1)
        assert field[SURE] == pytest.approx(after[own[2]].mean(), rel=1e-5)


def test_the_summary_says_how_many_are_wrong_and_how_many_were_left_out(filtered):
    said = profiler.open(filtered).facts.summary["quality"]
    count, sure = cells(filtered).height, cells(filtered)["Metadata_QC_Confidence"]
    assert said[0].startswith(f"Of {count} cells about {(1 - sure).sum():.0f} (")
    assert said[0].endswith(
        f"are expected to be wrong, by their mean confidence of {sure.mean():.3f}."
    )
    assert said[1] == "1 more cell was left out: below [segment] min_confidence."


def test_the_threshold_is_part_of_what_cells_depend_on(plate, filtered, least, tmp_path):
    out = Path(shutil.copytree(filtered, tmp_path / "run"))

    def computed(**segment):
        events = begun(plate[0], out, **segment)
        return next(event.fields for event in events if isinstance(event, Planned))

    assert computed(min_confidence=least) == 0
    assert computed(min_confidence=least / 2) == 1


def test_a_field_of_doubtful_cells_alone_is_empty_and_says_why(plate, whole, tmp_path):
    list(begun(plate[0], tmp_path / "run", min_confidence=0.9999))
    (field,) = profiler.open(tmp_path / "run").fields.collect().iter_rows(named=True)
    assert (field["Metadata_QC_Status"], field[SURE]) == ("no_cells", None)
    assert field[DOUBTFUL] == cells(whole).height
    assert field["Metadata_QC_Reason"].startswith(f"All {field[DOUBTFUL]} cells found are less lik")


@pytest.mark.parametrize(
    ("value", "problem"),
    [(1.0, "less than 1, found 1.0"), (-0.1, "greater than or equal to 0"), ("high", "number")],
)
def test_a_threshold_that_is_no_probability_is_refused(value, problem):
    with pytest.raises(BadRecipe, match=rf"\[segment\] min_confidence: .*{problem}"):
        recipe(min_confidence=value)
