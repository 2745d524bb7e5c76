r"""Train the network of whole cells that ships with the package.

    python -m benchmarks.train_cells DATA --out cells.safetensors [--steps 3200]

Nobody's masks of whole cells are at hand that may be used: it learns from drawn cells around real
nuclei, and from real cells that propagation finds whatever its settings; `cell_scenes.py` makes
both and says how. It begins with the nuclei network's weights. BBBC039's last ten training
images and a dozen of DSB2018's, with grain of fields that are not trained on, choose the step;
`benchmarks/cells.py` scores on others. An interrupted run goes on when started again.
"""

import argparse
import json
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks.cell_scenes import NUCLEUS_PX, Scene, propagated, scenes
from benchmarks.cell_survivors import IGNORE
from profiler.nets.files import flat
from profiler.segment.network.build import Network, build
from profiler.segment.network.config import NetworkConfig
from profiler.segment.training.augment import AugmentConfig
from profiler.segment.training.example import Field
from profiler.segment.training.fields import median_diameter, prepare
from profiler.segment.training.labelled import Labelled
from profiler.segment.training.learn import Lesson, learn
from profiler.segment.training.step import Schedule
from profiler.segment.weights import load_network

CELL_PX = 28.0  # the median drawn cell's width, where nuclei are 14 px wide
REAL = 0.12  # share of crops from propagated cells of real fields
FIRST = ("stem", "conv1", "kernel")
ABOUT = {
    "data": (
        "Drawn cells around real nuclei of BBBC039 and DSB2018 (both CC0), painted with the grain "
        "of four confluent Cell Painting fields (DeepProfiler's cdp2bioactives, BSD-3) and of the "
        "left half of one sparse site (br00143976, BSD-3), over backgrounds of the same images; "
        "and 33 cells, some the same cell in another stain, of that left half that this engine's "
        "propagation finds whatever its settings and whose outline stands out. The confluent "
        "fields had no cell that survives this filter. No mask of a whole cell drawn by a person "
        "was used."
    ),
    "stains": "any stain of the cell; then the nuclear stain, or nothing",
    "split": (
        "trained on BBBC039 training images less the last 10 by name and on DSB2018 images whose "
        "name's sha256 is a multiple of neither 7 nor 10; the last 10 and a dozen multiples of 10, "
        "with the grain of other fields, chose the step. Not trained on: BBBC039 validation "
        "images, the multiples of 7, two Cell Painting fields, the right half of a third, and "
        "BBBC013, which was seen when the drawing was designed"
    ),
    "limits": (
        "drawn cells meet on a line and never overlap in depth; every one has a nucleus and some "
        "stain; how far they reach follows no measured distribution"
    ),
}


def fields_of(drawn: Iterable[Scene]) -> list[Field]:
    """Prepare scenes at the size they have: their nuclei are of one size, their cells are not."""
    return [
        prepare(
            scene.name,
            scene.image,
            scene.cells,
            diameter_px=median_diameter(np.maximum(scene.cells, 0)),
            ignore=IGNORE,
        )
        for scene in drawn
    ]


def from_nuclei(config: NetworkConfig, *, seed: int) -> Network:
    """Begin with the nuclei network, which looks at both stains alike."""
    known, _, _ = load_network("nuclei")
    model = build(config, rngs=nnx.Rngs(seed))
    kept = dict(flat(known))
    first = kept.pop(FIRST)
    both = jnp.repeat(first[...], config.channels, axis=2) / config.channels
    nnx.update(model, nnx.from_flat_state([*kept.items(), (FIRST, first.replace(both))]))
    return model


def lesson_of(data: Path, schedule: Schedule, *, copies: int, seed: int) -> Lesson:
    """What is learnt from."""
    drawn = fields_of(scenes(data, "train", copies=copies, seed=seed))
    real = fields_of(propagated(data))
    apart = [Labelled(one.name, one.image, one.cells) for one in scenes(data, "choose")]
    shares = [(1 - REAL) / len(drawn)] * len(drawn) + [REAL / len(real)] * len(real)
    return Lesson(
        drawn + real,
        np.array(shares),
        apart,
        IGNORE,
        schedule,
        AugmentConfig(size=160, zoom=1.5, gamma=1.5, lacking=0.35),
        diameter_px=CELL_PX,
        nucleus_px=NUCLEUS_PX,
        seed=seed,
        about=ABOUT,
    )


def main() -> None:
    """Train, printing one JSON line for each event."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("cells.safetensors"))
    parser.add_argument("--steps", type=int, default=3200)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--copies", type=int, default=5, help="drawings of each BBBC039 image")
    parser.add_argument("--rate", type=float, default=1.5e-3, help="peak learning rate")
    parser.add_argument("--bfloat16", action="store_true", help="half precision, for GPUs")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if not (args.data / "bbbc039").is_dir():
        parser.exit(message=f"{args.data} holds no bbbc039/; nothing to train on.\n")
    config = NetworkConfig(channels=2)
    schedule = Schedule(
        steps=args.steps,
        batch=args.batch,
        learning_rate=args.rate,
        bfloat16=args.bfloat16,
        validate_every=400,
    )
    start = time.time()
    lesson = lesson_of(args.data, schedule, copies=args.copies, seed=args.seed)
    widths = [median_diameter(one.labels) for one in lesson.fields]
    drawn = {"scenes": len(widths), "median_cell_px": round(float(np.median(widths)), 1)}
    print(json.dumps({"event": "Drawn", "seconds": round(time.time() - start)} | drawn), flush=True)
    model = from_nuclei(config, seed=args.seed)
    for event in learn(model, config, lesson, out=args.out):
        line = {"event": type(event).__name__, "seconds": round(time.time() - start)}
        print(json.dumps(line | asdict(event), default=str), flush=True)


if __name__ == "__main__":
    main()
