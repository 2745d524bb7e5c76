"""The cells of a plate, one file per well: writing them, and which need no computing again."""

from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import isclose
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

import polars as pl
import pyarrow as pa

from plates.errors import BadRun
from plates.imageset import FieldKey
from plates.pixels import FileStamp
from profiler.store import inputs
from profiler.store.atomic import is_draft
from profiler.store.index import makers
from profiler.store.places import Well, stored, well_path, well_paths
from profiler.store.schema import CELL_KEYS, FIELD_KEYS, FIELDS, cell_schema, image_schema
from profiler.store.tables import Footer, read_footer, read_footers, scan_checked, write_table

IN_WELL = ("Metadata_Site", "Metadata_Timepoint")  # what tells the fields of a well apart
SAME_SIZE = 1e-3  # relative: crops that differ by less are the same to a fraction of a pixel
_THREADS = 8  # resuming waits for the disk or the network, not for the processor

Files: TypeAlias = Mapping[FieldKey, tuple[str, ...]]  # in the order they are read


@dataclass(frozen=True)
class WellTables:
    """All that is known of one well.

    Attributes:
        plate: Name of the plate, as the reader found it.
        well: Name of the well: "B03".
        cells: One row per cell: the keys, then features. May have no rows, never no columns. An
            Arrow table is written as it is: sorted, of the schema of cells, and without NaN.
        fields: One row per field, failed ones too, columns `profiler.store.schema.FIELDS`.
        images: One row per field, failed ones too: the keys, then the fields' own features.
        inputs: The files read for each field, in reading order.
    """

    plate: str
    well: str
    cells: pl.DataFrame | pa.Table
    fields: pl.DataFrame
    images: pl.DataFrame
    inputs: Mapping[FieldKey, tuple[FileStamp, ...]]


def write_well(
    out: Path,
    tables: WellTables,
    *,
    computed_by: str,
    embedder: str | None = None,
    pixel_size_um: float | None = None,
    pixel_format: str | None = None,
) -> Path:
    """Write a finished well, whole or not at all: with its cell file it is there.

    Args:
        out: The run folder.
        tables: The well. Without cells it is finished all the same.
        computed_by: Hash of all that the cells depend on besides the files.
        embedder: Hash of the network that their vectors are of.
        pixel_size_um: Of the images, as crops for that network were cut.
        pixel_format: Shape and type that its images were asked to have.

    Returns:
        The cell file, sorted by site, time point and object number.

    Raises:
        BadRun: The disk is full or the file cannot be written; an earlier one is as before.
    """
    path = well_path(out, tables.plate, tables.well)
    has_images = tables.images.width > len(FIELD_KEYS)
    if has_images:
        beside = well_path(out, tables.plate, tables.well, table="images")
        how = {"computed_by": computed_by}
        write_table(beside, _images(tables.images), level="images", parameters=how)
    parameters = {
        "computed_by": computed_by,
        "inputs": inputs.to_json(tables.inputs),
        "fields": _field_rows(tables.fields),
        "has_images": has_images,
        "embedder": embedder,
        "pixel_size_um": pixel_size_um,
        "pixel_format": pixel_format,
    }
    is_ready = isinstance(tables.cells, pa.Table)
    cells = tables.cells if is_ready else _cells(tables.cells)
    write_table(path, cells, level="cells", parameters=parameters, may_have_nan=not is_ready)
    return path


def finished(
    out: Path,
    *,
    wanted: Mapping[Well, Files],
    computed_by: str,
    pixel_sizes: Mapping[str, float] = MappingProxyType({}),
) -> dict[Well, str | None]:
    """Find the wells that need no computing, and what their images were asked to be.

    Args:
        out: The run folder.
        wanted: The files of each field of each (plate, well) that is there now.
        computed_by: Hash of all that the cells depend on besides the files.
        pixel_sizes: Plate -> micrometres per pixel, for cells that have vectors.

    Returns:
        The wells of `wanted` whose file is whole, was computed the same way, and from the same
        bytes; with vectors, by the same pixel size, where both are known. A file of unchanged path,
        size and mtime is taken as unchanged; others are hashed. Each with the shape and type that
        its images were asked to have; None for older files, which do not say.
    """

    def footer_of(well: Well) -> Footer | None:
        size = pixel_sizes.get(well[0])
        how = {"computed_by": computed_by, "pixel_size_um": size}
        return _if_current(out, well, files=wanted[well], **how)

    with ThreadPoolExecutor(_THREADS) as pool:
        footers = zip(wanted, pool.map(footer_of, wanted), strict=True)
        return {well: footer.parameters.get("pixel_format") for well, footer in footers if footer}


