"""The illumination functions of a run, in its folder: written whole, used again, loaded by workers.

`illumination/<plate>/` holds `<stain>.npy`, CellProfiler's illumination function, beside it
`<stain>_dark.npy` where there is a dark field, and `functions.json`, written last: how they were
made, and of which files. It is one of the files that every field of the plate is computed from,
so that a function that changes is noticed as a changed image is.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from plates.errors import BadPlate
from plates.illumination import Illumination, corner_to_centre, read_dark, read_flat, to_npy
from plates.loader import PixelFormat
from plates.pixels import FileStamp, is_unchanged
from profiler.store.atomic import replacing
from profiler.store.places import safe_name

FOLDER = "illumination"
MANIFEST = "functions.json"
LEVEL = 1e-3  # of the most that is taken off: less on average is nothing


class Kept(NamedTuple):
    """What `functions.json` says.

    Attributes:
        made_by: Hash of all settings that the functions depend on.
        inputs: The files they were fitted to.
        fields: How many fields could be read, 0 where none were needed.
        functions: Stain -> what is known of its function, with the digests of its files.
        problem: Why there are none, or nothing.
        notes: What a person should know of them, whenever they are used.
    """

    made_by: str
    inputs: tuple[FileStamp, ...]
    fields: int
    functions: Mapping[str, Mapping[str, Any]]
    problem: str = ""
    notes: tuple[str, ...] = ()


def manifest_path(out: Path, plate: str) -> Path:
    """Where the functions of a plate are described."""
    return out / FOLDER / safe_name(plate) / MANIFEST


def flat_path(out: Path, plate: str, stain: str) -> Path:
    """Where the flat field of a stain lies."""
    return out / FOLDER / safe_name(plate) / f"{safe_name(stain)}.npy"


def dark_path(out: Path, plate: str, stain: str) -> Path:
    """Where its dark field lies, if it has one."""
    return out / FOLDER / safe_name(plate) / f"{safe_name(stain)}_dark.npy"


def write(out: Path, plate: str, functions: Mapping[str, Illumination], *, about: Kept) -> Kept:
    """Write a plate's functions, the description last.

    Args:
        out: The run folder.
        plate: Name of the plate.
        functions: Stain -> function.
        about: What is said of them; `functions` is filled in.

    Raises:
        BadRun: The disk is full or a file cannot be written.
    """
    said = {stain: _write_one(out, plate, stain, light) for stain, light in functions.items()}
    kept = about._replace(functions=said)
    with replacing(manifest_path(out, plate)) as draft:
        draft.write_text(json.dumps(kept._asdict(), indent=1, allow_nan=False) + "\n", "utf-8")
    return kept


def _write_one(out: Path, plate: str, stain: str, light: Illumination) -> dict[str, Any]:
    files = {flat_path(out, plate, stain): light.flat}
    if light.dark.any():
        files[dark_path(out, plate, stain)] = light.dark
    else:
        dark_path(out, plate, stain).unlink(missing_ok=True)
    digests = {}
    for path, surface in files.items():
        data = to_npy(surface)
        digests[path.name] = _digest(data)
        with replacing(path) as draft:
            draft.write_bytes(data)
    return {
        "files": digests,
        "corner_to_centre": corner_to_centre(light.flat),
        "least": float(light.flat.min()),
        "most": float(light.flat.max()),
        "dark_mean": _dark_mean(light.dark),
    }


def _dark_mean(dark: np.ndarray) -> float:
    """What is taken off on average; 0 where a background is only made level about its mean."""
    mean = float(dark.mean(dtype=np.float64))
    return mean if abs(mean) > LEVEL * float(np.abs(dark).max()) else 0.0


def read(out: Path, plate: str) -> Kept | None:
    """Read what is said of a plate's functions; None where nothing readable is there."""
    try:
        raw = json.loads(manifest_path(out, plate).read_text("utf-8"))
        stamps = tuple(FileStamp(*stamp) for stamp in raw["inputs"])
        return Kept(**{**raw, "inputs": stamps, "notes": tuple(raw.get("notes", ()))})
    except (OSError, ValueError, TypeError, KeyError):
        return None  # absent, cut short or edited: the functions are fitted again


def is_current(out: Path, plate: str, *, made_by: str, paths: Sequence[str] | None = None) -> bool:
    """Whether a plate's functions are whole, and made as asked, of the same bytes.

    Args:
        out: The run folder.
        plate: Name of the plate.
        made_by: Hash of the settings.
        paths: Files that they would be fitted to now; None where it is settings alone.
    """
    kept = read(out, plate)
    if kept is None or kept.made_by != made_by or not _are_whole(out, plate, kept):
        return False
    wanted = () if paths is None else paths
    return len(kept.inputs) == len(wanted) and all(map(is_unchanged, kept.inputs, wanted))


def _are_whole(out: Path, plate: str, kept: Kept) -> bool:
    folder = manifest_path(out, plate).parent
    files = [pair for said in kept.functions.values() for pair in said["files"].items()]
    return all(
        (folder / name).is_file() and _digest((folder / name).read_bytes()) == digest
        for name, digest in files
    )


def load(
    out: Path, plate: str, *, stains: Sequence[str], pixel_format: PixelFormat
) -> Illumination:
    """Load the functions of a plate, as the device applies them.

    Returns:
        Flat and dark fields, [height, width, channel] each, in the order of `stains`.

    Raises:
        BadPlate: They could not be made, are gone, or do not fit the images.
    """
    kept = read(out, plate)
    if kept is None or kept.problem:
        raise BadPlate(kept.problem if kept else f"{manifest_path(out, plate)} is gone; run again.")
    flats = [read_flat(flat_path(out, plate, s), pixel_format=pixel_format) for s in stains]
    darks = [read_dark(dark_path(out, plate, s), pixel_format=pixel_format) for s in stains]
    return Illumination(np.stack(flats, axis=-1), np.stack(darks, axis=-1))


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
