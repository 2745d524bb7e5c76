"""A small picture of a well: its stains in colour, its nuclei and cells outlined."""

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from profiler.report.draw.colour import rgb
from profiler.store.atomic import replacing

SIZE = 256  # pixels along either side of a thumbnail
OUTLINES = {"cells": "#ffb347", "nuclei": "#ffffff"}  # nuclei last, so that they stay on top
NUCLEAR = "#4f7dff"
OTHERS = ("#31d17c", "#ff5470", "#e6c229")
TOO_BRIGHT = 4.0
VIEW = "profiler:view"  # name of the PNG's text that says which part of the field it shows
NUCLEAR_NAMES = ("dna", "dapi", "hoechst", "nuclei", "nucleus", "draq5", "h2b")


def stain_colours(stains: Sequence[str]) -> tuple[str | None, ...]:
    """Choose a colour for every stain: blue for the first nuclear one, then green, red, yellow.

    Returns:
        "#rrggbb" per stain, None for those that are not shown, from the fifth one on.

    >>> stain_colours(["GFP", "DNA"])
    ('#31d17c', '#4f7dff')
    """
    nuclear = next((s for s in stains if s.lower().startswith(NUCLEAR_NAMES)), None)
    others = iter(OTHERS)
    return tuple(NUCLEAR if stain == nuclear else next(others, None) for stain in stains)


def display_limits(samples: Iterable[np.ndarray]) -> np.ndarray:
    """Find the grey levels shown as black and as full colour, once for a whole plate.

    Args:
        samples: Fields of wells that span the plate, controls included, each [height, width,
            channel], not all of one size.

    Returns:
        [channel, 2] float64: the 10th percentile of the darkest sample (its background), and
        the 99.7th of the brightest one, so that no well of the plate is burnt out; but no more
        than `TOO_BRIGHT` times the second brightest, so that a glaring one leaves others visible.
    """
    levels = np.array([np.percentile(s, (10, 99.7), axis=(0, 1)) for s in _thinned(samples)])
    low, bright = levels[:, 0].min(0), np.sort(levels[:, 1], axis=0)[-2:]
    high = np.minimum(bright[-1], TOO_BRIGHT * bright[0])
    return np.stack([low, np.maximum(high, low + 1)], axis=-1)


def _thinned(samples: Iterable[np.ndarray]) -> list[np.ndarray]:
    thinned = [sample[::3, ::3] for sample in samples]
    if not thinned:
        raise ValueError("display limits need at least one sample field, found none")
    return thinned


def thumbnail(
    image: np.ndarray,
    nuclei: np.ndarray | None,
    cells: np.ndarray | None,
    *,
    limits: np.ndarray,
    colours: Sequence[str | None],
    size: int = SIZE,
) -> bytes:
    """Draw the middle of a field.

    Fields up to 4 times `size` wide are cut at their own resolution; in larger ones
    square blocks of pixels are averaged, so that at least a quarter of the side is seen.

    Args:
        image: Grey levels, [height, width, channel], any integer or float type.
        nuclei: Label image [height, width], 0 background; None draws no outlines.
        cells: Label image of the cells, likewise.
        limits: Black and full level of each channel, [channel, 2], of `display_limits`.
        colours: "#rrggbb" or None (not shown) for each channel, as of `stain_colours`.
        size: Side of the picture in pixels; smaller fields give smaller pictures.

    Returns:
        A PNG file, whose text `VIEW` is "top left step": the corner of the part of the field
        that it shows, and how many of the field's pixels are one of its own.

    Raises:
        ValueError: When channels, limits and colours are not equally many.
    """
    channels = image.shape[-1]
    if not len(limits) == len(colours) == channels:
        found = f"{channels} channels, {len(limits)} limits and {len(colours)} colours"
        raise ValueError(f"a thumbnail needs as many limits and colours as channels, found {found}")
    step = max(1, math.ceil(min(image.shape[:2]) / (4 * size)))
    picture = composite(_shrunk(_middle(image, size * step), step), limits=limits, colours=colours)
    for name, labels in {"cells": cells, "nuclei": nuclei}.items():
        if labels is not None:
            # The middle pixel of every block: labels cannot be averaged.
            small = _middle(labels, size * step)[step // 2 :: step, step // 2 :: step]
            edge = outlines(small[: picture.shape[0], : picture.shape[1]])
            picture[edge] = rgb(OUTLINES[name])
    top, left = _corner(image, size * step)
    return png(picture, texts={VIEW: f"{top} {left} {step}"})


def composite(
    image: np.ndarray, *, limits: np.ndarray, colours: Sequence[str | None]
) -> np.ndarray:
    """Add up the stains, each in its colour, [height, width, 3] uint8."""
    low, high = np.asarray(limits, float).T
    bright = np.clip((image - low) / (high - low), 0, 1)
    paint = np.array([rgb(colour) if colour else (0, 0, 0) for colour in colours], float)
    return np.clip(bright @ paint, 0, 255).round().astype(np.uint8)


def outlines(labels: np.ndarray) -> np.ndarray:
    """Pixels of objects beside a pixel of another object or of background.

    Args:
        labels: Label image, [height, width], 0 background.

    Returns:
        [height, width] bool. The picture's frame is no outline.
    """
    padded = np.pad(labels, 1, mode="edge")
    around = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    return (labels > 0) & np.any([labels != other for other in around], axis=0)


def thumbnail_path(run: Path, plate: str, well: str, timepoint: int | None = None) -> Path:
    """Where the thumbnail of a well lies in a run folder, at a time where there are several."""
    time = "" if timepoint is None else f"_t{timepoint}"
    return run / "thumbnails" / plate / f"{well}{time}.png"


def write_thumbnail(
    run: Path, plate: str, well: str, *, picture: bytes, timepoint: int | None = None
) -> Path:
    """Put a well's thumbnail into the run folder, whole or not at all.

    Args:
        run: Run folder.
        plate: Name of the plate, which is a folder name.
        well: "A01".
        picture: PNG file, of `thumbnail`.
        timepoint: Which one, where the plate has several.

    Returns:
        The file written; one that was there is replaced.

    Raises:
        BadRun: The disk is full or the file cannot be written.
    """
    path = thumbnail_path(run, plate, well, timepoint)
    with replacing(path) as draft:
        draft.write_bytes(picture)
    return path


def png(picture: np.ndarray, *, texts: Mapping[str, str] | None = None) -> bytes:
    """Encode [height, width, 3] uint8 as PNG, with texts that travel in the file."""
    out, about = io.BytesIO(), PngImagePlugin.PngInfo()
    for name, text in (texts or {}).items():
        about.add_text(name, text)
    Image.fromarray(picture).save(out, format="PNG", pnginfo=about)
    return out.getvalue()


def _corner(image: np.ndarray, side: int) -> tuple[int, int]:
    top, left = (max(length - side, 0) // 2 for length in image.shape[:2])
    return top, left


def _middle(image: np.ndarray, side: int) -> np.ndarray:
    top, left = _corner(image, side)
    return image[top : top + side, left : left + side]


def _shrunk(image: np.ndarray, step: int) -> np.ndarray:
    height, width = (length // step for length in image.shape[:2])
    blocks = image[: height * step, : width * step].reshape(height, step, width, step, -1)
    return blocks.mean(axis=(1, 3))
