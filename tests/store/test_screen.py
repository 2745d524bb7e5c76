"""Opening reads nothing, tables are lazy, and several runs are one only if they agree."""

from pathlib import Path

import polars as pl
import pytest

from plates.errors import BadRun, UnknownName
from profiler.store import screen as store
from profiler.store.run import claim
from profiler.store.schema import TABLES
from profiler.store.tables import write_table
from profiler.store.wells import write_well


@pytest.fixture
def make_run(tmp_path, make_facts, make_well):
    """A function that makes a run folder of two wells, cells and fields only."""

    def make(name="run", *, recipe="translocation", **facts) -> Path:
        out = tmp_path / name
        claim(out, facts=make_facts(recipe, **facts))
        wells = [make_well(name, "A01", per_site=0), make_well(name, "A02")]
        for tables in wells:
            write_well(out, tables, computed_by="c1")
        fields = pl.concat([tables.fields for tables in wells])
        write_table(out / "fields.parquet", fields, level="fields", parameters={})
        return out

    return make


def write_hits(out: Path, **columns) -> None:
    write_table(out / "hits.parquet", pl.DataFrame(columns), level="hits", parameters={})


def test_tables_are_lazy_frames_of_the_run(make_run):
    screen = store.open(make_run())
    assert isinstance(screen.cells, pl.LazyFrame)
    assert screen.cells.collect().height == 6
    assert screen.fields.collect().height == 4
    assert screen.facts.recipe == "translocation"


def test_path_may_be_text(make_run):
    assert store.open(str(make_run())).fields.collect().height == 4


def test_opening_touches_no_parquet(make_run):
    out = make_run()
    (out / "fields.parquet").write_bytes(b"")
    screen = store.open(out)
    with pytest.raises(BadRun, match="not a whole Parquet file"):
        screen.fields  # noqa: B018


def test_rows_are_read_when_collected(make_run):
    out = make_run()
    fields = store.open(out).fields
    (out / "fields.parquet").unlink()
    with pytest.raises(FileNotFoundError):
        fields.collect()


@pytest.mark.parametrize("name", sorted(set(TABLES) - {"cells", "images", "fields"}))
def test_stage_not_made_yet_names_its_command(make_run, name):
    out = make_run()
    command = "profile" if name in ("wells", "profiles") else "hits"
    note = "" if name == "wells" else r" \(there are none without a plate map, the run's --layout\)"
    message = rf"has no {name} yet\. Make them with: profiler {command} {out}{note}$"
    with pytest.raises(BadRun, match=message):
        getattr(store.open(out), name)
    table = pl.DataFrame({"x": [1.0]})
    write_table(out / f"{name}.parquet", table, level=name, parameters={})
    assert getattr(store.open(out), name).collect().equals(table)


@pytest.mark.parametrize("name", ["cells", "fields"])
def test_run_without_cells_names_its_command(tmp_path, make_facts, name):
    claim(tmp_path, facts=make_facts())
    with pytest.raises(BadRun, match=rf"has no {name} yet. Make them with: profiler run PLATE"):
        getattr(store.open(tmp_path), name)


def test_unknown_table(make_run):
    with pytest.raises(UnknownName, match=r"no table called 'feilds'\. Did you mean 'fields'"):
        store.open(make_run()).table("feilds")


def test_no_run_folder(tmp_path):
    with pytest.raises(BadRun, match="is not a run folder"):
        store.open(tmp_path)


def test_no_folders_and_twice_the_same(make_run):
    with pytest.raises(BadRun, match="No run folder was given"):
        store.open([])
    out = make_run()
    with pytest.raises(BadRun, match="given twice"):
        store.open([out, out / ".." / out.name])


def test_several_runs_are_one_table(make_run):
    runs = [make_run("r1"), make_run("r2")]
    screen = store.open(runs)
    cells = screen.cells.collect()
    assert cells.columns[0] == "Metadata_Run"
    assert cells["Metadata_Run"].to_list() == ["r1"] * 6 + ["r2"] * 6
    assert cells["Metadata_Run"].equals(cells["Metadata_Plate"].alias("Metadata_Run"))
    assert "Metadata_Run" not in store.open(runs[:1]).cells.collect_schema()
    with pytest.raises(BadRun, match=r"There are 2 runs: take runs\[0\]\.facts"):
        screen.facts  # noqa: B018


def test_runs_of_the_same_folder_name_keep_apart(make_run):
    screen = store.open([make_run("a/run"), make_run("b/run")])
    assert screen.fields.collect()["Metadata_Run"].n_unique() == 2


def test_columns_may_come_in_another_order(make_run):
    runs = [make_run("r1"), make_run("r2")]
    write_hits(runs[0], a=[1.0], b=["x"])
    write_hits(runs[1], b=["y"], a=[2.0])
    assert store.open(runs).hits.collect().rows() == [("r1", 1.0, "x"), ("r2", 2.0, "y")]


@pytest.mark.parametrize("other", [{"a": [1.0]}, {"a": [1.0], "b": [1]}])
def test_runs_of_different_columns_are_refused(make_run, other):
    runs = [make_run("r1"), make_run("r2")]
    write_hits(runs[0], a=[1.0], b=["x"])
    write_hits(runs[1], **other)
    with pytest.raises(BadRun, match="hits of runs r1 and r2 differ in 1 columns, such as b"):
        store.open(runs).hits  # noqa: B018


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe": "painting"}, "recipe is 'translocation' in one and 'painting' in the other"),
        ({"min_area": 30}, r"settings\.segment\.min_area is 25 in one and 30 in the other"),
        ({"weights": "w2"}, "weights is 'w1' in one and 'w2' in the other"),
    ],
)
def test_runs_made_differently_are_refused(make_run, change, message):
    runs = [make_run("r1"), make_run("r2", **change)]
    with pytest.raises(BadRun, match=f"Runs r1 and r2 were made differently.*{message}"):
        store.open(runs)


def test_table_of_one_run_only(make_run):
    runs = [make_run("r1"), make_run("r2")]
    write_hits(runs[0], a=[1.0])
    assert not store.open(runs).has("hits")
    with pytest.raises(
        BadRun, match=r"r2 has no hits yet. Make them with: profiler hits .*r2 \(there are"
    ):
        store.open(runs).hits  # noqa: B018
