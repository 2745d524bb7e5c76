"""The illumination functions of a run's plates: made before their fields are computed, or kept."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from plates.errors import BadPlate
from plates.illumination import (
    Illumination,
    even,
    find_flats,
    levels,
    read_dark,
    read_flat,
    read_vendor,
)
from plates.imageset import path_column
from plates.loader import PixelFormat, expected_format
from profiler.illuminate import kept
from profiler.illuminate.fit import LEAST, FitSettings, choose, fit, read_sample
from profiler.illuminate.kept import Kept

FIT_VERSION = 1  # raised when the same fields give other functions than before
FITTED = ("mean", "basic")
NONE = PixelFormat(1, 1, np.dtype(np.uint16))  # of a plate that cannot be read, as workers have it
ABOUT_ONE = (0.2, 5.0)  # means of a flat field; one in grey levels is far from it


@dataclass(frozen=True)
class Wanted:
    """What the recipe asks for.

    Attributes:
        method: "mean", "basic", "vendor", or a folder of functions.
        stains: In the order of the images' channels.
        projection: How z-stacks become planes.
        sample: Fields of a plate to fit to.
        seed: Decides which.
        fit: How.
        vendor: (plate, stain) -> where the microscope's own profile is.
    """

    method: str
    stains: tuple[str, ...]
    projection: str
    sample: int
    seed: int
    fit: FitSettings
    vendor: Mapping[tuple[str, str], str]


def make_functions(out: Path, sets: pl.DataFrame, *, wanted: Wanted) -> Iterator[str]:
    """Make sure that the run folder has the functions of every plate.

    A function that is there, whole, and was fitted the same way to the same bytes, stays.

    Args:
        out: The run folder.
        sets: Image sets of whole plates.
        wanted: What is asked for.

    Yields:
        What a person should know, in sentences.

    Raises:
        BadPlate: A function of a folder does not fit the images or is unusable, or no plate has
            a microscope's profile.
        BadRun: A function cannot be written.
    """
    if wanted.method == "vendor" and not wanted.vendor:
        raise BadPlate(
            "[illumination] method is vendor, and the plates come without flat-field profiles: "
            "only Harmony and CellVoyager folders have them, and plates that `profiler convert` "
            'made of such. Use "mean" or "basic".'
        )
    for (plate,), own in sets.group_by("plate", maintain_order=True):
        yield from _of_plate(out, str(plate), own, wanted)


def _of_plate(out: Path, plate: str, sets: pl.DataFrame, wanted: Wanted) -> Iterator[str]:
    if wanted.method not in FITTED:
        yield from _given(out, plate, sets, wanted)
        return
    sample = choose(sets, fields=wanted.sample, seed=wanted.seed)
    made_by = _hash(FIT_VERSION, wanted.fit.__dict__, wanted.stains, wanted.projection)
    paths = _paths(sample, wanted.stains)
    if kept.is_current(out, plate, made_by=made_by, paths=paths):
        done = kept.read(out, plate)
    else:
        done = _fitted(out, plate, sample, wanted, made_by=made_by)
        if not done.problem:
            yield f"{plate}: illumination fitted to {done.fields} fields ({wanted.method})."
    if done:
        yield from filter(None, (done.problem, *done.notes))


def _fitted(out: Path, plate: str, sample: pl.DataFrame, wanted: Wanted, *, made_by: str) -> Kept:
    """Fit the functions of a plate; too few fields are said, not raised: others may be good."""
    pixel_format = _format(sample, wanted.stains) or NONE
    options = {"stains": wanted.stains, "projection": wanted.projection}
    read = read_sample(sample, pixel_format=pixel_format, **options)
    about = Kept(made_by, read.inputs, read.fields, {})
    if read.fields < LEAST:
        problem = (
            f"Plate {plate}: {read.fields} of {sample.height} sampled fields can be read, and an "
            f"illumination function needs {LEAST}. Set [illumination] method to none, or to a "
            "folder of functions fitted to other plates of the batch."
        )
        return kept.write(out, plate, {}, about=about._replace(problem=problem))
    lights = fit(read, settings=wanted.fit, pixel_format=pixel_format)
    functions = dict(zip(wanted.stains, lights, strict=True))
    if problem := _no_light(plate, functions, wanted):
        return kept.write(out, plate, {}, about=about._replace(problem=problem))
    means = read.mean.mean(axis=(0, 1)) * levels(pixel_format.dtype)
    notes = tuple(_nothing_left(plate, dict(zip(wanted.stains, means, strict=True)), wanted))
    return kept.write(out, plate, functions, about=about._replace(notes=notes))


def _no_light(plate: str, functions: Mapping[str, Illumination], wanted: Wanted) -> str:
    """Why fitted functions cannot be divided by, if they cannot."""
    least = {stain: float(light.flat.min()) for stain, light in functions.items()}
    stain = min(least, key=lambda name: least[name])
    if least[stain] > 0:
        return ""
    return (
        f"Plate {plate}: the light fitted to {stain} falls to {least[stain]:.2g} of its mean "
        "somewhere, and images are divided by it. Is [illumination] dark_level, now "
        f"{wanted.fit.dark_level:g}, above what the darkest corners show? Lower it, or set method "
        "to none."
    )


def _nothing_left(plate: str, means: Mapping[str, float], wanted: Wanted) -> Iterator[str]:
    """Say so where the camera's level in the dark is more than a stain shows on average."""
    for stain, mean in means.items():
        if 0 < wanted.fit.dark_level >= mean:
            yield (
                f"{plate}: {stain} has {mean:.4g} grey levels on average, and [illumination] "
                f"dark_level takes {wanted.fit.dark_level:g} off: hardly anything is left of it. "
                "Was it in the dark? Else lower dark_level."
            )


