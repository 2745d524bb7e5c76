"""Image sets -> batches of one fixed shape, read ahead by threads.

A field that cannot be loaded becomes a `Failure` with a code and a sentence; the others go on.
"""

import os
from collections import Counter, deque
from collections.abc import Callable, Collection, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import islice
from typing import NamedTuple, TypeAlias

import numpy as np
import polars as pl
from jaxtyping import Shaped

from plates.decode import Grey, decode
from plates.errors import BadImage, BadPlate, lookup
from plates.imageset import FIELD, FieldKey, path_column
from plates.pixels import PROJECTIONS, FileStamp, project, read_file, read_plane
from plates.remote import hearing

SAMPLE = 24  # files that vote on a plate's format: enough to outvote a few odd ones
WORKERS = min(
    16, 2 * (os.cpu_count() or 1)
)  # twice the cores: half of the time is waiting for disk
THREAD_NAME = "plates-loader"
ABSENT = -1  # bytes and mtime of a file that was not there

Images: TypeAlias = Shaped[np.ndarray, "batch height width channel"]
Span: TypeAlias = Callable[[str], AbstractContextManager[object]]


class PixelFormat(NamedTuple):
    """Shape and type that every file of a plate shares."""

    height: int
    width: int
    dtype: np.dtype

    def __str__(self) -> str:
        # Wells keep it in their footers: worded otherwise, finished plates would be run again.
        return f"{self.height} x {self.width} {self.dtype}"


class Failure(NamedTuple):
    """A field that could not be loaded, with a short code and a sentence."""

    key: FieldKey
    code: str
    message: str


class Batch(NamedTuple):
    """Fields that are processed together.

    Attributes:
        keys: The fields that were loaded, at most `size`, in the order of the image sets.
        images: [size, height, width, channel] in the files' type; image i belongs to key i,
            and all after the last key are zero.
        failures: The fields that could not be loaded, in the order of the image sets.
        inputs: Stamp of each file that was read, for failed fields too.
        faltered: Why requests to a store failed that were made again.
    """

    keys: tuple[FieldKey, ...]
    images: Images
    failures: tuple[Failure, ...]
    inputs: dict[FieldKey, tuple[FileStamp, ...]]
    faltered: tuple[str, ...] = ()


class _Field(NamedTuple):
    """What is to be loaded: for every stain its files in z order, None where it has none."""

    key: FieldKey
    files: dict[str, list[str] | None]


class _File(NamedTuple):
    """What became of a file: a plane or a problem, and its stamp, `ABSENT` if it was not there."""

    plane: Grey | None
    stamp: FileStamp
    problem: BadImage | None


class _Loaded(NamedTuple):
    """What became of a field: one plane per stain, or a failure, and what had to be asked again."""

    key: FieldKey
    planes: tuple[Grey, ...]
    failure: Failure | None
    stamps: tuple[FileStamp, ...]
    faltered: tuple[str, ...]


def expected_format(sets: pl.DataFrame, *, channels: Collection[str]) -> PixelFormat:
    """Find the format that most files of a plate have.

    Args:
        sets: From `plates.imageset.image_sets`.
        channels: Stains to look at.

    Returns:
        The most common of a sample spread over the plate. Files that cannot be read do not
        vote; if none of the sample can, the first other file that can decides.

    Raises:
        BadPlate: Not one file can be read.
    """
    fields = _fields(sets, channels=channels)
    paths = [path for field in fields for files in field.files.values() for path in files or ()]
    spread = np.linspace(0, len(paths) - 1, num=min(SAMPLE, len(paths))).round().astype(int)
    sample = [paths[index] for index in spread]
    tried = [_format(path) for path in sample]
    votes = Counter(found for found in tried if isinstance(found, PixelFormat))
    if not votes:
        others = map(_format, (path for path in paths if path not in sample))
        votes = Counter(islice((f for f in others if isinstance(f, PixelFormat)), 1))
    if not votes:
        first = tried[0] if tried else "the image sets name no file."
        raise BadPlate(f"None of the plate's {len(paths)} image files can be read: {first}")
    return votes.most_common(1)[0][0]


def _format(path: str) -> PixelFormat | BadImage:
    try:
        pixels = read_plane(path).pixels
    except BadImage as problem:
        return problem
    return PixelFormat(pixels.shape[0], pixels.shape[1], pixels.dtype)


def _fields(sets: pl.DataFrame, *, channels: Collection[str]) -> list[_Field]:
    stains = [name.removeprefix("path_") for name in sets.columns if name.startswith("path_")]
    known = {stain: path_column(stain) for stain in stains}
    columns = [lookup(known, kind="stain in the image sets", name=stain) for stain in channels]
    rows = sets.select(*FIELD, *columns).iter_rows()
    return [
        _Field(FieldKey(*row[: len(FIELD)]), dict(zip(channels, row[len(FIELD) :], strict=True)))
        for row in rows
    ]


