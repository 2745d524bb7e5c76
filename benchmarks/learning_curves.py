r"""How many images a person must label: scores after training on 1, 2, 4, ... of them.

    python -m benchmarks.learning_curves ../shared/data [--counts 1 2 4 8 16 32 64 100]
        [--steps 1000] [--seeds 3]

Data: BBBC039 (CC0). Training images are drawn by seed from the 100 official ones, the same for both
networks: one that learns from nothing, and one that goes on from `--start` (the shipped `nuclei`
has seen 90 of the 100, so give weights that have not, such as a network trained on DSB2018 alone,
to learn what transfer brings to new data). Scores are of the 50 official validation images, at
the end of training: no image chooses when to stop. Specks under 25 px are dropped on both sides.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from flax import nnx

from benchmarks.train_nuclei import DIAMETER_PX, fields_of, labelled
from profiler.segment.network.build import build
from profiler.segment.network.config import NetworkConfig
from profiler.segment.score import Scores
from profiler.segment.training.judge import make_judge
from profiler.segment.training.labelled import Labelled
from profiler.segment.training.learn import Lesson, learn
from profiler.segment.training.step import Schedule, begin
from profiler.segment.weights import load_network


def trained_on(
    images: Sequence[Labelled],
    apart: Sequence[Labelled],
    start: str | None,
    *,
    steps: int,
    seed: int,
) -> Scores:
    """Train on `images` to the end and score on `apart`."""
    config = NetworkConfig()
    model = build(config, rngs=nnx.Rngs(seed))
    if start:
        model, config, _ = load_network(start)
    # A fifth of the steps with a frozen encoder, as `profiler train segmenter --from` does.
    schedule = Schedule(
        steps=steps, frozen=steps // 5 if start else 0, warmup=min(100, steps // 10 + 1)
    )
    fields = fields_of(list(images))
    shares = np.full(len(fields), 1 / len(fields))
    lesson = Lesson(fields, shares, schedule=schedule, diameter_px=DIAMETER_PX, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "curve.safetensors"
        list(learn(model, config, lesson, out=out))
        done, config, _ = load_network(out)
    judge = make_judge(done, config, apart, ignore=None, trained_px=DIAMETER_PX)
    return judge(begin(done, schedule)[0])


def row(count: int, name: str, scores: Sequence[Scores]) -> str:
    """One line of the table: mean over seeds, and their range where there are several."""
    f1 = np.array([one.f1[0] for one in scores])
    ap = np.array([one.average_precision.mean() for one in scores])
    spread = f" ({ap.min():.3f} to {ap.max():.3f})" if len(ap) > 1 else ""
    return f"| {count} | {name} | {f1.mean():.3f} | {ap.mean():.3f}{spread} |"


def main() -> None:
    """Print one row per number of images and network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64, 100])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--apart", type=int, default=50, help="validation images to score on")
    parser.add_argument("--start", default="nuclei")
    args = parser.parse_args()
    if not (args.data / "bbbc039").is_dir():
        parser.exit(message=f"{args.data} holds no bbbc039/; nothing to learn from.\n")

    images = labelled(args.data / "bbbc039" / "train")
    apart = labelled(args.data / "bbbc039" / "validation")[: args.apart]
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}, {args.steps} steps\n")
    print("| images | from | F1@.5 | AP@[.5:.95] |")
    print("|---|---|---|---|")
    for count in args.counts:
        for start in (None, args.start):
            scores = []
            for seed in range(args.seeds):
                order = np.random.default_rng(seed).permutation(len(images))[:count]
                chosen = [images[index] for index in order]
                scores.append(trained_on(chosen, apart, start, steps=args.steps, seed=seed))
            print(row(count, Path(start).stem if start else "nothing", scores), flush=True)


if __name__ == "__main__":
    main()
