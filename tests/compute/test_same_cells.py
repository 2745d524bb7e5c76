"""Cells found again are the run's by where they lie; other cells under the same numbers are not."""

import shutil
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
import tifffile
from scipy import ndimage

from plates.errors import BadRun
from plates.imageset import FieldKey
from profiler.compute import same_cells
from profiler.compute.reread import Source, field_reader
from profiler.compute.same_cells import KnownWell, Listed, centres_of, check_same, known_well
from profiler.embed.crops import CropConfig
from profiler.measure import cpu, device
from profiler.measure.location import center
from profiler.recipe import load_recipe
from profiler.store.places import well_path
from profiler.store.screen import open as open_screen
from profiler.store.tables import read_footer, write_table

QUICK = Path(__file__).parents[1] / "quick.toml"
KEY = FieldKey("mini", "A02", 1)
OBJECT = "Metadata_ObjectNumber"


def known(labels: np.ndarray, *, listed: Listed | None = None, time=1, count=None) -> KnownWell:
    """A well of one field whose cells are those of a label image, or as they are listed."""
    count = int(labels.max(initial=0)) if count is None else count
    row = {"Metadata_Site": 1, "Metadata_Timepoint": time, "Metadata_Object_Count": count}
    if listed is None and count:
        listed = Listed(
            np.arange(1, count + 1), centres_of(labels).astype(np.float32).astype(float)
        )
    return KnownWell({"fields": [row]}, {} if listed is None else {(1, time): listed})


@pytest.fixture
def labels() -> np.ndarray:
    """Three nuclei: 1 and 2 at the top, 3 below."""
    found = np.zeros((60, 90), np.int32)
    found[5:15, 5:17], found[5:15, 40:52], found[40:55, 60:75] = 1, 2, 3
    return found


def check(labels, known, *, key=KEY, is_kept=True, cells=None):
    check_same(key, (labels, labels if cells is None else cells), known, is_kept=is_kept)


def test_centres_are_those_of_scipy_and_unknown_of_labels_that_are_not_there(labels):
    labels[labels == 2] = 0
    found = centres_of(labels, most=4)
    expected = ndimage.center_of_mass(labels > 0, labels, [1, 3])
    np.testing.assert_allclose(found[[0, 2]], expected)
    assert np.isnan(found[[1, 3]]).all()
    assert centres_of(np.zeros((4, 4), np.int32)).shape == (0, 2)


def test_cells_that_only_change_numbers_are_other_cells(labels):
    before = known(labels)
    check(labels, before)
    swapped = np.choose(labels, [0, 2, 1, 3])
    message = (
        r"mini A02 site 1 has other cells now than the run's table, under the same numbers: 2 of 3 "
        r"nuclei lie elsewhere, such as cell 1, at row 9.5, column 45.5 and at row 9.5, column "
        r"10.5 in the table\. .* Run the plate again first\."
    )
    for is_kept in (True, False):
        with pytest.raises(BadRun, match=message):
            check(swapped, before, is_kept=is_kept)


def test_a_nucleus_that_is_gone_or_new_is_another(labels):
    gone = np.where(labels == 2, 0, labels)
    with pytest.raises(BadRun, match="1 of 3 .* cell 2, nowhere and at row 9.5, column 45.5"):
        check(gone, known(labels))
    with pytest.raises(BadRun, match="1 of 3 .* cell 2, at row 9.5, column 45.5 and nowhere"):
        check(labels, known(gone))
    check(gone, known(gone))


def test_of_a_kept_label_image_no_pixel_may_differ_but_of_nuclei_found_again(labels):
    other = labels.copy()
    other[15, 5:17] = 1  # one row more
    with pytest.raises(BadRun, match="1 of 3 nuclei lie elsewhere, such as cell 1"):
        check(other, known(labels))
    check(other, known(labels), is_kept=False)
    far = np.roll(labels, 4, axis=0)
    with pytest.raises(BadRun, match="3 of 3 nuclei lie elsewhere"):
        check(far, known(labels), is_kept=False)


def test_whole_cells_of_a_kept_label_image_are_looked_at_too(labels):
    cells = np.where(np.roll(labels, 3, axis=1) > 0, np.roll(labels, 3, axis=1), labels)
    before = known(labels)._replace(cells=known(cells).nuclei)
    check(labels, before, cells=cells)
    edited = np.where((cells == 2) & (labels == 0), 0, cells)
    message = "1 of 3 cells lie elsewhere, such as cell 2, at row 9.5, column 45.5 and at row"
    with pytest.raises(BadRun, match=message):
        check(labels, before, cells=edited)
    check(labels, before, cells=edited, is_kept=False)


