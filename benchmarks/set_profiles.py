"""Replicates found by the mean, the median and a learned aggregator, where few cells respond.

    python -m benchmarks.set_profiles [--screens 3] [--steps 600]

A made-up screen of cell vectors whose truth is known. Cells are in one of several states (most in
the commonest); a compound moves some percent of a well's cells from the commonest state to two
others, so that the median hardly moves. Cells differ along strong axes that have nothing to do with
their state, wells are off along the same axes, and plates are shifted and scaled. Two layouts of
compounds, each on several plates; a fifth of the compounds and, of each layout, half of the plates
are kept apart: the aggregator is taught by the other compounds on the other plates, and judged by
these compounds on these plates. Every way's wells are put on the scale of the plate's negative
controls, as it is and whitened by the controls (`spherize`, which takes out what controls vary in),
then each well's replicates are ranked by cosine (`profiler.hits`) among the controls of the plate,
and among the other compounds' wells of the plate.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from profiler.embed.sets.examples import Sets, replicate_labels
from profiler.embed.sets.learn import SetLesson, SetSchedule, learn_sets
from profiler.hits import Matching, average_precision
from profiler.profile import aggregate, is_role, robust_z
from profiler.profile.features import feature_columns
from profiler.profile.scaling.whiten import spherize
from profiler.profile.wells.cell_scale import Scales, cell_scales, standardised
from profiler.profile.wells.sets import aggregate_sets, load_aggregator

FEATURES, STATES, AXES = 96, 10, 8
COMPOUNDS, CONTROLS, CELLS, LAYOUTS, COPIES = 60, 24, 150, 2, 6
MOVED = (0.1, 0.3)  # share of a well's cells
APART = 2.5  # states, in sds of a feature
AXIS, OFF, SHIFT, SCALE = 1.0, 0.35, 0.5, 0.15
KEPT_APART = 5  # every fifth compound
AGAINST = {"controls": "its plate's controls", "others": "its plate's other compounds"}
NAMES = [f"Embedding_{i:04d}" for i in range(FEATURES)]


class World(NamedTuple):
    """What all screens of a seed share.

    Attributes:
        centres: Of the states, [state, feature].
        usual: Shares of the states in untreated cells.
        axes: Along which cells differ for other reasons, [axis, feature].
    """

    centres: np.ndarray
    usual: np.ndarray
    axes: np.ndarray


def make_world(random: np.random.Generator) -> World:
    """Draw states and axes."""
    centres = APART * random.normal(size=(STATES, FEATURES)) * (random.random(FEATURES) < 0.3)
    usual = np.array([0.82, *[0.02] * (STATES - 1)])
    return World(centres, usual, AXIS * random.normal(size=(AXES, FEATURES)))


def screen(seed: int) -> pl.DataFrame:
    """Make a screen's cells, with the plate map joined to each."""
    random = np.random.default_rng(seed)
    world = make_world(random)
    effects = [_effect(random, world.usual) for _ in range(COMPOUNDS * LAYOUTS)]
    plates = []
    for layout in range(LAYOUTS):
        compounds = np.arange(COMPOUNDS) + layout * COMPOUNDS
        for copy in range(COPIES):
            own = random.normal(size=(2, FEATURES))
            wells = [(f"C{i:03d}", "treatment", effects[i]) for i in compounds]
            wells += [("DMSO", "negative", world.usual)] * CONTROLS
            for number, (name, role, shares) in enumerate(wells):
                cells = _cells(random, world, shares)
                cells = cells * np.exp(SCALE * own[0]) + SHIFT * own[1]
                well = f"{chr(65 + number // 12)}{number % 12 + 1:02d}"
                keys = (f"L{layout}R{copy}", well, name, role)
                plates.append(_table(keys, cells))
    return pl.concat(plates)


def _effect(random: np.random.Generator, usual: np.ndarray) -> np.ndarray:
    moved = random.uniform(*MOVED)
    to = random.choice(np.arange(1, STATES), 2, replace=False)
    part = random.uniform(0.3, 0.7)
    shares = usual.copy()
    shares[0] -= moved
    shares[to] += moved * np.array([part, 1 - part])
    return shares


def _cells(random: np.random.Generator, world: World, shares: np.ndarray) -> np.ndarray:
    states = random.choice(STATES, CELLS, p=shares)
    along = random.normal(size=(CELLS, AXES)) + OFF * random.normal(size=AXES)
    return world.centres[states] + along @ world.axes + random.normal(size=(CELLS, FEATURES))


