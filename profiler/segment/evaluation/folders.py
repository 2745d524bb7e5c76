"""Two folders of label images, judged field by field."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from plates.errors import BadLabels, BadPlate
from profiler.segment.evaluation.field import Counts, count, of_fields
from profiler.segment.evaluation.summary import METRICS, summarise
from profiler.segment.label_files import files_by_name, in_places, read_labels, why_no_labels
from profiler.segment.score import SPECK_PX, drop_specks, where_known

WANTED = (
    "Give two folders of label images, what was found and the truth, with files of the same names."
)
SIDES = ("true", "found")


class Evaluation(NamedTuple):
    """How good label images are.

    Attributes:
        scores: One row per metric, see `summarise`.
        images: One row per image: `image`, then every metric.
        notes: What a reader must know: specks dropped, label images without partner.
    """

    scores: pl.DataFrame
    images: pl.DataFrame
    notes: tuple[str, ...]


class _Judged(NamedTuple):
    """One field.

    Attributes:
        counts: Of its objects.
        known_px: How many of its pixels count.
        pixels: How many there are.
        before: True objects and found ones, specks among them.
        apart: True objects and found ones that lie in several places.
    """

    counts: Counts
    known_px: int
    pixels: int
    before: tuple[int, int]
    apart: tuple[int, int]


def evaluate(
    found: Path,
    truth: Path,
    *,
    speck_px: int = SPECK_PX,
    ignore: int | None = None,
    seed: int = 0,
) -> Evaluation:
    """Judge a folder of label images by another that holds the truth.

    Args:
        found: Label TIFFs or PNGs, as `profiler segment` writes them.
        truth: The same for the same images; every one must have been segmented.
        speck_px: Objects of fewer pixels are dropped on both sides; 0 keeps all.
        ignore: Value of the true labels where nobody has looked; those pixels are not counted, nor
            found objects that lie mostly there, see `where_known`.
        seed: Of the bootstrap.

    Raises:
        BadPlate: A folder is missing or empty, or a true label image has no found partner.
        BadImage: A file cannot be read.
        BadLabels: A file holds no labels, or is of another shape than its partner; or nobody has
            looked at a pixel of it; or nothing is ignored, and all true objects are specks.
    """
    theirs, ours = (files_by_name(folder, wanted=WANTED) for folder in (truth, found))
    lost = [name for name in theirs if name not in ours]
    if lost:
        raise BadPlate(
            f"{found} has no label image for {len(lost)} of the {len(theirs)} in {truth} "
            f"({', '.join(lost[:5])}). Segment them too: leaving them out would flatter the score."
        )
    judged = [
        _judge(ours[name], path, speck_px=speck_px, ignore=ignore) for name, path in theirs.items()
    ]
    counts = of_fields(one.counts for one in judged)
    if ignore is None:  # else what is left of objects that were cut may well be specks
        _check_specks(judged, truth, speck_px=speck_px)
    by_image = {"image": list(theirs)} | {name: of(counts) for name, of in METRICS.items()}
    return Evaluation(
        summarise(counts, seed=seed),
        pl.DataFrame(by_image).with_columns(pl.col(list(METRICS)).fill_nan(None)),
        tuple(_notes(judged, len(ours) - len(theirs), speck_px=speck_px, ignore=ignore)),
    )


def _notes(
    judged: list[_Judged], extra: int, *, speck_px: int, ignore: int | None
) -> Iterator[str]:
    yield f"Objects under {speck_px} px were dropped on both sides{_specks(judged)}."
    for side, name in enumerate(SIDES):
        if apart := sum(one.apart[side] for one in judged):
            are = "labels lie" if apart > 1 else "label lies"
            yield (
                f"{apart:,} {name} {are} in several separate places, and each label counts as one "
                "object. So do masks of several classes, and labels of more objects than their "
                "files have numbers for (255 in 8 bits): if they are such, number the objects anew."
            )
    if ignore is not None:
        pixels = sum(one.pixels for one in judged)
        share = 1 - sum(one.known_px for one in judged) / pixels
        yield f"{share:.1%} of the pixels of the truth are {ignore} and were not counted."
    if len(judged) == 1:
        yield "One image has no interval: how far others would differ, only several can say."
    if extra:
        yield f"{extra} label images have no truth and were not judged."


def _objects(judged: list[_Judged]) -> tuple[list[int], list[int]]:
    """Objects in all images on either side, with specks and without."""
    before = [sum(one.before[side] for one in judged) for side in (0, 1)]
    return before, [sum(int(one.counts[side]) for one in judged) for side in (0, 1)]


def _specks(judged: list[_Judged]) -> str:
    before, after = _objects(judged)
    if before == after:
        return ""
    told = (
        f"{all_ - left:,} of {all_:,} {side}"
        for all_, left, side in zip(before, after, SIDES, strict=True)
    )
    return f": {', '.join(told)}"


def _check_specks(judged: list[_Judged], truth: Path, *, speck_px: int) -> None:
    """Refuse to call nothing at all perfect."""
    (true, _), (left, _) = _objects(judged)
    if true and not left:
        raise BadLabels(
            f"All {true:,} objects in {truth} are under {speck_px} px, and would be dropped as "
            "specks: nothing would be left to judge by. Give --specks the area of the smallest "
            "object that counts, or 0."
        )


def _judge(found: Path, truth: Path, *, speck_px: int, ignore: int | None) -> _Judged:
    true, seen = _labels(truth, ignore), _labels(found)
    if true.shape != seen.shape:
        raise BadLabels(
            f"{found} is {seen.shape[0]} x {seen.shape[1]} pixels (height x width), its "
            f"truth {true.shape[0]} x {true.shape[1]}. Segment the image itself, not a "
            "scaled or cropped copy."
        )
    known = np.ones(true.shape, bool) if ignore is None else true != ignore
    if not known.any():
        raise BadLabels(
            f"{truth}: all of its pixels are {ignore}, so nobody has looked at it and nothing "
            "can be judged by it. Take it out of the truth."
        )
    true, seen = _renumbered(np.where(known, true, 0)), _renumbered(seen)
    seen = where_known(seen, known, truth=true)
    before = (_number(true), _number(seen))
    true, seen = (drop_specks(part, below=speck_px) for part in (true, seen))
    apart = (in_places(true), in_places(seen))
    return _Judged(count(true, seen), int(known.sum()), known.size, before, apart)


def _number(labels: np.ndarray) -> int:
    return int((np.bincount(labels.ravel())[1:] > 0).sum())


def _labels(path: Path, ignore: int | None = None) -> np.ndarray:
    raw = read_labels(path)
    if problem := why_no_labels(raw, ignore=ignore):
        raise BadLabels(f"{path}: {problem}")
    return raw.astype(np.int64)


def _renumbered(labels: np.ndarray) -> np.ndarray:
    """Small ids, as areas are counted for every number up to the largest; 0 stays."""
    with_background = np.append(0, labels)
    return np.unique(with_background, return_inverse=True)[1][1:].reshape(labels.shape)
