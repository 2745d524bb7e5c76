"""SQL answers as polars does, reads only, and says what was probably meant."""

import polars as pl
import pyarrow.parquet as pq
import pytest

from plates.errors import BadRun, UnknownName
from profiler.store import screen as store
from profiler.store.query import BadQuery, _behind_from, query
from profiler.store.run import claim
from profiler.store.schema import TABLES
from profiler.store.tables import write_table
from profiler.store.wells import write_well


@pytest.fixture
def out(tmp_path, make_facts, make_well):
    claim(tmp_path, facts=make_facts())
    for well, per_site in (("A01", 0), ("A02", 3), ("A03", 1)):
        write_well(tmp_path, make_well(well=well, per_site=per_site), computed_by="c1")
    fields = make_well(well="A02").fields
    write_table(tmp_path / "fields.parquet", fields, level="fields", parameters={})
    return tmp_path


@pytest.fixture
def screen(out):
    return store.open(out)


def test_cells_per_well(screen):
    counts = query(screen, "SELECT Metadata_Well, count(*) AS cells FROM cells GROUP BY 1")
    assert dict(counts.rows()) == {"A02": 6, "A03": 2}
    assert counts.columns == ["Metadata_Well", "cells"]


def test_join_of_two_tables(screen):
    joined = query(
        screen,
        "SELECT f.Metadata_Site AS site, max(c.Nuclei_AreaShape_Area) AS area "
        "FROM fields f JOIN cells c ON f.Metadata_Well = c.Metadata_Well "
        "AND f.Metadata_Site = c.Metadata_Site GROUP BY 1 ORDER BY 1",
    )
    assert joined.rows() == [(1, 103.0), (2, 203.0)]


@pytest.mark.parametrize(
    "sql",
    [
        "select 1 AS one",
        "-- why\nSELECT 1 AS one",
        "/* why */ WITH t AS (SELECT 1 AS one) SELECT * FROM t",
        "(SELECT 1 AS one)",
    ],
)
def test_reading_statements_are_answered(screen, sql):
    assert query(screen, sql).rows() == [(1,)]


@pytest.mark.parametrize(
    ("sql", "opened"),
    [
        ("SELECT run, cells, wells FROM runs", set()),
        ("SELECT 1 FROM runs WHERE note = 'from cells' -- FROM wells\n", set()),
        ("SELECT count(*) FROM fields f, cells", {"fields", "cells"}),
        (
            'SELECT 1 FROM fields AS f JOIN "cells" ON f.x = cells.y, wells',
            {"fields", "cells", "wells"},
        ),
        (
            "SELECT 1 FROM (SELECT cells FROM fields LIMIT 1) t, wells WHERE hits > 1",
            {"fields", "wells"},
        ),
        ("SELECT 1 FROM runs WHERE x IN (SELECT y FROM HITS) AND wells = 1", {"HITS"}),
        (
            "WITH t AS (SELECT hits FROM fields) SELECT * FROM t UNION SELECT cells FROM map",
            {"fields", "map"},
        ),
    ],
)
def test_tables_are_the_names_behind_from(sql, opened):
    assert {word for word in _behind_from(sql) if word.lower() in TABLES} == opened


def test_only_tables_mentioned_are_opened(out):
    (out / "cells" / "P1" / "A02.parquet").write_bytes(b"cut short")
    assert query(store.open(out), "SELECT count(*) AS n FROM fields").rows() == [(2,)]
    with pytest.raises(BadRun, match=r"A02\.parquet is not a whole"):
        query(store.open(out), "SELECT count(*) AS n FROM cells")


@pytest.mark.parametrize(
    "sql", ["DROP TABLE cells", "DELETE FROM cells", "CREATE TABLE x AS SELECT 1", "", "-- nothing"]
)
def test_other_statements_are_refused(screen, sql):
    with pytest.raises(BadQuery, match="only reads, so it starts with SELECT or WITH or EXPLAIN;"):
        query(screen, sql)


def test_alias_may_be_the_name_of_a_table_not_made_yet(screen):
    assert query(screen, "SELECT count(*) AS hits FROM cells").rows() == [(8,)]


@pytest.mark.parametrize("name", ["hits", "profiles"])
def test_table_not_made_yet_names_its_command(screen, name):
    command = {"hits": "hits", "profiles": "profile"}[name]
    with pytest.raises(BadRun, match=rf"has no {name} yet. Make them with: profiler {command} "):
        query(screen, f"SELECT * FROM {name}")


def test_capitals_do_not_matter_in_table_names(screen):
    assert query(screen, "SELECT count(*) AS n FROM Cells").rows() == [(8,)]
    with pytest.raises(BadRun, match="has no hits yet"):
        query(screen, "SELECT * FROM HITS")


def test_unknown_table_gets_a_hint(screen):
    with pytest.raises(UnknownName, match=r"no table called 'wel'\. Did you mean 'wells'\?"):
        query(screen, "SELECT * FROM wel")


