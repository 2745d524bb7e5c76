"""Single images in, one label TIFF each and a table out: the segmenter without a plate."""

from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from plates.errors import BadImage, BadModel, BadPlate
from plates.pixels import read_plane
from profiler.compute.devices import keep_compiled_programs
from profiler.compute.object_table import OBJECTS, ObjectTable, describe_objects, read_objects
from profiler.compute.pictures import write_labels
from profiler.segment.compartments import CellsConfig, settle
from profiler.segment.decoding.nuclei import Nuclei
from profiler.segment.label_files import SUFFIXES, files_by_name
from profiler.segment.segmenter import SegmentConfig, Segmenter, load_segmenter
from profiler.segment.stains import nuclear_stains, with_nuclei

FOLDER = "Give a folder of images, one plane each."
TOGETHER = 100  # images whose earlier rows leave the table at a time: each time it is written anew
ANY_SIZE = SegmentConfig(diameter_px="auto")  # nuclei of each image's own size


class ImageDone(NamedTuple):
    """One image is through.

    Attributes:
        name: Of its file.
        nuclei: Objects in its label image.
        images: How many images there are.
        doubtful: Objects that were left out for their confidence.
    """

    name: str
    nuclei: int
    images: int
    doubtful: int


class Found(NamedTuple):
    """The objects of one image.

    Attributes:
        labels: 1 to as many as there are, [height, width] int32.
        confidence: How likely each is right, [object]; NaN if the network is not calibrated.
        doubtful: Objects that were left out for their confidence.
    """

    labels: np.ndarray
    confidence: np.ndarray
    doubtful: int


def segment_folder(
    folder: Path,
    out: Path,
    *,
    config: SegmentConfig = ANY_SIZE,
    nuclei: Path | None = None,
    replace: bool = False,
) -> Generator[ImageDone, None, None]:
    """Find nuclei, or whole cells, in every image of a folder.

    Beside the label images lies `objects.csv`, see `describe_objects`; it goes on from the one of
    an earlier run, if there is one, and has the rows of an image as soon as its labels are there,
    also where a run is killed. At the end it is in the order of images.

    Args:
        folder: TIFFs and PNGs, one plane each, of any sizes.
        out: Folder for `<image name>.tif` label images and the table of their objects.
        config: By which model, for objects of what size. Those less likely to be right than its
            `cells.min_confidence` are left out, and the others numbered anew, as in a run.
        nuclei: Folder of nuclear stains of the same names, for a model of whole cells; it does
            without where there is none.
        replace: Whether label images that `out` already holds are made anew.

    Raises:
        BadPlate: The folder holds no images, two that would share a label image, or
            images that their label images would overwrite; a nuclear stain has no image; or `out`
            is no folder, or holds label images that may have been corrected, or another table.
        BadModel: There are nuclear stains, and the model sees one stain only.
        BadRecipe: Doubtful objects are to be left out, and the model is not calibrated.
        BadImage: At the end, naming every image that could not be read; the others are done.
    """
    named = files_by_name(folder, wanted=FOLDER)
    images, beside = list(named.values()), nuclear_stains(nuclei, named) if nuclei else None
    _check_out(out, [*images, *(beside or {}).values()])
    _check_labels(out, images, replace=replace)
    table = read_objects(out / OBJECTS)
    keep_compiled_programs()
    segmenter = load_segmenter(config)
    if beside is not None and segmenter.card.architecture.get("channels", 1) < 2:
        raise BadModel(
            f"The model {config.model!r} looks at one stain; nuclear stains beside it are for "
            "models of whole cells, such as 'cells'. Leave them out, or name such a model."
        )

    def find(name: str) -> Found:
        field = read_plane(named[name]).pixels
        if beside is not None:
            field = with_nuclei(field, beside.get(name))
        least = config.cells.min_confidence
        return find_objects(segmenter, field, least=least, name=str(named[name]))

    yield from _all(named, find, table)


