"""Opening reads nothing, tables are lazy, and several runs are one only if they agree."""

import re
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from plates.errors import BadRun, UnknownName
from profiler.profile import aggregate
from profiler.store import screen as store
from profiler.store.run import claim
from profiler.store.schema import TABLES
from profiler.store.tables import read_footer, scan_table, write_table
from profiler.store.wells import write_well


@pytest.fixture
def make_run(tmp_path, make_facts, make_well):
    """A function that makes a run folder of two wells, cells and fields only."""

    def make(name="run", *, recipe="translocation", **facts) -> Path:
        out = tmp_path / name
        claim(out, facts=make_facts(recipe, **{"plates": (name,)} | facts))
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


@pytest.mark.parametrize(
    "name", sorted(set(TABLES) - {"cells", "images", "fields", "cell_classes"})
)
def test_stage_not_made_yet_names_its_command(make_run, name):
    out = make_run()
    command = re.escape(TABLES[name].command.format(out=out))
    none = r" \(there are none without a plate map, the run's --layout\)"
    note = none if TABLES[name].needs_layout else ""
    why = r" If a run leaves them out, the summary in run\.json says why\."
    note += why if TABLES[name].optional else ""
    message = rf"has no {name} yet\. Make them with: {command}{note}$"
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
    with pytest.raises(BadRun, match=r"hits of runs r1 and r2 differ: .*1 columns \(b\)"):
        store.open(runs).hits  # noqa: B018


