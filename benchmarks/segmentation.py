"""How well the shipped nuclei network finds nuclei it has never seen.

    python -m benchmarks.segmentation ../shared/data [--model nuclei] [--write-card]

The network is run twice: on fields as they are, and on fields brought to its training diameter,
which it estimates from what it finds ("auto").

Data: the 50 official BBBC039 validation images, and the DSB2018 images that training kept apart.
True objects and found objects under 25 px are dropped. For each image and each IoU threshold t,
F1 = 2 TP / (2 TP + FP + FN) and AP = TP / (TP + FP + FN), where a found nucleus is a TP if its IoU
with a true one exceeds t (0.5 strictly, the higher ones inclusively); images are averaged.
AP@[.5:.95] is the mean over .50, .55, ... .95. S + M are splits and merges per 100 true nuclei of
all images together, as `profiler evaluate` counts them. The incumbent is Otsu's threshold with a
distance-transform watershed (scikit-image), run in turn on the same images.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.filters import gaussian, threshold_otsu
from skimage.segmentation import watershed

from benchmarks.train_nuclei import is_kept_apart, labelled
from profiler.segment.catalogue import MODELS
from profiler.segment.evaluation.field import count, of_fields
from profiler.segment.score import SPECK_PX, THRESHOLDS, Scores, drop_specks, score
from profiler.segment.segmenter import SegmentConfig, load_segmenter
from profiler.segment.training.labelled import Labelled

GOAL_F1, GOAL_AP, GOAL_WRONG = 0.98, 0.85, 1.5  # on the BBBC039 validation images

Method = Callable[[np.ndarray], np.ndarray]


def otsu_watershed(plane: np.ndarray) -> np.ndarray:
    """The classical way: smooth, threshold, split by distance."""
    smooth = gaussian(plane, 1)
    mask = ndimage.binary_fill_holes(smooth > threshold_otsu(smooth))
    distance = gaussian(ndimage.distance_transform_edt(mask), 1)
    seeds = np.zeros(plane.shape, int)
    peaks = peak_local_max(distance, min_distance=7, labels=ndimage.label(mask)[0])
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return watershed(-distance, seeds, mask=mask)


def network(model: str, diameter_px: Literal["auto"] | None) -> Method:
    """The shipped network, on fields as they are or at one nuclear size."""
    find = load_segmenter(SegmentConfig(model=model, diameter_px=diameter_px)).nuclei
    return lambda plane: np.asarray(find(jnp.asarray(plane, jnp.float32)).labels)


class Found(NamedTuple):
    """How good a method is on a data set: scores, splits and merges per 100, seconds a field."""

    scores: Scores
    wrong: float
    seconds: float


def evaluate(method: Method, fields: list[Labelled]) -> Found:
    """Score a method, and time it after each size has been met once."""
    for shape in {field.image.shape for field in fields}:
        method(next(field.image for field in fields if field.image.shape == shape))
    start = time.perf_counter()
    found = [method(field.image) for field in fields]
    seconds = (time.perf_counter() - start) / len(fields)
    clean = [drop_specks(labels, below=SPECK_PX) for labels in found]
    truth = [drop_specks(field.labels, below=SPECK_PX) for field in fields]
    counts = of_fields(count(*pair) for pair in zip(truth, clean, strict=True))
    wrong = 100 * (counts.split.sum() + counts.merged.sum()) / counts.true.sum()
    return Found(score(zip(truth, clean, strict=True)), float(wrong), seconds)


def row(data: str, method: str, found: Found) -> str:
    """One line of the table."""
    ap = dict(zip(THRESHOLDS, found.scores.average_precision, strict=True))
    numbers = (found.scores.f1[0], ap[0.5], ap[0.75], ap[0.9], np.mean(list(ap.values())))
    shown = " | ".join(f"{n:.3f}" for n in numbers)
    return f"| {data} | {method} | {shown} | {found.wrong:.1f} | {found.seconds:.2f} |"


def write_card(model: str, scores: dict[str, str]) -> None:
    """Put what was measured on the model's card."""
    path = MODELS[model].with_suffix(".json")
    card = json.loads(path.read_text())
    card["about"]["scores"] = scores
    path.write_text(json.dumps(card, indent=2) + "\n")


def main() -> None:
    """Print one row per data set and method, then whether the goal is reached."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="nuclei")
    parser.add_argument("--write-card", action="store_true")
    args = parser.parse_args()
    if not (args.data / "bbbc039").is_dir():
        parser.exit(message=f"{args.data} holds no bbbc039/; nothing to score on.\n")
    sets = {
        "BBBC039 validation": labelled(args.data / "bbbc039" / "validation"),
        "DSB2018 kept apart": [f for f in labelled(args.data / "dsb2018") if is_kept_apart(f.name)],
    }
    best = f"{args.model}, auto"
    methods = {
        args.model: network(args.model, None),
        best: network(args.model, "auto"),
        "Otsu + watershed": otsu_watershed,
    }
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}\n")
    print("| data | method | F1@.5 | AP@.5 | AP@.75 | AP@.9 | AP@[.5:.95] | S + M | s/field |")
    print("|---|---|---|---|---|---|---|---|---|")
    card = {}
    for data, fields in sets.items():
        for name, method in methods.items():
            found = evaluate(method, fields)
            print(row(f"{data} ({len(fields)})", name, found), flush=True)
            if name == best:
                f1, ap = found.scores.f1[0], found.scores.average_precision.mean()
                card[f"{data} ({len(fields)} images)"] = f"F1@.5 {f1:.3f}, AP@[.5:.95] {ap:.3f}"
                if data.startswith("BBBC039"):
                    reached = f1 >= GOAL_F1 and ap >= GOAL_AP and found.wrong < GOAL_WRONG
    verdict = "reached" if reached else "MISSED"
    print(
        f"\nGoal on BBBC039 validation, F1@.5 >= {GOAL_F1}, AP@[.5:.95] >= {GOAL_AP} and "
        f"S + M < {GOAL_WRONG}: {verdict}."
    )
    if args.write_card:
        write_card(args.model, card)


if __name__ == "__main__":
    main()
