"""A whole plate, from TIFF to Parquet: fields a second, where the time goes, and what is the floor.

    python -m benchmarks.plate [--size 1080] [--fields 1 9 96 864 3456] [--scratch FOLDER]

Draws a 384-well x 9-field plate of five stains (uint16, zlib), `--size` pixels a side, in a folder
that is removed at the end: at 1080 some 40 GB of pixels, at the default of 256 some 2 GB. Then it
computes the first 1, 9, ... fields of it with the full set of features, each count in a process of
its own, as the command line would (programs compiled before, as on every night but the first).
Asserted: no field fails, the nuclei are those that were drawn, a field's cells are the same
whatever else was computed, and peak memory is what was foretold, and flat in the number of fields.

The floor is the least that the machine could do: read the files, copy the pixels, run the network
(its operations, at the rate that it reaches alone).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.fields import STAINS, five_stains, write_plate

WELLS, SITES = 384, 9
FLAT = 1.15  # peak memory of the largest count over that of the first with several batches
SETTLED = 32  # fields from which on memory should no longer grow
NUCLEI = 0.05  # of those drawn may be missed or added
SPARE = 1.1  # peak memory over what was foretold


def main() -> None:
    """Print one row per number of fields, the stages of the largest, and the floor."""
    args = _arguments()
    if args.child:
        print(json.dumps(computed(args.plate, args.out, fields=args.child)))
        return
    with tempfile.TemporaryDirectory(dir=args.scratch) as folder:
        measure(args, Path(folder))


def measure(args: argparse.Namespace, folder: Path) -> None:
    """Draw the plate and compute ever more of it."""
    start = time.perf_counter()
    wells = -(-max(args.fields) // SITES)
    n_cells = max(2.0, args.cells * (args.size / 1080) ** 2)
    drawn = write_plate(folder / "plate", wells=wells, sites=SITES, size=args.size, n_cells=n_cells)
    size = sum(file.stat().st_size for file in (folder / "plate").iterdir())
    print(f"{os.cpu_count()} cores; {wells} wells x {SITES} fields of {args.size} x {args.size} x "
          f"{len(STAINS)} uint16, {size / 1e9:.2f} GB of TIFF, about {np.mean(drawn):.0f} nuclei a "
          f"field; drawn in {time.perf_counter() - start:.0f} s.\n", flush=True)  # fmt: skip
    in_child(folder, fields=1, out="warm")  # compiles
    print("| fields | fields/s | s/field, start included | device busy | read, MB/s of pixels | "
          "peak GB | foretold GB |")  # fmt: skip
    print("|---|---|---|---|---|---|---|")
    found = {}
    for count in args.fields:
        found[count] = run = in_child(folder, fields=count, out=f"run{count}")
        check(folder, run, drawn[:count], count=count, smallest=min(args.fields))
        print(f"| {count} | {count / run['elapsed']:.2f} | {run['wall'] / count:.2f} "
              f"| {run['seconds']['compute'] / run['elapsed']:.0%} "
              f"| {run['pixel_bytes'] / run['elapsed'] / 1e6:.1f} | {run['peak'] / 1e9:.2f} "
              f"| {run['foretold'] / 1e9:.2f} |", flush=True)  # fmt: skip
    settled = [count for count in found if count >= SETTLED]
    if len(settled) > 1:
        growth = found[settled[-1]]["peak"] / found[settled[0]]["peak"]
        assert growth <= FLAT, f"{growth:.2f} times the memory for {settled}"
        print(f"\nPeak memory of {settled[-1]} fields is {growth:.2f} times that of {settled[0]}.")
    most = max(found)
    tell_floor(found[most], file_bytes=size / len(drawn), drawn=most)


def in_child(folder: Path, *, fields: int, out: str, plate: str = "plate") -> dict[str, Any]:
    """Compute the first fields of the plate in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.plate", "--child", str(fields)]
    paths = ["--plate", str(folder / plate), "--out", str(folder / out)]
    start = time.perf_counter()
    done = subprocess.run([*command, *paths], stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout.splitlines()[-1]) | {
        "wall": time.perf_counter() - start,
        "out": str(folder / out),
    }