@pytest.mark.parametrize("column", ["Metadata_Wel", "cells.Metadata_Wel"])
def test_unknown_column_gets_a_hint(screen, column):
    message = "no column called 'Metadata_Wel' in cells. Did you mean 'Metadata_Well'"
    with pytest.raises(UnknownName, match=message):
        query(screen, f"SELECT {column} FROM cells")


def test_unknown_column_of_a_narrow_table_lists_all(screen):
    known = r"'x' in fields. Known: Metadata_Plate, .*_Seconds_Measure\.$"
    with pytest.raises(UnknownName, match=known):
        query(screen, "SELECT x FROM fields")


def test_unknown_column_of_a_wide_table_lists_some(out):
    wide = pl.DataFrame({f"Nuclei_{i:03}": [0.0] for i in range(300)})
    write_table(out / "wells.parquet", wide, level="wells", parameters={})
    with pytest.raises(UnknownName, match=r"Known: Nuclei_000, .*, Nuclei_011 and 288 more\.$"):
        query(store.open(out), "SELECT qqq FROM wells")


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("SELECT 1 FROM cells WHERE", "sql parser error"),
        ("SELECT 1; SELECT 2", "one .and only one. statement"),
        ("SELECT nosuch(Metadata_Site) FROM cells", "unsupported function 'nosuch'"),
        ("SELECT * FROM cells WHERE Metadata_Site > 'a'", "cannot compare string with numeric"),
    ],
)
def test_bad_sql_passes_on_what_polars_says(screen, sql, reason):
    with pytest.raises(BadQuery, match=f"not understood: .*{reason}"):
        query(screen, sql)


def test_file_that_goes_while_it_is_read(out, screen, monkeypatch):
    frame = screen.fields
    (out / "fields.parquet").unlink()
    monkeypatch.setattr("profiler.store.query._mentioned", lambda *_: {"fields": frame})
    with pytest.raises(BadRun, match="went while the query was reading it"):
        query(screen, "SELECT * FROM fields")


AREA, RATIO = "Nuclei_AreaShape_Area", "Cells_Intensity_Ratio_GFP"


@pytest.mark.parametrize(
    ("chosen", "columns"),
    [
        ("Metadata_Site, COLUMNS('^Nuclei_.*_Area$')", ["Metadata_Site", AREA]),
        ("COLUMNS('_GFP$')", [RATIO]),
        (
            "* EXCLUDE (Metadata_Plate, Metadata_Well, Metadata_QC_TouchesBorder, Metadata_Site, "
            "Metadata_Timepoint)",
            ["Metadata_ObjectNumber", "Metadata_QC_Confidence", AREA, RATIO],
        ),
        ("* ILIKE 'nuclei%'", [AREA]),
    ],
)
def test_columns_by_pattern(screen, chosen, columns):
    found = query(screen, f"SELECT {chosen} FROM cells")
    assert found.columns == columns
    assert found.height == 8


def test_a_pattern_without_columns_is_refused(screen):
    with pytest.raises(UnknownName, match=r"No column of cells matches '\^Nucleus_', a regular"):
        query(screen, "SELECT Metadata_Site, COLUMNS('^Nucleus_') FROM cells")


def test_a_pattern_in_a_comment_is_none(screen):
    assert query(screen, "SELECT 1 AS one -- COLUMNS('^Nucleus_')").rows() == [(1,)]


def test_a_file_damaged_inside_is_told_from_bad_sql(out):
    path = out / "cells" / "P1" / "A02.parquet"
    content = bytearray(path.read_bytes())
    row_group = pq.read_metadata(path).row_group(0)
    (areas,) = (c for c in map(row_group.column, range(8)) if c.path_in_schema == AREA)
    content[areas.data_page_offset : areas.data_page_offset + 16] = bytes(16)
    path.write_bytes(content)
    with pytest.raises(BadRun, match="A file of cells is damaged inside"):
        query(store.open(out), "SELECT sum(Nuclei_AreaShape_Area) AS area FROM cells")


def test_a_filter_on_the_well_opens_no_other_well(out):
    screen = store.open(out)
    cells = screen.cells
    (out / "cells" / "P1" / "A03.parquet").write_bytes(b"")
    frame = pl.SQLContext({"cells": cells})
    found = frame.execute("SELECT count(*) AS n FROM cells WHERE Metadata_Well = 'A02'").collect()
    assert found.item() == 6
    with pytest.raises(pl.exceptions.ComputeError):
        frame.execute("SELECT count(Nuclei_AreaShape_Area) AS n FROM cells").collect()


def test_several_runs_at_once(tmp_path, make_facts, make_well):
    runs = [tmp_path / name for name in ("r1", "r2")]
    for run, per_site in zip(runs, (3, 1), strict=True):
        claim(run, facts=make_facts(plates=(run.name,)))
        write_well(run, make_well(run.name, "A02", per_site=per_site), computed_by="c1")
    found = query(
        store.open(runs),
        "SELECT Metadata_Run, count(*) AS n, max(COLUMNS('_Area$')) FROM cells "
        "WHERE Nuclei_AreaShape_Area > 101 GROUP BY Metadata_Run ORDER BY 1",
    )
    assert found.rows() == [("r1", 5, 203.0), ("r2", 1, 201.0)]
