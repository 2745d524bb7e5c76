"""What a field costs on an accelerator: segmentation, measurement, and the whole field pass.

    python -m benchmarks.gpu [--size 1080] [--batch 8] [--repeats 5]

Draws synthetic fields, checks that the device gives the CPU's answer, then times each stage at
plate scale. The share of the floor is how near the pass comes to the time of its network alone.
Works on a CPU too (small sizes), so that it can be rehearsed.
"""

import argparse
import time
from collections.abc import Callable
from datetime import date

import flax
import jax
import numpy as np

from plates.synthetic import Phenotype, field
from profiler.field import compile_recipe, to_unit
from profiler.measure import measure_batch, plan_measurement
from profiler.recipe import load_recipe
from profiler.segment.compartments import CellsConfig
from profiler.segment.segmenter import SegmentConfig, load_segmenter

TOLERANCE = 0.01  # share of cells whose number may differ between devices


def seconds(run: Callable[[], object], repeats: int) -> float:
    """Best wall time of `run` after one call that compiles and warms up."""

    def once() -> float:
        start = time.perf_counter()
        jax.block_until_ready(run())
        return time.perf_counter() - start

    once()
    return min(once() for _ in range(repeats))


def peak_gb() -> str:
    """Most device memory used so far, where the device tells."""
    stats = jax.devices()[0].memory_stats() or {}
    return f"{stats['peak_bytes_in_use'] / 1e9:.1f}" if "peak_bytes_in_use" in stats else "-"


def check(images: np.ndarray, config: SegmentConfig) -> None:
    """The device finds the nuclei that the CPU finds."""
    device = load_segmenter(config).segment(to_unit(images[:1])).count[0]
    with jax.default_device(jax.devices("cpu")[0]):
        host = load_segmenter(config, backend="cpu").segment(to_unit(images[:1])).count[0]
    difference = abs(int(device) - int(host))
    assert difference <= TOLERANCE * max(int(host), 1), (int(device), int(host))


def main() -> None:
    """Print one row per stage."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=1080)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()

    drawn = [field(Phenotype(), size=args.size, seed=seed).images for seed in range(args.batch)]
    images = np.stack(drawn)
    recipe = load_recipe("demo")
    config = SegmentConfig(cells_channel=2, cells=CellsConfig(gap_px=1.5), max_cells=1024)
    check(images, config)

    segmenter = load_segmenter(config)
    stains = tuple(recipe.images.channels)
    plan = plan_measurement(families=recipe.measure.families, stains=stains, max_cells=1024)
    program = compile_recipe(recipe)
    scaled = jax.device_put(to_unit(images))
    labels = segmenter.segment(scaled)
    nuclei = jax.jit(jax.vmap(segmenter.nuclei))
    stages = {
        "nuclei: network and decoding": lambda: nuclei(scaled[..., 0]),
        "segmentation: nuclei, cells, cytoplasm": lambda: segmenter.segment(scaled),
        f"measurement: {len(plan.columns)} features": lambda: (
            measure_batch(scaled, labels, plan=plan).features
        ),
        "whole pass, from and to the host": lambda: program.run(images)[0].features,
    }
    device = jax.devices()[0]
    print(f"{date.today()}, {device.device_kind}, jax {jax.__version__}, flax {flax.__version__}")
    cells = int(labels.count.mean())
    print(f"{args.batch} fields of {args.size} x {args.size} x {len(stains)}, {cells} cells each\n")
    print("| stage | fields/s | ms/field | peak GB | share of floor |")
    print("|---|---|---|---|---|")
    floor = None
    for name, run in stages.items():
        each = seconds(run, args.repeats) / args.batch
        floor = floor or each
        print(f"| {name} | {1 / each:.1f} | {1000 * each:.1f} | {peak_gb()} | {floor / each:.0%} |")


if __name__ == "__main__":
    main()
