"""What a user asks of a run, checked against what is on the disk before anything is computed."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import polars as pl

from plates.barcodes import FILE as BARCODES
from plates.barcodes import read_plate_maps
from plates.errors import (
    BadLayout,
    BadRecipe,
    NoControls,
    UnknownName,
    lookup,
    suggestion,
)
from plates.illumination import vendor_addresses
from plates.imageset import image_sets
from plates.irregular import check_names, copies, irregularities
from plates.layout import read_layout
from plates.readers import scan, unused_images
from plates.well import parse_well
from profiler.profile.features import PREFIXES
from profiler.profile.stains import stains_of
from profiler.profile.steps import check_steps
from profiler.profile.wells.aggregate import SUMMARIES
from profiler.profile.wells.compounds import check_compounds
from profiler.profile.wells.describe import describe, read_compounds
from profiler.profile.wells.doses import merge_doses
from profiler.profile.wells.sets import check_cells, load_aggregator
from profiler.profile.wells.summarise import learned_summaries, plain_summaries
from profiler.recipe import Recipe


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster to compute on.

    Attributes:
        address: `host:port` of its head, "auto" for the one that this machine is part of; by
            default the one that `RAY_ADDRESS` names, or else this machine alone.
        workers: How many; by default one for each GPU, or where there is none for each core.
    """

    address: str | None = None
    workers: int | None = None


WELL_COLUMNS = (  # of every table of wells, whatever the plate map has
    "Metadata_Plate", "Metadata_Well", "Metadata_Timepoint", "Metadata_Object_Count",
    "Metadata_QC_FieldsOk", "Metadata_QC_FieldsFailed", "Metadata_QC_Status",
)  # fmt: skip
MOST_NAMES = 8  # of plates in a message


@dataclass(frozen=True)
class Request:
    """A run to be made, or gone on with.

    Attributes:
        plates: Plate folders, or index files such as LoadData CSVs.
        out: Run folder, or the address of one in a store (`s3://bucket/run`).
        recipe: How.
        layout: Plate map, or a folder with `barcode_platemap.csv` and the maps of many plates;
            without one there are cells and wells, but no hits.
        compounds: Table of what is known of the compounds.
        wells: Only these; all of them by default.
        save_labels: Whether label images are kept.
        replace: Whether an earlier run in `out` is removed first.
        batch: Fields computed together; by default as many as the memory at hand holds.
        profile: Whether every stretch of work is timed and kept, for a trace.
        cluster: Where cells are computed, if not in this process.
    """

    plates: tuple[Path, ...]
    out: Path
    recipe: Recipe
    layout: Path | None = None
    compounds: Path | None = None
    wells: tuple[str, ...] = ()
    save_labels: bool = False
    replace: bool = False
    batch: int | None = None
    profile: bool = False
    cluster: Cluster | None = None


class PlateFields(NamedTuple):
    """What is on the plates.

    Attributes:
        sets: Every field of every plate, as `plates.imageset.image_sets` lists them.
        asked: Those of them to compute.
        notes: What a person should know.
        flat_fields: (plate, stain) -> where the microscope says how it lit the channel.
        pixel_sizes: Plate -> micrometres per pixel, where the microscope says.
    """

    sets: pl.DataFrame
    asked: pl.DataFrame
    notes: tuple[str, ...]
    flat_fields: Mapping[tuple[str, str], str] = MappingProxyType({})
    pixel_sizes: Mapping[str, float] = MappingProxyType({})


def find_fields(request: Request) -> PlateFields:
    """List the fields of the plates, and which are to be computed.

    Raises:
        BadPlate: A folder cannot be read, or two hold a plate of the same name.
        UnknownName: A channel, or a well that was asked for, is on no plate; or none of the
            time points taken is the one that hits are to be called at.
    """
    images = request.recipe.images
    planes = {f: scan(f, reader=images.reader, pattern=images.pattern) for f in request.plates}
    check_names(planes)
    options = {"channels": images.channels, "timepoint": images.timepoint, "z": images.z}
    sets = pl.concat([image_sets(table, **options) for table in planes.values()])
    _check_time(request.recipe.hits.timepoint, sets)
    unused = filter(None, (_unused(folder, table) for folder, table in planes.items()))
    every = pl.concat(planes.values())
    uneven = irregularities(sets, every, channels=images.channels)
    notes = (*unused, *uneven, *copies(every))
    lit = [vendor_addresses(t, sets, stains=tuple(images.channels)) for t in planes.values()]
    flat_fields = {key: address for some in lit for key, address in some.items()}
    sizes = _pixel_sizes(every)
    if not request.wells:
        return PlateFields(sets, sets, notes, flat_fields, sizes)
    found = {well: well for well in sets["well"]}
    asked = [lookup(found, kind="well on the plate", name=parse_well(w)) for w in request.wells]
    return PlateFields(sets, sets.filter(pl.col("well").is_in(asked)), notes, flat_fields, sizes)


