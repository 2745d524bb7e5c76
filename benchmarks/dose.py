"""Dose-response against scipy: curves whose EC50 is known, fitted by both.

    python -m benchmarks.dose [--compounds 100] [--features 100]

One made-up screen: every compound at nine doses over four decades, each dose on two plates of 384
that also hold 32 negative controls. Every feature of every compound is a curve of its own: EC50
anywhere within the doses but the outermost half decades, slope .6 to 2.8, up or down, 5 to 50
times as high as the noise. `fit_curves` takes the table; scipy's curve_fit takes one curve after
the other, and starts from the truth. Both answers are held side by side first.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import polars as pl
import scipy
from scipy import optimize, stats

from plates.well import FORMATS, plate_wells
from profiler.hits import describe_curves, fit_curves
from profiler.hits.doses.logistic import SLOPES

LOG_DOSES = np.linspace(-2, 2, 9)
REPLICATES, CONTROLS, PER_PLATE = 2, 32, 38
PLATE = FORMATS[384]
COVERAGE = (0.93, 0.97)
CLOSE = 1e-6  # relative, of sums of squares
KEY = ["Metadata_Compound", "readout"]


class Truth(NamedTuple):
    """Curves as they are, [compound, feature]; they start at 0, and noise has sd 1."""

    log_ec50: np.ndarray
    slope: np.ndarray
    change: np.ndarray


def draw(compounds: int, features: int) -> Truth:
    """Make up curves."""
    random, shape = np.random.default_rng(0), (compounds, features)
    sign = random.choice([-1.0, 1.0], shape)
    return Truth(
        log_ec50=random.uniform(-1.5, 1.5, shape),
        slope=2 ** random.uniform(-0.7, 1.5, shape),
        change=sign * 5 * 10 ** random.uniform(0, 1, shape),
    )


def logistic(log_dose: np.ndarray, start, change, log_ec50, log_slope) -> np.ndarray:
    """The curve; without compound (-inf) it is at its start."""
    with np.errstate(over="ignore"):
        return start + change / (1 + 10.0 ** (np.exp(log_slope) * (log_ec50 - log_dose)))


def layout(compounds: int) -> pl.DataFrame:
    """The plate map."""
    names, rows = plate_wells(PLATE), []
    for first in range(0, compounds, PER_PLATE):
        some = range(first, min(first + PER_PLATE, compounds))
        treated = [(f"C{i:04d}", "treatment", 10.0**dose) for i in some for dose in LOG_DOSES]
        wells = [*treated, *[("DMSO", "negative", 0.0)] * CONTROLS]
        for replicate in range(REPLICATES):
            plate = f"P{first // PER_PLATE:02d}R{replicate}"
            rows += [(plate, name, *well) for name, well in zip(names, wells, strict=False)]
    keys = [f"Metadata_{name}" for name in ("Plate", "Well", "Compound", "Role", "Concentration")]
    return pl.DataFrame(rows, schema=keys, orient="row")


def screen(truth: Truth) -> pl.DataFrame:
    """The wells: noise of sd 1, and the curves' heights where a well is treated."""
    compounds, features = truth.log_ec50.shape
    wells = layout(compounds)
    values = np.random.default_rng(1).normal(size=(wells.height, features))
    is_treated = (wells["Metadata_Role"] == "treatment").to_numpy()
    some = wells.filter(is_treated)
    which = some["Metadata_Compound"].str.slice(1).cast(pl.Int64).to_numpy()
    log_dose = np.log10(some["Metadata_Concentration"].to_numpy())[:, None]
    log_ec50, slope, change = (part[which] for part in truth)
    values[is_treated] += logistic(log_dose, 0.0, change, log_ec50, np.log(slope))
    return wells.hstack(pl.DataFrame(values, schema=[f"F{i:04d}" for i in range(features)]))


def series(wells: pl.DataFrame) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """log10 doses and responses [well, feature] of every compound, with its plates' controls."""
    features = wells.columns[5:]
    for (_,), treated in wells.filter(Metadata_Role="treatment").group_by(
        "Metadata_Compound", maintain_order=True
    ):
        controls = wells.filter(Metadata_Role="negative").join(
            treated, on="Metadata_Plate", how="semi"
        )
        both = pl.concat([treated, controls])
        with np.errstate(divide="ignore"):
            yield (
                np.log10(both["Metadata_Concentration"].to_numpy()),
                both.select(features).to_numpy(),
            )


def by_scipy(wells: pl.DataFrame, truth: Truth) -> pl.DataFrame:
    """log10 EC50, interval and residual sum of squares of every curve."""
    rows = []
    low = [-np.inf, -np.inf, LOG_DOSES[0] - 1, np.log(SLOPES[0])]
    high = [np.inf, np.inf, LOG_DOSES[-1] + 1, np.log(SLOPES[1])]
    for compound, (dose, responses) in enumerate(series(wells)):
        quantile = stats.t.ppf(0.975, len(dose) - 4)
        for feature, response in enumerate(responses.T):
            log_ec50, slope, change = (part[compound, feature] for part in truth)
            start = [0.0, change, log_ec50, np.log(slope)]
            found, covariance = optimize.curve_fit(
                logistic, dose, response, p0=start, bounds=(low, high), check_finite=False
            )
            half = quantile * np.sqrt(covariance[2, 2])
            rss = float(((logistic(dose, *found) - response) ** 2).sum())
            names = f"C{compound:04d}", f"F{feature:04d}"
            rows.append((*names, found[2], found[2] - half, found[2] + half, rss))
    names = [*KEY, "log_ec50", "low", "high", "rss"]
    return pl.DataFrame(rows, schema=names, orient="row")


