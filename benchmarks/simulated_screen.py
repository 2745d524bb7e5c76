"""False discoveries in a made-up screen whose truth is known: stated rate, true rate, power.

    python -m benchmarks.simulated_screen [--screens 3] [--ours-only]

10,000 compounds, 1% of them active, each in the same well of 4 plates; 32 negative controls lie
scattered on every plate of 384. 60 features hang together; each plate has a shift and a scale of
its own, gradients along rows and columns, and an edge effect that fades inwards, half of it
alike on all plates. `activity` states q; robust z is what one would do without it, and is given
its best: an oracle that cuts its list where the true rate is q. A screen has some 60 discoveries,
so that one screen's rate says little: the mean's 95% interval, over screens, stands beside it.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from itertools import islice

import numpy as np
import polars as pl
from scipy import stats

from plates.well import FORMATS, plate_wells
from profiler.hits import activity, average_precision, mean_average_precision
from profiler.profile import (
    feature_columns,
    is_role,
    median_polish,
    position_means,
    robust_z,
)
from profiler.profile.fdr import q_values

COMPOUNDS, ACTIVE, REPLICATES, FEATURES, CONTROLS = 10_000, 100, 4, 60, 32
SIZE = (0.4, 1.2)  # of an effect, in sds of a feature
EDGE, GRADIENT, SHIFT, SCALE = 1.0, 1.0, 2.0, 0.2
CONTROL = is_role("negative")
PLATE = FORMATS[384]
COMPOUND = "Metadata_Compound"
ALL = pl.lit(value=True)
Q, RATE = 0.05, (0.02, 0.06)
OURS, USUAL = "mAP, positions corrected", "robust z alone, best feature"
ORACLE = "robust z, {}, best feature, cut by an oracle at this rate"


def simulate(seed: int) -> tuple[pl.DataFrame, set[str]]:
    """Make a screen: its wells, and the names of the active compounds."""
    random = np.random.default_rng(seed)
    names = np.array([f"C{i:05d}" for i in range(COMPOUNDS)])
    effects = np.zeros((COMPOUNDS, FEATURES))
    active = random.choice(COMPOUNDS, ACTIVE, replace=False)
    direction = unit(random.normal(size=(ACTIVE, FEATURES)))
    effects[active] = direction * random.uniform(*SIZE, size=(ACTIVE, 1)) * np.sqrt(FEATURES)
    mix = mixing(random)
    edge = unit(random.normal(size=FEATURES)) * np.sqrt(FEATURES)
    wells = random.permutation(PLATE.wells)
    controls, treated = wells[:CONTROLS], np.sort(wells[CONTROLS:])
    order = random.permutation(COMPOUNDS)
    plates = []
    for number, first in enumerate(range(0, COMPOUNDS, len(treated))):
        compounds = order[first : first + len(treated)]
        filled = treated[: len(compounds)]
        for replicate in range(REPLICATES):
            values = random.normal(size=(PLATE.wells, FEATURES)) @ mix
            values[filled] += effects[compounds]
            values = uneven(values, edge, random)
            rows = np.concatenate([filled, controls])
            labels = [*names[compounds], *["DMSO"] * CONTROLS]
            roles = ["treatment"] * len(filled) + ["negative"] * CONTROLS
            plates.append(table(f"S{number:02d}R{replicate}", rows, labels, roles, values[rows]))
    return pl.concat(plates), set(names[active])


def mixing(random: np.random.Generator) -> np.ndarray:
    """From independent numbers to features of variance about one that hang together."""
    strength = (1 + np.arange(FEATURES)) ** -0.5
    strength /= np.sqrt((strength**2).mean())
    rotation = np.linalg.qr(random.normal(size=(FEATURES, FEATURES)))[0]
    return strength[:, None] * rotation


def uneven(values: np.ndarray, edge: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """What one plate's position, shift and scale do to its wells."""
    row, column = np.divmod(np.arange(PLATE.wells), PLATE.columns)
    depth = np.minimum.reduce([row, PLATE.rows - 1 - row, column, PLATE.columns - 1 - column])
    own = random.normal(size=(4, FEATURES))
    values = values + EDGE * np.exp(-depth)[:, None] * (edge + own[0] / 2)
    values += GRADIENT * (row / PLATE.rows - 0.5)[:, None] * own[1]
    values += GRADIENT * (column / PLATE.columns - 0.5)[:, None] * own[2]
    return values * np.exp(SCALE * random.normal(size=FEATURES)) + SHIFT * own[3]


def unit(values: np.ndarray) -> np.ndarray:
    """Scale to length one."""
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def table(
    plate: str, wells: np.ndarray, labels: list[str], roles: list[str], values: np.ndarray
) -> pl.DataFrame:
    """Wells as the rest of the engine has them."""
    names = plate_wells(PLATE)
    keys = {
        "Metadata_Plate": [plate] * len(wells),
        "Metadata_Well": [names[i] for i in wells],
        "Metadata_Compound": labels,
        "Metadata_Role": roles,
    }
    features = [f"Cells_Made_F{i}" for i in range(values.shape[1])]
    return pl.DataFrame(keys).hstack(pl.DataFrame(values, schema=features))


