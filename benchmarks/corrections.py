r"""What corrected fields teach, chosen by doubt or at random, and how well doubt finds errors.

    python -m benchmarks.corrections ../shared/data --work FOLDER [--steps 150] [--start-steps 800]

1. Does doubt find what is wrong? The shipped network looks at BBBC039 validation images and at the
   DSB2018 images that choose steps here (most were trained on for the shipped weights): area under
   the ROC curve of doubt for objects without a true partner (IoU below .5), and the rank
   correlation of a field's doubt with its number of wrong objects.
2. Does correcting doubtful fields teach more? A network that has seen DSB2018 alone meets the 90
   BBBC039 training images. As a person would, some are corrected (their true labels are taken): the
   most doubtful, or a random draw, two of them. Each network goes on from the same weights for the
   same number of steps, half of its crops from the corrected fields, and is scored on the 50
   official validation images (specks under 25 px dropped).

Networks are kept in FOLDER: started again, the script goes on. Both parts run on what is there in
`bbbc039/` and `dsb2018/`.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from flax import nnx
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from benchmarks.train_nuclei import (
    DIAMETER_PX,
    SPECK_PX,
    fields_of,
    is_for_choosing,
    is_kept_apart,
    labelled,
)
from profiler.segment.doubt import doubt
from profiler.segment.evaluation.field import count, of_fields
from profiler.segment.evaluation.summary import METRICS
from profiler.segment.network.build import build
from profiler.segment.network.config import NetworkConfig
from profiler.segment.score import drop_specks, overlaps
from profiler.segment.segmenter import SegmentConfig, load_segmenter
from profiler.segment.training.augment import AugmentConfig
from profiler.segment.training.labelled import Labelled
from profiler.segment.training.learn import Lesson, learn
from profiler.segment.training.step import Schedule
from profiler.segment.weights import load_network

CROPS = AugmentConfig(zoom=1.35, gamma=1.15, blur=0.15)
CORRECTED = (1, 3, 8)  # fields
DRAWS = 2

Find = Callable[[np.ndarray], np.ndarray]


def finder(model: str) -> Find:
    """From a plane to the labels that a network finds."""
    find = load_segmenter(SegmentConfig(model=model)).nuclei
    return lambda plane: np.asarray(find(jnp.asarray(plane, jnp.float32)).labels)


def clean(labels: np.ndarray) -> np.ndarray:
    """Without specks."""
    return drop_specks(labels, below=SPECK_PX)


def wrong_objects(find: Find, one: Labelled) -> int:
    """Objects that a person would have to take away or to add."""
    counts = count(clean(one.labels), clean(find(one.image)))
    return int(counts.true + counts.found - 2 * counts.matched[0])


def doubt_row(name: str, find: Find, fields: Sequence[Labelled]) -> str:
    """How well doubt tells wrong objects, and fields with many of them."""
    doubts, is_wrong, totals, wrong = [], [], [], []
    for one in fields:
        found = doubt(find, one.image)
        iou = overlaps(clean(one.labels), found.labels)
        doubts.append(found.objects)
        is_wrong.append(iou.max(0, initial=0.0) < 0.5)
        totals.append(found.total)
        wrong.append(wrong_objects(find, one))
    area = roc_auc_score(np.concatenate(is_wrong), np.concatenate(doubts))
    ranks = np.corrcoef(rankdata(totals), rankdata(wrong))[0, 1]
    return f"| {name} ({len(fields)}) | {area:.3f} | {ranks:.2f} |"


def train(path: Path, start: str | None, corrected: list, mixed: list, *, steps: int) -> str:
    """Train from `start`, or from nothing, on corrected fields and the mixed ones half and half."""
    if not path.with_suffix(".json").is_file():
        config = NetworkConfig()
        model = build(config, rngs=nnx.Rngs(0))
        if start:
            model, config, _ = load_network(start)
        share = 0.5 if corrected else 0.0
        shares = [share / max(len(corrected), 1)] * len(corrected)
        shares += [(1 - share) / len(mixed)] * len(mixed)
        schedule = Schedule(steps=steps, learning_rate=1e-3 if start is None else 3e-4, warmup=20)
        lesson = Lesson(
            corrected + mixed,
            np.array(shares),
            schedule=schedule,
            crops=CROPS,
            diameter_px=DIAMETER_PX,
            about={"data": "BBBC039 and DSB2018 training images, both CC0"},
        )
        for _ in learn(model, config, lesson, out=path):
            pass
    return str(path)


def score(model: str, apart: Sequence[Labelled]) -> dict[str, float]:
    """Pooled metrics of a network."""
    find = finder(model)
    counts = of_fields(count(clean(one.labels), clean(find(one.image))) for one in apart)
    together = type(counts)(*(part.sum(0, keepdims=True) for part in counts))
    return {name: float(of(together)[0]) for name, of in METRICS.items()}


def row(how: str, fields: int, wrong: int, scores: dict[str, float]) -> str:
    """One line of the second table."""
    wanted = ("AP@.50", "AP@[.50:.95]", "F1@.50", "splits per 100", "merges per 100")
    return (
        f"| {how} | {fields} | {wrong} | " + " | ".join(f"{scores[m]:.3f}" for m in wanted) + " |"
    )


def main() -> None:
    """Print both tables, and whether doubt beat chance."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder that keeps networks")
    parser.add_argument("--steps", type=int, default=150, help="after correcting")
    parser.add_argument("--start-steps", type=int, default=800)
    parser.add_argument("--images", type=int, default=None, help="validate on fewer, to rehearse")
    args = parser.parse_args()
    if not (args.data / "bbbc039").is_dir():
        parser.exit(message=f"{args.data} holds no bbbc039/; nothing to correct.\n")
    apart = labelled(args.data / "bbbc039" / "validation")[: args.images]
    dsb = [one for one in labelled(args.data / "dsb2018") if not is_kept_apart(one.name)]
    choosing = [one for one in dsb if is_for_choosing(one.name)][: args.images]

    print(
        "| images | ROC area of doubt for wrong objects | rank correlation with wrong in a field |"
    )
    print("|---|---|---|")
    print(doubt_row("BBBC039 validation", finder("nuclei"), apart), flush=True)
    print(doubt_row("DSB2018 for choosing", finder("nuclei"), choosing), flush=True)

    pool = labelled(args.data / "bbbc039" / "train")[:-10]
    mixed = fields_of([one for one in dsb if not is_for_choosing(one.name)])
    start = train(args.work / "start.safetensors", None, [], mixed, steps=args.start_steps)
    find = finder(start)
    totals = [doubt(find, one.image).total for one in pool]
    by_doubt = [pool[i] for i in np.argsort(totals)[::-1]]
    orders = {"doubt": by_doubt}
    for draw in range(DRAWS):
        order = np.random.default_rng(draw).permutation(len(pool))
        orders[f"random {draw + 1}"] = [pool[i] for i in order]

    print("\n| chosen by | fields corrected | objects wrong in them | AP@.5 | AP@[.5:.95] | F1@.5 "
          "| splits/100 | merges/100 |\n|---|---|---|---|---|---|---|---|")  # fmt: skip
    print(row("nothing corrected", 0, 0, score(start, apart)), flush=True)
    reached: dict[str, list[float]] = {}
    go_on = partial(train, start=start, mixed=mixed, steps=args.steps)
    for fields in CORRECTED:
        for how, order in orders.items():
            path = args.work / f"{how.replace(' ', '_')}_{fields}.safetensors"
            model = go_on(path, corrected=fields_of(order[:fields]))
            wrong = sum(wrong_objects(find, one) for one in order[:fields])
            scores = score(model, apart)
            print(row(how, fields, wrong, scores), flush=True)
            reached.setdefault(how, []).append(scores["AP@[.50:.95]"])
    chance = np.mean([values for how, values in reached.items() if how != "doubt"], axis=0)
    better = np.array(reached["doubt"]) - chance
    said = ", ".join(f"{n}: {gain:+.3f}" for n, gain in zip(CORRECTED, better, strict=True))
    verdict = "doubt beats chance" if (better > 0).all() else "MISSED: not better throughout"
    print(
        f"\nAP@[.5:.95] of doubt less the mean of the random draws, by fields: {said}; {verdict}."
    )


if __name__ == "__main__":
    main()