def by_us(wells: pl.DataFrame) -> pl.DataFrame:
    """The same from `fit_curves`; an open end of an interval is infinite."""
    curves = fit_curves(wells, readouts=wells.columns[5:])
    log = {"log_ec50": "ec50", "low": "ec50_low", "high": "ec50_high"}
    table = curves.with_columns(pl.col(old).log10().alias(new) for new, old in log.items())
    return table.with_columns(
        pl.col("low").fill_null(float("-inf")), pl.col("high").fill_null(float("inf"))
    )


def check(ours: pl.DataFrame, theirs: pl.DataFrame, wells: pl.DataFrame) -> str:
    """Assert that no curve of ours fits worse; say how far apart EC50s are."""
    both = ours.join(theirs, on=KEY, suffix="_scipy").drop_nulls("log_ec50")
    rss = np.zeros(both.height)
    position = {key: i for i, key in enumerate(both.select(KEY).iter_rows())}
    found = both.select("bottom", "top", "log_ec50", "slope").to_numpy()
    for compound, (dose, responses) in enumerate(series(wells)):
        for feature, response in enumerate(responses.T):
            i = position.get((f"C{compound:04d}", f"F{feature:04d}"))
            if i is None:
                continue
            bottom, top, log_ec50, slope = found[i]
            ends = (bottom, top - bottom) if slope > 0 else (top, bottom - top)
            fitted = logistic(dose, *ends, log_ec50, np.log(abs(slope)))
            rss[i] = ((fitted - response) ** 2).sum()
    ratio = rss / both["rss"].to_numpy()
    assert ratio.max() <= 1 + CLOSE, f"{(ratio > 1 + CLOSE).sum()} curves fit worse than scipy's"
    apart = (both["log_ec50"] - both["log_ec50_scipy"]).abs()
    better = (ratio < 1 - CLOSE).sum()
    return (
        f"Residual sums of squares: ours are nowhere larger (by 1e-6), in {better} curves smaller; "
        f"log10 EC50 differs by at most 1e-3 in {100 * (apart <= 1e-3).mean():.2f}%.\n"
    )


def judged(found: pl.DataFrame, truth: Truth) -> str:
    """Cells of the table: found, bias, error, coverage, open intervals."""
    compounds, features = truth.log_ec50.shape
    true = pl.DataFrame(
        {
            KEY[0]: np.repeat([f"C{i:04d}" for i in range(compounds)], features),
            KEY[1]: np.tile([f"F{i:04d}" for i in range(features)], compounds),
            "true": truth.log_ec50.ravel(),
        }
    )
    both = found.join(true, on=KEY).drop_nulls("log_ec50")
    error = both["log_ec50"] - both["true"]
    holds = (both["low"] <= both["true"]) & (both["true"] <= both["high"])
    is_open = both["low"].is_infinite() | both["high"].is_infinite()
    return (
        f"{both.height:,} of {true.height:,} | {error.mean():+.4f} | {error.median():+.4f} | "
        f"{(error**2).mean() ** 0.5:.4f} | {holds.mean():.4f} | {100 * is_open.mean():.2f}%"
    )


def timed(run: Callable[[], pl.DataFrame]) -> tuple[pl.DataFrame, float]:
    """What `run` returns, and its seconds."""
    start = time.perf_counter()
    return run(), time.perf_counter() - start


def main() -> None:
    """Simulate, fit by both, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--compounds", type=int, default=100)
    parser.add_argument("--features", type=int, default=100)
    args = parser.parse_args()
    print(f"Python {sys.version.split()[0]}, numpy {np.__version__}, scipy {scipy.__version__}\n")
    truth = draw(args.compounds, args.features)
    wells = screen(truth)
    by_us(wells.select(wells.columns[:7]))  # compile
    ours, seconds = timed(lambda: by_us(wells))
    theirs, their_seconds = timed(lambda: by_scipy(wells, truth))
    print(check(ours, theirs, wells))
    print("| | curves | mean bias | median bias | RMSE | coverage of 95% | open | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    print(f"| fit_curves | {judged(ours, truth)} | {seconds:.1f} |")
    print(f"| scipy curve_fit | {judged(theirs, truth)} | {their_seconds:.1f} |")
    coverage = float(judged(ours, truth).split(" | ")[4])
    mark = "reached" if COVERAGE[0] <= coverage <= COVERAGE[1] else "MISSED"
    print(f"\nGoal: coverage between {COVERAGE[0]} and {COVERAGE[1]}: {mark}.")
    print(f"{their_seconds / seconds:.0f} times faster than scipy, one curve at a time.\n")
    noise = screen(truth._replace(change=np.zeros_like(truth.change)))
    curves = fit_curves(noise, readouts=noise.columns[5:])
    shapes, shape_seconds = timed(lambda: describe_curves(noise, readouts=noise.columns[5:]))
    print("Of noise alone:")
    print(f"- {100 * (curves['status'] != 'no_response').mean():.2f}% of curves are fitted,")
    print(f"- {100 * (shapes['shape'] == 'trend').mean():.2f}% have a monotone trend (5% stated),")
    print(
        f"- {100 * shapes['is_biphasic'].mean():.2f}% are called biphasic ({shape_seconds:.1f} s)."
    )


if __name__ == "__main__":
    main()
