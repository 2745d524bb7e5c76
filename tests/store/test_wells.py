"""Wells come back as they went; what changed is computed again, and nothing else is."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from plates.errors import BadPlate, BadRun
from plates.imageset import FieldKey
from profiler.store.places import safe_name, stored, well_path
from profiler.store.schema import FIELDS, cell_schema
from profiler.store.tables import read_footer, write_table
from profiler.store.wells import (
    WellTables,
    collect_fields,
    finished,
    scan_cells,
    scan_images,
    strays,
    sweep,
    write_well,
)

WELL = ("P1", "B03")
FOCUS = "Image_ImageQuality_FocusScore_OrigDNA"


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def files(out, make_well, make_files):
    """The image files of one well that is written and finished."""
    files = make_files()
    write_well(out, make_well(files=files), computed_by="c1")
    return files


def is_finished(out, files, *, computed_by="c1") -> bool:
    return finished(out, wanted={WELL: files}, computed_by=computed_by).keys() == {WELL}


def test_well_comes_back(out, make_well):
    tables = make_well()
    path = write_well(out, tables, computed_by="c1")
    assert path == out / "cells" / "P1" / "B03.parquet"
    back = scan_cells(out).collect()
    assert back.equals(tables.cells.fill_nan(None))
    assert back.schema == tables.cells.schema


def test_cells_are_written_in_the_contracts_order_and_schema(out, make_well):
    tables = make_well()
    shuffled = tables.cells.reverse().select(reversed(tables.cells.columns))
    backwards = WellTables(
        "P1", "B03", shuffled, tables.fields.reverse(), tables.images.reverse(), tables.inputs
    )
    path = write_well(out, backwards, computed_by="c1")
    features = ["Cells_Intensity_Ratio_GFP", "Nuclei_AreaShape_Area"]
    assert pa.parquet.read_schema(path).equals(cell_schema(features))
    back = scan_cells(out).collect()
    assert back["Metadata_Site"].to_list() == [1, 1, 1, 2, 2, 2]
    assert back["Metadata_ObjectNumber"].to_list() == [1, 2, 3, 1, 2, 3]
    assert back["Nuclei_AreaShape_Area"].to_list() == [101, 102, 103, 201, 202, 203]
    assert collect_fields(out, [WELL])["Metadata_Site"].to_list() == [1, 2]


def test_a_wide_footer_holds_what_readers_use_and_no_more(out, make_well):
    found = pa.parquet.read_metadata(write_well(out, make_well(), computed_by="c1"))
    columns = [found.row_group(0).column(i) for i in range(found.num_columns)]
    with_range = [c.path_in_schema for c in columns if c.is_stats_set]
    assert with_range == [c.name for c in cell_schema([]) if not pa.types.is_floating(c.type)]
    assert (columns[1].statistics.min, columns[1].statistics.max) == ("B03", "B03")
    assert b"ARROW:schema" not in found.metadata


def test_a_large_well_is_read_in_row_groups(out, make_well):
    tables = make_well(sites=1, per_site=70_000)
    found = pa.parquet.read_metadata(write_well(out, tables, computed_by="c1"))
    assert [found.row_group(i).num_rows for i in range(found.num_row_groups)] == [65_536, 4_464]
    assert scan_cells(out).collect().equals(tables.cells.fill_nan(None))


def test_features_of_fields_come_back_by_site(out, make_well):
    tables = make_well()
    write_well(out, replace(tables, images=tables.images.reverse()), computed_by="c1")
    assert scan_images(out).collect().equals(tables.images)


def test_a_well_without_its_images_is_not_finished(out, make_well):
    write_well(out, make_well(), computed_by="c1")
    wanted = {WELL: {FieldKey(*WELL, site): () for site in (1, 2)}}
    assert finished(out, wanted=wanted, computed_by="c1").keys() == {WELL}
    well_path(out, *WELL, table="images").unlink()
    assert finished(out, wanted=wanted, computed_by="c1") == {}


def test_a_recipe_may_measure_no_whole_fields(out, make_well):
    tables = make_well()
    write_well(out, replace(tables, images=tables.images.drop(FOCUS)), computed_by="c1")
    assert not (out / "images").exists()
    with pytest.raises(BadRun, match=r"no features of whole fields.*such as \"ImageQuality\""):
        scan_images(out)


def test_null_keys_are_refused(out, make_well):
    tables = make_well()
    cells = tables.cells.with_columns(Metadata_Site=pl.lit(None, pl.Int32))
    with pytest.raises(ValueError, match=r"Metadata_Site.*non-nullable"):
        write_well(out, replace(tables, cells=cells), computed_by="c1")
    assert stored(out) == []


def test_footer_holds_provenance(out, files):
    made = read_footer(well_path(out, *WELL)).parameters
    assert made["computed_by"] == "c1"
    site, time, stamps = made["inputs"][1]
    assert (site, time) == (2, 1)
    assert [stamp[0] for stamp in stamps] == list(files[FieldKey(*WELL, 2)])


def test_fields_come_back_from_footers_in_the_order_wanted(out, make_well):
    wells = [make_well(well=well, per_site=n) for well, n in (("B03", 3), ("A01", 0))]
    for tables in wells:
        write_well(out, tables, computed_by="c1")
    back = collect_fields(out, [("P1", "B03"), ("P1", "A01")])
    assert back.equals(pl.concat([tables.fields for tables in wells]))
    assert back.schema == wells[0].fields.schema
    assert back.columns == FIELDS.names


def test_a_table_may_leave_out_what_may_be_null(out, make_well):
    tables = make_well()
    cells = tables.cells.drop("Metadata_QC_Confidence")
    fields = tables.fields.drop("Metadata_Object_Doubtful", "Metadata_Object_Confidence")
    path = write_well(out, replace(tables, cells=cells, fields=fields), computed_by="c1")
    back = pl.read_parquet(path)
    assert back.schema == tables.cells.schema
    assert back["Metadata_QC_Confidence"].null_count() == back.height
    read = collect_fields(out, [WELL])
    assert read.schema == tables.fields.schema
    assert read["Metadata_Object_Doubtful"].to_list() == [None, None]


def test_undefined_seconds_are_null(out, make_well):
    tables = make_well()
    fields = tables.fields.with_columns(Metadata_Seconds=pl.lit(float("nan"), pl.Float32))
    write_well(out, replace(tables, fields=fields), computed_by="c1")
    assert collect_fields(out, [WELL])["Metadata_Seconds"].to_list() == [None, None]


def test_no_fields_make_an_empty_table(out):
    assert collect_fields(out, []).columns == FIELDS.names


def test_unfinished_wells_have_no_fields(out, files):
    with pytest.raises(BadRun, match=r"1 of 2 wells in .* are not finished, the first is P1 C04"):
        collect_fields(out, [WELL, ("P1", "C04")])


def test_well_without_cells_is_finished(out, make_well, make_files):
    files = make_files()
    write_well(out, make_well(per_site=0, files=files), computed_by="c1")
    write_well(out, make_well(well="A01"), computed_by="c1")
    assert is_finished(out, files)
    assert collect_fields(out, [WELL])["Metadata_QC_Status"].to_list() == ["no_cells"] * 2
    assert set(scan_cells(out).collect()["Metadata_Well"]) == {"A01"}


def test_only_wells_without_cells_make_an_empty_table(out, make_well):
    tables = make_well(per_site=0)
    write_well(out, tables, computed_by="c1")
    assert scan_cells(out).collect().equals(tables.cells)


def test_wells_are_scanned_by_plate_row_and_column(out, make_well):
    for well in ("AA01", "B10", "B02", "A11", "A03", "Z48"):
        write_well(out, make_well(well=well, sites=1, per_site=1), computed_by="c1")
    order = ["A03", "A11", "B02", "B10", "Z48", "AA01"]
    assert scan_cells(out).collect()["Metadata_Well"].to_list() == order


# Resume: one test for each kind of change.


def test_unchanged_well_is_finished(out, files):
    assert is_finished(out, files)


def test_unchanged_files_are_not_read(out, files, monkeypatch):
    monkeypatch.setattr("plates.pixels.read_file", lambda path: pytest.fail("was read"))
    assert is_finished(out, files)


def test_other_computation_is_not_finished(out, files):
    assert not is_finished(out, files, computed_by="c2")


def test_vectors_cut_by_another_pixel_size_are_not_finished(out, make_well, files):
    def is_kept(now: float | None) -> bool:
        sizes = {} if now is None else {WELL[0]: now}
        how = {"computed_by": "c1", "pixel_sizes": sizes}
        return WELL in finished(out, wanted={WELL: files}, **how)

    write_well(out, make_well(files=files), computed_by="c1", embedder="e", pixel_size_um=0.65)
    assert [is_kept(size) for size in (0.65, 0.6501, None, 0.325)] == [True, True, True, False]
    write_well(out, make_well(files=files), computed_by="c1")
    assert is_kept(0.325)  # without vectors, or by an older program


def test_touched_file_is_unchanged(out, files):
    os.utime(files[FieldKey(*WELL, 1)][0], ns=(1, 1))
    assert is_finished(out, files)


@pytest.mark.parametrize("copy", [shutil.copy, shutil.copy2])
def test_copied_plate_is_unchanged(out, files, tmp_path, copy):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    moved = {key: tuple(copy(path, elsewhere) for path in paths) for key, paths in files.items()}
    shutil.rmtree(tmp_path / "images")
    assert is_finished(out, moved)


@pytest.mark.parametrize("site", [1, 2])
@pytest.mark.parametrize("content", [b"other size", None])
def test_edited_file_is_changed(out, files, site, content):
    path = Path(files[FieldKey(*WELL, site)][1])
    path.write_bytes(content or path.read_bytes()[::-1])
    os.utime(path, ns=(1, 1))  # not left to the clock's resolution
    assert not is_finished(out, files)


def test_other_size_is_changed_even_at_the_same_time(out, files):
    path = Path(files[FieldKey(*WELL, 1)][0])
    written = path.stat().st_mtime_ns
    path.write_bytes(b"other size")
    os.utime(path, ns=(written, written))
    assert not is_finished(out, files)


def test_same_size_and_time_elsewhere_is_not_taken_on_trust(out, files, tmp_path):
    first = FieldKey(*WELL, 1)
    path, other = Path(files[first][0]), tmp_path / "other.tif"
    other.write_bytes(path.read_bytes()[::-1])
    os.utime(other, ns=(path.stat().st_mtime_ns,) * 2)
    assert not is_finished(out, files | {first: (str(other), *files[first][1:])})


def test_swapped_channels_are_changed(out, files):
    assert not is_finished(out, {key: paths[::-1] for key, paths in files.items()})


def test_lost_file_is_changed(out, files):
    Path(files[FieldKey(*WELL, 1)][0]).unlink()
    assert not is_finished(out, files)


def test_file_missing_then_and_now_is_unchanged(out, make_well, make_files):
    files = make_files()
    path = Path(files[FieldKey(*WELL, 1)][0])
    path.unlink()
    write_well(out, make_well(files=files), computed_by="c1")
    assert is_finished(out, files)
    path.write_bytes(b"")
    assert not is_finished(out, files)


def test_file_that_cannot_be_read_is_changed(out, files):
    path = Path(files[FieldKey(*WELL, 1)][0])
    path.unlink()
    path.symlink_to(path)  # a loop: there, but not readable even for root
    assert not is_finished(out, files)


def test_added_and_dropped_fields_are_changes(out, files):
    fewer = {key: paths for key, paths in files.items() if key.site == 1}
    more = files | {FieldKey(*WELL, 3): files[FieldKey(*WELL, 1)]}
    assert not is_finished(out, fewer)
    assert not is_finished(out, more)


def test_added_and_dropped_files_are_changes(out, files):
    first = FieldKey(*WELL, 1)
    assert not is_finished(out, files | {first: files[first][:1]})
    assert not is_finished(out, files | {first: files[first] * 2})


@pytest.mark.parametrize("keep", [0, 100, -1])
def test_cut_short_well_is_not_finished(out, files, keep):
    path = well_path(out, *WELL)
    path.write_bytes(path.read_bytes()[:keep])
    assert not is_finished(out, files)


def test_strange_file_in_the_wells_place_is_not_finished(out, files):
    table = pl.DataFrame({"x": [1]})
    path = well_path(out, *WELL)
    write_table(path, table, level="wells", parameters={})
    assert not is_finished(out, files)
    table.write_parquet(path)
    assert not is_finished(out, files)


def test_nothing_is_finished_in_a_new_folder(out, make_files):
    assert not is_finished(out, make_files())
    assert finished(out, wanted={}, computed_by="c1") == {}


def test_each_well_is_judged_alone(out, make_well, make_files):
    wanted = {}
    for well in ("A01", "A02", "A03"):
        files = make_files(well=well)
        wanted["P1", well] = files
        size = "4 x 5 uint16" if well == "A01" else None
        write_well(out, make_well(well=well, files=files), computed_by="c1", pixel_format=size)
    Path(wanted["P1", "A02"][FieldKey("P1", "A02", 2)][0]).write_bytes(b"edited")
    assert finished(out, wanted=wanted, computed_by="c1") == {
        ("P1", "A01"): "4 x 5 uint16",
        ("P1", "A03"): None,
    }


def test_a_whole_plate_is_judged_in_a_blink(out, make_well, make_files):
    paths = next(iter(make_files().values()))
    wells = [f"{row}{column:02}" for row in "ABCDEFGHIJKLMNOP" for column in range(1, 25)]
    wanted = {
        ("P1", well): {FieldKey("P1", well, site): paths for site in range(1, 10)} for well in wells
    }
    first = write_well(out, make_well(well="A01", files=wanted["P1", "A01"]), computed_by="c1")
    for well in wells[1:]:
        for made in (first, well_path(out, "P1", "A01", table="images")):
            shutil.copy(made, made.with_stem(well))
    start = time.process_time()
    assert finished(out, wanted=wanted, computed_by="c1").keys() == wanted.keys()
    used = time.process_time() - start
    assert used < 3.0, used


# Names, strays, drafts.


@pytest.mark.parametrize(
    "plate", ["..", ".", "../../etc", "a/b", "/abs", "Zelle µ ~%2F", "a.b-c_D"]
)
def test_any_plate_name_stays_inside_and_comes_back(out, make_well, plate):
    path = write_well(out, make_well(plate, "B03"), computed_by="c1")
    assert path.resolve().parent.parent == (out / "cells").resolve()
    assert stored(out) == [(plate, "B03")]
    assert set(scan_cells(out).collect()["Metadata_Plate"]) == {plate}
    assert set(path.parent.name) <= set(
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789%-_."
    )


def test_ordinary_plate_names_stay_as_they_are():
    assert safe_name("BR00117010_2.1-x") == "BR00117010_2.1-x"


def test_nameless_plate_is_refused():
    with pytest.raises(BadPlate, match="A plate has no name, so there is no folder"):
        safe_name("")


def test_strays_are_listed_and_left(out, make_well):
    for well in ("B03", "A01"):
        write_well(out, make_well(well=well), computed_by="c1")
    assert strays(out, {("P1", "A01")}) == [("P1", "B03")]
    assert strays(out, {("P1", "A01"), ("P1", "B03")}) == []
    assert stored(out) == [("P1", "A01"), ("P1", "B03")]


def test_sweep_removes_drafts_only(out, files):
    home = well_path(out, *WELL).parent
    draft = home / ".C04.parquet.123.unfinished"
    kept = [home / ".hidden", home / "notes.unfinished", out / ".lock"]
    for path in (draft, *kept):
        path.touch()
    assert sweep(out) == [draft]
    assert not draft.exists()
    assert all(path.exists() for path in kept)
    assert is_finished(out, files)


def test_sweep_of_a_new_folder_does_nothing(out):
    assert sweep(out) == []


# Reading all wells.


def test_no_wells_yet(out):
    with pytest.raises(
        BadRun, match=r"has no cells yet\. Make them with: profiler run PLATE --recipe RECIPE --out"
    ):
        scan_cells(out)


def test_wells_of_two_settings_are_not_mixed(out, make_well):
    for well, by in (("A01", "old"), ("A02", "new"), ("A03", "new")):
        write_well(out, make_well(well=well), computed_by=by)
    with pytest.raises(BadRun, match="mixes cells of 2 settings: 1 of 3 wells, such as P1 A01,"):
        scan_cells(out)


def test_cut_short_well_is_named(out, make_well):
    write_well(out, make_well(well="A01"), computed_by="c1")
    path = write_well(out, make_well(), computed_by="c1")
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(BadRun, match=r"B03\.parquet is not a whole Parquet file"):
        scan_cells(out)


WRITER = """
import sys
from itertools import cycle
from pathlib import Path
import polars as pl
from profiler.store.tables import read_footer, scan_table
from profiler.store.wells import WellTables, write_well
from profiler.store.schema import FIELDS

