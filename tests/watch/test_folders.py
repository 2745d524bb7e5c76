"""Whose a run folder is: by what its wells were made from, not by a name."""

import os
import shutil
import uuid
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import polars as pl
import pytest

from plates.errors import BadImage, BadPlate
from plates.imageset import FieldKey
from plates.pixels import FileStamp, read_file
from profiler.request import Request, find_fields
from profiler.store import lease
from profiler.store.home import at_home
from profiler.store.places import stored, well_path
from profiler.store.run import RunFacts, write_facts
from profiler.store.schema import cell_schema
from profiler.store.wells import WellTables, write_well
from profiler.watch.folders import is_same_image, may_go_on

from .conftest import RECIPE

WELLS = ("A01", "A02", "B01")
FIELD_ROW = {
    "Metadata_Plate": pl.String,
    "Metadata_Well": pl.String,
    "Metadata_Site": pl.Int32,
    "Metadata_Timepoint": pl.Int32,
}


def write_images(plate: Path, *wells: str, say: str = "a", sites: tuple[int, ...] = (1, 2)) -> None:
    """Images are only read and compared, so that any bytes will do; `say` is one letter."""
    plate.mkdir(parents=True, exist_ok=True)
    for well in wells:
        for site in sites:
            for stain in ("DNA", "GFP", "RNA"):
                path = plate / f"{plate.name}_{well}_s{site}_{stain}.tif"
                path.write_bytes(f"{say} of {path.name}".encode())


def make(request: Request, *, failed: tuple[str, ...] = (), light: bool = False) -> None:
    """Leave the wells that a run would, with all fields of the `failed` coded rows."""
    wells: dict[tuple[str, str], dict[FieldKey, tuple[FileStamp, ...]]] = {}
    for plate, well, site, time, *stacks in find_fields(request).sets.iter_rows():
        paths = [path for stack in stacks for path in stack]
        stamps = tuple(read_file(path)[1] for path in paths)
        if light:
            functions = request.out / "illumination" / plate / "functions.json"
            stamps += (FileStamp(str(functions), 9, 9, "of the whole plate"),)
        wells.setdefault((plate, well), {})[FieldKey(plate, well, site, time)] = stamps
    for (plate, well), inputs in wells.items():
        keys = pl.DataFrame([*inputs], schema=FIELD_ROW, orient="row")
        status = pl.lit("truncated" if well in failed else "ok").alias("Metadata_QC_Status")
        count = pl.lit(0, pl.Int32).alias("Metadata_Object_Count")
        cells = cell_schema(["Cells_X"]).empty_table()
        tables = WellTables(plate, well, cells, keys.with_columns(status, count), keys, inputs)
        write_well(request.out, tables, computed_by="c1")


@pytest.fixture
def request_of(tmp_path) -> Request:
    """A plate of three wells, and the run folder that has been made of it."""
    plate = tmp_path / "inbox" / "P1"
    write_images(plate, *WELLS)
    found = Request((plate,), tmp_path / "runs" / "P1", RECIPE)
    make(found)
    assert [well for _, well in stored(found.out)] == ["A01", "A02", "B01"]
    return found


def write_facts_of(out: Path, **summary) -> None:
    facts = RunFacts("demo", {}, {}, "cpu", None, None, ("P1",), summary=summary)
    out.mkdir(parents=True, exist_ok=True)
    write_facts(out, facts)


def test_a_folder_without_wells_or_results_is_free(request_of, tmp_path):
    assert may_go_on(replace(request_of, out=tmp_path / "new"))
    begun = tmp_path / "begun"
    write_facts_of(begun)
    assert may_go_on(replace(request_of, out=begun))


def test_results_whose_cells_were_removed_are_not_overwritten(request_of, tmp_path):
    write_facts_of(tmp_path / "old", profiles=[])
    assert not may_go_on(replace(request_of, out=tmp_path / "old"))


def test_the_same_plate_goes_on_also_when_it_has_grown(request_of):
    (plate,) = request_of.plates
    assert may_go_on(request_of)
    write_images(plate, "B02")
    write_images(plate, "A01", sites=(3,))
    assert may_go_on(request_of)


def test_nothing_has_come_to_a_plate_that_is_as_it_was(request_of, tmp_path):
    assert may_go_on(request_of, as_it_is=True)
    lit = replace(request_of, out=tmp_path / "lit")
    make(lit, light=True, failed=("A02",))
    assert may_go_on(lit, as_it_is=True)
    copy = tmp_path / "elsewhere" / "P1"
    shutil.copytree(request_of.plates[0], copy, copy_function=shutil.copyfile)
    assert may_go_on(replace(lit, plates=(copy,)), as_it_is=True)


@pytest.mark.parametrize(("well", "site"), [("B02", 1), ("A01", 3)], ids=["well", "field"])
def test_a_well_or_a_field_has_come(request_of, well, site):
    write_images(request_of.plates[0], well, sites=(site,))
    assert may_go_on(request_of)
    assert not may_go_on(request_of, as_it_is=True)


def test_a_failed_field_was_mended_or_a_well_was_cut_short(request_of, tmp_path):
    request = replace(request_of, out=tmp_path / "half")
    make(request, failed=("A02",))
    write_images(request.plates[0], "A02", say="b")
    assert not may_go_on(request, as_it_is=True)
    write_images(request.plates[0], "A02")
    assert may_go_on(request, as_it_is=True)
    well_path(request.out, "P1", "B01").write_bytes(b"PAR1")
    assert not may_go_on(request, as_it_is=True)


