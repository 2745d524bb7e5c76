"""What the tables of a run hold: the columns of cells and fields, and who makes which file."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import NamedTuple

import pyarrow as pa

VERSION = "2"  # of the run folder's format; raised when an older program could misread it


def _column(name: str, kind: pa.DataType, meaning: str, *, nullable: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=nullable, metadata={"meaning": meaning})


FIELD_KEYS = (
    _column("Metadata_Plate", pa.string(), "Barcode or folder name, as the reader found it"),
    _column("Metadata_Well", pa.string(), "Row letter and two-digit column: B03"),
    _column("Metadata_Site", pa.int32(), "Position in the well, from 1"),
    _column("Metadata_Timepoint", pa.int32(), "Time point, from 1"),
)

CELL_KEYS = (
    *FIELD_KEYS,
    _column("Metadata_ObjectNumber", pa.int32(), "Label in the label images of the field, from 1"),
    _column("Metadata_QC_TouchesBorder", pa.bool_(), "Whether the border cuts the cell off"),
    _column(
        "Metadata_QC_Confidence",
        pa.float32(),
        "Probability that its nucleus is right (shares over half of the union with a true one), "
        "null if the network is not calibrated",
        nullable=True,
    ),
)

FIELDS = pa.schema(
    [
        *FIELD_KEYS,
        _column("Metadata_QC_Status", pa.string(), "`ok`, or the code of what went wrong"),
        _column(
            "Metadata_QC_Reason", pa.string(), "The same in a sentence, null if ok", nullable=True
        ),
        _column("Metadata_Object_Count", pa.int32(), "Cells of the field in the cell table"),
        _column(
            "Metadata_Object_Doubtful",
            pa.int32(),
            "Cells left out, as their confidence is below `[segment] min_confidence`",
            nullable=True,
        ),
        _column(
            "Metadata_Object_Confidence",
            pa.float32(),
            "Mean `Metadata_QC_Confidence` of the cells in the table, null without any",
            nullable=True,
        ),
        _column("Metadata_Seconds", pa.float32(), "Time the field took", nullable=True),
        _column("Metadata_Seconds_Measure", pa.float32(), "Measuring's part of it", nullable=True),
    ]
)


INCIDENTS = pa.schema(
    [
        _column("time", pa.string(), "When (ISO 8601, UTC); of a kill, when it was found out"),
        _column("code", pa.string(), "What kind: `killed`, `disk_full`, `worker_lost`, ..."),
        _column("message", pa.string(), "What is known of it, in sentences"),
        _column("wells", pa.int32(), "Wells begun anew, null if nobody knows", nullable=True),
        _column("fields", pa.int32(), "Fields computed in vain, likewise", nullable=True),
    ]
)

VERDICTS = (
    _column(
        "Metadata_QC_Verdict",
        pa.string(),
        "`ok`; `failed` for a field without results; or the first that was found of `empty`, "
        "`saturation`, `focus`, `staining`, `bubble`, `debris`",
    ),
    _column(
        "Metadata_QC_Reason",
        pa.string(),
        "All that was found, with values and thresholds; null if ok",
        nullable=True,
    ),
)
QUALITY = pa.schema(
    [*FIELD_KEYS, *(c for c in FIELDS if c.name.startswith("Metadata_Object_")), *VERDICTS]
)
EXPOSURE = {  # of `Image_QC_{number}_{stain}`: as `profiler.illuminate.exposure` says at length
    "FineDetail": "Logarithm of the detail of 2 x 2 block means over that of 4 x 4 ones",
    "CoarseDetail": "The same of 4 x 4 over 8 x 8 block means: lower is more blurred",
    "PowerSlope": "Of log power over log spatial frequency: lower is more blurred",
    "PercentMaximal": "Pixels at the field's largest value, in percent, before correction",
    "Max": "Largest value, before correction; 1 is the end of the file's range",
    "Background": "10th percentile of 4 x 4 block means",
    "Signal": "99th percentile of those less the background",
    "Contrast": "What stands out within tiles, in units of the noise; about 1 without cells",
    "BrightTile": "Brightest of 8 x 8 tiles less the median one",
    "DarkTile": "Darkest of the tiles less the background, as a share of the median one",
    "Peak": "Brightest 4 x 4 block mean less the background",
}


class Table(NamedTuple):
    """A table of the run folder: where it lies, what a row is, and which command makes it.

    Attributes:
        file: Path in the run folder.
        row: What a row stands for.
        command: What makes it, with `{out}` for the run folder.
        sections: The sections of the recipe that its numbers depend on.
        needs_layout: Whether there is none without a plate map.
        optional: Whether a run may leave it out for other reasons, which its summary tells.
    """

    file: str
    row: str
    command: str
    sections: tuple[str, ...]
    needs_layout: bool = True
    optional: bool = False


CELL_SECTIONS = (
    "images",
    "illumination",
    "segment",
    "measure",
    "embed",
)  # all numbers come from cells
_PROFILED = (*CELL_SECTIONS, "quality", "profile")

_cells = partial(
    Table,
    command="profiler run PLATE --recipe RECIPE --out {out}",
    sections=CELL_SECTIONS,
    needs_layout=False,
)
_profile = partial(Table, command="profiler profile {out}", sections=_PROFILED)
_phenotype = partial(
    Table,
    command="profiler phenotype {out}",
    sections=(*_PROFILED, "phenotype"),
    optional=True,
)
_hits = partial(Table, command="profiler hits {out}", sections=(*_PROFILED, "hits"))
_classes = partial(
    Table,
    command="profiler classify {out} --model MODEL.safetensors",
    sections=CELL_SECTIONS,
    needs_layout=False,
)

TABLES = {
    "cells": _cells("cells/<plate>/<well>.parquet", "one cell"),
    "images": _cells(
        "images/<plate>/<well>.parquet",
        "one field: its own features, `Image_*`; null for a failed one",
    ),
    "fields": _cells("fields.parquet", "one field of the plate, failed ones too"),
    "incidents": _cells(
        "incidents.parquet", "one thing that befell the run: killed, disk full, ..."
    ),
    "quality": _profile(
        "quality.parquet",
        "one field: what it is judged by, the verdict, and why",
        sections=(*CELL_SECTIONS, "quality"),
        needs_layout=False,
    ),
    "wells": _profile("wells.parquet", "one well: plate map, counts, medians", needs_layout=False),
    "profiles": _profile("profiles.parquet", "one well, against its plate's controls"),
    "selected": _profile("selected.parquet", "one well: the profile's features worth keeping"),
    "consensus": _profile("consensus.parquet", "one compound and concentration: its wells agree"),
    "map": _phenotype("map.parquet", "one well: place on the map, cluster, novelty"),
    "clusters": _phenotype("clusters.parquet", "one cluster: size, stability, what deviates"),
    "enrichment": _phenotype("enrichment.parquet", "one cluster and label: is it over-represented"),
    "neighbours": _phenotype("neighbours.parquet", "one treatment and one most like it, ranked"),
    "subpopulations": _phenotype(
        "subpopulations.parquet", "one well and kind of cell: its share, and the one expected"
    ),
    "mechanisms": _phenotype(
        "mechanisms.parquet", "one treatment: its mechanism, and the one predicted"
    ),
    "kinds": _phenotype("kinds.parquet", "one kind of cell: its stability, and what deviates"),
    "accuracy": _phenotype(
        "accuracy.parquet", "one rule: how many mechanisms it predicts, by chance"
    ),
    "statistics": _hits("statistics.parquet", "one plate and readout"),
    "positions": _hits("positions.parquet", "one plate, readout and row, column or time: drift"),
    "activity": _hits(
        "activity.parquet", "one compound and concentration: told from controls?", optional=True
    ),
    "replicates": _hits(
        "replicates.parquet", "one compound and concentration: do wells agree?", optional=True
    ),
    "consistency": _hits(
        "consistency.parquet",
        "one mechanism or target: are its compounds alike?",
        sections=(*_PROFILED, "hits", "phenotype"),
        optional=True,
    ),
    "curves": _hits("curves.parquet", "one compound and readout: dose-response"),
    "hits": _hits("hits.parquet", "one well, ranked"),
    "compounds": _hits("compounds.parquet", "one compound, ranked"),
    "cell_classes": _classes(
        "classes/<plate>/<well>.parquet", "one cell: its class, how sure, and how new it is"
    ),
    "classes": _classes("classes.parquet", "one well and class: its share, enriched or not"),
    "class_hits": _classes(
        "class_hits.parquet",
        "one compound, concentration and class: enriched or not",
        sections=_PROFILED,
        needs_layout=True,
    ),
}

FOOTER = {
    "profiler:version": "Version of the run folder's format",
    "profiler:level": "Which of the tables above the file is",
    "profiler:parameters": (
        "How it was made, as JSON. For cells: `computed_by` (hash of all that the cells depend "
        "on), `inputs` (site, time point, and path, bytes, mtime and digest of each file read), "
        "`fields` (the well's rows of the field table), `has_images` (whether there is a file "
        "of images beside it), `embedder` (sha256 of the encoder's weights, null without one), "
        "`pixel_size_um` (by which its crops were cut) and `pixel_format` (height x width and type "
        "that its images were asked to have, as most of the plate's). "
        "For cell_classes: `model` (sha256 of the classifier), `coverage` of the sets, `cells` and "
        "`plate` (hashes of the footers of the well's and of the plate's cell files)"
    ),
}


def cell_schema(features: Sequence[str]) -> pa.Schema:
    """Schema of a cell table.

    Args:
        features: Names of the feature columns, in the order they are stored.

    Returns:
        The keys, then one float32 per feature, null where it is undefined.

    >>> cell_schema(["Nuclei_AreaShape_Area"]).field(7)
    pyarrow.Field<Nuclei_AreaShape_Area: float>
    """
    return pa.schema([*CELL_KEYS, *(pa.field(name, pa.float32()) for name in features)])


def image_schema(features: Sequence[str]) -> pa.Schema:
    """Schema of a table of fields' own features: as `cell_schema`, with the keys of fields."""
    return pa.schema([*FIELD_KEYS, *(pa.field(name, pa.float32()) for name in features)])


