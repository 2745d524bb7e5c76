"""The table beside label images of single images: one row for each object in them."""

import io
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float, Integer

from plates.errors import BadPlate, BadRun
from profiler.store.atomic import replacing

OBJECTS = "objects.csv"
COLUMNS = pl.Schema(
    {
        "image": pl.String,
        "label": pl.Int64,
        "area_px": pl.Int64,
        "x_px": pl.Float64,
        "y_px": pl.Float64,
        "confidence": pl.Float32,
    }
)
# In place of the first byte of rows until all others are on disk: what a killed program or a
# machine without power leaves of them is told from rows, and no text has such a byte.
UNFINISHED = b"\0"
DIGITS = 2  # of a centroid: a hundredth of a pixel


def describe_objects(
    labels: Integer[np.ndarray, "height width"],
    confidence: Float[np.ndarray, " object"],
    *,
    image: str,
) -> pl.DataFrame:
    """Describe the objects of one label image.

    Args:
        labels: 1 to as many as there are, 0 background.
        confidence: How likely each is right; NaN if unknown.
        image: Name of the image, without its ending.

    Returns:
        `COLUMNS`, one row per object, by label. `area_px` is a count of pixels; `x_px` and `y_px`
        are the centroid, column and row, 0 in the middle of the first pixel; `confidence` is null
        if unknown.
    """
    owner, room = labels.ravel(), len(confidence) + 1
    area = np.bincount(owner, minlength=room)
    rows, columns = (
        np.bincount(owner, weights=place.ravel(), minlength=room)[1:] / area[1:]
        for place in np.broadcast_arrays(*np.ogrid[: labels.shape[0], : labels.shape[1]])
    )
    return pl.DataFrame(
        {
            "image": [image] * len(confidence),
            "label": np.arange(1, room),
            "area_px": area[1:],
            "x_px": columns.round(DIGITS),
            "y_px": rows.round(DIGITS),
            "confidence": pl.Series(confidence, dtype=pl.Float32).fill_nan(None),
        },
        schema=COLUMNS,
    )


@dataclass
class ObjectTable:
    """The objects of a folder of label images, as it is filled.

    Attributes:
        path: The table.
        rows: The objects of each image, by its name.
        is_begun: Whether this program has written the file, so that it may be added to.
    """

    path: Path
    rows: dict[str, pl.DataFrame] = field(default_factory=dict)
    is_begun: bool = False

    def write(self) -> None:
        """Put the table on disk, in the order of images.

        Raises:
            BadRun: The disk is full, or the folder cannot be written to.
        """
        tables = [self.rows[image] for image in sorted(self.rows)]
        with replacing(self.path) as draft:
            pl.concat([COLUMNS.to_frame(), *tables]).write_csv(draft)
        self.is_begun = True

    def add(self, rows: pl.DataFrame) -> None:
        """Put rows at the end of the file that `write` has begun: all are on disk, or none.

        Raises:
            BadRun: As for `write`.
        """
        text = rows.write_csv(include_header=False).encode()
        try:
            with self.path.open("r+b", buffering=0) as file:
                end = file.seek(0, os.SEEK_END)
                for start, part in ((end, UNFINISHED + text[1:]), (end, text[:1])) if text else ():
                    _put(file, part, at=start)
        except OSError as reason:
            raise BadRun(
                f"{self.path} could not be added to ({reason.strerror}). The rows that it has are "
                "whole, and so are the label images. Free some space or check the folder, and run "
                "the images that are left."
            ) from reason


def _put(file: io.FileIO, data: bytes, *, at: int) -> None:
    file.seek(at)
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]
    os.fsync(file.fileno())


def read_objects(path: Path) -> ObjectTable:
    """Read what an earlier run has left; nothing, where there is no such file.

    Rows that were being added as it was killed are not there.

    Raises:
        BadPlate: The file is another table.
    """
    if not path.exists():
        return ObjectTable(path)
    try:
        whole = path.read_bytes()
        begun = whole.find(b"\n" + UNFINISHED) + 1
        text = pl.read_csv(whole[: begun or None], infer_schema=False)
        if text.columns != list(COLUMNS):
            raise ValueError(f"its columns are {', '.join(text.columns)}")
        table = text.cast(COLUMNS)
        if table.drop("confidence").null_count().row(0) != (0,) * (len(COLUMNS) - 1):
            raise ValueError("cells of it are empty")
    except (pl.exceptions.PolarsError, OSError, ValueError) as reason:
        why = str(reason).partition("\n")[0]
        raise BadPlate(
            f"{path} is no table of objects as `profiler segment` writes it: {why}; expected the "
            f"columns {', '.join(COLUMNS)}. Move it elsewhere, or choose another --out; nothing "
            "was written."
        ) from reason
    parts = table.partition_by("image", as_dict=True)
    return ObjectTable(path, {str(name): rows for (name,), rows in parts.items()})