def _given(out: Path, plate: str, sets: pl.DataFrame, wanted: Wanted) -> Iterator[str]:
    pixel_format = _format(sets, wanted.stains)
    if pixel_format is None:
        yield from _unread(out, plate)
        return
    if wanted.method == "vendor":
        functions, lacking = _from_vendor(plate, wanted, pixel_format)
    else:
        functions, lacking = _from_folder(plate, wanted, pixel_format), []
    digest = {s: _digest(light) for s, light in functions.items()}
    made_by = _hash(FIT_VERSION, "given", digest)
    if not kept.is_current(out, plate, made_by=made_by):
        kept.write(out, plate, functions, about=Kept(made_by, (), 0, {}))
    for stain, mean in ((s, float(light.flat.mean())) for s, light in functions.items()):
        if not ABOUT_ONE[0] < mean < ABOUT_ONE[1]:
            yield (
                f"{plate}: the illumination function of {stain} is {mean:.3g} on average, and "
                "images are divided by it: expected about 1. Was it saved without rescaling?"
            )
    if lacking:
        yield (
            f"{plate}: the microscope gives no flat-field profile of {', '.join(lacking)}, which "
            "stay as they are."
        )
    if wanted.method == "vendor" and (
        alone := [s for s in functions if _is_dark_alone(functions[s])]
    ):
        yield (
            f"{plate}: the microscope's profile of {', '.join(alone)} is of the background alone, "
            "which is made level (its unevenness is subtracted); cells stay as uneven as they were "
            'lit. [illumination] method = "mean" or "basic" evens cells too.'
        )


def _is_dark_alone(light: Illumination) -> bool:
    """Whether something is taken off, and nothing divided by."""
    return bool(light.dark.any() and (light.flat == 1).all())


def _from_folder(plate: str, wanted: Wanted, pixel_format: PixelFormat) -> dict[str, Illumination]:
    paths = find_flats(Path(wanted.method), plate=plate, stains=wanted.stains)
    return {
        stain: Illumination(
            read_flat(path, pixel_format=pixel_format),
            read_dark(path.with_name(f"{path.stem}_dark.npy"), pixel_format=pixel_format),
        )
        for stain, path in paths.items()
    }


def _from_vendor(
    plate: str, wanted: Wanted, pixel_format: PixelFormat
) -> tuple[dict[str, Illumination], list[str]]:
    said = {stain: wanted.vendor.get((plate, stain)) for stain in wanted.stains}
    functions = {
        stain: read_vendor(address, pixel_format=pixel_format) if address else even(pixel_format)
        for stain, address in said.items()
    }
    return functions, [stain for stain, address in said.items() if not address]


def _format(sets: pl.DataFrame, stains: Sequence[str]) -> PixelFormat | None:
    """What the plate's images are like, if any can be read."""
    try:
        return expected_format(sets, channels=stains)
    except BadPlate:
        return None


def _unread(out: Path, plate: str) -> Iterator[str]:
    """Go on without functions where each field is to say why it cannot be read."""
    made_by = _hash(FIT_VERSION, "unread")
    problem = f"Plate {plate}: not one image can be read, so no illumination function is used."
    if not kept.is_current(out, plate, made_by=made_by):
        kept.write(out, plate, {}, about=Kept(made_by, (), 0, {}, problem))
    yield problem


def _paths(sets: pl.DataFrame, stains: Sequence[str]) -> list[str]:
    columns = [path_column(stain) for stain in stains]
    return [
        path for row in sets.select(columns).iter_rows() for stack in row for path in stack or ()
    ]


def _digest(light: Illumination) -> str:
    return hashlib.blake2b(light.flat.tobytes() + light.dark.tobytes(), digest_size=16).hexdigest()


def _hash(*parts: Any) -> str:
    text = json.dumps(parts, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