def computed(plate: Path, out: Path, *, fields: int) -> dict[str, Any]:
    """Compute some fields in this process, and say what that took."""
    from profiler.cells import make_cells
    from profiler.events import FieldsDone, Forecast, TaskTimed
    from profiler.request import Request, find_fields
    from profiler.store.lock import locked
    from profiler.throughput.forecast import peak_bytes

    request = Request(plates=(plate,), out=out, recipe=five_stains("plate"), profile=True)
    plates = find_fields(request)
    with locked(out):
        some = plates._replace(asked=plates.asked.head(fields))
        events = list(make_cells(request, some, None))
    (timed,) = [event for event in events if isinstance(event, TaskTimed)]
    before = next(event for event in events if isinstance(event, Forecast))
    done = [event for event in events if isinstance(event, FieldsDone)]
    return {
        "elapsed": timed.elapsed,
        "seconds": dict(timed.seconds),
        "alone": dict(timed.alone),
        "flops": network_flops(before.pixel_bytes // fields // len(STAINS) // 2),
        "pixel_bytes": before.pixel_bytes,
        "foretold": before.memory_bytes,
        "peak": peak_bytes(),
        "cells": sum(event.cells for event in done),
        "failed": sum(event.failed for event in done),
    }


def network_flops(pixels: int) -> float:
    """Operations of the network on one field, as the compiler counts them."""
    import jax
    import jax.numpy as jnp

    from profiler.segment.segmenter import SegmentConfig, load_segmenter

    side = int(pixels**0.5)
    nuclei = jax.jit(load_segmenter(SegmentConfig()).nuclei)
    cost = nuclei.lower(jnp.zeros((side, side), jnp.float32)).compile().cost_analysis()
    return float(cost["flops"]) if cost else float("nan")


def check(folder: Path, run: dict, drawn: list[int], *, count: int, smallest: int) -> None:
    """No field failed, the nuclei are there, and the first cells are those of the shortest run."""
    assert run["failed"] == 0, f"{run['failed']} of {count} fields failed"
    assert run["peak"] <= SPARE * run["foretold"], "more memory was taken than foretold"
    lost = abs(run["cells"] - sum(drawn)) / sum(drawn)
    assert lost <= NUCLEI or count < SITES, f"{run['cells']} nuclei, {sum(drawn)} were drawn"
    first = [
        pl.read_parquet(next((folder / f"run{n}" / "cells").rglob("A01.parquet")))
        .filter(pl.col("Metadata_Site") == 1)
        for n in (smallest, count)
    ]  # fmt: skip
    assert first[0].equals(first[1]), "the first field's cells differ between runs"


def tell_floor(run: dict[str, Any], *, file_bytes: float, drawn: int) -> None:
    """Print where the time of a field went, what could not be less, and the largest rest."""
    from profiler.events import TaskTimed
    from profiler.throughput.trace import table

    timed = TaskTimed("plate", drawn, run["elapsed"], run["seconds"], run["alone"])
    stages = {stage.stage: stage for stage in table([timed])}
    print("\n| stage | by | ms/field | share of the time |\n|---|---|---|---|")
    for name, where, _, share, each in stages.values():
        print(f"| {name} | {where} | {each:.1f} | {share:.0%} |")
    network = stages["network"]
    flops = run["flops"] / (1e6 * network.ms_per_field)
    pixels = run["pixel_bytes"] / drawn
    rest = {n: s for n, s in stages.items() if n not in ("compute", "segment", "network", "look")}
    largest = max(rest.values(), key=lambda stage: stage.seconds)
    print(f"\nFloor of a field: {file_bytes / 1e6:.2f} MB read, {pixels / 1e6:.2f} MB moved to the "
          f"device, {run['flops'] / 1e9:.1f} GFLOP of network ({network.ms_per_field:.0f} ms "
          f"alone, {flops:.0f} GFLOP/s): the run is at {network.share:.0%} of it. The largest "
          f"remaining share is {largest.stage}, {largest.share:.0%}.")  # fmt: skip


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What a plate costs, from TIFF to Parquet.")
    parser.add_argument("--size", type=int, default=256, help="pixels a side")
    parser.add_argument("--cells", type=float, default=200.0, help="in a field of 1080 pixels")
    parser.add_argument("--fields", type=int, nargs="+", default=[1, 9, 96, 864, WELLS * SITES])
    parser.add_argument("--scratch", type=Path, help="where the plate is drawn; else the system's")
    for hidden, kind in (("--child", int), ("--plate", Path), ("--out", Path)):
        parser.add_argument(hidden, type=kind, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