def test_an_image_that_cannot_be_read_says_nothing_of_the_plate(request_of, monkeypatch):
    (plate,) = request_of.plates
    path = plate / "P1_A02_s1_DNA.tif"
    for each in plate.iterdir():
        os.utime(each)
    kept, real = path.read_bytes(), Path.open

    def refuse(self, *args, **kwargs):
        if self == path:
            raise OSError(5, "Input/output error")
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refuse)
    told = r"A02_s1_DNA.tif cannot be read: Input/output error.*whether this is the same plate"
    for as_it_is in (False, True):
        with pytest.raises(BadImage, match=told):
            may_go_on(request_of, as_it_is=as_it_is)
    write_images(plate, "B01", say="b")  # that much is certain
    assert not may_go_on(request_of)
    monkeypatch.undo()
    write_images(plate, "B01")
    assert path.read_bytes() == kept
    assert may_go_on(request_of)


def test_an_image_that_is_listed_and_not_there_says_nothing_of_the_plate(request_of):
    path = request_of.plates[0] / "P1_A02_s1_DNA.tif"
    path.unlink()
    path.symlink_to("away")
    with pytest.raises(BadImage, match=r"A02_s1_DNA.tif is not there.*take it off the plate"):
        may_go_on(request_of)
    path.unlink()
    assert not may_go_on(request_of)


def test_a_copy_elsewhere_and_of_another_time_is_the_same_plate(request_of, tmp_path):
    copy = tmp_path / "elsewhere" / "P1"
    shutil.copytree(request_of.plates[0], copy, copy_function=shutil.copyfile)
    assert may_go_on(replace(request_of, plates=(copy,)))
    for path in request_of.plates[0].iterdir():
        os.utime(path)
    assert may_go_on(request_of)


def test_other_images_of_the_same_names_and_sizes_are_another_plate(request_of):
    sizes = [path.stat().st_size for path in sorted(request_of.plates[0].iterdir())]
    write_images(request_of.plates[0], *WELLS, say="b")
    assert sizes == [path.stat().st_size for path in sorted(request_of.plates[0].iterdir())]
    assert not may_go_on(request_of)


def test_one_image_that_changed_or_went_is_enough(request_of):
    path = request_of.plates[0] / "P1_B01_s2_RNA.tif"
    kept = path.read_bytes()
    path.write_bytes(b"!" + kept[1:])
    assert not may_go_on(request_of)
    path.write_bytes(kept)
    assert may_go_on(request_of)
    path.unlink()
    assert not may_go_on(request_of)


def test_fewer_wells_are_another_plate(request_of):
    for path in request_of.plates[0].glob("*_B01_*"):
        path.unlink()
    assert not may_go_on(request_of)


def test_a_plate_that_the_reader_calls_otherwise_is_another(request_of):
    for path in request_of.plates[0].iterdir():
        path.rename(path.with_name(path.name.replace("P1_", "P9_")))
    assert not may_go_on(request_of)


def test_of_a_plate_that_no_reader_can_list_the_reader_says_why(request_of, tmp_path):
    shutil.rmtree(request_of.plates[0])
    request_of.plates[0].mkdir()
    (request_of.plates[0] / "notes.txt").write_text("all moved to the archive")
    with pytest.raises(BadPlate, match=r"notes\.txt"):
        may_go_on(request_of)
    assert may_go_on(replace(request_of, out=tmp_path / "new"))


def test_fields_that_failed_may_be_mended(request_of, tmp_path):
    request = replace(request_of, out=tmp_path / "half")
    make(request, failed=("A02",))
    write_images(request.plates[0], "A02", say="b")
    assert may_go_on(request)
    write_images(request.plates[0], "A01", say="b")
    assert not may_go_on(request)


def test_a_well_that_was_cut_short_says_nothing(request_of):
    well_path(request_of.out, "P1", "A02").write_bytes(b"PAR1")
    write_images(request_of.plates[0], "A02", say="b")
    assert may_go_on(request_of)


def test_illumination_functions_are_no_images_of_the_plate(request_of, tmp_path):
    request = replace(request_of, out=tmp_path / "lit")
    make(request, light=True)
    assert may_go_on(request)


def test_a_file_of_many_images_may_grow(tmp_path):
    path, random = tmp_path / "plate.h5", np.random.default_rng(0)
    planes = random.integers(0, 999, (3, 8, 8), dtype=np.uint16)
    with h5py.File(path, "w") as file:
        file["A01/DNA"] = planes[0]
    address = f"{path}#dataset=/A01/DNA&index="
    stamp = read_file(address)[1]
    with h5py.File(path, "a") as file:
        file["A02/DNA"] = planes[1]
    assert path.stat().st_size != stamp.bytes
    assert is_same_image(stamp, address)
    with h5py.File(path, "a") as file:
        file["A01/DNA"][...] = planes[2]
    assert not is_same_image(stamp, address)
    path.unlink()
    with pytest.raises(BadImage, match="is not there"):
        is_same_image(stamp, address)


def test_a_run_in_a_store(request_of, tmp_path, monkeypatch):
    pytest.importorskip("fsspec")
    monkeypatch.setenv("PROFILER_WORK", str(tmp_path / "work"))
    monkeypatch.setattr(lease, "SETTLE_S", 0)
    request = replace(request_of, out=Path(f"memory://{uuid.uuid4().hex}/runs/P1"))
    assert may_go_on(request)
    with at_home(request.out) as home:
        write_facts_of(home.folder, profiles=[])
        make(replace(request, out=home.folder))
    shutil.rmtree(tmp_path / "work")
    assert may_go_on(request)
    write_images(request.plates[0], *WELLS, say="b")
    assert not may_go_on(request)
