"""Tables come back as they went; files are whole or not there; strangers are refused."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from plates.errors import BadRun
from profiler.store.atomic import DRAFT, is_draft, replacing
from profiler.store.tables import read_footer, read_footers, scan_table, write_table

TABLE = pl.DataFrame(
    {"name": ["a", "a", "b"], "x": [1.5, float("nan"), None], "n": [1, 2, 3]},
    schema={"name": pl.String, "x": pl.Float32, "n": pl.Int32},
)
PARAMETERS = {"min": 3, "names": ["é", 'quote"'], "nothing": None}


@pytest.fixture
def path(tmp_path) -> Path:
    path = tmp_path / "run" / "wells.parquet"
    write_table(path, TABLE, level="wells", parameters=PARAMETERS)
    return path


def full_disk(path: Path) -> Path:
    """Make the draft of `path` a file whose writes the kernel answers with "disk full"."""
    draft = path.with_name(f".{path.name}.{os.getpid()}{DRAFT}")
    draft.symlink_to("/dev/full")
    return draft


def test_round_trip_keeps_values_and_types(path):
    back = scan_table(path).collect()
    assert back.schema == TABLE.schema
    assert back["x"].to_list() == [1.5, None, None]
    assert back.drop("x").equals(TABLE.drop("x"))


def test_nan_is_null_in_the_file_itself(path):
    assert pq.read_table(path).column("x").null_count == 2


def test_a_file_that_holds_another_table_than_its_name_says_is_refused(path):
    other = path.with_name("hits.parquet")
    path.rename(other)
    message = r"holds the table 'wells', as its footer says, and not 'hits'\. .* profiler hits "
    with pytest.raises(BadRun, match=message):
        scan_table(other)
    free = other.rename(path.with_name("mine.parquet"))  # no table's name: whatever it holds
    assert scan_table(free).collect().height == TABLE.height


def test_infinity_and_doubles_stay(tmp_path):
    table = pl.DataFrame({"x": [np.inf, -np.inf, 1 / 3]})
    write_table(tmp_path / "t.parquet", table, level="wells", parameters={})
    assert scan_table(tmp_path / "t.parquet").collect().equals(table)


def test_arrow_table_keeps_its_schema(tmp_path):
    schema = pa.schema([pa.field("k", pa.string(), nullable=False), ("x", pa.float32())])
    table = pa.table({"k": ["a"], "x": pa.array([np.nan], pa.float32())}, schema=schema)
    write_table(tmp_path / "t.parquet", table, level="wells", parameters={})
    back = pq.read_table(tmp_path / "t.parquet")
    assert back.schema == schema
    assert back.column("x").to_pylist() == [None]


def test_footer_says_what_and_how(path):
    footer = read_footer(path)
    assert (footer.level, footer.parameters) == ("wells", PARAMETERS)
    assert read_footers([path, path]) == [footer, footer]


def test_compression_and_dictionaries(path):
    columns = pq.read_metadata(path).row_group(0)
    encodings = {columns.column(i).path_in_schema: columns.column(i) for i in range(3)}
    assert {column.compression for column in encodings.values()} == {"ZSTD"}
    assert encodings["name"].has_dictionary_page
    assert not encodings["x"].has_dictionary_page


def test_brackets_and_equals_in_folder_names_are_only_names(tmp_path):
    path = tmp_path / "run=1" / "[a]*" / "t%20.parquet"
    write_table(path, TABLE, level="wells", parameters={})
    assert scan_table(path).collect().columns == TABLE.columns


def test_scan_reads_rows_only_when_collected(path):
    frame = scan_table(path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        frame.collect()


@pytest.mark.parametrize("keep", [0, 3, 200, -1])
def test_cut_short_file_is_refused(path, keep):
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BadRun, match=r"wells\.parquet is not a whole Parquet file: it was cut"):
        scan_table(path)


@pytest.mark.parametrize("where", range(0, 1000, 40))
def test_garbled_file_is_refused_or_as_it_was(path, where):
    before, content = scan_table(path).collect(), bytearray(path.read_bytes())
    content[-where - 60 : -where - 8] = bytes(52)
    path.write_bytes(content)
    try:
        after = scan_table(path).collect()
    except (BadRun, pl.exceptions.PolarsError):
        return
    assert after.equals(before)  # what was hit is not ours: the name of the program, say


def test_garbled_parameters_are_refused(path):
    content = path.read_bytes()
    assert content.count(b'"min": 3') == 1
    path.write_bytes(content.replace(b'"min": 3', b'"min": ?'))
    with pytest.raises(BadRun, match=r"wells\.parquet is not a whole Parquet file"):
        read_footer(path)


def test_absent_file_is_refused(tmp_path):
    with pytest.raises(BadRun, match=r"is not there\. Run the command that makes it again"):
        scan_table(tmp_path / "absent.parquet")


def test_foreign_file_is_refused(tmp_path):
    TABLE.write_parquet(tmp_path / "foreign.parquet")
    with pytest.raises(BadRun, match="Parquet file of another program: its footer has no"):
        scan_table(tmp_path / "foreign.parquet")


def test_other_version_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("profiler.store.tables.VERSION", "99")
    write_table(tmp_path / "t.parquet", TABLE, level="wells", parameters={})
    monkeypatch.undo()
    with pytest.raises(BadRun, match="has store version 99, and this program reads version 2"):
        scan_table(tmp_path / "t.parquet")


def test_full_disk_keeps_the_old_file(path):
    before = path.read_bytes()
    draft = full_disk(path)
    with pytest.raises(BadRun, match=r"The disk is full: .* is as it was before.*kept and whole"):
        write_table(path, TABLE, level="wells", parameters={"other": 1})
    assert path.read_bytes() == before
    assert not draft.is_symlink()


def test_full_disk_in_a_large_table(tmp_path):
    path = tmp_path / "t.parquet"
    draft = full_disk(path)
    noise = pl.DataFrame({"x": np.random.default_rng(0).random(500_000)})
    with pytest.raises(BadRun, match="The disk is full"):
        write_table(path, noise, level="wells", parameters={})
    assert not path.exists()
    assert not draft.is_symlink()


def test_folder_that_cannot_be_made_is_explained(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BadRun, match=r"could not be written \(.*\) and is as it was before"):
        write_table(tmp_path / "file" / "t.parquet", TABLE, level="wells", parameters={})


def test_reader_of_the_old_file_is_not_disturbed(path):
    before = path.read_bytes()
    with path.open("rb") as reader:
        write_table(path, TABLE.head(1), level="wells", parameters={})
        assert reader.read() == before
    assert scan_table(path).collect().height == 1


def test_failing_write_leaves_the_old_file(path):
    before = path.read_bytes()
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_table(path, TABLE, level="wells", parameters={"set": {1}})
    assert path.read_bytes() == before


def test_interrupted_write_leaves_the_old_file(path):
    before = path.read_bytes()

    def interrupted():
        with replacing(path) as draft:
            draft.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == before
    assert [other.name for other in path.parent.iterdir()] == [path.name]


def test_files_are_as_readable_as_any_other(path):
    other = path.with_name("other")
    other.touch()
    assert path.stat().st_mode == other.stat().st_mode


KILLED = """
import os, signal, sys
from pathlib import Path
import polars as pl
from profiler.store import atomic, tables

path, moment = Path(sys.argv[1]), sys.argv[2]
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
if moment == "written":
    atomic._sync = die
if moment == "open":
    tables.pq.ParquetWriter.write_table = lambda *_, **__: die()
tables.write_table(path, pl.DataFrame({"x": [9.0]}), level="wells", parameters={})
if moment == "replaced":
    die()
"""


@pytest.mark.parametrize(("moment", "value"), [("open", None), ("written", None), ("replaced", 9)])
def test_killed_writer_leaves_one_whole_file(path, moment, value):
    killed = subprocess.run([sys.executable, "-c", KILLED, path, moment], cwd=Path.cwd())
    assert killed.returncode == -signal.SIGKILL
    x = scan_table(path).collect()["x"].to_list()
    assert x == ([1.5, None, None] if value is None else [value])
    drafts = [other for other in path.parent.iterdir() if is_draft(other)]
    assert len(drafts) == (value is None)
    assert all(re.fullmatch(r"\.wells\.parquet\.\d+\.unfinished", other.name) for other in drafts)
