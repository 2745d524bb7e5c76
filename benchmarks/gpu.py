"""What a field costs on an accelerator: segmentation, measurement, embedding, the whole pass.

    python -m benchmarks.gpu [--size 1080] [--cells 200] [--batch 4] [--repeats 5]
        [--stages nuclei segmentation cells measurement embedding encoder pass families]
                             [--out TABLE.md]

Draws synthetic five-channel fields and checks that the device gives the CPU's answer: its count of
nuclei, and on the same masks at least 95% of the features within one part in a thousand in 99% of
the cells. Then it times the stages, in this order, and adds each row to the table as soon as it is
known, so that a run that is cut short has told the most important. `families`, each alone, compiles
a dozen more programs: give it a run of its own. The share of the floor is how near a stage comes to
the time of the network alone. `encoder` is the shipped encoder on crops at hand: its line says
crops a second, and the share of the device's peak where that is known. Works on a CPU too (small
sizes), to rehearse it.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import NamedTuple

import flax
import jax
import numpy as np
from flax import nnx

from benchmarks.feature_parity import MOST, TOLERANCE, compare
from benchmarks.fields import STAINS, Case, drawn, five_stains
from plates.synthetic import Phenotype
from profiler.compute.devices import available_cores, keep_compiled_programs
from profiler.compute.field import compile_recipe, to_unit
from profiler.embed.embedder import BATCH_CPU, load_embedder
from profiler.embed.weights import load_model
from profiler.measure import CellLabels, Plan, measure, measure_batch, plan_measurement
from profiler.segment.compartments import CellsConfig
from profiler.segment.segmenter import SegmentConfig, Segmenter, load_segmenter

AGREE = 0.95  # of the features
COUNTS = 0.01  # of the nuclei may differ
MAX_CELLS = 512
FAMILIES = five_stains("gpu").measure.families
STAGES = (
    "nuclei", "segmentation", "cells", "measurement", "embedding", "encoder", "pass", "families",
)  # fmt: skip
ENCODER = "cells"  # the one that ships
CROPS = 4096  # of 64 x 64 x 5, through the encoder at a time on an accelerator
PEAK = {"NVIDIA H200": 67e12, "NVIDIA H100 80GB HBM3": 67e12, "NVIDIA A100-SXM4-80GB": 19.5e12}
# floating-point operations a second in float32, by the makers' data sheets


class Fields(NamedTuple):
    """A batch, in all the forms that stages take.

    Attributes:
        cases: As drawn.
        raw: On the host, 16 bits, [batch, height, width, channel].
        scaled: On the device, 0 to 1.
        masks: As drawn, on the device, [batch, height, width].
    """

    cases: list[Case]
    raw: np.ndarray
    scaled: jax.Array
    masks: CellLabels


def draw(*, size: int, cells: int, batch: int) -> Fields:
    """Draw a batch of fields."""
    look = Phenotype(n_cells=cells)
    cases = [drawn(look, size=size, seed=seed) for seed in range(batch)]
    raw = np.stack([np.round(case.image * 65535) for case in cases]).astype(np.uint16)
    masks = [np.stack(part) for part in zip(*(case.labels for case in cases), strict=True)]
    return Fields(cases, raw, jax.device_put(to_unit(raw)), CellLabels(*map(jax.device_put, masks)))


def plan_for(families: tuple[str, ...], *, backend: str = "auto") -> Plan:
    """Plan to measure some families, as the recipe's run does: the full set compiles once."""
    return plan_measurement(
        families=families, stains=STAINS, max_cells=MAX_CELLS, backend=backend,
        threads=available_cores(),
    )  # fmt: skip


def check_nuclei(fields: Fields, config: SegmentConfig, segmenter: Segmenter) -> str:
    """The device finds the nuclei that the CPU finds."""
    device = int(segmenter.segment(fields.scaled).count[0])
    with jax.default_device(jax.devices("cpu")[0]):
        host = load_segmenter(config, backend="cpu").segment(to_unit(fields.raw[:1]))
    assert abs(device - int(host.count[0])) <= COUNTS * max(int(host.count[0]), 1), (device, host)
    return f"{device} nuclei in the first, {int(host.count[0])} by the CPU"


def check_features(fields: Fields, families: tuple[str, ...], backend: str) -> str:
    """The device's features are the CPU's, on the masks as drawn."""
    table = measure_batch(fields.scaled, fields.masks, plan=plan_for(families, backend=backend))
    plan, case = plan_for(families, backend="cpu"), fields.cases[0]
    expected = measure(case.image, case.labels, plan=plan)
    found, there = np.asarray(table.features[0]), expected.present
    compared = [
        compare(name, found[there, i], expected.features[there, i])
        for i, name in enumerate(plan.columns)
    ]
    share = np.mean([each.cells <= (1 - MOST) * each.of for each in compared])
    assert share >= AGREE, (share, sorted(compared, key=lambda each: -each.cells)[:9])
    return f"{share:.1%} of {len(compared)} features agree with the CPU's within {TOLERANCE:g}"


