"""What a field costs on an accelerator: segmentation, measurement, and the whole field pass.

    python -m benchmarks.gpu [--size 1080] [--cells 200] [--batch 4] [--repeats 5] [--out TABLE.md]

Draws synthetic five-channel fields, checks that the device gives the CPU's answer (its count of
nuclei, and on the same masks at least 95% of the features within one part in a thousand), then
times each stage and each feature family at plate scale. The share of the floor is how near a
stage comes to the time of the network alone. Works on a CPU too (small sizes), to rehearse it.
"""

import argparse
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import flax
import jax
import numpy as np

from benchmarks.feature_parity import TOLERANCE, compare
from benchmarks.fields import STAINS, Case, drawn
from plates.synthetic import Phenotype
from profiler.field import compile_recipe, to_unit
from profiler.measure import CellLabels, Plan, measure, measure_batch, plan_measurement
from profiler.recipe import Recipe, parse_recipe
from profiler.segment.segmenter import SegmentConfig, Segmenter, load_segmenter

AGREE = 0.95  # of the features
COUNTS = 0.01  # of the nuclei may differ
MAX_CELLS = 512


def recipe() -> Recipe:
    """Five stains, the full set of features."""
    return parse_recipe({
        "name": "gpu",
        "images": {"channels": {stain: stain for stain in STAINS}},
        "segment": {"nuclei": "DNA", "cells": "RNA", "max_cells": MAX_CELLS},
    })  # fmt: skip


def plan_for(families: tuple[str, ...], *, max_cells: int, backend: str = "auto") -> Plan:
    """Plan to measure some families on the device, or on the host."""
    return plan_measurement(
        families=families, stains=STAINS, max_cells=max_cells, backend=backend, threads=2
    )


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


def check_nuclei(images: np.ndarray, config: SegmentConfig) -> None:
    """The device finds the nuclei that the CPU finds."""
    device = int(load_segmenter(config).segment(to_unit(images[:1])).count[0])
    with jax.default_device(jax.devices("cpu")[0]):
        host = int(load_segmenter(config, backend="cpu").segment(to_unit(images[:1])).count[0])
    assert abs(device - host) <= COUNTS * max(host, 1), (device, host)


def check_features(case: Case, families: tuple[str, ...]) -> str:
    """The device's features are the CPU's."""
    plans = [plan_for(families, max_cells=case.cells, backend=kind) for kind in ("cpu", "jax")]
    host, device = (measure(case.image, case.labels, plan=plan) for plan in plans)
    agree = [
        compare(name, device.features[:, i], host.features[:, i]).difference <= TOLERANCE
        for i, name in enumerate(plans[0].columns)
    ]
    assert np.mean(agree) >= AGREE, np.mean(agree)
    return f"{np.mean(agree):.1%} of {len(agree)} features agree with the CPU's within 1e-3"


def stages(
    segmenter: Segmenter, scaled: jax.Array, images: np.ndarray, families: tuple[str, ...]
) -> dict[str, Callable[[], object]]:
    """What is timed, by name: the stages, then each family alone."""
    found = segmenter.segment(scaled)
    labels = CellLabels(found.nuclei, found.cells, found.cytoplasm)
    nuclei = jax.jit(jax.vmap(segmenter.nuclei))
    program = compile_recipe(recipe())

    def measuring(*names: str) -> Callable[[], object]:
        plan = plan_for(names, max_cells=MAX_CELLS)
        return lambda: measure_batch(scaled, labels, plan=plan)

    full = plan_for(families, max_cells=MAX_CELLS)
    count = len(full.columns) + len(full.image_columns)
    return {
        "nuclei: network and decoding": lambda: nuclei(scaled[..., 0]),
        "segmentation: nuclei, cells, cytoplasm": lambda: segmenter.segment(scaled),
        f"measurement: {count} features": measuring(*families),
        "whole pass, from and to the host": lambda: program.run(images)[0].features,
    } | {f"family alone: {name}": measuring(name) for name in families}


def main() -> None:
    """Print one row per stage and family."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=1080)
    parser.add_argument("--cells", type=int, default=200)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, help="where to keep the table as well")
    args = parser.parse_args()

    look = Phenotype(n_cells=args.cells)
    cases = [drawn(look, size=args.size, seed=seed) for seed in range(args.batch)]
    images = np.stack([np.round(case.image * 65535) for case in cases]).astype(np.uint16)
    config = SegmentConfig(cells_channel=1, max_cells=MAX_CELLS)
    families = recipe().measure.families
    check_nuclei(images, config)
    agreement = check_features(cases[0], families)

    device = jax.devices()[0]
    lines = [
        f"{date.today()}, {device.device_kind}, jax {jax.__version__}, flax {flax.__version__}",
        f"{args.batch} fields of {args.size} x {args.size} x {len(STAINS)}, about {args.cells} "
        f"cells each; {agreement}.\n",
        "| stage | fields/s | ms/field | peak GB so far | share of floor |",
        "|---|---|---|---|---|",
    ]
    floor = None
    scaled = jax.device_put(to_unit(images))
    for name, run in stages(load_segmenter(config), scaled, images, families).items():
        each = seconds(run, args.repeats) / args.batch
        floor = floor or each
        lines.append(
            f"| {name} | {1 / each:.1f} | {1000 * each:.1f} | {peak_gb()} | {floor / each:.0%} |"
        )
    table = "\n".join(lines)
    print(table)
    if args.out:
        args.out.write_text(table + "\n")


if __name__ == "__main__":
    main()
