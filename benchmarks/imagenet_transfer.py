"""Are a photograph network's vectors worth anything for nuclei? MitoCheck's classes, by movie.

    python -m benchmarks.imagenet_transfer ../shared --work FOLDER [--sides 64] [--untrained]
        [--draws 5]

EfficientNet-Lite0 as published (`profiler imagenet`; the extra `imagenet` is needed), frozen, on
2,616 nuclei of 16 expert classes (CC BY 4.0); with --untrained the same network with random weights
as well, which says how much is the architecture's; side 128 are the same crops drawn larger. Each
is judged by logistic regression and by its ten nearest neighbours (cosine), beside logistic
regression on our measured features and the mean of both's log-probabilities. Folds of whole movies,
features and C are those of `benchmarks.mitocheck`, none chosen here. Few labels: so many cells a
class of fold 0's training movies.
"""

import argparse
import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from flax import nnx
from PIL import Image
from sklearn.neighbors import KNeighborsClassifier
from threadpoolctl import threadpool_limits

from benchmarks.mitocheck import Cells, Scores, fused, kept, movie_folds, read, regression, scored
from plates.errors import BadModel
from profiler.embed.crops import CropConfig
from profiler.embed.imagenet.efficientnet import efficientnet_lite0, published
from profiler.embed.network.build import SIZES, Model, build
from profiler.embed.network.config import ModelConfig
from profiler.embed.predict import make_look

NEIGHBOURS = 10
BATCH = 32
COUNTS = (5, 20)  # labels a class

Sources = dict[str, np.ndarray]  # vectors by name, [cell, feature]
Named = dict[str, np.ndarray]  # probabilities by name, [cell, class]


def drawn_at(crops: np.ndarray, side: int) -> np.ndarray:
    """Crops [cell, 64, 64, 1] drawn at another side, bilinear."""
    if crops.shape[1] == side:
        return crops
    sized = [Image.fromarray(crop[..., 0]).resize((side, side), 2) for crop in crops]
    return np.stack([np.asarray(each) for each in sized])[..., None]


def at_random(side: int) -> tuple[Model, ModelConfig]:
    """The same network, untrained."""
    config = ModelConfig(SIZES["efficientnet-lite0"], CropConfig(side))
    return build(config, rngs=nnx.Rngs(0)), config


def vectors(cells: Cells, work: Path, *, side: int, is_trained: bool) -> np.ndarray:
    """What a frozen network says of every crop, or what an earlier run left of it."""
    digest = hashlib.sha256(cells.crops.tobytes()).hexdigest()[:12]
    path = work / f"lite0-{'imagenet' if is_trained else 'random'}-{side}-{digest}.npy"
    if not path.exists():
        model, config = (
            efficientnet_lite0(published(), side=side) if is_trained else at_random(side)
        )
        look = make_look(model, config, batch=BATCH)
        np.save(path, look(drawn_at(cells.crops, side)).vectors)
    return np.load(path)


def neighbours(
    features: np.ndarray, labels: np.ndarray, taught: np.ndarray, tested: np.ndarray
) -> np.ndarray:
    """Shares of classes among the nearest cells, [tested cell, class]."""
    model = KNeighborsClassifier(NEIGHBOURS, metric="cosine", weights="distance")
    model.fit(features[taught], labels[taught])
    found = np.zeros((len(tested), labels.max() + 1))
    found[:, model.classes_] = model.predict_proba(features[tested])
    return found


def sources(cells: Cells, args: argparse.Namespace) -> dict[str, np.ndarray]:
    """Every set of vectors that is compared, by name."""
    kinds = {"ImageNet": True} | ({"random weights": False} if args.untrained else {})
    return {"our features": kept(cells, args.work)} | {
        f"{name}, {side} px": vectors(cells, args.work, side=side, is_trained=is_trained)
        for name, is_trained in kinds.items()
        for side in args.sides
    }


def regressed(found: Sources, labels: np.ndarray, taught: np.ndarray, tested: np.ndarray) -> Named:
    """Probabilities by logistic regression, and the first source's with each other's."""
    alone = {name: regression(values, labels, taught, tested) for name, values in found.items()}
    first, *others = alone
    both = {f"{first} and {name}": fused(alone[first], alone[name]) for name in others}
    return {f"{name}, regression": each for name, each in (alone | both).items()}


def judged(found: Sources, labels: np.ndarray, taught: np.ndarray, tested: np.ndarray) -> Named:
    """`regressed`, and what the nearest neighbours say."""
    near = {
        f"{name}, neighbours": neighbours(values, labels, taught, tested)
        for name, values in list(found.items())[1:]
    }
    return regressed(found, labels, taught, tested) | near


def by_movie(cells: Cells, found: Sources) -> Iterator[str]:
    """Lines of all labels, mean of the folds."""
    yield f"\n{len(cells.labels)} crops, {len(cells.classes)} classes, five folds of movies\n"
    yield "| vectors | weighted F1 | macro F1 |"
    yield "|---|---|---|"
    rows, scores = np.arange(len(cells.labels)), {}
    for tested in movie_folds(cells):
        taught = np.setdiff1d(rows, tested)
        for name, likely in judged(found, cells.labels, taught, tested).items():
            scores.setdefault(name, []).append(scored(cells.labels[tested], likely))
    for name, each in scores.items():
        yield f"| {name} | {Scores(*np.mean(each, axis=0))} |"


def few_labels(cells: Cells, found: Sources, draws: int) -> Iterator[str]:
    """Lines of few labels a class, mean and spread over draws."""
    yield "\n| labels a class, fold 0 | vectors | weighted F1 | spread over draws |"
    yield "|---|---|---|---|"
    tested = movie_folds(cells)[0]
    rows = np.setdiff1d(np.arange(len(cells.labels)), tested)
    for count in COUNTS:
        scores = {}
        for seed in range(draws):
            taught = _pick(cells.labels, rows, count, seed)
            for name, likely in regressed(found, cells.labels, taught, tested).items():
                scores.setdefault(name, []).append(scored(cells.labels[tested], likely).weighted)
        for name, each in scores.items():
            yield f"| {count} | {name} | {np.mean(each):.3f} | {np.std(each):.3f} |"


def _pick(labels: np.ndarray, rows: np.ndarray, count: int, seed: int) -> np.ndarray:
    mixed = np.random.default_rng(seed).permutation(rows)
    return np.concatenate([mixed[labels[mixed] == k][:count] for k in np.unique(labels[rows])])


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shared", type=Path, nargs="?", default=Path("../shared"))
    parser.add_argument("--work", type=Path, required=True, help="keeps features and vectors")
    parser.add_argument("--sides", type=int, nargs="+", default=[64])
    parser.add_argument("--untrained", action="store_true", help="random weights as well")
    parser.add_argument("--draws", type=int, default=5)
    args = parser.parse_args()
    folder = args.shared / "data" / "mitocheck" / "crops"
    if not folder.is_dir():
        parser.exit(message=f"{folder} is not there; nothing to look at.\n")
    try:
        published()
    except BadModel as error:
        parser.exit(message=f"{error}\n")
    args.work.mkdir(parents=True, exist_ok=True)
    cells = read(folder)
    with threadpool_limits(1):
        found = sources(cells, args)
        for lines in (by_movie(cells, found), few_labels(cells, found, args.draws)):
            for line in lines:
                print(line, flush=True)


if __name__ == "__main__":
    main()
