r"""Vectors of MitoCheck's cells from an encoder that nobody told a phenotype.

    python -m benchmarks.weak_vectors ../shared --out both.parquet [--steps 2400] [--work FOLDER]
    python -m benchmarks.trust ../shared --vectors both.parquet --only novelty

The encoder learns from nothing, as `benchmarks.train_encoder` has it, but of MitoCheck it sees the
development movies of `benchmarks.trust` alone, and what it takes for a label is the movie, that is,
what was done to the cells: what `profiler train encoder --by Metadata_Compound` does with a screen.
Its vectors (the mean of eight views) stand beside our features in OUT. No setting was chosen here.
With --work, crops and the network are kept there; an interrupted run goes on.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
from flax import nnx

from benchmarks.mitocheck_features import CROPS, Crops, features_of, read_crops
from benchmarks.train_encoder import CONFIG, OBJECTIVE, SEED, gathered
from benchmarks.trust import halves, read_cells
from profiler.embed.network.build import build
from profiler.embed.predict import make_look
from profiler.embed.training.events import Learnt
from profiler.embed.training.examples import Examples
from profiler.embed.training.learn import Lesson, learn
from profiler.embed.training.step import Schedule
from profiler.embed.weights import load_model

BATCH = 128
VIEWS = 8


def examples_of(others: Examples, crops: Crops, rows: np.ndarray) -> Examples:
    """The crops of the other sources, and some of MitoCheck's, labelled by their movies."""
    is_other = np.array([not group.startswith("mitocheck:") for group in others.groups])
    # Labels of MitoCheck's phenotypes come first in `gathered`; the numbers of movies follow all.
    movies = others.labels.max() + 1 + np.unique(crops.movies[rows], return_inverse=True)[1]
    labels = np.concatenate([others.labels[is_other], movies])
    names, codes = np.unique(labels, return_inverse=True)  # -1, without a label, comes first
    return Examples(
        np.concatenate(
            [others.crops[is_other], crops.images[rows][..., None].astype(np.uint16) * 257]
        ),
        (codes - (names[0] < 0)).astype(np.int32),
        np.concatenate([others.groups[is_other], np.char.add("mitocheck:", crops.movies[rows])]),
    )


def main() -> None:
    """Train, and write vectors beside features."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("shared", type=Path)
    parser.add_argument("--out", type=Path, required=True, help=".parquet to write")
    parser.add_argument("--steps", type=int, default=2_400)
    parser.add_argument("--work", type=Path, help="folder that keeps crops and the network")
    args = parser.parse_args()
    if not (args.shared / CROPS).is_dir():
        parser.exit(message=f"{args.shared} holds no {CROPS}; nothing to learn from.\n")
    with tempfile.TemporaryDirectory() as scratch:
        work = args.work or Path(scratch)
        work.mkdir(parents=True, exist_ok=True)
        table, crops = features_of(args.shared, work), read_crops(args.shared)
        assert table["Metadata_File"].to_list() == crops.names.tolist()
        development = np.flatnonzero(~halves(read_cells(table)))
        examples = examples_of(gathered(args.shared, work), crops, development)
        lesson = Lesson(examples, OBJECTIVE, Schedule(args.steps, BATCH, save_every=100), seed=SEED)
        out = work / f"weak-{args.steps}.safetensors"
        if not out.exists():
            for event in learn(build(CONFIG, rngs=nnx.Rngs(SEED)), CONFIG, lesson, out=out):
                if isinstance(event, Learnt):
                    print(f"{event.step} {event.loss:.4f}", flush=True)
        model, config, _ = load_model(out)
    vectors = make_look(model, config, views=VIEWS)(crops.images[..., None]).vectors
    names = [f"Embedding_{number:04}" for number in range(vectors.shape[1])]
    table.hstack(pl.DataFrame(vectors.astype(np.float64), schema=names)).write_parquet(args.out)
    print(f"{table.height} cells, {len(names)} numbers each beside {table.width - 3} features")


if __name__ == "__main__":
    main()