@pytest.mark.parametrize(
    ("change", "message"),
    [
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


def test_runs_from_before_confidence_open_beside_newer_ones(make_run):
    """They kept every nucleus, as `min_confidence = 0` does; their column is null."""
    old = make_run("old")
    for path in (old / "cells").rglob("*.parquet"):
        cells = scan_table(path).collect().drop("Metadata_QC_Confidence")
        write_table(path, cells, level="cells", parameters=read_footer(path).parameters)
    new = make_run("new", min_confidence=0.0)
    cells = store.open([old, new]).cells.collect()
    assert cells.filter(Metadata_Run="old")["Metadata_QC_Confidence"].null_count() == 6
    strict = make_run("strict", min_confidence=0.7)
    with pytest.raises(BadRun, match=r"settings\.segment\.min_confidence is 0\.0 in one and 0\.7"):
        store.open([old, strict])


@pytest.mark.parametrize(
    ("name", "values"), [("readout", ("Cells_A", "Cells_B")), ("threshold", (3.0, 4.0))]
)
def test_runs_ranked_differently_are_refused(make_run, name, values):
    runs = [make_run("one"), make_run("two")]
    for out, value in zip(runs, values, strict=True):
        table = pl.DataFrame({"rank": [1]})
        write_table(out / "hits.parquet", table, level="hits", parameters={name: value})
    message = rf"The hits of runs one and two were ranked differently: {name} is .{{1,20}} in one"
    with pytest.raises(BadRun, match=message):
        store.open(runs).hits  # noqa: B018
    assert store.open(runs, features="common").hits.collect().height == 2


def test_recipes_may_differ_in_name_only(make_run):
    runs = [make_run("r1"), make_run("r2", recipe="painting")]
    assert store.open(runs).cells.collect().height == 12


def with_settings(facts, **sections):
    return replace(facts, settings={**facts.settings, **sections})


@pytest.fixture
def profiled(make_run, make_facts):
    """Two runs whose recipes differ in [profile] and [hits] only, with wells and hits."""
    runs = []
    for name, method, threshold in (("r1", "median", 3), ("r2", "mean", 4)):
        out = make_run(name)
        sections = {"profile": {"aggregate": method}, "hits": {"threshold": threshold}}
        claim(out, facts=with_settings(make_facts(plates=(name,)), **sections))
        for table in ("wells", "hits"):
            frame = pl.DataFrame({"x": [1.0]})
            write_table(out / f"{table}.parquet", frame, level=table, parameters={})
        runs.append(out)
    return runs


def test_a_table_minds_the_sections_it_depends_on(profiled):
    screen = store.open(profiled)
    assert screen.cells.collect().height == 12
    with pytest.raises(BadRun, match=r"settings\.profile\.aggregate is 'median' in one and 'mean'"):
        screen.wells  # noqa: B018
    together = store.open(profiled, features="common")
    assert together.hits.collect()["x"].to_list() == [1.0, 1.0]
    assert together.differences("cells").is_empty()
    found = together.differences("hits")
    assert found.rows() == [
        ("setting", "settings.hits.threshold", "r1", "3"),
        ("setting", "settings.hits.threshold", "r2", "4"),
        ("setting", "settings.profile.aggregate", "r1", "median"),
        ("setting", "settings.profile.aggregate", "r2", "mean"),
    ]


@pytest.fixture
def unlike(make_run):
    """Two runs whose hits differ: `b` only in r1, `c` only in r2, `n` whole or not."""
    runs = [make_run("r1"), make_run("r2", min_area=30)]
    write_hits(runs[0], a=[1.0], b=["x"], n=[1])
    write_hits(runs[1], a=[2.0], c=["y"], n=[0.5])
    return runs


def test_columns_that_all_runs_have(unlike):
    screen = store.open(unlike, features="common")
    assert screen.hits.collect().rows() == [("r1", 1.0, 1.0), ("r2", 2.0, 0.5)]
    assert screen.select("hits", "*").collect().columns == ["Metadata_Run", "a", "n"]


def test_columns_that_any_run_has(unlike):
    hits = store.open(unlike, features="all").hits.collect()
    assert hits.columns == ["Metadata_Run", "a", "b", "n", "c"]
    assert hits.rows() == [("r1", 1.0, "x", 1.0, None), ("r2", 2.0, None, 0.5, "y")]


def test_differences_are_listed(unlike):
    found = store.open(unlike, features="all").differences("hits")
    assert found.columns == ["kind", "name", "Metadata_Run", "value"]
    assert set(found.rows()) == {
        ("setting", "settings.segment.min_area", "r1", "25"),
        ("setting", "settings.segment.min_area", "r2", "30"),
        ("column", "b", "r1", "String"),
        ("column", "b", "r2", None),
        ("column", "c", "r1", None),
        ("column", "c", "r2", "String"),
        ("column", "n", "r1", "Int64"),
        ("column", "n", "r2", "Float64"),
    }


def test_features_of_one_run_only_are_named(make_run):
    runs = [make_run("r1"), make_run("r2")]
    write_hits(runs[0], a=[1.0], b=[1.0])
    write_hits(runs[1], a=[1.0], **{f"c{i}": [1.0] for i in range(5)})
    message = (
        r"1 columns \(b\) only in r1, 5 columns \(c0, c1, c2 and 2 more\) only in r2, "
        r"no columns of another type\. "
        r".*features=\"common\".*features=\"all\".*differences\(\"hits\"\)"
    )
    with pytest.raises(BadRun, match=message):
        store.open(runs).hits  # noqa: B018


@pytest.mark.parametrize("features", ["common", "all"])
def test_text_and_numbers_are_never_one_column(make_run, features):
    runs = [make_run("r1"), make_run("r2")]
    write_hits(runs[0], dose=[1.0])
    write_hits(runs[1], dose=["1 uM"])
    with pytest.raises(BadRun, match="Column dose of hits is Float64 in r1, String in r2: it"):
        store.open(runs, features=features).hits  # noqa: B018


def test_a_column_without_values_goes_with_any(make_run):
    runs = [make_run("r1"), make_run("r2")]
    write_hits(runs[0], unit=["uM"])
    write_hits(runs[1], unit=[None])
    found = store.open(runs, features="common").hits.collect()
    assert found["unit"].to_list() == ["uM", None]


def test_unknown_choice_of_features(make_run):
    message = "no choice of features called 'comon'. Did you mean 'common'"
    with pytest.raises(UnknownName, match=message):
        store.open(make_run(), features="comon")


def test_a_plate_in_two_runs_is_refused_unless_said(make_run):
    runs = [make_run("r1", plates=("P1", "P2")), make_run("r2", plates=("P3", "P1"))]
    with pytest.raises(BadRun, match=r"Plate P1 is in runs r1 and r2.*repeated_plates=True"):
        store.open(runs)
    screen = store.open(runs, repeated_plates=True)
    assert screen.cells.collect().n_unique(["Metadata_Run", "Metadata_Plate"]) == 2


# What is read: columns by pattern, rows by filter.


def test_columns_by_pattern(make_run):
    screen = store.open(make_run())
    frame = screen.select("cells", "Nuclei_*", "Metadata_*Well", "Cells_*_GFP")
    assert frame.collect_schema().names() == [
        "Nuclei_AreaShape_Area",
        "Metadata_Well",
        "Cells_Intensity_Ratio_GFP",
    ]
    assert "PROJECT 3/9 COLUMNS" in frame.explain()


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("Nucleus_AreaShape_Area", "Did you mean 'Nuclei_AreaShape_Area'"),
        ("nuclei_*", "Capitals count: 'Nuclei_AreaShape_Area' differs only in them"),
        ("Qq*", r"Known: Metadata_Plate, .*GFP\."),
    ],
)
def test_a_pattern_without_columns_is_refused(make_run, pattern, hint):
    message = f"No column of cells matches {pattern!r}".replace("*", r"\*")
    with pytest.raises(UnknownName, match=f"{message}. {hint}"):
        store.open(make_run()).select("cells", "Metadata_*", pattern)