def false_discoveries(n_screens: int, *, ours_only: bool) -> Iterator[str]:
    """Stated and true false discovery rate, and power, over screens."""
    rows: dict[str, list[tuple[int, float, float]]] = {}
    for seed in range(n_screens):
        wells, active = simulate(seed)
        for way, found in islice(ways(wells), 1 if ours_only else None):
            rows.setdefault(way, []).append(judged(found, active))
        for way, power in () if ours_only else oracles(wells, active):
            rows.setdefault(way, []).append((-1, Q, power))
    yield f"| way | hits | true rate at q = {Q} | 95% interval | power |"
    yield "|---|---|---|---|---|"
    for way, results in rows.items():
        hits, rate, power = np.mean(results, axis=0)
        known = ("-", "-") if hits < 0 else (f"{hits:.0f}", interval([each[1] for each in results]))
        yield f"| {way} | {known[0]} | {rate:.3f} | {known[1]} | {power:.3f} |"
    rate, power = (np.mean([result[i] for result in rows[OURS]]) for i in (1, 2))
    mark = "reached" if RATE[0] <= rate <= RATE[1] else "MISSED"
    yield f"\nGoal: true rate between {RATE[0]} and {RATE[1]}: {mark} ({n_screens} screens)."
    if ours_only:
        return
    best = np.mean([result[2] for result in rows[ORACLE.format("alone")]])
    mark = "reached" if power > best else "MISSED"
    yield f"Goal: more power than robust z alone, cut by an oracle: {mark}."


def interval(rates: list[float]) -> str:
    """Where the mean of the screens' rates lies, by Student's t."""
    if len(rates) < 2:
        return "-"
    reach = stats.t.ppf(0.975, len(rates) - 1) * np.std(rates, ddof=1) / np.sqrt(len(rates))
    return f"{max(np.mean(rates) - reach, 0):.3f} to {np.mean(rates) + reach:.3f}"


def corrected(wells: pl.DataFrame) -> pl.DataFrame:
    """Rows and columns, then what the same position has in common on all plates, taken out."""
    features = feature_columns(wells)
    flat = median_polish(wells, features=features).table
    z = robust_z(flat, features=features, reference=ALL).with_columns(Metadata_Batch=pl.lit("all"))
    return position_means(z, features=features).table


def ways(wells: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """Compounds with q-values, by each way."""
    features = feature_columns(wells)
    flat, raw = corrected(wells), robust_z(wells, features=features, reference=CONTROL)
    yield OURS, activity(flat)
    yield "mAP, as read", activity(raw)
    counted = mean_average_precision(average_precision(flat), per=[COMPOUND])
    yield "mAP, positions corrected, p-value from counts (copairs' null)", counted
    yield USUAL, best_z(raw)
    yield "robust z, positions corrected, best feature", best_z(flat)


def oracles(wells: pl.DataFrame, active: set[str]) -> Iterator[tuple[str, float]]:
    """Power of robust z if someone knew where to cut so that the true rate is Q."""
    raw = robust_z(wells, features=feature_columns(wells), reference=CONTROL)
    for name, profiles in (("alone", raw), ("positions corrected", corrected(wells))):
        ordered = best_z(profiles).sort("p_value")[COMPOUND].is_in(list(active)).to_numpy()
        true = np.cumsum(ordered)
        allowed = np.flatnonzero(1 - true / np.arange(1, len(true) + 1) <= Q)
        power = true[allowed[-1]] / len(active) if len(allowed) else 0.0
        yield ORACLE.format(name), power


def best_z(profiles: pl.DataFrame) -> pl.DataFrame:
    """The usual: replicates' mean robust z, its normal p-value, the best of all features."""
    features = feature_columns(profiles)
    treated = profiles.filter(is_role("treatment")).group_by(COMPOUND)
    means = treated.agg(pl.col(features).mean() * pl.len().sqrt())
    log_p = np.log(2) + stats.norm.logsf(np.abs(means.select(features).to_numpy())).min(axis=1)
    p_value = pl.Series(np.minimum(np.exp(log_p) * len(features), 1.0))
    return means.select(COMPOUND, p_value=pl.Series(log_p), q_value=q_values(p_value))


def judged(found: pl.DataFrame, active: set[str]) -> tuple[int, float, float]:
    """Hits, share of them that are none, share of the active that are found."""
    hits = set(found.filter(pl.col("q_value") <= Q)[COMPOUND])
    return len(hits), len(hits - active) / max(len(hits), 1), len(hits & active) / len(active)


def main() -> None:
    """Simulate screens, print the table."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--screens", type=int, default=3)
    parser.add_argument("--ours-only", action="store_true", help="for many screens")
    args = parser.parse_args()
    print(f"Python {sys.version.split()[0]}, numpy {np.__version__}, polars {pl.__version__}\n")
    start = time.perf_counter()
    for line in false_discoveries(args.screens, ours_only=args.ours_only):
        print(line, flush=True)
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
