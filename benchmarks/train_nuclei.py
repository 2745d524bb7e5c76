r"""Train the nuclei network that ships with the package.

    python -m benchmarks.train_nuclei DATA --steps 3300 --out first.safetensors
    python -m benchmarks.train_nuclei DATA --start first.safetensors --seed 1 \
        --steps 1500 --rate 1e-3 --zoom 1.4 --out second.safetensors
    python -m benchmarks.train_nuclei DATA --start second.safetensors --seed 2 --share 0.7 \
        --steps 1000 --rate 7e-4 --zoom 1.25 --gamma 1.15 --blur 0.1 --out nuclei.safetensors

DATA holds `bbbc039/` and `dsb2018/` (both CC0). Ten BBBC039 training images and one in seven
DSB2018 images are kept apart for choosing steps and thresholds; the BBBC039 validation images
are never looked at here. On two CPU cores 3,300 steps take about an hour, on a GPU minutes.
The same seed gives the same weights on the same device.
"""

import argparse
import hashlib
import json
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import jax
import numpy as np
import tifffile
from flax import nnx
from PIL import Image

from profiler.segment.augment import AugmentConfig, LabelledField, examples, normalise_host
from profiler.segment.train import Example, TrainConfig, train
from profiler.segment.unet import UNet, UNetConfig
from profiler.segment.weights import load_network, save_network

SPLIT = (
    "trained on BBBC039 training images less the last 10 by name, and DSB2018 images whose name's "
    "sha256 is no multiple of 7; those kept apart chose steps and thresholds; BBBC039 validation "
    "images were never seen"
)


def read(path: Path) -> np.ndarray:
    """Read one grey PNG or TIFF."""
    return tifffile.imread(path) if path.suffix.startswith(".tif") else np.asarray(Image.open(path))


def labelled(folder: Path) -> dict[str, LabelledField]:
    """Read `images/` and `labels/` of a folder, normalised, by name."""
    labels = {path.stem: path for path in (folder / "labels").iterdir()}
    return {
        path.stem: LabelledField(
            normalise_host(read(path)), read(labels[path.stem]).astype(np.int32)
        )
        for path in sorted((folder / "images").iterdir())
    }


def is_kept_apart(name: str) -> bool:
    """One DSB2018 image in seven, by its name, so that the split never moves."""
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % 7 == 0


def split(data: Path, *, share: float) -> tuple[list[LabelledField], list[float]]:
    """Training fields and how often each is drawn, `share` of them from BBBC039."""
    plate = list(labelled(data / "bbbc039" / "train").values())[:-10]
    mixed = [f for n, f in labelled(data / "dsb2018").items() if not is_kept_apart(n)]
    weights = [share / len(plate)] * len(plate) + [(1 - share) / len(mixed)] * len(mixed)
    return plate + mixed, weights


def ahead(items: Iterator[Example], depth: int = 4) -> Iterator[Example]:
    """Make examples in a thread while the network trains."""
    made: queue.Queue[Example] = queue.Queue(depth)

    def work() -> None:
        for item in items:
            made.put(item)

    threading.Thread(target=work, daemon=True).start()
    while True:
        yield made.get()


def main() -> None:
    """Train, logging one JSON line at a time; weights are saved every 250 steps."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("nuclei.safetensors"))
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 32, 64, 128, 128])
    parser.add_argument("--batch", type=int, default=6)
    parser.add_argument("--rate", type=float, default=2e-3, help="peak learning rate")
    parser.add_argument("--zoom", type=float, default=1.6)
    parser.add_argument("--gamma", type=float, default=1.6)
    parser.add_argument("--blur", type=float, default=0.3)
    parser.add_argument("--share", type=float, default=0.5, help="of crops from BBBC039")
    parser.add_argument("--start", help="model to go on from, instead of from nothing")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    fields, weights = split(args.data, share=args.share)
    config = UNetConfig(widths=tuple(args.widths))
    schedule = TrainConfig(steps=args.steps, learning_rate=args.rate)
    crops = AugmentConfig(batch=args.batch, zoom=args.zoom, gamma=args.gamma, blur=args.blur)
    model = UNet(config, rngs=nnx.Rngs(args.seed))
    earlier = {}
    if args.start:
        model, config, card = load_network(args.start)
        earlier = {"started_from": {"sha256": card.sha256, **card.about}}
    about = {
        "data": "BBBC039 training images (90 of 100) and DSB2018 stage 1 fluorescence "
        "(six in seven), both CC0 (BBBC038, BBBC039, Broad Bioimage Benchmark Collection)",
        "split": SPLIT,
        "fields": len(fields),
        "schedule": asdict(schedule),
        "augmentation": asdict(crops),
        "seed": args.seed,
        "device": jax.devices()[0].device_kind,
        "jax": jax.__version__,
    } | earlier
    start = time.time()
    stream = ahead(examples(fields, weights, crops, seed=args.seed))
    for index, parts in train(model, stream, schedule):
        line = {"step": index, "seconds": round(time.time() - start)}
        print(
            json.dumps(line | {k: round(float(v), 4) for k, v in parts._asdict().items()}),
            flush=True,
        )
        if index % 240 == 0:
            save_network(args.out, model, config, about=about | {"steps_done": index})
    save_network(args.out, model, config, about=about | {"steps_done": args.steps})


if __name__ == "__main__":
    main()
