"""Single images in, one label TIFF each out: the segmenter without a plate."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from plates.errors import BadImage, BadModel, BadPlate
from plates.pixels import read_plane
from profiler.compute.devices import keep_compiled_programs
from profiler.compute.pictures import write_labels
from profiler.segment.label_files import SUFFIXES, files_by_name
from profiler.segment.segmenter import SegmentConfig, Segmenter, load_segmenter
from profiler.segment.stains import nuclear_stains, with_nuclei

FOLDER = "Give a folder of images, one plane each."


ANY_SIZE = SegmentConfig(diameter_px="auto")  # nuclei of each image's own size


class ImageDone(NamedTuple):
    """One image is through: how many nuclei it has, and how many images there are."""

    name: str
    nuclei: int
    images: int


def segment_folder(
    folder: Path,
    out: Path,
    *,
    config: SegmentConfig = ANY_SIZE,
    nuclei: Path | None = None,
    replace: bool = False,
) -> Iterator[ImageDone]:
    """Find nuclei, or whole cells, in every image of a folder.

    Args:
        folder: TIFFs and PNGs, one plane each, of any sizes.
        out: Folder for `<image name>.tif` label images.
        config: By which model, for objects of what size.
        nuclei: Folder of nuclear stains of the same names, for a model of whole cells; it does
            without where there is none.
        replace: Whether label images that `out` already holds are made anew.

    Raises:
        BadPlate: The folder holds no images, two that would share a label image, or
            images that their label images would overwrite; a nuclear stain has no image; or `out`
            is no folder, or holds label images that may have been corrected.
        BadModel: There are nuclear stains, and the model sees one stain only.
        BadImage: At the end, naming every image that could not be read; the others are done.
    """
    named = files_by_name(folder, wanted=FOLDER)
    images, beside = list(named.values()), nuclear_stains(nuclei, named) if nuclei else None
    _check_out(out, images)
    _check_labels(out, images, replace=replace)
    keep_compiled_programs()
    segmenter = load_segmenter(config)
    if beside is not None and segmenter.card.architecture.get("channels", 1) < 2:
        raise BadModel(
            f"The model {config.model!r} looks at one stain; nuclear stains beside it are for "
            "models of whole cells, such as 'cells'. Leave them out, or name such a model."
        )
    broken: list[BadImage] = []
    for path in images:
        try:
            field = read_plane(path).pixels
            if beside is not None:
                field = with_nuclei(field, beside.get(path.stem))
            labels = find_labels(segmenter, field, name=str(path))
        except BadImage as problem:
            broken.append(problem)
            continue
        write_labels(out / f"{path.stem}.tif", labels)
        yield ImageDone(path.name, int(labels.max(initial=0)), len(images))
    if broken:
        reasons = "\n".join(str(problem) for problem in broken)
        raise BadImage(
            f"{len(broken)} of {len(images)} images could not be read, and have no labels in "
            f"{out}:\n{reasons}",
            code=broken[0].code,
        )


def check_folder(out: Path) -> None:
    """Check that a path is a folder, or can become one.

    Raises:
        BadPlate: It is a file, or lies under one.
    """
    there = next(path for path in (out, *out.parents) if path.exists())
    if not there.is_dir():
        raise BadPlate(
            f"{out} cannot be made: {there} is a file, not a folder. Choose another --out; nothing "
            "was written."
        )


def _check_out(out: Path, images: list[Path]) -> None:
    check_folder(out)
    own = {path.resolve() for path in images}
    lost = [path for path in images if (out / f"{path.stem}.tif").resolve() in own]
    if lost:
        raise BadPlate(
            f"The label image of {lost[0].name} would overwrite an image in {out}. Choose another "
            "--out; nothing was written."
        )


def _check_labels(out: Path, images: list[Path], *, replace: bool) -> None:
    """Keep label images that a person may have corrected, under whatever ending."""
    names, own = {path.stem for path in images}, {path.resolve() for path in images}
    held = [
        path
        for path in sorted(out.glob("*"))
        if path.stem in names and path.suffix.lower() in SUFFIXES and path.resolve() not in own
    ]
    beside = [path for path in held if path.suffix != ".tif"]
    if beside:
        raise BadPlate(
            f"{out} holds {_some(beside)}, and label images are told apart by name alone. Move "
            "them elsewhere, or choose another --out; nothing was written."
        )
    if held and not replace:
        raise BadPlate(
            f"{out} holds label images of {len(held)} of the {len(images)} images already: "
            f"{_some(held)}. Corrections made by hand would be lost. Choose another --out, or use "
            "--replace to make them anew; nothing was written."
        )


def _some(paths: list[Path], most: int = 5) -> str:
    more = f" and {len(paths) - most} more" if len(paths) > most else ""
    return ", ".join(path.name for path in paths[:most]) + more


def find_labels(segmenter: Segmenter, field: np.ndarray, *, name: str) -> np.ndarray:
    """Find the objects of one field.

    Args:
        segmenter: Loaded.
        field: Grey levels in any unit, [height, width] or [height, width, channel].
        name: Of the image, for the error.

    Raises:
        BadImage: There are more candidates for objects than the network's head looks at.
    """
    found = segmenter.nuclei(jnp.asarray(field, jnp.float32))
    if found.dropped:
        raise BadImage(
            f"{name} has more candidates for objects than its size has room for: {found.dropped} "
            "were not looked at, so its labels would lack some. Use a model with the watershed "
            "head, or cut the image into parts.",
            code="too_many_cells",
        )
    return np.asarray(found.labels)
