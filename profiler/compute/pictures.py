"""What a run keeps of the pixels: a small picture of every well, label images on request."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import tifffile

from plates.imageset import FieldKey
from plates.loader import PixelFormat, batches
from profiler.compute.field import FieldResult
from profiler.report.thumbnail import display_limits, stain_colours, thumbnail, write_thumbnail
from profiler.store.atomic import replacing
from profiler.store.places import safe_name

LABELS = ("nuclei", "cells")
SAMPLE = 8  # fields, spread over the plate, that fix the grey levels of its pictures


def plate_limits(
    sets: pl.DataFrame, *, stains: Sequence[str], pixel_format: PixelFormat, projection: str
) -> np.ndarray:
    """Find the grey levels that make the wells of a plate comparable to the eye.

    Returns:
        [channel, 2]; from fields spread over the whole plate, so that a resumed run
        draws as an uninterrupted one does.
    """
    step = max(1, sets.height // SAMPLE)
    sample = batches(
        sets.gather_every(step),
        channels=stains,
        pixel_format=pixel_format,
        size=1,
        projection=projection,
    )
    images = [batch.images[0] for batch in sample if batch.keys]
    if not images:  # every field of the sample is broken; the run will say so
        return np.tile([0.0, 1.0], (len(stains), 1))
    return display_limits(images)


@dataclass(frozen=True)
class Pictures:
    """Where pictures go, and how they look.

    Attributes:
        out: The run folder.
        stains: Names, in the order of the channels.
        limits: Black and full level of each channel, [channel, 2].
        save_labels: Whether to write label images too.
        shown_site: The site that stands for its well.
        has_times: Whether the plate has several time points, so that files are named by them.
    """

    out: Path
    stains: tuple[str, ...]
    limits: np.ndarray
    save_labels: bool
    shown_site: int = 1
    has_times: bool = False

    def keep(self, key: FieldKey, image: np.ndarray, result: FieldResult) -> None:
        """Write what is to be kept of one field.

        Args:
            key: Which field.
            image: Raw grey levels, [height, width, channel].
            result: Its label images.
        """
        if key.site == self.shown_site:
            png = thumbnail(
                image,
                result.nuclei,
                result.cells,
                limits=self.limits,
                colours=stain_colours(self.stains),
            )
            time = key.timepoint if self.has_times else None
            write_thumbnail(self.out, key.plate, key.well, picture=png, timepoint=time)
        for name in LABELS:
            path = label_path(self.out, key, name, has_times=self.has_times)
            if self.save_labels:
                write_labels(path, getattr(result, name))
            else:  # those of an earlier run are no longer the labels of these cells
                path.unlink(missing_ok=True)


def has_times(sets: pl.DataFrame) -> bool:
    """Whether the image sets of a plate have several time points."""
    return sets["timepoint"].n_unique() > 1


def label_path(out: Path, key: FieldKey, name: str, *, has_times: bool) -> Path:
    """Where the label image of one field lies: `A01_1_nuclei.tif`, over time `A01_1_t2_nuclei.tif`.

    Args:
        out: The run folder.
        key: Which field.
        name: One of `LABELS`.
        has_times: Whether its plate has several time points.
    """
    time = f"_t{key.timepoint}" if has_times else ""
    return out / "labels" / safe_name(key.plate) / f"{key.well}_{key.site}{time}_{name}.tif"


def write_labels(path: Path, labels: np.ndarray) -> None:
    """Write a label image as napari, Fiji and CellProfiler open it: 16-bit, or 32 if it must be.

    Raises:
        BadRun: The disk is full, or the folder cannot be written to.
    """
    kind = np.uint16 if labels.max(initial=0) < 2**16 else np.uint32
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as draft:
        tifffile.imwrite(draft, labels.astype(kind), compression="zlib", predictor=False)