def _pixel_sizes(planes: pl.DataFrame) -> dict[str, float]:
    """Plate -> micrometres per pixel; readers have seen to it that a plate has one."""
    size = pl.col("pixel_size_um")
    sized = planes.filter(size > 0, size.is_finite())
    return dict(sized.group_by("plate").agg(pl.col("pixel_size_um").median()).iter_rows())


def _check_time(timepoint: int | None, sets: pl.DataFrame) -> None:
    if timepoint is not None:
        found = {str(time): time for time in sets["timepoint"].unique().sort()}
        lookup(found, kind="time point ([hits] timepoint)", name=str(timepoint))


class PlateMap(NamedTuple):
    """What the wells hold, if that was said, and what a person should know of it."""

    layout: pl.DataFrame | None
    notes: tuple[str, ...] = ()


def find_layout(request: Request, sets: pl.DataFrame) -> PlateMap:
    """Read the plate map, and refuse one that could not give hits after a night's computing.

    Raises:
        BadLayout: It cannot be read, or names a well twice, or a compound in two ways.
        UnknownName: It lacks a column that the recipe's [phenotype] labels name.
        NoControls: It has no negative controls on any of the plates.
    """
    if request.layout is None and request.compounds is not None:
        raise BadLayout(
            f"{request.compounds} describes compounds, and no plate map says where they are. "
            "Give one with --layout."
        )
    if request.layout is None:
        return PlateMap(None)
    layout, notes = _read_layout(request.layout)
    if request.compounds is not None:
        described = describe(layout, read_compounds(request.compounds))
        layout, notes = described.wells, (*notes, *described.sentences())
    layout, unnamed = _with_roles(layout)
    layout, merged = merge_doses(layout)
    notes = (*notes, *unnamed, *merged)
    check_compounds(layout)
    check_recipe(request.recipe, layout=layout)
    for column in (request.recipe.phenotype.labels or {}).values():
        lookup(layout.schema, kind="column of the plate map", name=column)
    plates = sets["plate"].unique().sort().to_list()
    return PlateMap(layout, (*notes, *_check_controls(layout, plates=plates, path=request.layout)))


def _read_layout(path: Path) -> tuple[pl.DataFrame, tuple[str, ...]]:
    folder = path.parent if path.name == BARCODES else path
    if not folder.is_dir():
        return read_layout(path), ()
    found = read_plate_maps(folder)
    return found.layout, tuple(found.sentences())


