"""A person's images and labels, read and checked before anything is learnt from them."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from plates.errors import BadLabels, BadPlate
from plates.pixels import read_plane
from profiler.segment.heads.instances import consecutive
from profiler.segment.label_files import files_by_name, read_labels, why_no_labels
from profiler.segment.sizes import sizes_served
from profiler.segment.stains import nuclear_stains, with_nuclei
from profiler.segment.training.fields import median_diameter

UNSEEN = -1  # in labels that were read: where nobody has looked, whatever stood there
KEPT_APART = 5  # one image in so many validates
NUCLEI = "nuclei"  # folder of the stain that a whole-cell network sees beside its own
WANTED = "Training data are two folders, images/ and labels/, with files of the same names."


class Labelled(NamedTuple):
    """One image and its objects.

    Attributes:
        name: Of the image's file, without its ending.
        image: [height, width] or [height, width, channel], the files' own units.
        labels: [height, width] int32, 0 background, as read from files 1, 2, 3, ... in the order
            of the ids there, and `UNSEEN` where nobody has looked.
    """

    name: str
    image: np.ndarray
    labels: np.ndarray


def read_labelled(
    folder: Path, *, ignore: int | None, trained_px: float, channels: int = 1
) -> list[Labelled]:
    """Read `images/` and `labels/` of a folder: files of the same name belong together.

    Some may hold no nucleus, as an empty well: they teach what none looks like.

    For a network that sees the nuclear stain too, `nuclei/` may hold it, for some images or all.

    Args:
        folder: Holds the two folders of TIFFs or PNGs.
        ignore: Value of the labels on disk where nobody has looked; None if all was looked at.
        trained_px: Diameter that objects will be brought to.
        channels: Stains that the network sees; with one, `nuclei/` is not looked at.

    Raises:
        BadPlate: A folder is missing or empty, or an image, label image or nuclear stain has no
            partner.
        BadImage: An image cannot be read, or is in colour.
        BadLabels: Labels do not fit their image, are no labels, nobody has looked at any of their
            pixels, their nuclei are of a size beyond what can be brought to the training diameter;
            or none of the images holds a nucleus.
    """
    images, labels = (files_by_name(folder / part, wanted=WANTED) for part in ("images", "labels"))
    alone = sorted(images.keys() ^ labels.keys())
    if alone:
        side, other = ("image", "label image") if alone[0] in images else ("label image", "image")
        raise BadPlate(
            f"{folder}: the {side} {alone[0]!r} has no {other} of the same name "
            f"({len(alone)} such). Label it, or move it elsewhere; names must agree but for their "
            "ending."
        )
    beside = {}
    if channels > 1 and (folder / NUCLEI).is_dir():
        beside = nuclear_stains(folder / NUCLEI, images)
    found = []
    for name, path in images.items():
        plane, raw = read_plane(path).pixels, read_labels(labels[name])
        checked = check_labels(raw, plane, ignore=ignore, path=labels[name], trained_px=trained_px)
        image = plane if channels == 1 else with_nuclei(plane, beside.get(name))
        found.append(Labelled(name, image, checked))
    if not any(has_objects(one) for one in found):
        raise BadLabels(
            f"{folder / 'labels'}: there is no nucleus in any of the {len(found)} label images. "
            "Label some in at least one of them; others may be empty."
        )
    return found


def has_objects(one: Labelled) -> bool:
    """Whether anything was labelled in an image."""
    return bool((one.labels > 0).any())


def check_labels(
    raw: np.ndarray, plane: np.ndarray, *, ignore: int | None, path: Path, trained_px: float
) -> np.ndarray:
    """Number the objects of a label file, or say why that cannot be.

    Raises:
        BadLabels: See `read_labelled`.
    """
    problem = _problem(raw, plane, ignore)
    if problem:
        raise BadLabels(f"{path}: {problem}")
    known = np.ones(raw.shape, bool) if ignore is None else raw != ignore
    objects = consecutive(np.where(known, raw, 0))
    if not known.any():
        raise BadLabels(
            f"{path}: all of its pixels are {ignore}, so nobody has looked at it and it teaches "
            "nothing. Label it, or take the image away."
        )
    median, (smallest, largest) = median_diameter(objects), sizes_served(trained_px)
    if median and not smallest <= median <= largest:
        raise BadLabels(
            f"{path}: its median nucleus is {median:.1f} px wide; training takes {smallest:.0f} "
            f"to {largest:.0f} px. Rescale the image and its labels, or check that the labels are "
            "nuclei."
        )
    return np.where(known, objects, np.int32(UNSEEN))


def split(labelled: Iterable[Labelled]) -> tuple[list[Labelled], list[Labelled]]:
    """Keep one image in five apart for validation, by its name, so that the split never moves.

    Of four images or fewer none is kept apart: each teaches more than it could tell. Images
    without objects are not counted, and teach: a network that finds nothing is right about them,
    and would be taken for the best.
    """
    labelled = list(labelled)
    telling = [one for one in labelled if has_objects(one)]
    ranked = sorted(telling, key=lambda one: hashlib.sha256(one.name.encode()).hexdigest())
    apart = {one.name for one in ranked[: len(ranked) // KEPT_APART]}
    named = sorted(labelled, key=lambda one: one.name)
    return (
        [one for one in named if one.name not in apart],
        [one for one in named if one.name in apart],
    )


def _problem(raw: np.ndarray, plane: np.ndarray, ignore: int | None) -> str | None:
    """What is wrong with a label file's pixels, as a sentence."""
    if raw.ndim == 2 and raw.shape != plane.shape:
        return (
            f"it is {raw.shape[0]} x {raw.shape[1]} pixels, its image {plane.shape[0]} x "
            f"{plane.shape[1]}. Label the image itself, not a scaled or cropped copy."
        )
    return why_no_labels(raw, ignore=ignore)
