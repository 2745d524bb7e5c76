r"""What each objective teaches of phenotypes: MitoCheck movies never seen, by logistic regression.

    python -m benchmarks.objectives ../shared [--steps 400] [--batch 128] [--only NAME ...]
        [--work FOLDER]

A network learns from the crops of fold 0's training movies (2,616 nuclei, CC BY 4.0; the folds of
`benchmarks.mitocheck`), by each objective for the same number of steps: without any label, with the
movie as label (what was done to the cells, as a compound is: weak supervision), or with the
experts' classes. Then logistic regression on its vectors, taught on the experts' classes of the
same movies, names the cells of the movies kept apart. One seed, and settings that docs/embedding.md
gives; nothing was chosen here. With --work, networks are kept there and an interrupted run goes on.
"""

import argparse
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from flax import nnx

from benchmarks.mitocheck import Cells, Scores, movie_folds, read, regression, scored
from profiler.embed.network.build import SIZES, build
from profiler.embed.network.config import ModelConfig
from profiler.embed.predict import make_look
from profiler.embed.training.examples import Examples
from profiler.embed.training.learn import Lesson, learn
from profiler.embed.training.objectives import ObjectiveConfig
from profiler.embed.training.step import Schedule
from profiler.embed.weights import load_model

SEED = 0
VIEWS = 8
LEAST = 5  # cells of a movie that is a label


class Way(NamedTuple):
    """A way to learn: backbone, objective (None: not at all), and what it takes for a label."""

    size: str
    objective: ObjectiveConfig | None
    labels: str = "none"


WAYS = {
    "untrained": Way("resnet-tiny", None),
    "simclr": Way("resnet-tiny", ObjectiveConfig("simclr", temperature=0.1)),
    "vicreg": Way("resnet-tiny", ObjectiveConfig("vicreg")),
    "dino": Way("resnet-tiny", ObjectiveConfig("dino", temperature=0.1)),
    "weak": Way("resnet-tiny", ObjectiveConfig("cross_entropy"), "movie"),
    "supervised": Way("resnet-tiny", ObjectiveConfig("supcon", temperature=0.1), "class"),
    "untrained, vit": Way("vit", None),
    "masked": Way("vit", ObjectiveConfig("masked")),
}


def examples_of(cells: Cells, rows: np.ndarray, labels: str) -> tuple[Examples, tuple[str, ...]]:
    """The crops that a way learns from, labelled as it wants them, and the labels' names."""
    if labels == "class":
        return cells.examples(rows), tuple(cells.classes)
    if labels == "none":
        nothing = np.full(len(rows), -1, np.int32)
        return Examples(cells.crops[rows], nothing, cells.movies[rows]), ()
    names, counts = np.unique(cells.movies[rows], return_counts=True)
    names = names[counts >= LEAST]
    rows = rows[np.isin(cells.movies[rows], names)]
    codes = np.searchsorted(names, cells.movies[rows]).astype(np.int32)
    return Examples(cells.crops[rows], codes, cells.movies[rows]), tuple(map(str, names))


def taught_by(
    way: Way, cells: Cells, taught: np.ndarray, *, schedule: Schedule, out: Path
) -> Scores:
    """Let a network learn, and see what regression on its vectors makes of other movies."""
    examples, names = examples_of(cells, taught, way.labels)
    classes = names if way.labels == "movie" else ()  # a contrast of labels needs no classifier
    config = ModelConfig(SIZES[way.size], stains=("DNA",), classes=classes)
    model = build(config, rngs=nnx.Rngs(SEED))
    if way.objective and not out.exists():
        for _ in learn(
            model, config, Lesson(examples, way.objective, schedule, seed=SEED), out=out
        ):
            pass
    if way.objective:
        model, config, _ = load_model(out)
    vectors = make_look(model, config, views=VIEWS)(cells.crops).vectors
    tested = np.setdiff1d(np.arange(len(cells.labels)), taught)
    return scored(cells.labels[tested], regression(vectors, cells.labels, taught, tested))


def main() -> None:
    """Print a row for each way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shared", type=Path, nargs="?", default=Path("../shared"))
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--only", nargs="+", choices=[*WAYS], default=[*WAYS])
    parser.add_argument("--work", type=Path, help="folder that keeps networks")
    args = parser.parse_args()
    folder = args.shared / "data" / "mitocheck" / "crops"
    if not folder.is_dir():
        parser.exit(message=f"{folder} is not there; nothing to learn from.\n")
    cells = read(folder)
    taught = np.setdiff1d(np.arange(len(cells.labels)), movie_folds(cells)[0])
    schedule = Schedule(args.steps, args.batch, warmup=min(100, args.steps // 5 + 1))
    print("| objective | network | labels seen | weighted F1 | macro F1 |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        work = args.work or Path(scratch)
        work.mkdir(parents=True, exist_ok=True)
        for name in args.only:
            way, out = WAYS[name], work / f"{name}-{args.steps}x{args.batch}.safetensors"
            found = taught_by(way, cells, taught, schedule=schedule, out=out)
            print(f"| {name} | {way.size} | {way.labels} | {found} |", flush=True)


if __name__ == "__main__":
    main()
