"""The same fields from files to per-cell tables: ours, and StarDist + cp_measure in all cores.

    python -m benchmarks.night --stardist PYTHON [--size 1080] [--fields 16] [--theirs 2]

`PYTHON` is the interpreter of an environment with `stardist` and `tensorflow-cpu`. Both sides read
the same uint16 TIFFs of five stains, find nuclei and cells, and write the full set of features of
nuclei, cells and cytoplasm as Parquet. Ours is a run as the command line makes it; theirs is
StarDist (one process a core), a seeded watershed on the RNA stain for the cells, and all of
cp_measure 0.3 (one process a core, its numba accelerator on). Neither side's imports, compilers and
warm-up are timed. They get the first `--theirs` of the fields (one a core by default: their rate
is what counts, and a field takes them a minute), ours all. Asserted: both find the nuclei drawn.

With `../shared` as first argument, CellProfiler's field of Cell Painting too: ours against the time
that CellProfiler 4.2.8 took for it when its reference tables were made.
"""

import argparse
import json
import multiprocessing
import os
import subprocess
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import tifffile

from benchmarks.fields import PHENIX, STAINS, drawn_nuclei, write_plate
from benchmarks.plate import in_child

CELLPROFILER_S = 35.9  # seconds a field, one thread: ../shared/reference/cellprofiler/README.md
ASKED = {"StarDist + cp_measure": 10.0, "CellProfiler": 40.0}
COUNT = 0.1  # of the nuclei drawn may be missed or added
WARM_UP = 128  # pixels of the field that warms cp_measure up


