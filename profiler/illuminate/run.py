"""Illumination as a run needs it: functions made for its plates, and looked up by its workers."""

from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from pathlib import Path

import polars as pl

from plates.errors import BadPlate
from plates.loader import Batch, Failure, PixelFormat
from plates.pixels import read_file
from profiler.illuminate.exposure import Light
from profiler.illuminate.fit import FitSettings
from profiler.illuminate.kept import load, manifest_path
from profiler.illuminate.plate import Wanted, make_functions
from profiler.recipe import Recipe
from profiler.store.wells import Files, Well

NO_LIGHT = "no_illumination"  # code of fields whose plate has no function


def light_plates(
    out: Path, recipe: Recipe, sets: pl.DataFrame, *, flat_fields: Mapping[tuple[str, str], str]
) -> Iterator[str]:
    """Make the functions of all plates that have none, yielding what a person should know.

    Raises:
        BadPlate: As `make_functions`.
    """
    asked = recipe.illumination
    if asked.method != "none":
        how = (asked.method, asked.degree, asked.smoothness, asked.dark_field, asked.dark_level)
        wanted = Wanted(
            method=asked.method,
            stains=tuple(recipe.images.channels),
            projection=recipe.images.projection,
            sample=asked.sample,
            seed=asked.seed,
            fit=FitSettings(*how),
            vendor=flat_fields,
        )
        yield from make_functions(out, sets, wanted=wanted)


def with_functions(out: Path, recipe: Recipe, wells: Mapping[Well, Files]) -> dict[Well, Files]:
    """Count the functions among the files that every field is computed from."""
    if recipe.illumination.method == "none":
        return dict(wells)
    paths = {plate: str(manifest_path(out, plate)) for plate, _ in wells}
    return {
        (plate, well): {key: (*files, paths[plate]) for key, files in fields.items()}
        for (plate, well), fields in wells.items()
    }


def light_of(out: Path, recipe: Recipe, plate: str, pixel_format: PixelFormat) -> Light | str:
    """Load how a plate was lit, or say why it is not known."""
    stains = tuple(recipe.images.channels)
    try:
        found = load(out, plate, stains=stains, pixel_format=pixel_format)
    except BadPlate as problem:
        return str(problem)
    return Light(found.flat, found.dark)


def with_light(
    loaded: Generator[Batch, None, None], out: Path, plate: str, *, problem: str = ""
) -> Generator[Batch, None, None]:
    """Add the functions to what each field was read from; with a problem, every field fails."""
    stamp = read_file(manifest_path(out, plate))[1]
    with closing(loaded):
        for batch in loaded:
            inputs = {key: (*stamps, stamp) for key, stamps in batch.inputs.items()}
            yield _unlit(batch, problem)._replace(inputs=inputs)


def _unlit(batch: Batch, problem: str) -> Batch:
    if not problem:
        return batch
    failures = tuple(Failure(key, NO_LIGHT, problem) for key in batch.keys)
    return batch._replace(keys=(), failures=(*batch.failures, *failures))
