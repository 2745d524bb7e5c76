r"""How far the confidence of a nucleus can be believed, and what leaving doubtful ones out buys.

    python -m benchmarks.confidence ../shared/data [--model nuclei] [--fit] [--plot reliability.png]

A found nucleus is right if it shares more than half of its union with a true one (specks under 25
px dropped from the truth; smaller nuclei are never found). A calibration is fitted on images that
the network was not trained on: the last ten BBBC039 training images and the DSB2018 images kept
apart, as they are and at one nuclear size ("auto"); `--fit` puts it on the model's card. Judged are

- the calibration on the card, on the 50 official BBBC039 validation images;
- the same fit on the DSB2018 images kept apart, where five fits, each on four fifths of all these
  images, say of the last fifth what they have not seen. (The kinds of evidence were chosen by
  such fits, too, so that this is a little optimistic.)

Prints, for each set: expected calibration error, Brier score (and that of the share that is right,
said of every nucleus alike) and area under the ROC curve; the reliability in ten bins; precision,
recall and F1 at IoU .5 of what is left above some thresholds.
"""

import argparse
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import brier_score_loss, roc_auc_score

from benchmarks.train_nuclei import SPECK_PX, is_kept_apart, labelled
from profiler.compute.devices import keep_compiled_programs
from profiler.segment.catalogue import MODELS
from profiler.segment.confidence.fit import left_out
from profiler.segment.confidence.reliability import calibration_error, reliability
from profiler.segment.score import drop_specks
from profiler.segment.segmenter import SegmentConfig, load_segmenter
from profiler.segment.training.calibrate import Verdicts, calibrate, verdicts
from profiler.segment.training.labelled import Labelled
from profiler.segment.weights import save_calibration

GOAL = 0.05  # expected calibration error
THRESHOLDS = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
MODES: dict[str, Literal["auto"] | None] = {"": None, ", auto": "auto"}
WHERE = (
    "the last 10 BBBC039 training images and the DSB2018 images kept apart, each as it is and at "
    "one nuclear size"
)


def look(model: str, images: Sequence[Labelled]) -> dict[str, Verdicts]:
    """Verdicts on images in each mode."""
    seen = {}
    for name, mode in MODES.items():
        examine = load_segmenter(SegmentConfig(model=model, diameter_px=mode)).examine
        seen[name] = verdicts(
            lambda one, examine=examine: examine(jnp.asarray(one.image, jnp.float32)), images
        )
    return seen


