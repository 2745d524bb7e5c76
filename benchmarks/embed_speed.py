"""Crops embedded a second, beside the same networks in PyTorch, on a CPU.

    python -m benchmarks.embed_speed --torch PYTHON [--threads 1] [--crops 128] [--repeats 15]
        [--clock cpu] [--models resnet-tiny resnet-small efficientnet-lite0]

`PYTHON` is the interpreter of an environment with `torch` (its CPU build does). Both sides hold the
same random weights and get the same crops, 64 x 64 x 5 float32 in memory, each stain through the
backbone alone, and give one vector for each cell; the vectors are compared first. PyTorch runs in
inference mode in three ways: as one writes it, with channels last, and with each BatchNorm folded
into its convolution as well. Each side takes the batch of three that is fastest for it. Then both
embed all crops in turn, on the same cores; a ratio is the median over turns of theirs to ours.
Seconds are the processes' own (`--clock cpu`), which neighbours disturb least, or the wall's; with
several threads only the wall's mean anything, for threads that wait use the processor too.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx

from profiler.embed.network.build import SIZES, Model, build
from profiler.embed.network.config import EncoderConfig, ModelConfig
from profiler.embed.network.efficientnet import LEVELS
from profiler.embed.predict import make_look
from profiler.nets.files import flat

STAINS = ("DNA", "ER", "RNA", "AGP", "Mito")
WAYS = {
    "as written": {"is_last": False, "is_folded": False},
    "channels last": {"is_last": True, "is_folded": False},
    "channels last, BN folded": {"is_last": True, "is_folded": True},
}
BATCHES = (4, 16, 64)
ALIKE = 1e-4  # of the largest value
SEED = 0

CLOCKS = {"cpu": time.process_time, "wall": time.perf_counter}

Timed = Callable[[], float]


class Turns(NamedTuple):
    """Seconds of each turn, of both sides."""

    ours: np.ndarray
    theirs: np.ndarray

    @property
    def ratio(self) -> float:
        """How many times longer theirs took, median over turns."""
        return float(np.median(self.theirs / self.ours))


class Theirs:
    """The other interpreter, which embeds when it is asked to."""

    def __init__(self, python: str, job: dict[str, Any], folder: Path):
        path = folder / "job.json"
        path.write_text(json.dumps(job))
        script = Path(__file__).with_name("torch_side.py")
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
        self.process = subprocess.Popen([python, str(script), str(path)], **pipes)
        self.version = json.loads(self._line())["torch"]

    def _line(self) -> str:
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("The other interpreter ended; what it said is above.")
        return line

    def seconds(self, name: str, way: str, batch: int) -> float:
        """Have all crops embedded once."""
        self.process.stdin.write(json.dumps([name, way, batch]) + "\n")
        return float(self._line())


def drawn(name: str) -> tuple[Model, ModelConfig]:
    """A network with random weights, running averages included."""
    config = ModelConfig(SIZES[name], stains=STAINS)
    model = build(config, rngs=nnx.Rngs(SEED))
    rng = np.random.default_rng(SEED)
    for _, leaf in flat(model):
        if isinstance(leaf, nnx.BatchStat):
            leaf[...] = leaf[...] * rng.uniform(0.5, 2, leaf.shape).astype(np.float32)
    return model, config


def written(model: Model, path: Path) -> str:
    """The backbone's weights as the other side reads them."""
    named = {"/".join(map(str, key[2:])): np.asarray(leaf[...]) for key, leaf in flat(model)}
    np.savez(path, **named)
    return str(path)


def told(own: EncoderConfig) -> dict[str, Any]:
    """What the other side needs to know of an encoder."""
    return asdict(own) | {"levels": LEVELS[: len(own.blocks)]}


def ours(model: Model, config: ModelConfig, crops: np.ndarray, batch: int, clock: str) -> Timed:
    """One turn of ours."""
    look, now = make_look(model, config, batch=batch), CLOCKS[clock]
    look(crops[:batch])

    def turn() -> float:
        start = now()
        look(crops)
        return now() - start

    return turn


def fastest(turns: dict[int, Timed]) -> tuple[int, Timed]:
    """The batch whose best of three turns is shortest."""
    batch = min(turns, key=lambda batch: min(turns[batch]() for _ in range(3)))
    return batch, turns[batch]


def in_turn(own: Timed, other: Timed, repeats: int) -> Turns:
    """Alternate, so that both meet the same neighbours on the machine."""
    return Turns(*np.array([(own(), other()) for _ in range(repeats)]).T)


def compared(
    name: str, theirs: Theirs, crops: np.ndarray, folder: Path, args: argparse.Namespace
) -> Iterator[str]:
    """Rows of one network."""
    model, config = drawn(name)
    vectors = make_look(model, config)(crops[:32]).vectors
    for way in WAYS:
        other = np.load(folder / f"{name}, {way}.npy")
        far = np.abs(vectors - other).max() / np.abs(other).max()
        assert far < ALIKE, f"{name}, {way}: vectors differ by {far:.2g} of the largest"
    own_batch, own = fastest({b: ours(model, config, crops, b, args.clock) for b in BATCHES})
    for way in WAYS:
        turns = {b: (lambda b=b, way=way: theirs.seconds(name, way, b)) for b in BATCHES}
        batch, other = fastest(turns)
        found = in_turn(own, other, args.repeats)
        rates = [len(crops) / np.median(each) for each in found]
        yield (
            f"| {name} | {way} | {rates[1]:.0f} ({batch}) | {rates[0]:.0f} ({own_batch}) | "
            f"{found.ratio:.2f}x{'' if found.ratio >= 1 else ', missed'} |"
        )


def table(args: argparse.Namespace, folder: Path) -> Iterator[str]:
    """Every line."""
    rng = np.random.default_rng(SEED)
    crops = rng.random((args.crops, 64, 64, len(STAINS)), np.float32)
    np.save(folder / "crops.npy", crops)
    models = {
        name: (told(SIZES[name]), written(drawn(name)[0], folder / f"{name}.npz"))
        for name in args.models
    }
    job = {"threads": args.threads, "ways": WAYS, "models": models}
    job |= {"clock": args.clock, "crops": str(folder / "crops.npy"), "out": str(folder)}
    theirs = Theirs(args.torch, job, folder)
    yield (
        f"\ntorch {theirs.version}, jax {jax.__version__}, {args.threads} threads, {args.crops} "
        f"crops of 64 x 64 x {len(STAINS)}, {args.repeats} turns, by the {args.clock}\n"
    )
    yield "| network | torch | torch, crops/s (batch) | ours, crops/s (batch) | ratio |"
    yield "|---|---|---|---|---|"
    for name in args.models:
        yield from compared(name, theirs, crops, folder, args)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch", help="python of an environment with torch")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--crops", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--clock", choices=CLOCKS, default="cpu")
    parser.add_argument(
        "--models", nargs="+", default=["resnet-tiny", "resnet-small", "efficientnet-lite0"]
    )
    args = parser.parse_args(argv)
    if not args.torch:
        parser.exit(message="Nothing to compare with: give --torch PYTHON.\n")
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])  # before JAX begins
    with tempfile.TemporaryDirectory() as folder:
        for line in table(args, Path(folder)):
            print(line, flush=True)


if __name__ == "__main__":
    main()
