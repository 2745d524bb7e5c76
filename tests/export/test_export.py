"""Formats are chosen by name, and a file is there whole or not at all."""

import polars as pl
import pytest

import profiler
from plates.errors import BadRun, UnknownName
from profiler.export import EXPORTS, export
from profiler.export.source import BadExport


def test_formats_are_named(run, tmp_path):
    with pytest.raises(UnknownName, match="no export called 'anndat'. Did you mean 'anndata'"):
        export(run, to="anndat", path=tmp_path / "x")


def test_tables_are_named(run, tmp_path):
    with pytest.raises(UnknownName, match="no table called 'profile'. Did you mean 'profiles'"):
        export(run, to="csv", path=tmp_path / "x.csv", table="profile")
    with pytest.raises(BadRun, match="has no wells yet. Make them with: profiler profile"):
        export(run, to="csv", path=tmp_path / "x.csv", table="wells")
    assert not (tmp_path / "x.csv").exists()


@pytest.mark.parametrize("to", EXPORTS)
def test_a_folder_or_a_screen_gives_the_same(run, tmp_path, to):
    written = [
        export(source, to=to, path=tmp_path / name / "file")
        for source, name in ((str(run), "a"), (profiler.open(run), "b"))
    ]
    assert [each.path for each in written] == [tmp_path / "a" / "file", tmp_path / "b" / "file"]
    assert written[0][1:] == written[1][1:]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["file"]


@pytest.mark.parametrize("to", sorted(set(EXPORTS) - {"csv"}))
def test_a_table_without_features_is_refused(run, tmp_path, to):
    path = tmp_path / "old"
    path.write_text("as it was")
    with pytest.raises(BadExport, match="compounds has no features.*Export it as csv"):
        export(run, to=to, path=path, table="compounds")
    assert path.read_text() == "as it was"


def test_runs_together_have_their_names_in_the_file(run, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for file in ("run.json", "profiles.parquet"):
        (other / file).write_bytes((run / file).read_bytes())
    both = profiler.open([run, other], repeated_plates=True)
    export(both, to="csv", path=tmp_path / "both.csv")
    back = pl.read_csv(tmp_path / "both.csv")
    assert back["Metadata_Run"].to_list() == ["run"] * 24 + ["other"] * 24
