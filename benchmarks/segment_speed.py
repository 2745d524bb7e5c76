"""Seconds to find the nuclei of a field, beside StarDist and Cellpose 3, on the same cores.

    python -m benchmarks.segment_speed ../shared [--stardist PYTHON] [--cellpose PYTHON]
        [--repeats 3] [--fields 2]

`PYTHON` is the interpreter of an environment with `stardist` and `tensorflow-cpu`, or with
`cellpose<4`. Fields are BBBC039 validation images, 520 x 696 as they are and 1080 x 1080 mirrored
out of sparser ones, uint16 in memory; normalising belongs to the network's time. Each side lives in
a process of its own, has met each field once before it is timed, and has all cores; then they take
turns, and of each side's turns the shortest counts. Milliseconds are means over the fields of a
size; the ratio is theirs to ours. Our network and decoder are one program: their parts are timed
as two more.

Asserted first: ours finds the true nuclei, and the others' decoders find them in what they are
given, which is the ideal prediction where their networks have random weights (that is said below
the table, and then nothing is said of their accuracy).
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from skimage.measure import label

from benchmarks.heads import compiled
from benchmarks.train_nuclei import labelled
from profiler.segment.catalogue import MODELS
from profiler.segment.score import SPECK_PX, drop_specks, score
from profiler.segment.segmenter import SegmentConfig, load_segmenter
from profiler.segment.training.fields import median_diameter

OURS = "ours"
ASKED = {"StarDist": 1.0, "Cellpose": 5.0}  # times slower than ours, at least
LARGE = (1080, 1080)
NUCLEI = {"as they are": 118, "mirrored": 72}  # in the image: the mean one; 230 once mirrored
LEAST_F1 = 0.9

PUBLISHED = (
    "Their accuracy was not measured here. On BBBC039's test images the original Cellpose network "
    "is recorded with F1@.5 .967 and AP@[.5:.95] .744, Cellpose-SAM with .956 and .791; StarDist's "
    "own notebook with F1 .910 and AP .835 at IoU .5 on DSB2018. Ours above is of the fields timed."
)


class Field(NamedTuple):
    """One field, and where the others find it."""

    image: np.ndarray
    truth: np.ndarray
    request: dict[str, Any]


class Taken(NamedTuple):
    """Seconds of one turn; the parts are NaN where they cannot be told."""

    network: float
    decoding: float
    total: float
    cpu: float


Turn = Callable[[Field], tuple[Taken, np.ndarray]]


class Side(NamedTuple):
    """Who segments: a turn, with the labels found, and whether these are the network's own."""

    turn: Turn
    is_pretrained: bool = True


class Theirs:
    """The other interpreter, which segments when it is asked to."""

    def __init__(self, python: str, package: str):
        script = str(Path(__file__).with_name("segment_side.py"))
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
        process = subprocess.Popen([python, script, package, str(cores())], **pipes)
        assert process.stdin is not None
        assert process.stdout is not None
        self.asked, self.answered = process.stdin, process.stdout
        self.methods: dict[str, tuple[str, bool]] = json.loads(self._line())

    def _line(self) -> str:
        line = self.answered.readline()
        if not line:
            raise SystemExit("The other interpreter ended; what it said is above.")
        return line

    def sides(self) -> dict[str, Side]:
        """Its networks by name."""
        return {name: Side(self._turn(name), own) for name, (_, own) in self.methods.items()}

    def _turn(self, name: str) -> Turn:
        def turn(field: Field) -> tuple[Taken, np.ndarray]:
            self.asked.write(json.dumps({"who": name} | field.request) + "\n")
            return Taken(**json.loads(self._line())), np.load(field.request["out"])

        return turn


def cores() -> int:
    """How many there are for each side."""
    return len(os.sched_getaffinity(0))


def ours(diameter_px: Literal["auto"] | None) -> Side:
    """The shipped network and its decoder; in parts too where it looks once."""
    find = load_segmenter(SegmentConfig(diameter_px=diameter_px)).nuclei
    parts = compiled(MODELS[SegmentConfig().model])

    def turn(field: Field) -> tuple[Taken, np.ndarray]:
        cpu, start = time.process_time(), time.perf_counter()
        found = jax.block_until_ready(find(jnp.asarray(field.image, jnp.float32)))
        total, cpu = time.perf_counter() - start, time.process_time() - cpu
        labels = np.asarray(found.labels)
        if diameter_px:
            return Taken(np.nan, np.nan, total, cpu), labels
        start = time.perf_counter()
        seen = jax.block_until_ready(parts.network(jnp.asarray(field.image, jnp.float32)))
        between = time.perf_counter()
        jax.block_until_ready(parts.decode(seen))
        return Taken(between - start, time.perf_counter() - between, total, cpu), labels

    return Side(turn)


def chosen(data: Path, folder: Path, *, count: int) -> Iterator[list[Field]]:
    """`count` fields as they are, then as many mirrored ones."""
    images = labelled(data / "bbbc039" / "validation")
    for how, wanted in NUCLEI.items():
        ranked = sorted(images, key=lambda one: abs(len(np.unique(one.labels)) - 1 - wanted))
        pairs = [(one.image, one.labels) for one in ranked[:count]]
        if how == "mirrored":
            pairs = [(mirrored(image), numbered(mirrored(labels))) for image, labels in pairs]
        yield [field_of(*pair, folder / f"{how} {i}") for i, pair in enumerate(pairs)]