def collect_fields(out: Path, wanted: Iterable[Well]) -> pl.DataFrame:
    """Gather the field rows of finished wells from their footers.

    Args:
        out: The run folder.
        wanted: The (plate, well) to gather, in this order.

    Returns:
        One row per field, columns `profiler.store.schema.FIELDS`, by site and time within a well.

    Raises:
        BadRun: A well has no file, or one that cannot be read.
    """
    paths = well_paths(out, wanted, table="cells")
    lacking = [f"{plate} {well}" for (plate, well), path in paths.items() if not path.is_file()]
    if lacking:
        raise BadRun(
            f"{len(lacking)} of {len(paths)} wells in {out} are not finished, the first is "
            f"{lacking[0]}. Run the same command again: only those are computed."
        )
    rows = [row for footer in read_footers(paths.values()) for row in footer.parameters["fields"]]
    return pl.DataFrame(pl.from_arrow(pa.Table.from_pylist(rows, schema=FIELDS)))


def scan_cells(out: Path) -> pl.LazyFrame:
    """Open the cells of all wells lazily: footers are read now, rows when collected.

    Raises:
        BadRun: There are no wells yet, some were computed otherwise than the rest, or a file
            cannot be read.
    """
    return _scan(out, "cells")


def scan_images(out: Path) -> pl.LazyFrame:
    """Open the features of all fields lazily; as `scan_cells`.

    Raises:
        BadRun: As `scan_cells`, or the recipe measures no whole fields.
    """
    wells = stored(out)
    if wells and not has_images(out):
        raise BadRun(
            f"{out} has no features of whole fields, as its recipe's families have none. Add one "
            'that has to [measure] families, such as "ImageQuality", and run again.'
        )
    return _scan(out, "images")


def has_images(out: Path) -> bool:
    """Whether the wells of a run have features of whole fields."""
    return any(well_path(out, *well, table="images").is_file() for well in stored(out)[:1])


def _scan(out: Path, table: str) -> pl.LazyFrame:
    wells = stored(out)
    if not wells:
        raise BadRun(
            f"{out} has no {table} yet. Make them with: "
            f"profiler run PLATE --recipe RECIPE --out {out}"
        )
    paths = well_paths(out, wells, table=table)
    _check_uniform(out, makers(out, paths, table=table))
    plates, names = zip(*wells, strict=True)
    return scan_checked(
        list(paths.values()), keys={"Metadata_Plate": plates, "Metadata_Well": names}
    )


def strays(out: Path, wanted: Collection[Well]) -> list[Well]:
    """List the wells that have a file but are not wanted: nothing is removed."""
    return [well for well in stored(out) if well not in wanted]


def sweep(out: Path) -> list[Path]:
    """Remove what a killed run was writing; call it where the run folder is locked.

    Returns:
        The files removed; finished files are never among them.
    """
    drafts = [path for path in sorted(out.rglob(".*")) if is_draft(path)]
    for path in drafts:
        path.unlink(missing_ok=True)
    return drafts


def _cells(cells: pl.DataFrame) -> pa.Table:
    keys = [key.name for key in CELL_KEYS]
    features = [name for name in cells.columns if name not in keys]
    ordered = (
        _with_nulls(cells, CELL_KEYS)
        .select(*keys, *features)
        .sort(*IN_WELL, "Metadata_ObjectNumber")
    )
    return ordered.to_arrow().cast(cell_schema(features))


def _images(images: pl.DataFrame) -> pa.Table:
    features = images.columns[len(FIELD_KEYS) :]
    return images.sort(IN_WELL).to_arrow().cast(image_schema(features))


def _field_rows(fields: pl.DataFrame) -> list[dict]:
    ordered = _with_nulls(fields, FIELDS).select(FIELDS.names).sort(IN_WELL).fill_nan(None)
    return ordered.to_arrow().cast(FIELDS).to_pylist()


def _with_nulls(table: pl.DataFrame, columns: Iterable[pa.Field]) -> pl.DataFrame:
    """Add what a table may leave out: columns that may be null, and are null throughout."""
    lacking = [c.name for c in columns if c.nullable and c.name not in table.columns]
    return table.with_columns(pl.lit(None).alias(name) for name in lacking)


def _if_current(
    out: Path, well: Well, *, files: Files, computed_by: str, pixel_size_um: float | None
) -> Footer | None:
    """The footer of a well that needs no computing."""
    try:
        footer = read_footer(well_path(out, *well))
    except BadRun:  # absent, cut short or foreign: computed and written again
        return None
    made = footer.parameters
    if footer.level != "cells" or made["computed_by"] != computed_by:
        return None
    then = made.get("pixel_size_um")  # which older files do not say
    if then and pixel_size_um and not isclose(then, pixel_size_um, rel_tol=SAME_SIZE):
        return None
    is_whole = not made["has_images"] or well_path(out, *well, table="images").is_file()
    return footer if is_whole and inputs.are_unchanged(made["inputs"], files) else None


def _check_uniform(out: Path, made_by: Mapping[Well, str]) -> None:
    by_maker: dict[str, list[Well]] = {}
    for well, maker in made_by.items():
        by_maker.setdefault(maker, []).append(well)
    if len(by_maker) > 1:
        odd = min(by_maker.values(), key=len)
        raise BadRun(
            f"{out} mixes cells of {len(by_maker)} settings: {len(odd)} of {len(made_by)} wells, "
            f"such as {' '.join(odd[0])}, were computed otherwise than the rest. Run all plates "
            "and wells again to the end: only those are computed. Delete the files of wells that "
            "are no longer on the plate."
        )
