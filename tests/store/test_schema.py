"""The schemas hold what docs/flow.md promises, and the documentation says all of it."""

import pyarrow as pa

from profiler.store.schema import (
    CELL_KEYS,
    FIELD_KEYS,
    FIELDS,
    FOOTER,
    TABLES,
    VERSION,
    cell_schema,
    describe,
)


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


def test_description_names_every_column_table_and_footer_key():
    text = describe()
    for column in (*CELL_KEYS, *FIELDS):
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