def test_a_filter_on_the_well_opens_no_other_file(make_run, make_well):
    out = make_run()
    other = write_well(out, make_well("run", "A03"), computed_by="c1")
    cells = store.open(out).cells
    other.unlink()
    well = pl.col("Metadata_Well")
    for which in (well == "A02", well.is_in(["A02", "B09"]), (well == "A02") & (pl.nth(6) > 0)):
        assert cells.filter(which).collect().height == 6
        assert cells.filter(which).collect(engine="streaming").height == 6
    with pytest.raises(FileNotFoundError):
        cells.collect()


def test_filters_and_columns_reach_the_files_of_several_runs(make_run):
    runs = [make_run("r1"), make_run("r2")]
    cells = store.open(runs).cells
    for run in runs:
        (run / "cells" / run.name / "A01.parquet").unlink()
    (runs[1] / "cells" / "r2" / "A02.parquet").unlink()
    wanted = (pl.col("Metadata_Plate") == "r1") & (pl.col("Metadata_Well") == "A02")
    plan = cells.filter(wanted).select("Metadata_Run", "Nuclei_AreaShape_Area")
    assert plan.explain().count("PROJECT 3/9 COLUMNS") == 2
    assert plan.collect()["Metadata_Run"].to_list() == ["r1"] * 6


def test_skipping_files_changes_no_answer(make_run, monkeypatch):
    out = make_run()
    questions = [
        pl.col("Metadata_Well") != "A02",
        pl.col("Metadata_Well") > "A01",
        (pl.col("Metadata_Plate") == "run") | (pl.col("Metadata_Site") == 2),
        pl.col("Metadata_Well").str.contains("2") & (pl.col("Nuclei_AreaShape_Area") > 102),
        pl.col("Metadata_Well").is_null(),
        ~pl.col("Metadata_Well").is_in(["A01"]),
    ]
    with_skipping = [store.open(out).cells.filter(which).collect() for which in questions]
    monkeypatch.setattr("profiler.store.tables._CAN_SKIP", False)
    without = [store.open(out).cells.filter(which).collect() for which in questions]
    assert [frame.height for frame in without] == [0, 6, 6, 4, 0, 6]
    assert all(one.equals(other) for one, other in zip(with_skipping, without, strict=True))


def write_wells(out: Path, **compounds) -> None:
    rows = [(out.name, well, name) for well, name in compounds.items()]
    columns = ["Metadata_Plate", "Metadata_Well", "Metadata_Compound"]
    frame = pl.DataFrame(rows, schema=columns, orient="row")
    write_table(out / "wells.parquet", frame, level="wells", parameters={})


