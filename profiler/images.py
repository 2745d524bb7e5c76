"""Single images in, one label TIFF each out: the segmenter without a plate."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np

from plates.errors import BadImage, BadModel, BadPlate
from plates.pixels import read_plane
from profiler.compute.devices import keep_compiled_programs
from profiler.compute.pictures import write_labels
from profiler.segment.label_files import files_by_name
from profiler.segment.segmenter import SegmentConfig, Segmenter, load_segmenter
from profiler.segment.stains import nuclear_stains, with_nuclei

FOLDER = "Give a folder of images, one plane each."


class ImageDone(NamedTuple):
    """One image is through: how many nuclei it has, and how many images there are."""

    name: str
    nuclei: int
    images: int


def segment_folder(
    folder: Path,
    out: Path,
    *,
    model: str = "nuclei",
    nuclei: Path | None = None,
    min_area_px: int = 25,
    diameter_px: float | Literal["auto"] | None = "auto",
) -> Iterator[ImageDone]:
    """Find nuclei, or whole cells, in every image of a folder.

    Args:
        folder: TIFFs and PNGs, one plane each, of any sizes.
        out: Folder for `<image name>.tif` label images.
        model: Shipped model, or a .safetensors file.
        nuclei: Folder of nuclear stains of the same names, for a model of whole cells; it does
            without where there is none.
        min_area_px: Smaller objects are specks.
        diameter_px: How wide the objects are, for the network to see them at the size it knows;
            "auto" estimates it image by image, None leaves images as they are.

    Raises:
        BadPlate: The folder holds no images, two that would share a label image, or
            images that their label images would overwrite; or a nuclear stain without image.
        BadModel: There are nuclear stains, and the model sees one stain only.
        BadImage: At the end, naming every image that could not be read; the others are done.
    """
    named = files_by_name(folder, wanted=FOLDER)
    images, beside = list(named.values()), nuclear_stains(nuclei, named) if nuclei else None
    _check_out(out, images)
    keep_compiled_programs()
    config = SegmentConfig(model=model, diameter_px=diameter_px, min_area_px=min_area_px)
    segmenter = load_segmenter(config)
    if beside is not None and segmenter.card.architecture.get("channels", 1) < 2:
        raise BadModel(
            f"The model {model!r} looks at one stain; nuclear stains beside it are for models of "
            "whole cells, such as 'cells'. Leave them out, or name such a model."
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


def _check_out(out: Path, images: list[Path]) -> None:
    own = {path.resolve() for path in images}
    lost = [path for path in images if (out / f"{path.stem}.tif").resolve() in own]
    if lost:
        raise BadPlate(
            f"The label image of {lost[0].name} would overwrite an image in {out}. Choose another "
            "--out; nothing was written."
        )


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
