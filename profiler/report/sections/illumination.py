"""How evenly each plate was lit, and what was divided out: one small map per channel."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import numpy as np

from plates.errors import BadRun
from profiler.report.draw.colour import ColourScale, colour_bar
from profiler.report.draw.svg import Markup, element, join
from profiler.report.figure import Figure
from profiler.report.numbers import number, percent
from profiler.report.run import Run
from profiler.report.tables import left_out

MOST_PLATES = 6  # on the page; the others are counted
CELLS = 24  # of a map, along its longer side
SIDE, LEGEND = 192, 34  # pixels
MANIFEST = "functions.json"


class IlluminationSection(NamedTuple):
    """Maps of every plate and channel, and what was done in words; empty where nothing was."""

    figures: Sequence[Figure]
    lead: str
    remark: str


def illumination_section(run: Run) -> IlluminationSection:
    """Draw the illumination functions that the run's fields were divided by."""
    manifests = sorted((run.folder / "illumination").glob(f"*/{MANIFEST}"))
    method = run.facts.get("settings", {}).get("illumination", {}).get("method", "none")
    if not manifests or method == "none":
        return IlluminationSection([], "", "")
    figures = [each for path in manifests[:MOST_PLATES] for each in _of_plate(run, path)]
    lead = (
        f"What each field was divided by before anything was segmented or measured ({method}). "
        "Maps of stains that share optics should be alike; blotches mean that too few fields, or "
        "too few cells, were averaged."
    )
    remark = left_out(
        len(manifests), min(len(manifests), MOST_PLATES), what="plates", where="illumination/"
    )
    return IlluminationSection(figures, lead, remark)


def _of_plate(run: Run, path: Path) -> list[Figure]:
    said, plate = _read(path), unquote(path.parent.name)
    flats = {unquote(file.stem): file for file in sorted(path.parent.glob("*.npy"))}
    return [
        _figure(plate, stain, flats[stain], about, fields=said["fields"], run=run)
        for stain, about in said["functions"].items()
        if stain in flats
    ]


def _read(path: Path) -> Mapping[str, Any]:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as reason:
        raise BadRun(f"{path} cannot be read ({reason}). Run again: it is made anew.") from reason


def _figure(
    plate: str, stain: str, file: Path, about: Mapping[str, Any], *, fields: int, run: Run
) -> Figure:
    small = _shrunk(np.load(file, mmap_mode="r"))
    ends = ColourScale(about["least"], about["most"])
    corner = percent(about["corner_to_centre"])
    words = f"Corners get {corner} of the centre's light"
    fitted = f"; fitted to {fields:,} fields" if fields else ""
    dark = about["dark_mean"]
    off = f"; {number(dark)} of the range was taken off as dark" if dark else ""
    return Figure(
        f"{plate}, {stain}",
        _map(small, ends, label=f"Illumination of {stain} on plate {plate}: {words}."),
        f"{words}{fitted}{off}.",
        [file.relative_to(run.folder).as_posix()],
    )


def _shrunk(flat: np.ndarray) -> np.ndarray:
    """A pixel from the middle of every block."""
    step = max(1, -(-max(flat.shape) // CELLS))
    return np.asarray(flat[step // 2 :: step, step // 2 :: step], np.float64)


def _map(small: np.ndarray, scale: ColourScale, *, label: str) -> Markup:
    rows, columns = small.shape
    pitch = SIDE / max(small.shape)
    width, height = columns * pitch, rows * pitch
    squares = join(
        element(
            "rect", x=c * pitch, y=r * pitch, width=pitch + 0.4, height=pitch + 0.4,
            fill=scale(float(small[r, c])),
        )
        for r in range(rows)
        for c in range(columns)
    )  # fmt: skip
    bar = colour_bar(scale, x=0, y=height + 8, width=width, height=8)
    ends = join(
        element("text", number(value), class_="tick", x=x, y=height + 28, text_anchor=anchor)
        for value, x, anchor in ((scale.low, 0, "start"), (scale.high, width, "end"))
    )
    box = f"0 0 {width:g} {height + LEGEND:g}"
    options = {"viewBox": box, "width": width, "height": height + LEGEND, "role": "img"}
    return element("svg", squares, bar, ends, aria_label=label, **options)