def test_cells_of_a_compound_open_no_other_well(make_run, make_well):
    runs = [make_run("r1"), make_run("r2")]
    for out in runs:
        write_wells(out, A02="taxol", A01="taxol", A03="DMSO")
        write_well(out, make_well(out.name, "A03"), computed_by="c1")
    one, both = store.open(runs[0]), store.open(runs)
    frames = [s.cells_of(pl.col("Metadata_Compound") == "taxol") for s in (one, both)]
    for out in runs:
        (out / "cells" / out.name / "A03.parquet").write_bytes(b"gone")
    found = [frame.collect() for frame in frames]
    assert [frame.height for frame in found] == [6, 12]
    assert set(found[1]["Metadata_Well"]) == {"A02"}
    assert found[1]["Metadata_Run"].to_list() == ["r1"] * 6 + ["r2"] * 6


def test_cells_of_a_plate_in_two_runs_are_told_apart(make_run):
    runs = [make_run("one"), make_run("two")]
    (runs[1] / "cells" / "two").rename(runs[1] / "cells" / "one")
    wells = pl.col("Metadata_Plate").replace("two", "one")
    for path in (runs[1] / "cells" / "one").iterdir():
        frame = scan_table(path).collect().with_columns(wells)
        how = read_footer(path)
        write_table(path, frame, level=how.level, parameters=how.parameters)
    for out, compound in zip(runs, ("taxol", "DMSO"), strict=True):
        write_wells(out, A02=compound)
    write_table(
        runs[1] / "wells.parquet",
        scan_table(runs[1] / "wells.parquet").collect().with_columns(wells),
        level="wells",
        parameters={},
    )
    screen = store.open(runs, repeated_plates=True)
    assert screen.cells.collect().height == 12
    found = screen.cells_of(pl.col("Metadata_Compound") == "taxol").collect()
    assert found["Metadata_Run"].to_list() == ["one"] * 6


def test_no_cells_of_no_wells(make_run):
    out = make_run()
    write_wells(out, A02="taxol")
    assert store.open(out).cells_of(pl.lit(False)).collect().is_empty()


@pytest.mark.parametrize(("wells", "parts"), [(1, 4), (2, 2), (99, 2)])
def test_parts_are_whole_wells_and_together_all_cells(make_run, wells, parts):
    screen = store.open([make_run("r1"), make_run("r2")])
    frames = [part.collect() for part in screen.parts(wells=wells)]
    assert len(frames) == parts
    assert all(frame.n_unique(["Metadata_Run", "Metadata_Well"]) <= wells for frame in frames)
    assert pl.concat(frames).equals(screen.cells.collect())


def test_wells_summed_up_in_parts_are_those_of_the_whole(make_run):
    screen = store.open([make_run("r1"), make_run("r2")])
    parts = pl.concat([aggregate(part) for part in screen.parts(wells=1)])
    assert parts.equals(aggregate(screen.cells))
    assert parts["Metadata_Object_Count"].to_list() == [6, 6]


def test_a_part_opens_its_own_files_only(make_run):
    out = make_run()
    first, second = store.open(out).parts(wells=1)
    (out / "cells" / "run" / "A02.parquet").write_bytes(b"gone")
    assert first.collect().is_empty()
    with pytest.raises(pl.exceptions.ComputeError):
        second.collect()


# Files that are not what they should be.


@pytest.mark.parametrize("keep", [0, 7, -1])
def test_a_cell_file_cut_short_is_named(make_run, keep):
    out = make_run()
    path = out / "cells" / "run" / "A02.parquet"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BadRun, match=r"A02\.parquet is not a whole Parquet file.*run again"):
        store.open(out).cells  # noqa: B018


def test_a_cell_file_of_another_version_is_named(make_run, make_well, monkeypatch):
    out = make_run()
    monkeypatch.setattr("profiler.store.tables.VERSION", "99")
    write_well(out, make_well("run", "A03"), computed_by="c1")
    monkeypatch.undo()
    with pytest.raises(BadRun, match=r"A03\.parquet has store version 99, and this program reads"):
        store.open(out).cells  # noqa: B018


def test_a_plate_without_cells_is_a_table_without_rows(tmp_path, make_facts, make_well):
    claim(tmp_path, facts=make_facts())
    write_well(tmp_path, make_well(per_site=0), computed_by="c1")
    cells = store.open(tmp_path).cells.collect()
    assert cells.is_empty()
    assert cells.width == 9