def _all(
    images: Mapping[str, Path], find: Callable[[str], Found], table: ObjectTable
) -> Iterator[ImageDone]:
    """Write the labels of all images, and the table, which grows as they are made."""
    names, broken = list(images), dict[Path, BadImage]()
    try:
        for start in range(0, len(names), TOGETHER):
            some = {name: images[name] for name in names[start : start + TOGETHER]}
            yield from _some_images(some, find, table, broken=broken, count=len(images))
    finally:
        if table.is_begun:
            table.write()  # in order, and with what was set aside
    if broken:
        raise _unread(broken, len(images), table.path.parent)


def _some_images(
    images: Mapping[str, Path],
    find: Callable[[str], Found],
    table: ObjectTable,
    *,
    broken: dict[Path, BadImage],
    count: int,
) -> Iterator[ImageDone]:
    """Write labels and rows; the table on disk tells of no labels that are about to be made anew.

    A program that is killed leaves labels without rows only of these images, and only of those
    that had labels before.
    """
    earlier = {name: table.rows.pop(name) for name in images if name in table.rows}
    is_begun = table.is_begun and not earlier
    try:
        for name, path in images.items():
            try:
                found = find(name)
            except BadImage as problem:
                broken[path] = problem
                continue
            if not is_begun:
                table.write()
                is_begun = True
            labels = table.path.parent / f"{path.stem}.tif"
            rows = describe_objects(found.labels, found.confidence, image=name)
            # Rows come first, so that no labels lack them; but never beside older labels.
            if is_new := not labels.exists():
                table.add(rows)
            write_labels(labels, found.labels)
            earlier.pop(name, None)
            table.rows[name] = rows
            if not is_new:
                table.add(rows)
            yield ImageDone(path.name, rows.height, count, found.doubtful)
    finally:
        table.rows.update(earlier)
        if earlier and is_begun:  # images that failed keep their labels, and so their rows
            table.write()


def _unread(broken: Mapping[Path, BadImage], images: int, out: Path) -> BadImage:
    reasons = "\n".join(map(str, broken.values()))
    kept = [path for path in broken if (out / f"{path.stem}.tif").exists()]
    but = f" but those of an earlier run ({_some(kept)})" if kept else ""
    return BadImage(
        f"{len(broken)} of {images} images could not be read, and have no labels in "
        f"{out}{but}:\n{reasons}",
        code=next(iter(broken.values())).code,
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


def _check_out(out: Path, given: list[Path]) -> None:
    """Keep images and nuclear stains from being overwritten, and apart from labels."""
    check_folder(out)
    own = {path.resolve() for path in given}
    lost = [path for path in given if (out / f"{path.stem}.tif").resolve() in own]
    if lost:
        raise BadPlate(
            f"The label image of {lost[0].name} would overwrite an image in {out}. Choose another "
            "--out; nothing was written."
        )
    beside = [path for path in given if path.parent.resolve() == out.resolve()]
    if beside:
        raise BadPlate(
            f"{out} holds the images themselves ({_some(beside)}), and label images of the same "
            "names beside them would be taken for images. Choose another --out; nothing was "
            "written."
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
    _check_room(found, name=name)
    return np.asarray(found.labels)


def find_objects(segmenter: Segmenter, field: np.ndarray, *, least: float, name: str) -> Found:
    """Find the objects of one field, without those that are less likely to be right than asked.

    Args:
        segmenter: Loaded.
        field: As for `find_labels`.
        least: Confidence below which an object is left out; those of unknown confidence stay.
        name: Of the image, for the error.

    Raises:
        BadImage: As for `find_labels`.
    """
    seen = segmenter.examine(jnp.asarray(field, jnp.float32))
    _check_room(seen.nuclei, name=name)
    labels, sure = seen.nuclei.labels, seen.confidence
    config = CellsConfig(min_confidence=least)
    kept = settle(labels, labels, config, max_cells=len(sure), confidence=sure)
    likely = np.asarray(kept.confidence)[: int(kept.count)]
    return Found(np.asarray(kept.nuclei), likely, int(kept.doubtful))


def _check_room(found: Nuclei, *, name: str) -> None:
    if found.dropped:
        raise BadImage(
            f"{name} has more candidates for objects than its size has room for: {found.dropped} "
            "were not looked at, so its labels would lack some. Use a model with the watershed "
            "head, or cut the image into parts.",
            code="too_many_cells",
        )
