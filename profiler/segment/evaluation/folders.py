"""Two folders of label images, judged field by field."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from plates.errors import BadLabels, BadPlate
from profiler.segment.evaluation.field import Counts, count, of_fields
from profiler.segment.evaluation.summary import METRICS, summarise
from profiler.segment.label_files import files_by_name, read_labels, why_no_labels
from profiler.segment.score import SPECK_PX, drop_specks, where_known

WANTED = (
    "Give two folders of label images, what was found and the truth, with files of the same names."
)


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
    """One field: its counts, and how many of its pixels of how many count."""

    counts: Counts
    known_px: int
    pixels: int


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
            looked at a pixel of it.
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
    by_image = {"image": list(theirs)} | {name: of(counts) for name, of in METRICS.items()}
    return Evaluation(
        summarise(counts, seed=seed),
        pl.DataFrame(by_image).with_columns(pl.col(list(METRICS)).fill_nan(None)),
        tuple(_notes(judged, len(ours) - len(theirs), speck_px=speck_px, ignore=ignore)),
    )


def _notes(
    judged: list[_Judged], extra: int, *, speck_px: int, ignore: int | None
) -> Iterator[str]:
    yield f"Objects under {speck_px} px were dropped on both sides."
    if ignore is not None:
        pixels = sum(one.pixels for one in judged)
        share = 1 - sum(one.known_px for one in judged) / pixels
        yield f"{share:.1%} of the pixels of the truth are {ignore} and were not counted."
    if len(judged) == 1:
        yield "One image has no interval: how far others would differ, only several can say."
    if extra:
        yield f"{extra} label images have no truth and were not judged."


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
    parts = (drop_specks(part, below=speck_px) for part in (true, seen))
    return _Judged(count(*parts), int(known.sum()), known.size)


def _labels(path: Path, ignore: int | None = None) -> np.ndarray:
    raw = read_labels(path)
    if problem := why_no_labels(raw, ignore=ignore):
        raise BadLabels(f"{path}: {problem}")
    return raw.astype(np.int64)


def _renumbered(labels: np.ndarray) -> np.ndarray:
    """Small ids, as areas are counted for every number up to the largest; 0 stays."""
    with_background = np.append(0, labels)
    return np.unique(with_background, return_inverse=True)[1][1:].reshape(labels.shape)
