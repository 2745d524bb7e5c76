r"""Every head of the network family, and every block, in one table: same data, crops and budget.

    python -m benchmarks.heads ../shared/data OUT [--rows stars residual] [--steps 600]
        [--widths 16 32 64 128 128] [--crop 160] [--images 50]

Data: BBBC039 and DSB2018 (both CC0), split as in `benchmarks/train_nuclei.py`. A row is a head on
plain blocks, or a kind of block under the default head. Every network learns from the same crops in
the same order (seed, batch and steps are the same), from nothing to the last step: no image chooses
when to stop, and all thresholds are the heads' defaults. Scores are means over images, of the first
official BBBC039 validation images by name and of the first DSB2018 images kept apart, each brought
to the training diameter by its true nuclei, truth and image alike; objects under 25 px there are
dropped on both sides. Milliseconds are the best of three, on a 520 x 696 field.

OUT keeps weights and scores of each row, so that the table can be made in pieces: rows that are
there are not trained again, and an interrupted one goes on from its checkpoint.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from scipy import ndimage

from benchmarks.train_nuclei import DIAMETER_PX, SPECK_PX, is_kept_apart, labelled, lesson_of
from profiler.segment.decoding.nuclei import Nuclei
from profiler.segment.evaluation.field import count, of_fields
from profiler.segment.evaluation.summary import summarise
from profiler.segment.heads import HEADS
from profiler.segment.network.blocks import BLOCKS
from profiler.segment.network.build import build
from profiler.segment.network.config import NetworkConfig
from profiler.segment.normalise import normalise
from profiler.segment.score import drop_specks
from profiler.segment.tiles import predict
from profiler.segment.training.augment import AugmentConfig
from profiler.segment.training.fields import median_diameter
from profiler.segment.training.labelled import Labelled
from profiler.segment.training.learn import Lesson, learn
from profiler.segment.training.step import Schedule
from profiler.segment.weights import load_network

CANVAS_PX = 256  # fields are padded to multiples of this, so that few programs serve them all
BATCH, RATE = 4, 2e-3

ROWS = {name: NetworkConfig(head=name) for name in HEADS}
ROWS |= {name: NetworkConfig(block=name) for name in BLOCKS if name != NetworkConfig.block}


class Programs(NamedTuple):
    """A trained network in two halves, each compiled once for a size."""

    network: Callable[[Any], Any]
    decode: Callable[[Any], Nuclei]
    parameters: int


def lesson(data: Path, *, steps: int, crop_px: int, seed: int) -> Lesson:
    """What every row learns from."""
    warmup = min(100, steps // 10 + 1)
    schedule = Schedule(
        steps=steps,
        batch=BATCH,
        warmup=warmup,
        learning_rate=RATE,
        average=0.98,
        validate_every=50,
    )
    whole = lesson_of(data, schedule, share=0.6, seed=seed, earlier={})
    crops = AugmentConfig(size=crop_px, zoom=1.3, gamma=1.15, blur=0.15)
    return replace(whole, apart=(), crops=crops)


def train(config: NetworkConfig, lesson: Lesson, out: Path) -> float:
    """Train one row, and return seconds."""
    start = time.perf_counter()
    for _ in learn(build(config, rngs=nnx.Rngs(lesson.seed)), config, lesson, out=out):
        pass
    return time.perf_counter() - start


def compiled(weights: Path) -> Programs:
    """Load a network and compile it apart from its decoder."""
    model, config, _ = load_network(weights)
    graph, state = nnx.split(model)
    head = HEADS[config.head]
    network = jax.jit(lambda plane: predict(nnx.merge(graph, state), normalise(plane), config))
    parameters = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
    return Programs(network, jax.jit(lambda seen: head.decode(seen, head.settings)), parameters)


def at_training_size(field: Labelled) -> Labelled:
    """Bring a field's true nuclei to the training diameter, truth and image alike."""
    scale = DIAMETER_PX / (median_diameter(field.labels) or DIAMETER_PX)
    if abs(scale - 1) < 0.1:  # BBBC039 keeps its pixels
        return field
    how = {"zoom": scale, "grid_mode": True, "mode": "nearest"}
    plane = ndimage.gaussian_filter(field.image.astype(np.float32), max(0.4 * (1 / scale - 1), 0))
    plane = np.asarray(ndimage.zoom(plane, order=1, **how))
    return Labelled(field.name, plane, np.asarray(ndimage.zoom(field.labels, order=0, **how)))


def found_in(programs: Programs, plane: np.ndarray) -> np.ndarray:
    """Labels of a field, padded to the canvas with its own edge and cut back."""
    margin = [(0, -length % CANVAS_PX) for length in plane.shape]
    padded = jnp.asarray(np.pad(plane.astype(np.float32), margin, mode="edge"))
    nuclei = programs.decode(programs.network(padded))
    if nuclei.dropped:
        print(f"{int(nuclei.dropped)} candidates found no room in a field of {plane.shape}.")
    return np.asarray(nuclei.labels)[: plane.shape[0], : plane.shape[1]]


