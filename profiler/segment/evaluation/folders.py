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
from profiler.segment.score import drop_specks

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


def evaluate(found: Path, truth: Path, *, speck_px: int = 25, seed: int = 0) -> Evaluation:
    """Judge a folder of label images by another that holds the truth.

    Args:
        found: Label TIFFs or PNGs, as `profiler segment` writes them.
        truth: The same for the same images; every one must have been segmented.
        speck_px: Objects of fewer pixels are dropped on both sides; 0 keeps all.
        seed: Of the bootstrap.

    Raises:
        BadPlate: A folder is missing or empty, or a true label image has no found partner.
        BadImage: A file cannot be read.
        BadLabels: A file holds no labels, or is of another shape than its partner.
    """
    theirs, ours = (files_by_name(folder, wanted=WANTED) for folder in (truth, found))
    lost = [name for name in theirs if name not in ours]
    if lost:
        raise BadPlate(
            f"{found} has no label image for {len(lost)} of the {len(theirs)} in {truth} "
            f"({', '.join(lost[:5])}). Segment them too: leaving them out would flatter the score."
        )
    counts = of_fields(_count(ours[name], path, speck_px) for name, path in theirs.items())
    by_image = {"image": list(theirs)} | {name: of(counts) for name, of in METRICS.items()}
    return Evaluation(
        summarise(counts, seed=seed),
        pl.DataFrame(by_image).with_columns(pl.col(list(METRICS)).fill_nan(None)),
        tuple(_notes(len(ours) - len(theirs), speck_px)),
    )


def _notes(extra: int, speck_px: int) -> Iterator[str]:
    yield f"Objects under {speck_px} px were dropped on both sides."
    if extra:
        yield f"{extra} label images have no truth and were not judged."


def _count(found: Path, truth: Path, speck_px: int) -> Counts:
    labels = [_labels(path) for path in (truth, found)]
    if labels[0].shape != labels[1].shape:
        raise BadLabels(
            f"{found} is {labels[1].shape[0]} x {labels[1].shape[1]} pixels (height x width), its "
            f"truth {labels[0].shape[0]} x {labels[0].shape[1]}. Segment the image itself, not a "
            "scaled or cropped copy."
        )
    return count(*(drop_specks(part, below=speck_px) for part in labels))


def _labels(path: Path) -> np.ndarray:
    raw = read_labels(path)
    if problem := why_no_labels(raw):
        raise BadLabels(f"{path}: {problem}")
    return raw.astype(np.int64)