def _table(keys: tuple[str, ...], cells: np.ndarray) -> pl.DataFrame:
    names = ("Metadata_Plate", "Metadata_Well", "Metadata_Compound", "Metadata_Role")
    table = pl.DataFrame(cells.astype(np.float32), schema=NAMES)
    return table.select(*(pl.lit(k).alias(n) for n, k in zip(names, keys, strict=True)), *NAMES)


def taught(cells: pl.DataFrame, scales: Scales, out: Path, *, steps: int, seed: int) -> float:
    """Train the aggregator on the compounds and plates that are not kept apart; in seconds."""
    vectors, _ = standardised(cells, features=NAMES, scales=scales)
    wells = cells.with_row_index("row").group_by(KEYS, maintain_order=True).agg(pl.len())
    labels = replicate_labels(
        [(name,) for name in wells["Metadata_Compound"]],
        is_control=(wells["Metadata_Role"] == "negative").to_numpy(),
    )
    starts = np.concatenate([[0], np.cumsum(wells["len"].to_numpy())]).astype(np.int64)
    plates = wells["Metadata_Plate"].rank("dense").to_numpy().astype(np.int64)
    sets = Sets(vectors, starts, labels, plates)
    seen = wells.select(~is_apart_plate() & ~is_apart_compound()).to_series().to_numpy()
    lesson = SetLesson(sets.at(seen), tuple(NAMES), schedule=SetSchedule(steps=steps), seed=seed)
    start = time.perf_counter()
    for _ in learn_sets(lesson, out=out):
        pass
    return time.perf_counter() - start


KEYS = ["Metadata_Plate", "Metadata_Well", "Metadata_Compound", "Metadata_Role"]


def is_apart_plate() -> pl.Expr:
    """The second half of each layout's plates."""
    return pl.col("Metadata_Plate").str.slice(3).cast(pl.Int64) >= COPIES // 2


def is_apart_compound() -> pl.Expr:
    """Every fifth compound; controls are on both sides."""
    number = pl.col("Metadata_Compound").str.strip_prefix("C").cast(pl.Int64, strict=False)
    return (number % KEPT_APART == 0).fill_null(value=False)


def precisions(wells: pl.DataFrame, *, is_whitened: bool) -> list[float]:
    """Mean average precision of the compounds kept apart, against each of `AGAINST`."""
    features, controls = feature_columns(wells), is_role("negative")
    z = robust_z(wells, features=features, reference=controls)
    if is_whitened:
        z = spherize(z, features=features, reference=controls, within=(), ridge=1.0).table
    found = []
    for against in AGAINST:
        matching = Matching(same=("Metadata_Compound",), against=against)
        rows = average_precision(z, matching=matching).filter(is_apart_compound())
        found.append(float(rows["average_precision"].to_numpy().mean()))
    return found


def judged(cells: pl.DataFrame, work: Path, *, steps: int, seed: int) -> Iterator[tuple]:
    """Every way to summarise a well, with its two precisions."""
    scales = cell_scales(
        cells.lazy(), features=NAMES, controls=cells.filter(is_role("negative")).select(KEYS)
    )
    seconds = taught(cells, scales, work / "agg.safetensors", steps=steps, seed=seed)
    apart = cells.filter(is_apart_plate())
    learned = load_aggregator(work / "agg.safetensors")
    ways = {
        "mean": aggregate(apart, by=KEYS, how="mean"),
        "median": aggregate(apart, by=KEYS, how="median"),
        "learned": aggregate_sets(apart, aggregator=learned, scales=scales, by=KEYS),
    }
    for name, wells in ways.items():
        yield name, *precisions(wells, is_whitened=False), seconds
        yield f"{name}, whitened", *precisions(wells, is_whitened=True), seconds


def main() -> None:
    """Print one row per way, means over screens."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--screens", type=int, default=3)
    parser.add_argument("--steps", type=int, default=600)
    args = parser.parse_args()
    rows: dict[str, list] = {}
    with tempfile.TemporaryDirectory() as work:
        for seed in range(args.screens):
            for name, *numbers in judged(screen(seed), Path(work), steps=args.steps, seed=seed):
                rows.setdefault(name, []).append(numbers)
    print(f"| a well's profile | {' | '.join(f'mAP among {text}' for text in AGAINST.values())} |")
    print("|---|---|---|")
    for name, numbers in rows.items():
        means, spread = np.mean(numbers, axis=0), np.std(numbers, axis=0)
        print(f"| {name} | {means[0]:.3f} ± {spread[0]:.3f} | {means[1]:.3f} ± {spread[1]:.3f} |")
    print(f"\nTraining took {np.mean([n[2] for n in rows['learned']]):.0f} s a screen.")


if __name__ == "__main__":
    main()