def _with_roles(layout: pl.DataFrame) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Take wells with a compound and no role for treated ones, where others have roles."""
    lacks = pl.col("Metadata_Role").is_null() & pl.col("Metadata_Compound").is_not_null()
    n = layout.filter(lacks).height
    if not n or layout["Metadata_Role"].null_count() == layout.height:
        return layout, ()
    role = pl.when(lacks).then(pl.lit("treatment")).otherwise("Metadata_Role")
    note = f"{n:,} wells of the plate map have a compound and no role, and count as treatment."
    return layout.with_columns(role.alias("Metadata_Role")), (note,)


def check_recipe(recipe: Recipe, *, layout: pl.DataFrame | None = None) -> None:
    """Refuse a profile that could not be made after a night's computing.

    Args:
        recipe: All of it; its steps, summaries and readouts are looked at.
        layout: The plate map, to look up the columns that steps name.

    Raises:
        UnknownName: A step, its method, its role, a summary or a column does not exist.
        BadRecipe: A step or method has no such option, lacks one, or cannot take its value; there
            are several summaries, and a readout does not say which it is; or [profile] features
            leaves a readout out.
        BadModel: A learned aggregator cannot be read.
    """
    _check_summaries(_listed(recipe.profile.aggregate))
    _check_patterns(recipe)
    measured_readouts(recipe)
    metadata = None if layout is None else [*layout.columns, *WELL_COLUMNS]
    check_steps(recipe.profile.steps, metadata=metadata)


def _check_summaries(summaries: tuple[str, ...]) -> None:
    learned = learned_summaries(summaries)
    for name in summaries:
        if name not in learned:
            lookup(SUMMARIES, kind="summary ([profile] aggregate)", name=name)
    if not summaries or len(set(summaries)) < len(summaries):
        raise BadRecipe("[profile] aggregate needs one summary or more, each of them once.")
    if len(learned) > 1:
        raise BadRecipe(
            f"[profile] aggregate names {len(learned)} learned aggregators, {', '.join(learned)}: "
            "their columns would have the same names. Take one of them."
        )
    for path in learned:
        load_aggregator(path)


def _check_patterns(recipe: Recipe) -> None:
    """Refuse patterns that can match no feature, and readouts that they leave out."""
    patterns = recipe.profile.features
    for pattern in patterns:
        stem = re.split(r"[*?[]", pattern)[0]
        if not any(start.startswith(stem) or stem.startswith(start) for start in PREFIXES):
            raise BadRecipe(
                f"[profile] features has {pattern!r}, and features start with "
                f"{', '.join(PREFIXES)}. Give a name or a pattern such as Embedding_* or Nuclei_*."
            )
    for readout in measured_readouts(recipe) if patterns else ():
        if not any(fnmatchcase(readout, pattern) for pattern in patterns):
            raise BadRecipe(
                f"[hits] readout {readout!r} is not among [profile] features = {list(patterns)}. "
                "Add it to them, or leave the readout out: hits are then ranked by profile."
            )


def check_columns(recipe: Recipe, columns: Sequence[str], *, embedder: str | None) -> None:
    """Refuse what [profile] takes of cells where cells with these columns do not have it.

    Args:
        recipe: Its [profile] features, and a learned aggregator if it names one.
        columns: Of the cells.
        embedder: Hash of the network that their vectors are of.

    Raises:
        UnknownName: A pattern matches no column.
        BadModel: The aggregator takes other columns, or vectors of another network, of other
            stains, or of the same in another order.
    """
    for pattern in recipe.profile.features:
        if not any(fnmatchcase(name, pattern) for name in columns):
            raise UnknownName(
                f"[profile] features has {pattern!r}, and no column of the cells matches it. "
                f"{suggestion(pattern, list(columns))}"
            )
    for path in learned_summaries(recipe.profile.aggregate):
        card = load_aggregator(path).card
        check_cells(card, list(columns), embedder=embedder, stains=stains_of(recipe.model_dump()))


def measured_readouts(recipe: Recipe) -> tuple[str, ...]:
    """The features of cells that the recipe's readouts summarise.

    Raises:
        BadRecipe: As `check_recipe`.
    """
    readouts = _listed(recipe.hits.readout or ())
    how = plain_summaries(recipe.profile.aggregate)
    if readouts and not how:
        raise BadRecipe(
            f"[hits] readout is {readouts[0]!r}, and [profile] aggregate names a learned "
            'aggregator alone, which makes no such feature. Give aggregate = ["median", '
            '"YOURS.safetensors"], or leave the readout out.'
        )
    if isinstance(how, str):
        return readouts
    parts = [readout.rpartition("_") for readout in readouts]
    unnamed = ["".join(part) for part in parts if part[2] not in how]
    if unnamed:
        raise BadRecipe(
            f"[profile] aggregate gives {', '.join(how)} of every feature, and [hits] readout "
            f"{unnamed[0]!r} names none of them. Take {unnamed[0]}_{how[0]}, or another."
        )
    return tuple(feature for feature, _, _ in parts)


def _listed(names: str | tuple[str, ...]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names


def _unused(folder: Path, planes: pl.DataFrame) -> str | None:
    """Say so if a folder holds images that its reader did not take."""
    images = unused_images(folder, planes)
    if not images:
        return None
    first = ", ".join(path.name for path in images[:3])
    return f"{len(images)} images in {folder} are not part of the plate, the first: {first}."


def _check_controls(layout: pl.DataFrame, *, plates: list[str], path: Path) -> list[str]:
    """Refuse a plate map without any negative control; name the plates that have none."""
    has_roles = "Metadata_Role" in layout.columns
    negative = layout.filter(pl.col("Metadata_Role") == "negative") if has_roles else layout.clear()
    with_plates = "Metadata_Plate" in layout.columns
    covered = (
        set(negative["Metadata_Plate"]) if with_plates else set(plates if len(negative) else [])
    )
    lacking = [plate for plate in plates if plate not in covered]
    if lacking and lacking == plates:
        found = sorted(layout["Metadata_Role"].drop_nulls().unique()) if has_roles else []
        raise NoControls(
            f"{path} has no negative control wells for plate {', '.join(lacking)} (roles found: "
            f"{', '.join(found) or 'none'}), and hits are measured against them. Give those wells "
            "the role 'negative', or leave out --layout to get cells and wells only. "
            "Nothing was computed."
        )
    if not lacking:
        return []
    are = "plate has" if len(lacking) == 1 else "plates have"
    names = ", ".join(lacking[:MOST_NAMES]) + (" and more" if len(lacking) > MOST_NAMES else "")
    return [
        f"{len(lacking)} {are} no negative controls in the plate map ({names}): wells there are "
        "measured and not ranked."
    ]