def batches(
    sets: pl.DataFrame,
    *,
    channels: Collection[str],
    pixel_format: PixelFormat,
    size: int,
    projection: str = "max",
    ahead: int = 2,
    span: Span = nullcontext,
) -> Generator[Batch, None, None]:
    """Load a plate batch by batch while the caller works on the batch before.

    Args:
        sets: From `plates.imageset.image_sets`; the order of its rows is kept.
        channels: Stains, in the order of the last axis of the images.
        pixel_format: From `expected_format`; a field with another is a failure.
        size: Rows of `sets` in a batch.
        projection: How a z stack becomes a plane: "max", "mean", "focus" or "none".
        ahead: Batches to read while one is being worked on, 1 or more.
        span: Called with "read", "decode" or "gather", times what is done within; by default
            nothing is timed.

    Returns:
        A generator of batches, each of the next `size` rows of `sets`; one may hold
        failures alone. Closing it early ends its threads.

    Raises:
        UnknownName: There is no such projection, or no such stain in `sets`.
        ValueError: `size` or `ahead` is below 1.
    """
    if size < 1 or ahead < 1:
        raise ValueError(f"size is {size} and ahead is {ahead}; both must be 1 or more.")
    lookup(PROJECTIONS, kind="projection", name=projection)
    fields = _fields(sets, channels=channels)
    groups = [fields[start : start + size] for start in range(0, len(fields), size)]
    shape = (size, pixel_format.height, pixel_format.width, len(channels))
    return _read_ahead(
        groups,
        load=partial(_load, pixel_format=pixel_format, projection=projection, span=span),
        assemble=partial(_batch, shape=shape, dtype=pixel_format.dtype, span=span),
        ahead=ahead,
    )


def _read_ahead(
    groups: list[list[_Field]],
    *,
    load: Callable[[_Field], _Loaded],
    assemble: Callable[[list[_Loaded]], Batch],
    ahead: int,
) -> Generator[Batch, None, None]:
    """Load groups of fields in order, at most `ahead` of them before they are asked for."""
    pool = ThreadPoolExecutor(WORKERS, thread_name_prefix=THREAD_NAME)
    waiting: deque[list[Future[_Loaded]]] = deque()
    try:
        for group in groups:
            waiting.append([pool.submit(load, field) for field in group])
            if len(waiting) > ahead:
                yield assemble([future.result() for future in waiting.popleft()])
        while waiting:
            yield assemble([future.result() for future in waiting.popleft()])
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _batch(loaded: list[_Loaded], *, shape: tuple[int, ...], dtype: np.dtype, span: Span) -> Batch:
    good = [field for field in loaded if field.failure is None]
    with span("gather"):
        images = np.zeros(shape, dtype)
        for image, field in zip(images, good, strict=False):
            np.stack(field.planes, axis=-1, out=image)
    return Batch(
        keys=tuple(field.key for field in good),
        images=images,
        failures=tuple(field.failure for field in loaded if field.failure is not None),
        inputs={field.key: field.stamps for field in loaded},
        faltered=tuple(reason for field in loaded for reason in field.faltered),
    )


def _load(field: _Field, *, pixel_format: PixelFormat, projection: str, span: Span) -> _Loaded:
    """Load one field. All its files are read even if one fails: mending any must show later."""
    faltered: list[str] = []
    with hearing(faltered.append):
        stacks = {
            stain: [_read(path, pixel_format=pixel_format, span=span) for path in files or ()]
            for stain, files in field.files.items()
        }
    stamps = tuple(file.stamp for stack in stacks.values() for file in stack)
    try:
        planes = tuple(
            _projected(stack, where=(field.key, stain), how=projection)
            for stain, stack in stacks.items()
        )
    except BadImage as problem:
        failure = Failure(field.key, problem.code, str(problem))
        return _Loaded(field.key, (), failure, stamps, tuple(faltered))
    return _Loaded(field.key, planes, None, stamps, tuple(faltered))


def _read(path: str, *, pixel_format: PixelFormat, span: Span) -> _File:
    stamp = FileStamp(path, ABSENT, ABSENT, "")
    try:
        with span("read"):
            data, stamp = read_file(path)
        with span("decode"):
            plane = decode(data, path=path)
        _check_format(plane, pixel_format=pixel_format, path=path)
    except BadImage as problem:
        return _File(None, stamp, problem)
    return _File(plane, stamp, None)


def _projected(stack: list[_File], *, where: tuple[FieldKey, str], how: str) -> Grey:
    if not stack:
        raise _missing(*where)
    for file in stack:
        if file.problem:
            raise file.problem
    return project([file.plane for file in stack if file.plane is not None], how=how)


def _missing(key: FieldKey, stain: str) -> BadImage:
    return BadImage(
        f"Plate {key.plate}, well {key.well}, site {key.site} has no image of {stain}, which other "
        "fields have. Copy the missing file from the microscope.",
        code="missing_channel",
    )


def _check_format(plane: Grey, *, pixel_format: PixelFormat, path: str) -> None:
    height, width, dtype = pixel_format
    if plane.shape != (height, width):
        raise BadImage(
            f"{path} is {plane.shape[0]} x {plane.shape[1]} pixels (height x width), but the "
            f"plate's images are {height} x {width}. Was it taken with other settings?",
            code="wrong_shape",
        )
    if plane.dtype != dtype:
        raise BadImage(
            f"{path} has {plane.dtype} pixels, but the plate's images have {dtype}. Export it "
            "like the others.",
            code="wrong_bit_depth",
        )
