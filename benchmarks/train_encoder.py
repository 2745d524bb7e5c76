r"""Train the general cell encoder that ships with the package.

    python -m benchmarks.train_encoder ../shared --out cells.safetensors [--steps 3000]
        [--batch 128] [--start cells --seed 1 --rate 0.001] [--work FOLDER] [--bfloat16]

It learns from single stains of single cells (a bag of channels serves any number of them), by
supervised contrast: cells of one label are alike, cells without one only to themselves, and a cell
is told apart only from others of its own source, so that no microscope is learnt.

    mitocheck   crops of 16 expert classes; movies of the first fold of `benchmarks.mitocheck` never
    synthetic   drawn fields; the planted phenotype is the label, as a compound would be
    bbbc013     both stains of every well, without labels: nobody tells it doses or controls
    bbbc039     training images, dsb2018 three images in four: nuclei, without labels
    cell painting   two plates' stains, without labels

Then logistic regression on its vectors names the cells of the movies kept apart, beside the same on
an untrained network's. With --start, it goes on from an encoder's weights (with another --seed, or
it sees the same crops in the same order again). With --work, crops are kept there; an interrupted
run goes on.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import tifffile
from flax import nnx

from benchmarks.fields import STAINS, bioactives, cellprofilers_own
from benchmarks.mitocheck import movie_folds, read, regression, scored
from benchmarks.train_nuclei import is_kept_apart, labelled
from plates.synthetic import CHANNELS, PHENOTYPES, Phenotype, field
from profiler.compute.field import to_unit
from profiler.embed.crops import CropConfig, cut_crops
from profiler.embed.network.build import SIZES, build
from profiler.embed.network.config import ModelConfig
from profiler.embed.predict import make_look
from profiler.embed.training.events import Learnt
from profiler.embed.training.examples import Examples
from profiler.embed.training.learn import Lesson, learn
from profiler.embed.training.objectives import ObjectiveConfig
from profiler.embed.training.step import Schedule
from profiler.embed.weights import load_model
from profiler.segment.segmenter import SegmentConfig, load_segmenter

SIDE = 64
SEED = 0
MOST = 65_535
CONFIG = ModelConfig(SIZES["resnet-tiny"], CropConfig(SIDE))
OBJECTIVE = ObjectiveConfig(
    "supcon", temperature=0.1, balance=0.5, balance_sources=0.5, apart_by_source=True
)
DATA = (
    "MitoCheck crops (CC BY 4.0, Neumann et al. 2010, labels by WayScience/phenotypic_profiling), "
    "BBBC013 (CC BY 3.0, Ilya Ravkin), BBBC039 and DSB2018 (CC0), Cell Painting samples of JUMP "
    "br00143976 and CDP2 bioactives (BSD-3), synthetic plates of this package"
)
SPLIT = (
    "never seen: MitoCheck movies of the first fold of benchmarks.mitocheck, BBBC039 validation "
    "images, one DSB2018 image in seven. BBBC013 without any label"
)
MEASURED = "MitoCheck movies never seen, logistic regression on vectors, weighted | macro F1"


class Source(NamedTuple):
    """Some crops of one stain.

    Attributes:
        name: What stands before the colon of their groups.
        crops: [cell, 64, 64] uint16.
        labels: A word for each, "" without one.
        groups: Movie, image or well of each.
    """

    name: str
    crops: np.ndarray
    labels: np.ndarray
    groups: np.ndarray


def mitocheck(shared: Path) -> Iterator[Source]:
    """Labelled crops of all movies but those of the first fold."""
    cells = read(shared / "data" / "mitocheck" / "crops")
    kept = np.setdiff1d(np.arange(len(cells.labels)), movie_folds(cells)[0])
    crops = cells.crops[kept, ..., 0].astype(np.uint16) * 257
    labels = np.array(cells.classes)[cells.labels[kept]]
    yield Source("mitocheck", crops, labels, cells.movies[kept])


def synthetic(fields: int = 6, *, size: int = 512) -> Iterator[Source]:
    """Drawn cells of every phenotype, each stain a source."""
    found = [
        (name, cut(made.images, made.nuclei, most=30))
        for name, change in PHENOTYPES.items()
        for seed in range(fields)
        for made in [field(change(Phenotype()), size=size, seed=1_000 + seed)]
    ]
    names = np.concatenate([np.full(len(crops), name) for name, crops in found])
    crops = np.concatenate([crops for _, crops in found])
    for channel, stain in enumerate(CHANNELS):
        yield Source(f"synthetic-{stain}", crops[..., channel], names, names)


def bbbc013(shared: Path, *, most: int = 20) -> Iterator[Source]:
    """Some cells of every well, both stains, on nuclei found by the shipped network."""
    folder = shared / "data" / "bbbc013" / "images"
    nuclei = load_segmenter(SegmentConfig()).nuclei
    crops, wells = [], []
    for dna in sorted(folder.glob("Channel2-*")):
        gfp = next(folder.glob(f"Channel1-{dna.name.removeprefix('Channel2-')}"))
        raw = np.stack([tifffile.imread(path) for path in (dna, gfp)], axis=-1)
        found = nuclei(to_unit(raw)[..., 0])
        crops.append(cut(raw.astype(np.uint16) * 257, np.asarray(found.labels), most=most))
        wells += [dna.stem.removeprefix("Channel2-")] * len(crops[-1])
    every = np.concatenate(crops)
    for channel, stain in enumerate(("DNA", "GFP")):
        nothing = np.full(len(every), "")
        yield Source(f"bbbc013-{stain}", every[..., channel], nothing, np.array(wells))


def nuclei(shared: Path) -> Iterator[Source]:
    """Nuclei of BBBC039's training images and of DSB2018, on their true labels."""
    folders = {"bbbc039": shared / "data" / "bbbc039" / "train", "dsb2018": shared / "data/dsb2018"}
    for name, most in {"bbbc039": 30, "dsb2018": 8}.items():
        images = [each for each in labelled(folders[name]) if not _is_apart(name, each.name)]
        crops = [
            cut(_as_uint16(each.image)[..., None], each.labels, most=most)[..., 0]
            for each in images
            if min(each.image.shape) >= SIDE
        ]
        groups = [
            each.name for each, some in zip(images, crops, strict=False) for _ in range(len(some))
        ]
        every = np.concatenate(crops)
        yield Source(name, every, np.full(len(every), ""), np.array(groups))


