"""The schemas hold what docs/flow.md promises, and the documentation says all of it."""

from pathlib import Path

import polars as pl
import pyarrow as pa

from profiler.illuminate.exposure import Exposure
from profiler.quality.judge import CHECKS
from profiler.store.incidents import FILE
from profiler.store.schema import (
    CELL_KEYS,
    EXPOSURE,
    FIELD_KEYS,
    FIELDS,
    FOOTER,
    INCIDENTS,
    QUALITY,
    TABLES,
    VERSION,
    cell_schema,
    describe,
)

PAGE = Path(__file__).parents[2] / "docs" / "schema.md"


def test_cell_schema_is_keys_then_nullable_float32():
    schema = cell_schema(["Nuclei_A_B", "Cells_A_B"])
    assert schema.names == [
        "Metadata_Plate",
        "Metadata_Well",
        "Metadata_Site",
        "Metadata_Timepoint",
        "Metadata_ObjectNumber",
        "Metadata_QC_TouchesBorder",
        "Metadata_QC_Confidence",
        "Nuclei_A_B",
        "Cells_A_B",
    ]
    assert [column.nullable for column in schema] == [False] * 6 + [True] * 3
    assert [str(column.type) for column in schema] == [
        *("string", "string", "int32", "int32", "int32", "bool"),
        *("float", "float", "float"),
    ]


def test_field_schema_lets_only_reason_confidence_and_seconds_be_null():
    nullable = [column.name for column in FIELDS if column.nullable]
    assert nullable == [
        "Metadata_QC_Reason",
        "Metadata_Object_Doubtful",
        "Metadata_Object_Confidence",
        "Metadata_Seconds",
        "Metadata_Seconds_Measure",
    ]
    assert FIELDS.field("Metadata_Object_Count").type == pa.int32()
    assert FIELDS.field("Metadata_Seconds").type == pa.float32()
    assert FIELDS.names[:4] == [key.name for key in FIELD_KEYS]


def test_the_page_is_up_to_date():
    assert PAGE.read_text() == describe(), "Run `make docs`."


def test_incidents_and_quality_of_a_run_have_the_columns_that_are_described(small_run):
    for file, described in ((FILE, INCIDENTS), (TABLES["quality"].file, QUALITY)):
        found = pl.read_parquet(small_run / file)
        own = found.select(c for c in found.columns if not c.startswith("Image_"))
        assert own.schema == pl.DataFrame(described.empty_table()).schema
        whole = [column.name for column in described if not column.nullable]
        assert not found.select(pl.col(whole).null_count()).sum_horizontal().sum()
    stain = found.select("^Image_QC_.*_DNA$").columns
    assert stain == [f"Image_QC_{number}_DNA" for number in EXPOSURE]
    assert tuple(EXPOSURE) == Exposure._fields


def test_every_verdict_is_named():
    (verdict,) = (c for c in QUALITY if c.name == "Metadata_QC_Verdict")
    assert all(f"`{name}`" in verdict.metadata[b"meaning"].decode() for name in CHECKS)


def test_description_names_every_column_table_and_footer_key():
    text = describe()
    for column in (*CELL_KEYS, *FIELDS, *INCIDENTS, *QUALITY):
        meaning = column.metadata[b"meaning"].decode()
        assert f"| `{column.name}` | {column.type} |" in text
        assert meaning in text
    for name, table in TABLES.items():
        assert f"| {name} | `{table.file}` |" in text
    assert all(f"| `{key}` |" in text for key in FOOTER)
    assert f"format {VERSION}\n" in text


def test_description_tables_are_whole():
    header = None
    for line in describe().splitlines():
        if not line.startswith("|"):
            header = None
            continue
        header = header or line.count(" | ")
        assert line.count(" | ") == header, line