def stages(
    fields: Fields, segmenter: Segmenter, *, wanted: tuple[str, ...], backend: str
) -> Iterator[tuple[str, Callable[[], object]]]:
    """What is timed, by name; made when its turn comes."""
    families = FAMILIES
    scaled = fields.scaled

    def measuring(*names: str) -> Callable[[], object]:
        plan, found = plan_for(names, backend=backend), segmenter.segment(scaled)
        return lambda: measure_batch(scaled, found, plan=plan)

    if "nuclei" in wanted:
        nuclei = jax.jit(jax.vmap(segmenter.nuclei))
        yield "nuclei: network and decoding", lambda: nuclei(scaled[..., 0])
    if "segmentation" in wanted:
        yield "segmentation: nuclei, cells, cytoplasm", lambda: segmenter.segment(scaled)
    if "cells" in wanted:
        how = CellsConfig(method="network")
        config = SegmentConfig(cells_channel=1, max_cells=MAX_CELLS, cells=how)
        whole = load_segmenter(config)
        yield "segmentation with a network of whole cells", lambda: whole.segment(scaled)
    if "measurement" in wanted:
        plan = plan_for(families)
        count = len(plan.columns) + len(plan.image_columns)
        yield f"measurement: {count} features", measuring(*families)
    if "embedding" in wanted:
        embedder = load_embedder(ENCODER, stains=STAINS, max_cells=MAX_CELLS)
        yield "embedding: crops and encoder", lambda: embedder.embed(scaled, fields.masks.nuclei)
    if "pass" in wanted:
        program = compile_recipe(five_stains("gpu", max_cells=MAX_CELLS))
        yield "whole pass, from and to the host", lambda: program.run(fields.raw)[0].features
        recipe = five_stains("gpu", max_cells=MAX_CELLS)
        embed = recipe.embed.model_copy(update={"model": ENCODER})
        both = compile_recipe(recipe.model_copy(update={"embed": embed}))
        yield "the same with embedding", lambda: both.run(fields.raw)[0].features
    if "families" in wanted:
        yield from ((f"family alone: {name}", measuring(name)) for name in families)


def encoder_rate(*, crops: int, repeats: int) -> str:
    """Crops a second through the encoder alone, and the share of the device's peak."""
    model, _, _ = load_model(ENCODER)
    graph, state = nnx.split(model.encoder)
    shown = jax.device_put(np.random.default_rng(0).random((crops, 64, 64, 5), np.float32))
    run = jax.jit(lambda state, seen: nnx.merge(graph, state)(seen))
    cost = run.lower(state, shown).compile().cost_analysis()
    _, best = timed(lambda: run(state, shown), repeats)
    rate = (cost or {}).get("flops", float("nan")) / best
    peak = PEAK.get(jax.devices()[0].device_kind)
    share = f", {rate / peak:.1%} of its peak in float32" if peak else ""
    return (
        f"Encoder alone: {crops / best:,.0f} crops of 64 x 64 x 5 a second, "
        f"{rate / 1e9:,.0f} GFLOP/s{share}."
    )


def timed(run: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Wall time of the first call of `run`, which compiles, and the best of the others."""

    def once() -> float:
        start = time.perf_counter()
        jax.block_until_ready(run())
        return time.perf_counter() - start

    first = once()
    return first, min(once() for _ in range(repeats))


def peak_gb() -> str:
    """Most device memory used so far, where the device tells."""
    stats = jax.devices()[0].memory_stats() or {}
    return f"{stats['peak_bytes_in_use'] / 1e9:.1f}" if "peak_bytes_in_use" in stats else "-"


def main() -> None:
    """Print the checks, then one row per stage and family as they are done."""
    args = _arguments()
    start = time.perf_counter()
    keep_compiled_programs()
    fields = draw(size=args.size, cells=args.cells, batch=args.batch)
    config = SegmentConfig(cells_channel=1, max_cells=MAX_CELLS)
    segmenter = load_segmenter(config)
    lines: list[str] = []

    def tell(line: str) -> None:
        print(line, flush=True)
        lines.append(line)
        if args.out:
            args.out.write_text("\n".join(lines) + "\n")

    kind = jax.devices()[0].device_kind
    tell(f"{date.today()}, {kind}, jax {jax.__version__}, flax {flax.__version__}")
    tell(f"{args.batch} fields of {args.size} x {args.size} x {len(STAINS)}, about {args.cells} "
         f"cells each; {check_nuclei(fields, config, segmenter)}; "
         f"{check_features(fields, FAMILIES, args.backend)}.\n")  # fmt: skip
    tell("| stage | fields/s | ms/field | peak GB so far | share of floor | compiling, s |")
    tell("|---|---|---|---|---|---|")
    floor = None
    wanted = tuple(args.stages)
    for name, run in stages(fields, segmenter, wanted=wanted, backend=args.backend):
        first, best = timed(run, args.repeats)
        each = best / args.batch
        floor = each if name.startswith("nuclei") else floor
        share = f"{floor / each:.0%}" if floor else "-"
        tell(f"| {name} | {1 / each:.2f} | {1000 * each:.1f} | {peak_gb()} | {share} "
             f"| {first - best:.0f} |")  # fmt: skip
    if "encoder" in wanted:
        crops = CROPS if jax.default_backend() != "cpu" else BATCH_CPU
        tell("\n" + encoder_rate(crops=crops, repeats=args.repeats))
    tell(f"\n{time.perf_counter() - start:.0f} s in all, with the checks and what they compiled.")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What a field costs on an accelerator.")
    parser.add_argument("--size", type=int, default=1080)
    parser.add_argument("--cells", type=int, default=200)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--stages", nargs="+", default=STAGES[:-1], choices=STAGES)
    parser.add_argument("--backend", default="auto", help="jax, to rehearse its kernels on a CPU")
    parser.add_argument("--out", type=Path, help="where to keep the table as well")
    return parser.parse_args()


if __name__ == "__main__":
    main()
