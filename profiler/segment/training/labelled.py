"""A person's images and labels, read and checked before anything is learnt from them."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tifffile
from PIL import Image
from scipy import ndimage

from plates.errors import BadImage, BadLabels, BadPlate
from plates.pixels import read_plane
from profiler.segment.sizes import sizes_served
from profiler.segment.training.fields import median_diameter

SUFFIXES = (".tif", ".tiff", ".png")
KEPT_APART = 5  # one image in so many validates
MASK_PIECES = 3  # one id in more separate places than this is a mask, not a nucleus


class Labelled(NamedTuple):
    """One image and its nuclei, as they are on disk.

    Attributes:
        name: Of the image's file, without its ending.
        plane: [height, width], the file's own units.
        labels: [height, width] int32, 0 background.
    """

    name: str
    plane: np.ndarray
    labels: np.ndarray


def read_labelled(folder: Path, *, ignore: int | None, trained_px: float) -> list[Labelled]:
    """Read `images/` and `labels/` of a folder: files of the same name belong together.

    Args:
        folder: Holds the two folders of TIFFs or PNGs.
        ignore: Value of the labels where nobody has looked; None if all was looked at.
        trained_px: Diameter that nuclei will be brought to.

    Raises:
        BadPlate: A folder is missing or empty, or an image or label image has no partner.
        BadImage: An image cannot be read, or is in colour.
        BadLabels: Labels do not fit their image, are no labels, hold no nucleus, or nuclei of
            a size beyond what can be brought to the training diameter.
    """
    images, labels = (_files(folder / part) for part in ("images", "labels"))
    alone = sorted(images.keys() ^ labels.keys())
    if alone:
        side, other = ("image", "label image") if alone[0] in images else ("label image", "image")
        raise BadPlate(
            f"{folder}: the {side} {alone[0]!r} has no {other} of the same name "
            f"({len(alone)} such). Label it, or move it elsewhere; names must agree but for their "
            "ending."
        )
    found = []
    for name, path in images.items():
        plane, raw = read_plane(path).pixels, _read(labels[name])
        checked = check_labels(raw, plane, ignore=ignore, path=labels[name], trained_px=trained_px)
        found.append(Labelled(name, plane, checked))
    return found


def check_labels(
    raw: np.ndarray, plane: np.ndarray, *, ignore: int | None, path: Path, trained_px: float
) -> np.ndarray:
    """Make int32 labels of what a label file holds, or say why that cannot be.

    Raises:
        BadLabels: See `read_labelled`.
    """
    problem = _problem(raw, plane, ignore)
    if problem:
        raise BadLabels(f"{path}: {problem}")
    labels = raw.astype(np.int32)
    objects = labels if ignore is None else np.where(labels == ignore, 0, labels)
    if not objects.any():
        raise BadLabels(
            f"{path}: there is no nucleus in it. Label at least one, or take the image away."
        )
    median, (smallest, largest) = median_diameter(objects), sizes_served(trained_px)
    if not smallest <= median <= largest:
        raise BadLabels(
            f"{path}: its median nucleus is {median:.1f} px wide; training takes {smallest:.0f} "
            f"to {largest:.0f} px. Rescale the image and its labels, or check that the labels are "
            "nuclei."
        )
    return labels


def split(labelled: Iterable[Labelled]) -> tuple[list[Labelled], list[Labelled]]:
    """Keep one image in five apart for validation, by its name, so that the split never moves.

    Of four images or fewer none is kept apart: each teaches more than it could tell.
    """
    ranked = sorted(labelled, key=lambda one: hashlib.sha256(one.name.encode()).hexdigest())
    apart = len(ranked) // KEPT_APART
    return sorted(ranked[apart:]), sorted(ranked[:apart])


def _files(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise BadPlate(
            f"There is no folder {folder}. Training data are two folders, images/ and labels/, "
            "with files of the same names."
        )
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise BadPlate(f"{folder} holds no images; expected files ending in {', '.join(SUFFIXES)}.")
    files = {path.stem: path for path in paths}
    if len(files) < len(paths):
        raise BadPlate(f"{folder} holds several files of one name with different endings.")
    return files


def _read(path: Path) -> np.ndarray:
    try:
        if path.suffix.lower() == ".png":
            with Image.open(path) as image:
                return np.asarray(image)
        return tifffile.imread(path)
    except (OSError, ValueError, SyntaxError) as error:
        raise BadImage(f"{path} cannot be read: {error}.", code="unreadable") from None


def _problem(raw: np.ndarray, plane: np.ndarray, ignore: int | None) -> str | None:
    """What is wrong with a label file's pixels, as a sentence."""
    if raw.ndim != 2:
        return (
            f"it has {raw.ndim} axes {raw.shape}, as colour images and stacks do; labels are one "
            "plane of whole numbers, one for each nucleus."
        )
    if raw.shape != plane.shape:
        return (
            f"it is {raw.shape[0]} x {raw.shape[1]} pixels, its image {plane.shape[0]} x "
            f"{plane.shape[1]}. Label the image itself, not a scaled or cropped copy."
        )
    if raw.dtype == bool or not np.issubdtype(raw.dtype, np.integer):
        return (
            f"its pixels are {raw.dtype}; labels are whole numbers, one for each nucleus. "
            "Number the separate nuclei (in Fiji: Connected Components Labeling) and save again."
        )
    ids = np.unique(raw[raw != 0] if ignore is None else raw[(raw != 0) & (raw != ignore)])
    if ids.size and (ids[0] < 0 or ids[-1] > np.iinfo(np.int32).max):
        return f"its labels run from {ids[0]} to {ids[-1]}; expected 1 to 2147483647."
    if ids.size != 1:
        return None
    pieces = np.empty(raw.shape, np.int32)
    ndimage.label(raw == ids[0], output=pieces)
    if pieces.max() <= MASK_PIECES:
        return None
    return (
        f"its only label, {ids[0]}, lies in {pieces.max()} separate places: a mask, not labels. "
        "Number the separate nuclei (in Fiji: Connected Components Labeling) and save again."
    )