def _is_apart(name: str, image: str) -> bool:
    return name == "dsb2018" and is_kept_apart(image)


def _as_uint16(plane: np.ndarray) -> np.ndarray:
    """The same share of the type's range; BBBC039's camera has 12 bits of 16."""
    return plane.astype(np.uint16) * 257 if plane.dtype == np.uint8 else plane.astype(np.uint16)


def cell_painting(shared: Path) -> Iterator[Source]:
    """Cells of two Cell Painting fields, each stain a source."""
    for number, case in enumerate((bioactives(shared), cellprofilers_own(shared))):
        raw = np.round(case.image * MOST).astype(np.uint16)
        crops = cut(raw, np.asarray(case.labels.nuclei), most=400)
        nothing = np.full(len(crops), "")
        for channel, stain in enumerate(STAINS):
            yield Source(f"painting{number}-{stain}", crops[..., channel], nothing, nothing)


def cut(raw: np.ndarray, labels: np.ndarray, *, most: int) -> np.ndarray:
    """Crops of at most so many cells of a field, drawn by its pixels alone."""
    count = int(labels.max())
    if not count:
        return np.empty((0, SIDE, SIDE, raw.shape[-1]), np.uint16)
    # Rows by tens, so that few programs are compiled.
    rows = -(-count // 64) * 64
    shown = _cut(raw.astype(np.float32), labels.astype(np.int32), rows)
    keep = np.flatnonzero(np.asarray(shown.present))
    seed = int(raw.astype(np.int64).sum() % 2**32)
    chosen = np.random.default_rng([SEED, seed]).permutation(keep)[:most]
    return np.asarray(shown.pixels)[chosen].astype(np.uint16)


@partial(jax.jit, static_argnums=2)
def _cut(raw: jax.Array, labels: jax.Array, rows: int):
    return cut_crops(raw, labels, config=CONFIG.crops, zoom=1.0, max_cells=rows)


def gathered(shared: Path, work: Path) -> Examples:
    """All crops, numbered labels and `SOURCE:GROUP`; kept for an interrupted run."""
    path = work / "crops.npz"
    if not path.exists():
        parts = (mitocheck(shared), synthetic(), bbbc013(shared), nuclei(shared))
        sources = [source for part in (*parts, cell_painting(shared)) for source in part]
        words = np.concatenate(
            [np.char.add(f"{s.name}:", s.labels.astype(str)) for s in sources if len(s.crops)]
        )
        known = sorted({word for word in words if not word.endswith(":")})
        number = {word: i for i, word in enumerate(known)}
        np.savez(
            path,
            crops=np.concatenate([s.crops for s in sources])[..., None],
            labels=np.array([number.get(word, -1) for word in words], np.int32),
            groups=np.concatenate(
                [np.char.add(f"{s.name}:", s.groups.astype(str)) for s in sources]
            ),
        )
    kept = np.load(path)
    return Examples(kept["crops"], kept["labels"], kept["groups"])


def judged(shared: Path, path: Path) -> dict[str, str]:
    """F1 on movies never seen, of logistic regression on trained and on untrained vectors."""
    cells = read(shared / "data" / "mitocheck" / "crops")
    tested = movie_folds(cells)[0]
    taught = np.setdiff1d(np.arange(len(cells.labels)), tested)
    scores = {}
    untrained = build(CONFIG, rngs=nnx.Rngs(SEED))
    for name, model in {"this": load_model(path)[0], "untrained": untrained}.items():
        vectors = make_look(model, CONFIG, views=8)(cells.crops).vectors
        likely = regression(vectors, cells.labels, taught, tested)
        scores[name] = str(scored(cells.labels[tested], likely))
    return scores


def main() -> None:
    """Gather, train, judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shared", type=Path, nargs="?", default=Path("../shared"))
    parser.add_argument("--out", type=Path, required=True, help=".safetensors to write")
    parser.add_argument("--steps", type=int, default=3_000)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=Schedule.learning_rate, help="peak")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--start", help="encoder to go on from, instead of from nothing")
    parser.add_argument("--bfloat16", action="store_true", help="half precision, for GPUs")
    parser.add_argument("--work", type=Path, help="folder that keeps the crops")
    args = parser.parse_args()
    if not (args.shared / "data").is_dir():
        parser.exit(message=f"{args.shared}/data is not there; nothing to learn from.\n")
    with tempfile.TemporaryDirectory() as scratch:
        work = args.work or Path(scratch)
        work.mkdir(parents=True, exist_ok=True)
        examples = gathered(args.shared, work)
    _tell(examples)
    schedule = Schedule(
        args.steps,
        args.batch,
        learning_rate=args.rate,
        bfloat16=args.bfloat16,
        save_every=100,
    )
    about: dict[str, Any] = {"data": DATA, "split": SPLIT, "script": "benchmarks/train_encoder.py"}
    model, config = build(CONFIG, rngs=nnx.Rngs(args.seed)), CONFIG
    if args.start:
        model, config, card = load_model(args.start)
        about["started_from"] = {"sha256": card.sha256, **card.about}
    lesson = Lesson(examples, OBJECTIVE, schedule, seed=args.seed, about=about)
    start = time.perf_counter()
    for event in learn(model, config, lesson, out=args.out):
        if isinstance(event, Learnt):
            print(f"{event.step} {event.loss:.4f} {time.perf_counter() - start:.0f} s", flush=True)
    scores = judged(args.shared, args.out)
    card = args.out.with_suffix(".json")
    said = json.loads(card.read_text())
    said["about"]["scores"] = {f"{MEASURED}, {name}": score for name, score in scores.items()}
    card.write_text(json.dumps(said, indent=2) + "\n")
    print("\n| vectors | weighted F1 | macro F1 |\n|---|---|---|")
    for name, score in scores.items():
        print(f"| {name} | {score} |")


def _tell(examples: Examples) -> None:
    names = np.array([group.partition(":")[0] for group in examples.groups])
    print("| source | crops | labelled |\n|---|---|---|")
    for name in np.unique(names):
        own = names == name
        print(f"| {name} | {own.sum():,} | {(examples.labels[own] >= 0).sum():,} |")


if __name__ == "__main__":
    main()
