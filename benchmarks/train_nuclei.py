r"""Train the nuclei network that ships with the package.

    python -m benchmarks.train_nuclei DATA --start nuclei-any-size --out nuclei.safetensors

DATA holds `bbbc039/` and `dsb2018/` (both CC0). The last ten BBBC039 training images by name
validate (and with them one in ten DSB2018 training images); one in seven DSB2018 images and the
official BBBC039 validation images are never looked at here: `benchmarks/segmentation.py` scores on
those. Every image is brought to the training diameter first. The same seed gives the same weights
on the same device; an interrupted run goes on from its checkpoint when started again.
"""

import argparse
import hashlib
import json
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import tifffile
from flax import nnx
from PIL import Image

from profiler.segment.network.build import build
from profiler.segment.network.config import NetworkConfig
from profiler.segment.score import SPECK_PX, drop_specks
from profiler.segment.training.augment import AugmentConfig
from profiler.segment.training.example import Field
from profiler.segment.training.fields import prepare
from profiler.segment.training.labelled import Labelled
from profiler.segment.training.learn import Lesson, learn
from profiler.segment.training.step import Schedule
from profiler.segment.weights import load_network, widened, with_new_head

DIAMETER_PX = 28.0  # BBBC039's median, so that its images keep their pixels
IGNORE = -1
DATA = (
    "BBBC039 training images (90 of 100) and DSB2018 stage 1 fluorescence (three in four), both "
    "CC0 (BBBC038, BBBC039, Broad Bioimage Benchmark Collection)"
)
SPLIT = (
    "trained on BBBC039 training images less the last 10 by name, and DSB2018 images whose name's "
    "sha256 is a multiple of neither 7 nor 10; the former and the multiples of 10 chose the step; "
    "BBBC039 validation images and the multiples of 7 were never looked at"
)
BEFORE = (
    "; the stages before had trained on the multiples of 10, and their thresholds were chosen on "
    "the multiples of 7"
)


def read(path: Path) -> np.ndarray:
    """Read one grey PNG or TIFF."""
    return tifffile.imread(path) if path.suffix.startswith(".tif") else np.asarray(Image.open(path))


def labelled(folder: Path) -> list[Labelled]:
    """Read `images/` and `labels/` of a folder, in the order of their names."""
    labels = {path.stem: path for path in (folder / "labels").iterdir()}
    return [
        Labelled(path.stem, read(path), read(labels[path.stem]).astype(np.int32))
        for path in sorted((folder / "images").iterdir())
    ]


def is_kept_apart(name: str) -> bool:
    """One DSB2018 image in seven, by its name, so that the split never moves."""
    return _number(name) % 7 == 0


def is_for_choosing(name: str) -> bool:
    """One in ten of the others."""
    return not is_kept_apart(name) and _number(name) % 10 == 0


def _number(name: str) -> int:
    return int(hashlib.sha256(name.encode()).hexdigest(), 16)


def fields_of(images: list[Labelled]) -> list[Field]:
    """Prepare images, specks ignored."""
    fields = []
    for name, plane, labels in images:
        clean = drop_specks(labels, below=SPECK_PX)
        known = np.where((labels > 0) & (clean == 0), IGNORE, clean)
        fields.append(prepare(name, plane, known, diameter_px=DIAMETER_PX, ignore=IGNORE))
    return fields


def lesson_of(data: Path, schedule: Schedule, *, share: float, seed: int, earlier: dict) -> Lesson:
    """What is learnt from, `share` of the crops from BBBC039."""
    plate = labelled(data / "bbbc039" / "train")
    mixed = [one for one in labelled(data / "dsb2018") if not is_kept_apart(one.name)]
    apart = plate[-10:] + [one for one in mixed if is_for_choosing(one.name)]
    plate = fields_of(plate[:-10])
    mixed = fields_of([one for one in mixed if not is_for_choosing(one.name)])
    shares = [share / len(plate)] * len(plate) + [(1 - share) / len(mixed)] * len(mixed)
    return Lesson(
        plate + mixed,
        np.array(shares),
        apart,
        schedule=schedule,
        crops=AugmentConfig(zoom=1.35, gamma=1.15, blur=0.15, invert=0.05),
        diameter_px=DIAMETER_PX,
        seed=seed,
        about={"data": DATA, "split": SPLIT, "share_bbbc039": share} | earlier,
    )


def main() -> None:
    """Train, printing one JSON line for each event."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("nuclei.safetensors"))
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--widths", type=int, nargs="+", help="at least the start's; else its own")
    parser.add_argument("--rate", type=float, default=1e-3, help="peak learning rate")
    parser.add_argument("--average", type=float, default=0.998, help="kept of it by a step")
    parser.add_argument("--share", type=float, default=0.6, help="of crops from BBBC039")
    parser.add_argument("--start", help="model to go on from, instead of from nothing")
    parser.add_argument("--head", help="another than the start's, which is learnt from nothing")
    parser.add_argument("--seed", type=int, default=3)
    args = parser.parse_args()
    if not (args.data / "bbbc039").is_dir():
        parser.exit(message=f"{args.data} holds no bbbc039/; nothing to train on.\n")

    widths = tuple(args.widths or NetworkConfig.widths)
    config = NetworkConfig(widths=widths, head=args.head or NetworkConfig.head)
    model = build(config, rngs=nnx.Rngs(args.seed))
    schedule = Schedule(
        steps=args.steps,
        learning_rate=args.rate,
        average=args.average,
        validate_every=250,
        patience=20,
    )
    earlier = {}
    if args.start:
        model, config, card = load_network(args.start)
        if args.head and args.head != config.head:
            config = replace(config, head=args.head)
            model = with_new_head(model, config, rngs=nnx.Rngs(args.seed))
        if args.widths:
            model, config = widened(model, config, widths, rngs=nnx.Rngs(args.seed))
        earlier = {"started_from": {"sha256": card.sha256, **card.about}, "split": SPLIT + BEFORE}
    lesson = lesson_of(args.data, schedule, share=args.share, seed=args.seed, earlier=earlier)
    start = time.time()
    for event in learn(model, config, lesson, out=args.out):
        line = {"event": type(event).__name__, "seconds": round(time.time() - start)}
        print(json.dumps(line | asdict(event), default=str), flush=True)


if __name__ == "__main__":
    main()