def describe() -> str:
    """Document the run folder as Markdown, the text of `docs/schema.md`.

    Returns:
        One section each for the files, the columns of cells, fields, incidents and quality, and
        the footer.
    """
    files = [
        (name, f"`{t.file}`", t.row, f"`{t.command.format(out='OUT')}`")
        for name, t in TABLES.items()
    ]
    footer = [(f"`{key}`", meaning) for key, meaning in FOOTER.items()]
    exposure = [(f"`{number}`", meaning) for number, meaning in EXPOSURE.items()]
    sections = (
        f"# The run folder, format {VERSION}\n",
        _markdown(("table", "file", "a row is", "made by"), files),
        "\n## Cells\n",
        _columns(CELL_KEYS),
        "\nThen features as `{Nuclei|Cells|Cytoplasm}_{Group}_{Feature}[_{Channel}...]`: float32,",
        "null where undefined. Sorted by site, time point and object number.",
        "\nWhere the recipe has an `[embed] model`, there follow `Metadata_QC_CropPadded` (1 where",
        "the cell's crop reaches beyond its field, else 0) and the cell's vector, `Embedding_0000`",
        "and so on, float32: one block of equal length for each stain, in the recipe's order,",
        "unless the encoder takes their mean. Of which network, `embedder` in the footer says.",
        "\n`screen.cells` adds `Metadata_QC_Field`, the verdict of `quality.parquet` on the cell's",
        "field (`ok` or a code), once there is one. The files do not hold it: verdicts depend on",
        "the whole plate: who reads them raw joins `quality.parquet` on the keys of fields.",
        "\n## Images\n",
        "The keys of fields, then features of the whole field as",
        "`Image_{Group}_{Feature}[_{Channel}...]`: float32, null where undefined. Sorted by",
        "site and time point.",
        "\n## Fields\n",
        _columns(FIELDS),
        "\n## Incidents\n",
        _columns(INCIDENTS),
        "\n## Quality\n",
        _columns(QUALITY),
        "\nThen, of each stain, the numbers that verdicts rest on, as `Image_QC_{number}_{stain}`:",
        "float32, null for a failed field and one below 64 pixels a side. Images are scaled to 0",
        "to 1 of the file's range and, but where it says so, corrected for their light. The",
        "footer has `thresholds`: what was learned of each plate.\n",
        _markdown(("number", "meaning"), exposure),
        "\n## Tables of wells and treatments\n",
        "They have `Metadata_Timepoint`, too, where the run has several time points: a row is then",
        "of one of them. Hits, phenotypes and what follows are of the one that `[hits] timepoint`",
        "names, the last by default.",
        "\n## Footer of every Parquet file\n",
        _markdown(("key", "value"), footer),
    )
    return "\n".join(sections) + "\n"


def _columns(columns: Iterable[pa.Field]) -> str:
    rows = [
        (f"`{c.name}`", str(c.type), _null(c), c.metadata[b"meaning"].decode()) for c in columns
    ]
    return _markdown(("column", "type", "null", "meaning"), rows)


def _null(column: pa.Field) -> str:
    return "allowed" if column.nullable else "never"


def _markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