path = Path(sys.argv[2])
cells, fields = scan_table(path).collect(), pl.from_arrow(FIELDS.empty_table())
images = fields.select(pl.nth(0, 1, 2))
for number in cycle(range(1000)):
    numbers = cells.with_columns(Nuclei_AreaShape_Area=pl.lit(number, pl.Float32))
    tables = WellTables("P1", "B03", numbers, fields, images, {})
    write_well(Path(sys.argv[1]), tables, computed_by=str(number))
    print(number, flush=True)
"""


@pytest.mark.parametrize("extra", [0.0, 0.013])
def test_killed_at_any_moment_leaves_whole_wells(out, files, extra):
    arguments = [sys.executable, "-c", WRITER, out, well_path(out, *WELL)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as writer:
        for line in writer.stdout:
            if int(line) == 3:
                time.sleep(extra)
                writer.send_signal(signal.SIGKILL)
                break
        rest = writer.stdout.read().split()
    assert writer.returncode == -signal.SIGKILL
    last = max([3, *map(int, rest)])
    by = int(read_footer(well_path(out, *WELL)).parameters["computed_by"])
    assert by in (last, last + 1)
    sweep(out)
    cells = scan_cells(out).collect()
    assert set(cells["Nuclei_AreaShape_Area"]) == {float(by)}
    assert cells.height == 6
    assert [path.name for path in well_path(out, *WELL).parent.iterdir()] == ["B03.parquet"]