def test_only_cells_of_the_table_are_asked_for(labels):
    centres = centres_of(labels)
    check(labels, known(labels, listed=Listed(np.array([3, 1]), centres[[2, 0]])))
    with pytest.raises(BadRun, match="1 of 2 .* such as cell 3"):
        check(labels, known(labels, listed=Listed(np.array([3, 1]), centres[[1, 0]])))
    with pytest.raises(BadRun, match="1 of 1 .* such as cell 7, nowhere"):
        check(labels, known(labels, listed=Listed(np.array([7]), centres[:1])))


def test_fields_without_cells_or_places_and_time_points(labels):
    empty = np.zeros_like(labels)
    check(empty, known(empty))
    check(labels, known(labels)._replace(nuclei=None))
    later = KEY._replace(timepoint=4)
    check(labels, known(labels, time=4), key=later)
    with pytest.raises(BadRun, match="2 of 3 nuclei"):
        check(np.choose(labels, [0, 2, 1, 3]), known(labels, time=4), key=later)
    with pytest.raises(BadRun, match="has 3 cells now, and 2 in the run's table"):
        check(labels, known(labels, count=2))


@pytest.mark.parametrize("kernels", [cpu, device])
def test_what_is_measured_of_wide_fields_is_the_same_to_the_tolerance(kernels):
    """The largest sums and the coarsest float32 that a field of 40,000 columns has."""
    labels = np.zeros((300, 40_000), np.int32)
    draw = np.random.default_rng(0)
    for number, left in enumerate(range(0, 39_700, 9_900), start=1):
        labels[:, left : left + 300] = number * (draw.random((300, 300)) < 0.9)
    given = labels if kernels is cpu else jnp.asarray(labels)
    found = center(kernels.pack(given, max_cells=5))
    table = np.stack([np.asarray(found.Center_Y), np.asarray(found.Center_X)], 1)
    own = Listed(np.arange(1, 6), table.astype(np.float32).astype(float))
    assert np.abs(own.centre - centres_of(labels)).max() > 1e-4
    check(labels, known(labels, listed=own))


def test_a_run_s_own_labels_are_accepted_in_every_well_and_read_once(small_run, monkeypatch):
    wells, calls = open_screen(small_run).wells.collect()["Metadata_Well"].to_list(), []

    def noting(path):
        calls.append(path)
        return read_footer(path)

    monkeypatch.setattr(same_cells, "read_footer", noting)
    read = field_reader(Source(small_run, load_recipe(QUICK), ("DNA",), CropConfig(32)))
    for well in wells:
        key = FieldKey("mini", well, 1)
        labels = tifffile.imread(small_run / "labels" / "mini" / f"{well}_1_nuclei.tif")
        assert len(read(key).pixels) == len(read(key).pixels) == labels.max() > 0
    assert calls == [well_path(small_run, "mini", well) for well in wells]


@pytest.mark.parametrize("what", ["nuclei", "cells"])
def test_label_images_edited_by_hand_to_the_same_number_are_refused(small_run, tmp_path, what):
    out = Path(shutil.copytree(small_run, tmp_path / "run"))
    path = out / "labels" / "mini" / f"A02_1_{what}.tif"
    labels = tifffile.imread(path)
    last = labels.max()
    swapped = np.where(labels == 1, last, np.where(labels == last, 1, labels)).astype(labels.dtype)
    tifffile.imwrite(path, swapped)
    read = field_reader(Source(out, load_recipe(QUICK), ("DNA",), CropConfig(32)))
    with pytest.raises(BadRun, match=f"mini A02 site 1 has other cells .* 2 of {last} {what} lie"):
        read(KEY)


@pytest.mark.parametrize("family", ["Location", "AreaShape", None])
def test_the_table_says_where_nuclei_lie_by_either_family_or_not_at_all(
    small_run, tmp_path, family
):
    out = Path(shutil.copytree(small_run, tmp_path / "run"))
    path = well_path(out, "mini", "A02")
    cells = pl.read_parquet(path, hive_partitioning=False)
    other = {"Location": "AreaShape", "AreaShape": "Location"}.get(str(family), "*")
    away = cells.select(f"^Nuclei_{other}_Center_.*$".replace("_*_", "_.*_")).columns
    assert away
    told = read_footer(path).parameters
    write_table(path, cells.drop(away).head(3), level="cells", parameters=told)
    well = known_well(out, "mini", "A02")
    if family is None:
        assert well.nuclei is None
        return
    labels = tifffile.imread(out / "labels" / "mini" / "A02_1_nuclei.tif").astype(np.int32)
    assert well.nuclei is not None
    own = well.nuclei[1, 1]
    assert own.number.tolist() == cells[OBJECT].head(3).to_list()
    expected = ndimage.center_of_mass(labels > 0, labels, own.number)
    np.testing.assert_allclose(own.centre, expected, atol=same_cells.SAME_PX)