def scores(programs: Programs, fields: list[Labelled]) -> dict[str, float]:
    """AP, F1, and splits and merges together, of some fields."""
    counts = of_fields(
        count(
            drop_specks(field.labels, below=SPECK_PX),
            drop_specks(found_in(programs, field.image), below=SPECK_PX),
        )
        for field in fields
    )
    table = {row["metric"]: row for row in summarise(counts).to_dicts()}
    means = {name: table[name]["image_mean"] for name in ("AP@.50", "AP@[.50:.95]", "F1@.50")}
    wrong = table["splits per 100"]["pooled"] + table["merges per 100"]["pooled"]
    return means | {"splits + merges per 100": wrong}


def milliseconds(run: Callable[[], Any]) -> float:
    """Best of three, after one that compiles."""
    taken = []
    for _ in range(4):
        start = time.perf_counter()
        jax.block_until_ready(run())
        taken.append(time.perf_counter() - start)
    return 1e3 * min(taken[1:])


def measure(weights: Path, sets: dict[str, list[Labelled]]) -> dict[str, Any]:
    """Everything that the table says of one row."""
    programs = compiled(weights)
    plane = jnp.asarray(next(iter(sets.values()))[0].image.astype(np.float32))
    seen = programs.network(plane)
    return {
        "parameters": programs.parameters,
        "network ms": milliseconds(lambda: programs.network(plane)),
        "decoding ms": milliseconds(lambda: programs.decode(seen)),
        "scores": {name: scores(programs, fields) for name, fields in sets.items()},
    }


def line(name: str, told: dict[str, Any]) -> str:
    """One line of the table."""
    kind = f"head: {name}" if name in HEADS else f"block: {name}"
    cells = [kind, f"{told['steps']}", f"{told['parameters'] / 1e6:.2f} M"]
    for values in told["scores"].values():
        *means, wrong = values.values()
        cells += [*(f"{value:.3f}" for value in means), f"{wrong:.1f}"]
    cells += [f"{told['network ms']:.0f}", f"{told['decoding ms']:.0f}"]
    return "| " + " | ".join(cells) + " |"


def header(sets: list[str]) -> str:
    """The table's first two lines."""
    names = ["", "steps", "parameters"]
    for name in sets:
        names += [f"{name}: AP@.5", "AP@[.5:.95]", "F1@.5", "splits + merges / 100"]
    names += ["network ms", "decoding ms"]
    return "| " + " | ".join(names) + " |\n" + "|---" * len(names) + "|"


def main() -> None:
    """Train what is not there yet, then print one row for each network that is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path, help="folder for weights and scores")
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--steps", type=int, default=600, help="about six minutes on two cores")
    parser.add_argument("--widths", type=int, nargs="+", default=list(NetworkConfig.widths))
    parser.add_argument("--crop", type=int, default=160, help="side of the crops, pixels")
    parser.add_argument("--images", type=int, default=50, help="at most, of each set")
    parser.add_argument("--seed", type=int, default=5)
    args = parser.parse_args()
    if not (args.data / "bbbc039").is_dir():
        parser.exit(message=f"{args.data} holds no bbbc039/; nothing to learn from.\n")
    args.out.mkdir(parents=True, exist_ok=True)
    told = {name: args.out / f"{name}.scores.json" for name in args.rows}
    wanted = [name for name in args.rows if not told[name].exists()]
    if wanted:
        lessons = lesson(args.data, steps=args.steps, crop_px=args.crop, seed=args.seed)
        kept = [one for one in labelled(args.data / "dsb2018") if is_kept_apart(one.name)]
        plate = labelled(args.data / "bbbc039" / "validation")
        sets = {
            "BBBC039": plate[: args.images],
            "DSB2018": [at_training_size(one) for one in kept[: args.images]],
        }
    for name in wanted:
        weights = args.out / f"{name}.safetensors"
        unfinished = weights.with_name(f"{name}.training.safetensors").exists()
        seconds = 0.0
        if unfinished or not weights.exists():
            config = replace(ROWS[name], widths=tuple(args.widths))
            seconds = train(config, lessons, weights)
        found = measure(weights, sets) | {"steps": args.steps, "training seconds": seconds}
        told[name].write_text(json.dumps(found, indent=2) + "\n")
        print(name, json.dumps(found), flush=True)
    ready = {name: json.loads(told[name].read_text()) for name in args.rows}
    print(f"\n{jax.devices()[0].device_kind}, jax {jax.__version__}\n")
    print(header(list(next(iter(ready.values()))["scores"])))
    for name, found in ready.items():
        print(line(name, found))
    best = max(
        (name for name in ready if name in HEADS),
        key=lambda name: np.mean([s["AP@[.50:.95]"] for s in ready[name]["scores"].values()]),
        default=None,
    )
    print(f"\nHighest mean AP@[.5:.95] among the heads: {best}.")


if __name__ == "__main__":
    main()