def together(parts: Iterable[Verdicts]) -> Verdicts:
    """Verdicts on the same images seen in several ways."""
    return Verdicts(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def unseen(taught: dict[str, Verdicts], images: range) -> dict[str, Verdicts]:
    """Verdicts on some of the images that a fit is taught by, with what others' fits say."""
    pooled = together(taught.values())
    said = left_out(pooled.evidence, pooled.is_right, pooled.image)
    cuts = np.cumsum([len(each.is_right) for each in taught.values()])[:-1]
    judged = {
        name: each._replace(confidence=own)
        for (name, each), own in zip(taught.items(), np.split(said, cuts), strict=True)
    }
    return {
        name: Verdicts(*(part[np.isin(each.image, images)] for part in each))
        for name, each in judged.items()
    }


def true_nuclei(images: Sequence[Labelled]) -> int:
    """Nuclei there are, without specks."""
    cleaned = (drop_specks(one.labels, below=SPECK_PX) for one in images)
    return sum(len(np.unique(labels)) - 1 for labels in cleaned)


def summary_row(name: str, seen: Verdicts) -> str:
    """How good the confidences of a set are."""
    said, right = seen.confidence, seen.is_right
    share = np.full(len(right), right.mean())
    numbers = (
        calibration_error(said, right),
        brier_score_loss(right, said),
        brier_score_loss(right, share),
        roc_auc_score(right, said),
    )
    counts = f"{len(right)} | {(~right).sum()} | {said.mean():.3f} | {right.mean():.3f}"
    return f"| {name} | {counts} | " + " | ".join(f"{n:.3f}" for n in numbers) + " |"


def filter_row(name: str, seen: Verdicts, true: int, threshold: float) -> str:
    """What is left above a threshold, and how good it is."""
    kept = seen.confidence >= threshold
    hits = int(seen.is_right[kept].sum())
    precision, recall = hits / max(kept.sum(), 1), hits / true
    f1 = 2 * hits / (kept.sum() + true)
    left = f"{(~kept).sum()} | {(~kept & ~seen.is_right).sum()}"
    return f"| {name} | {threshold:.2f} | {left} | {precision:.3f} | {recall:.3f} | {f1:.3f} |"


def plot(path: Path, sets: dict[str, Verdicts]) -> None:
    """Draw the reliability of every set; needs matplotlib (the extra `notebook`)."""
    pyplot: Any = import_module("matplotlib.pyplot")
    figure, (curve, counts) = pyplot.subplots(
        2, 1, figsize=(5, 6), sharex=True, height_ratios=(3, 1), layout="constrained"
    )
    curve.plot((0, 1), (0, 1), color="0.6", linestyle="--", label="perfect")
    edges = np.linspace(0, 1, 11)
    for (name, seen), marker in zip(sets.items(), "os", strict=False):
        table = reliability(seen.confidence, seen.is_right)
        share = table["right"].to_numpy()
        ends = [
            binomtest(round(n * right), n).proportion_ci(method="wilson")
            for n, right in table.select("objects", "right").iter_rows()
        ]
        error = np.abs(np.array(ends).T - share)
        curve.errorbar(
            table["confidence"], share, yerr=error, marker=marker, capsize=2,
            label=f"{name}: error {calibration_error(seen.confidence, seen.is_right):.3f}",
        )  # fmt: skip
        counts.stairs(np.histogram(seen.confidence, edges)[0], edges, label=name)
    curve.set(ylabel="share that is right", xlim=(0, 1), ylim=(0, 1.02))
    figure.legend(*curve.get_legend_handles_labels(), loc="outside upper center", frameon=False)
    counts.set(xlabel="confidence", ylabel="nuclei", yscale="log")
    figure.savefig(path, dpi=110)


def main() -> None:
    """Print the tables, then whether the goal is reached."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="nuclei")
    parser.add_argument("--fit", action="store_true", help="fit the calibration first")
    parser.add_argument("--plot", type=Path, help="draw the reliability there")
    args = parser.parse_args()
    if not all((args.data / name).is_dir() for name in ("bbbc039", "dsb2018")):
        parser.exit(message=f"{args.data} lacks bbbc039/ or dsb2018/; nothing to judge on.\n")
    keep_compiled_programs()
    teaching = labelled(args.data / "bbbc039" / "train")[-10:]
    mixed = [one for one in labelled(args.data / "dsb2018") if is_kept_apart(one.name)]
    apart = labelled(args.data / "bbbc039" / "validation")
    taught = look(args.model, teaching + mixed)
    if args.fit:
        fitted, note = calibrate(together(taught.values()), where=WHERE)
        path = MODELS.get(args.model, Path(args.model))
        save_calibration(path, fitted, note=note)
        print(f"{note}\n\n{fitted}\n")
    judged = look(args.model, apart)
    if not np.isfinite(judged[""].confidence).any():
        parser.exit(message=f"{args.model} is not calibrated; --fit does that.\n")
    others = unseen(taught, range(len(teaching), len(teaching) + len(mixed)))
    seen, true = {}, {}
    for title, images, sets in (
        (f"BBBC039 validation ({len(apart)})", apart, judged),
        (f"DSB2018 kept apart ({len(mixed)})", mixed, others),
    ):
        seen |= {title + mode: each for mode, each in sets.items()}
        true |= dict.fromkeys((title + mode for mode in sets), true_nuclei(images))

    print("| images | nuclei | wrong | mean confidence | share right | calibration error | Brier "
          "| Brier of the share | ROC area |\n|---|---|---|---|---|---|---|---|---|")  # fmt: skip
    for name, each in seen.items():
        print(summary_row(name, each), flush=True)
    print("\n| images | confidence | nuclei | mean | share right |\n|---|---|---|---|---|")
    for name, each in seen.items():
        for low, high, n, mean, right in reliability(each.confidence, each.is_right).iter_rows():
            print(f"| {name} | {low:.1f} to {high:.1f} | {n} | {mean:.3f} | {right:.3f} |")
    print("\n| images | min_confidence | left out | of them wrong | precision | recall | F1 |")
    print("|---|---|---|---|---|---|---|")
    for name, each in seen.items():
        for threshold in THRESHOLDS:
            print(filter_row(name, each, true[name], threshold))
    worst = max(calibration_error(each.confidence, each.is_right) for each in seen.values())
    verdict = "reached" if worst <= GOAL else "MISSED"
    print(f"\nGoal, calibration error at most {GOAL} on every set: {verdict} ({worst:.3f}).")
    if args.plot:
        plot(args.plot, {name: each for name, each in seen.items() if not name.endswith("auto")})


if __name__ == "__main__":
    main()