def mirrored(plane: np.ndarray) -> np.ndarray:
    """Continue a plane by its mirror images."""
    more = [(0, large - own) for large, own in zip(LARGE, plane.shape, strict=True)]
    return np.pad(plane, more, mode="symmetric")


def numbered(labels: np.ndarray) -> np.ndarray:
    """Number connected objects anew: mirror images are others, and Cellpose wants no gaps."""
    return np.asarray(label(labels), np.int32)


def field_of(image: np.ndarray, labels: np.ndarray, stem: Path) -> Field:
    """Write a field for the others, its truth without specks."""
    truth = numbered(drop_specks(labels, below=SPECK_PX))
    files = {name: f"{stem} {name}.npy" for name in ("image", "truth", "out")}
    np.save(files["image"], image)
    np.save(files["truth"], truth)
    return Field(image, truth, files | {"diameter_px": median_diameter(truth)})


def check(who: str, field: Field, labels: np.ndarray) -> tuple[float, float]:
    """F1@.5 and AP@[.5:.95]; a fast wrong answer is no result."""
    found = score([(field.truth, drop_specks(labels, below=SPECK_PX))])
    f1, ap = float(found.f1[0]), float(found.average_precision.mean())
    assert f1 > LEAST_F1, f"{who} finds the nuclei with F1 {f1:.3f}, {LEAST_F1} is the least"
    return f1, ap


def best(sides: dict[str, Side], field: Field, *, repeats: int) -> dict[str, np.ndarray]:
    """Each side's shortest turn on one field, and its two scores."""
    scores = {who: check(who, field, side.turn(field)[1]) for who, side in sides.items()}
    turns: dict[str, list[Taken]] = {who: [] for who in sides}
    for _ in range(repeats):
        for who, side in sides.items():
            turns[who].append(side.turn(field)[0])
    shortest = {who: min(taken, key=lambda one: one.total) for who, taken in turns.items()}
    return {who: np.array([*shortest[who], *scores[who]]) for who in sides}


def rows(sides: dict[str, Side], fields: list[Field], *, repeats: int) -> Iterator[str]:
    """One row a side for fields of one size."""
    each = [best(sides, field, repeats=repeats) for field in fields]
    mean = {who: np.mean([one[who] for one in each], axis=0) for who in sides}
    size = " x ".join(map(str, fields[0].image.shape))
    nuclei = np.mean([field.truth.max() for field in fields])
    for who, (network, decoding, total, cpu, f1, ap) in mean.items():
        ratio = total / mean[OURS][2]
        parts = " | ".join("" if np.isnan(s) else f"{1000 * s:.0f}" for s in (network, decoding))
        accuracy = f"{f1:.3f} / {ap:.3f}" if sides[who].is_pretrained else ""
        yield (
            f"| {who} | {size} | {nuclei:.0f} | {parts} | {1000 * total:.0f} | {cpu:.2f} | "
            f"{ratio:.1f}x | {verdict(who, ratio)} | {accuracy} |"
        )


def verdict(who: str, ratio: float) -> str:
    """What was asked, and whether it is so."""
    asked = ASKED.get(who.split()[0])
    return f"{asked:.0f}x: {'reached' if ratio >= asked else 'MISSED'}" if asked else ""


def table(args: argparse.Namespace, folder: Path) -> Iterator[str]:
    """Every line."""
    sides = {OURS: ours(None), f"{OURS}, diameter auto": ours("auto")}
    packages = [f"jax {jax.__version__}"]
    for package in ("stardist", "cellpose"):
        python = getattr(args, package)
        if not python:
            yield f"{package} is left out: --{package} names no interpreter that has it."
            continue
        theirs = Theirs(python, package)
        sides |= theirs.sides()
        packages += dict.fromkeys(versions for versions, _ in theirs.methods.values())
    device = jax.devices()[0].device_kind
    yield f"{device}, {cores()} threads each; {', '.join(packages)}; best of {args.repeats}.\n"
    yield "| who | field | nuclei | network ms | decoding | both | CPU s | ratio | goal | F1 / AP |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for fields in chosen(args.shared / "data", folder, count=args.fields):
        yield from rows(sides, fields, repeats=args.repeats)
    drawn = [who for who, side in sides.items() if not side.is_pretrained]
    if drawn:
        yield f"\nRandom weights, ideal prediction to decode: {', '.join(drawn)}. {PUBLISHED}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Speed of finding nuclei beside others'.")
    parser.add_argument("shared", type=Path, help="the folder of data/")
    parser.add_argument("--stardist", help="python of an environment with stardist")
    parser.add_argument("--cellpose", help="python of an environment with cellpose<4")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--fields", type=int, default=2, help="of each size")
    args = parser.parse_args()
    if not (args.shared / "data" / "bbbc039").is_dir():
        parser.exit(message=f"{args.shared} holds no data/bbbc039/; nothing to segment.\n")
    with tempfile.TemporaryDirectory() as folder:
        for line in table(args, Path(folder)):
            print(line, flush=True)


if __name__ == "__main__":
    main()
