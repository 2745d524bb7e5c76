"""The index saves reading footers, and is never believed over the files."""

import os

import polars as pl
import pytest

from plates.errors import BadRun
from profiler.store import index
from profiler.store.index import INDEX, write_index
from profiler.store.places import stored, well_path, well_paths
from profiler.store.tables import scan_table, write_table
from profiler.store.wells import scan_cells, scan_images, write_well

WELLS = [("P1", "A01"), ("P1", "A02"), ("P2", "A01")]


@pytest.fixture
def out(tmp_path, make_well):
    for plate, well in WELLS:
        write_well(tmp_path, make_well(plate, well), computed_by="c1")
    return tmp_path


def makers(out, wells, *, table):
    return index.makers(out, well_paths(out, wells, table=table), table=table)


@pytest.fixture
def footers_read(monkeypatch):
    """The names of files whose footers are read, as they are."""
    names, read = [], index.read_footers

    def spy(paths):
        names.extend(f"{path.parent.name} {path.stem}" for path in paths)
        return read(paths)

    monkeypatch.setattr(index, "read_footers", spy)
    return names


def test_without_an_index_all_footers_are_read(out, footers_read):
    assert makers(out, WELLS, table="cells") == dict.fromkeys(WELLS, "c1")
    assert footers_read == ["P1 A01", "P1 A02", "P2 A01"]


def test_with_an_index_none_is_read(out, footers_read):
    assert write_index(out) == out / INDEX
    footers_read.clear()
    for table in ("cells", "images"):
        assert makers(out, WELLS, table=table) == dict.fromkeys(WELLS, "c1")
    assert footers_read == []
    assert scan_cells(out).collect().height == 18
    assert scan_images(out).collect().height == 6


def test_a_file_written_since_is_read_again(out, footers_read, make_well):
    write_index(out)
    path = write_well(out, make_well(*WELLS[1]), computed_by="c2")
    os.utime(path, ns=(1, 1))  # not left to the clock's resolution
    footers_read.clear()
    assert makers(out, WELLS, table="cells") == dict.fromkeys(WELLS, "c1") | {WELLS[1]: "c2"}
    assert footers_read == ["P1 A02"]
    with pytest.raises(BadRun, match="mixes cells of 2 settings: 1 of 3 wells, such as P1 A02"):
        scan_cells(out)


def test_a_well_added_since_is_read(out, footers_read, make_well):
    write_index(out)
    write_well(out, make_well("P2", "B05"), computed_by="c1")
    footers_read.clear()
    assert len(makers(out, stored(out), table="cells")) == 4
    assert footers_read == ["P2 B05"]


def test_a_file_cut_short_since_is_found(out):
    write_index(out)
    path = well_path(out, *WELLS[0])
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BadRun, match=r"A01\.parquet is not a whole Parquet file"):
        scan_cells(out)


def test_a_file_that_goes_is_named(out):
    write_index(out)
    well_path(out, *WELLS[0]).unlink()
    with pytest.raises(BadRun, match=r"P1/A01\.parquet is not there or cannot be read"):
        makers(out, WELLS, table="cells")
    well_path(out, *WELLS[2], table="images").unlink()
    with pytest.raises(BadRun, match=r"images/P2/A01\.parquet is not there"):
        scan_images(out)


@pytest.mark.parametrize("content", [b"", b"PAR1 and nothing"])
def test_a_damaged_index_only_costs_time(out, content):
    (out / INDEX).write_bytes(content)
    assert makers(out, WELLS, table="cells") == dict.fromkeys(WELLS, "c1")


def test_an_index_of_another_version_only_costs_time(out, monkeypatch):
    monkeypatch.setattr("profiler.store.tables.VERSION", "99")
    wrong = scan_table(write_index_of_version_99(out)).collect()
    monkeypatch.undo()
    assert set(wrong["computed_by"]) == {"wrong"}
    assert makers(out, WELLS, table="cells") == dict.fromkeys(WELLS, "c1")


def write_index_of_version_99(out):
    stamps = [well_path(out, *well).stat() for well in WELLS]
    rows = [
        ("cells", *well, stamp.st_size, stamp.st_mtime_ns, "wrong")
        for well, stamp in zip(WELLS, stamps, strict=True)
    ]
    frame = pl.DataFrame(rows, schema=list(index.Entry._fields), orient="row")
    write_table(out / INDEX, frame, level="index", parameters={})
    return out / INDEX


def test_a_run_without_cells_has_an_empty_index(tmp_path):
    assert scan_table(write_index(tmp_path)).collect().is_empty()


def test_another_table_in_a_wells_place_is_named(out):
    table = pl.DataFrame({"x": [1]})
    write_table(well_path(out, *WELLS[0]), table, level="wells", parameters={})
    with pytest.raises(BadRun, match=r"A01\.parquet is a table of wells, not of cells"):
        scan_cells(out)
