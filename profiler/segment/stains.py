"""A cell stain and, behind it, the nuclear stain: what networks of whole cells see."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from plates.errors import BadImage, BadPlate
from plates.pixels import read_plane
from profiler.segment.label_files import files_by_name

WANTED = "Nuclear stains have the names of the images that they belong to."


def nuclear_stains(folder: Path, images: Mapping[str, Path]) -> dict[str, Path]:
    """Find the nuclear stains of images, by name; some images may have none.

    Raises:
        BadPlate: The folder is missing or empty, or a nuclear stain belongs to no image.
    """
    found = files_by_name(folder, wanted=WANTED)
    alone = sorted(found.keys() - images.keys())
    if alone:
        raise BadPlate(
            f"{folder}: the nuclear stain {alone[0]!r} has no image of the same name "
            f"({len(alone)} such). Names must agree but for their ending."
        )
    return found


def without_nuclei(folder: Path, images: Path) -> list[str]:
    """Names of the images of a folder that have no nuclear stain in another, for `nuclear_stains`.

    Raises:
        BadPlate: A folder is missing or empty, or holds two images of one name.
    """
    found, named = (files_by_name(each, wanted=WANTED) for each in (folder, images))
    return [name for name in named if name not in found]


def with_nuclei(plane: np.ndarray, nuclei: Path | None) -> np.ndarray:
    """Put the nuclear stain behind the cell stain, zeros where there is none.

    Args:
        plane: The cell stain, [height, width].
        nuclei: File of the nuclear stain.

    Returns:
        [height, width, 2] float32.

    Raises:
        BadImage: It cannot be read, or is of another size than the cell stain.
    """
    if nuclei is None:
        return np.stack([plane, np.zeros_like(plane)], axis=-1).astype(np.float32)
    other = read_plane(nuclei).pixels
    if other.shape != plane.shape:
        raise BadImage(
            f"{nuclei} is {other.shape[0]} x {other.shape[1]} pixels, its cell stain "
            f"{plane.shape[0]} x {plane.shape[1]}. Both must be of the same field, at one size.",
            code="shape_mismatch",
        )
    return np.stack([plane, other], axis=-1).astype(np.float32)