def main() -> None:
    """Print one row for each side."""
    args = _arguments()
    cores = len(os.sched_getaffinity(0))
    print(f"{cores} cores.\n\n| who | fields | s/field | columns | cells | ratio | asked |")
    print("|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory(dir=args.scratch) as folder:
        if args.stardist:
            against_stardist(args, Path(folder), cores)
        if args.shared and (args.shared / "data").is_dir():
            against_cellprofiler(args, Path(folder))


def against_stardist(args: argparse.Namespace, folder: Path, cores: int) -> None:
    """Time both sides on drawn fields."""
    n_cells = max(2.0, args.cells * (args.size / 1080) ** 2)
    look = {"size": args.size, "n_cells": n_cells}
    drawn = write_plate(folder / "plate", wells=args.fields, sites=1, distinct=8, **look)
    ours = timed(folder, "plate", fields=args.fields)
    check(ours["cells"], sum(drawn), who="we")
    row("ours", args.fields, ours["s"], ours["columns"], ours["cells"])
    some = min(args.theirs or cores, args.fields)
    fields = jobs(folder, some, n_distinct=min(8, args.fields), **look)
    first = stardist(args.stardist, folder, fields, processes=cores)
    check(sum(first["nuclei"]), sum(drawn[:some]), who="StarDist")
    note = "" if first["pretrained"] else ", random weights of the same size: time alone counts"
    row(f"StarDist{note}", some, first["seconds"] / some, 0, sum(first["nuclei"]))
    then, cells, columns = cp_measure(fields, processes=cores)
    theirs = (first["seconds"] + then) / some
    row("cp_measure", some, then / some, columns, cells)
    row("StarDist + cp_measure", some, theirs, columns, cells, ratio=theirs / ours["s"])


def against_cellprofiler(args: argparse.Namespace, folder: Path) -> None:
    """Time ours on copies of the field that CellProfiler's reference tables are of."""
    source = args.shared / "data" / "cell_painting" / "br00143976_phenix_naming"
    plate = folder / "phenix"
    plate.mkdir()
    for stain, number in zip(STAINS, PHENIX, strict=True):
        data = next(source.glob(f"*-ch{number}sk*.tiff")).read_bytes()
        for site in range(1, args.fields + 1):
            (plate / f"A01_s{site}_{stain}.tif").write_bytes(data)
    ours = timed(folder, "phenix", fields=args.fields)
    row("ours, Phenix field", args.fields, ours["s"], ours["columns"], ours["cells"])
    ratio = CELLPROFILER_S / ours["s"]
    row("CellProfiler, one thread, another day", 1, CELLPROFILER_S, 0, 0, ratio=ratio)


def timed(folder: Path, plate: str, *, fields: int) -> dict[str, Any]:
    """Run ours in processes of their own: to compile, on one field, and on all of them.

    What the second takes is starting up, as the others' warm-up is; the rest is the fields'.
    """
    in_child(folder, fields=1, out=f"{plate}_warm", plate=plate)
    one = in_child(folder, fields=1, out=f"{plate}_one", plate=plate)
    run = in_child(folder, fields=fields, out=f"{plate}_ours", plate=plate)
    assert run["failed"] == 0
    file = next((folder / f"{plate}_ours" / "cells").rglob("*.parquet"))
    each = (run["elapsed"] - one["elapsed"]) / (fields - 1) if fields > 1 else run["elapsed"]
    return run | {"s": each, "columns": len(pl.read_parquet_schema(file))}


def jobs(
    folder: Path, count: int, *, size: int, n_cells: float, n_distinct: int
) -> list[dict[str, str]]:
    """The same fields as they want them: names of planes, and the truth for StarDist's decoder."""
    files = sorted((folder / "plate").glob("*_DNA.tif"))[:count]
    found = []
    for i, dna in enumerate(files):
        truth = folder / f"truth{i}.npy"
        np.save(truth, drawn_nuclei(size=size, n_cells=n_cells, seed=i % n_distinct))
        found.append({"dna": str(dna), "truth": str(truth), "out": str(folder / f"labels{i}.npy")})
    return found


def stardist(python: str, folder: Path, fields: list[dict], *, processes: int) -> dict[str, Any]:
    """Segment by StarDist, in its own environment."""
    job = folder / "job.json"
    job.write_text(json.dumps({"fields": fields, "processes": processes}))
    script = Path(__file__).with_name("stardist_side.py")
    done = subprocess.run([python, script, job], stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def cp_measure(fields: list[dict], *, processes: int) -> tuple[float, int, int]:
    """Measure by cp_measure; returns seconds, cells and columns."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, initializer=warm_up) as pool:
        list(pool.map(time.sleep, [1.0] * processes))
        start = time.perf_counter()
        shapes = list(pool.map(measured, fields))
        seconds = time.perf_counter() - start
    return seconds, sum(rows for rows, _ in shapes), shapes[0][1]


def warm_up() -> None:
    """Compile what cp_measure compiles."""
    from benchmarks import incumbent
    from benchmarks.fields import drawn
    from plates.synthetic import Phenotype

    incumbent.measure(drawn(Phenotype(n_cells=2.0), size=WARM_UP, seed=0))


def measured(field: dict) -> tuple[int, int]:
    """Grow the cells of one field, measure all, and write the table; returns its shape."""
    from benchmarks import incumbent
    from benchmarks.fields import Case
    from profiler.measure import CellLabels

    planes = [tifffile.imread(field["dna"].replace("_DNA", f"_{stain}")) for stain in STAINS]
    image = np.stack(planes, axis=-1).astype(np.float32) / 65535
    nuclei = np.load(field["out"])
    cells = grown(nuclei, image[..., STAINS.index("RNA")])
    labels = CellLabels(nuclei, cells, np.where(nuclei > 0, 0, cells))
    found = incumbent.measure(Case("", STAINS, image, labels, 65535)).columns
    rows = int(nuclei.max())
    whole = {name: values for name, values in found.items() if len(values) == rows}
    pl.DataFrame(whole).write_parquet(field["out"].replace(".npy", ".parquet"))
    return rows, len(found)


def grown(nuclei: np.ndarray, stain: np.ndarray) -> np.ndarray:
    """Cells by watershed from the nuclei, where the stain is above Otsu's threshold."""
    from skimage.filters import sobel, threshold_otsu
    from skimage.segmentation import watershed

    mask = (stain > threshold_otsu(stain)) | (nuclei > 0)
    return watershed(sobel(stain), nuclei, mask=mask).astype(np.int32)


def check(found: int, drawn: int, *, who: str) -> None:
    """A fast wrong answer is no result."""
    assert abs(found - drawn) <= COUNT * drawn, f"{who} found {found} nuclei, {drawn} were drawn"


def row(who: str, fields: int, s: float, columns: int, cells: int, *, ratio: float = 0.0) -> None:
    """Print a line of the table; a miss is said."""
    asked = next((least for name, least in ASKED.items() if ratio and who.startswith(name)), 0.0)
    verdict = f"{asked:.0f}x: {'held' if ratio >= asked else 'MISSED'}" if asked else ""
    cells_of = [f"{n:,}" if n else "" for n in (columns, cells)]
    said = f"{ratio:.1f}x" if ratio else ""
    print(
        f"| {who} | {fields} | {s:.2f} | {' | '.join(cells_of)} | {said} | {verdict} |", flush=True
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A night's work beside the incumbents'.")
    parser.add_argument("shared", nargs="?", type=Path, help="the data folder, for CellProfiler")
    parser.add_argument("--stardist", help="python of an environment with stardist")
    parser.add_argument("--size", type=int, default=1080, help="pixels a side")
    parser.add_argument("--cells", type=float, default=200.0, help="in a field of 1080 pixels")
    parser.add_argument("--fields", type=int, default=16)
    parser.add_argument("--theirs", type=int, help="of the fields, for them; else one a core")
    parser.add_argument("--scratch", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
