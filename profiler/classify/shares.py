"""Whether a class is enriched: in a well, and in the wells of a compound."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int

from profiler.classify.effects import on_test_scale, treatment_p_value
from profiler.classify.enrichment import LEAST_WELLS, enrichment, fit_prior, share_interval
from profiler.classify.tally import NOVELTIES, TIMEPOINT, Tally
from profiler.phenotype.shift import Angles, Yardstick, deviation_p_values, yardstick
from profiler.profile.consensus import TREATMENT
from profiler.profile.controls import is_role
from profiler.profile.fdr import q_values
from profiler.profile.groups import group_rows

HALF = 0.5  # a cell, added to each count so that its logarithm exists
DISCOVERY = 0.05  # false discovery rate
COMPOUND, ROLE = "Metadata_Compound", "Metadata_Role"
NOT_TESTED = ("negative", "empty")

PerPart = Float[np.ndarray, "well part"]


class Shares(NamedTuple):
    """Shares of classes, wells beside their plate's controls.

    Attributes:
        wells: As the tally's.
        expected: Share that wells of reference have, [well, part]; NaN without three.
        score: Enrichment, [well, part].
        p_value: Of each well against its plate's controls, [well, part].
        plate: Number of each well's plate and time point.
        is_control: The negative controls.
        reference: What `expected` and `score` go by: "controls", or "plate", all wells of it,
            where it has fewer than three controls with cells.
    """

    wells: pl.DataFrame
    expected: PerPart
    score: PerPart
    p_value: PerPart
    plate: Int[np.ndarray, " well"]
    is_control: Bool[np.ndarray, " well"]
    reference: list[str]


class Tested(NamedTuple):
    """The shares of a class on the scale of the test, and what controls say of them."""

    angles: Angles
    by: Yardstick


def shares(found: Tally) -> Shares:
    """Hold the counts of every well against those of its plate's controls.

    Args:
        found: Its wells may have `Metadata_Role`; without, there are no tests.
    """
    wells = found.wells
    named = [name for name in ("Metadata_Plate", TIMEPOINT) if name in wells.columns]
    plate = wells.select(pl.struct(named).rank("dense")).to_series().to_numpy().astype(int) - 1
    has_roles = ROLE in wells.columns
    is_control = wells.select(is_role("negative")).to_series().to_numpy() if has_roles else None
    is_control = np.zeros(wells.height, bool) if is_control is None else is_control.astype(bool)
    expected, score = np.full((2, *found.counts.shape), np.nan)
    reference = np.full(wells.height, "plate", dtype=object)
    for code in range(int(plate.max(initial=-1)) + 1):
        own = plate == code
        member = own & is_control & (found.totals > 0)
        is_whole = member.sum() < LEAST_WELLS
        reference[own] = "plate" if is_whole else "controls"
        _of_plate(found, own, own if is_whole else member, into=(expected, score))
    angles = [on_test_scale(column, found.totals) for column in found.counts.T]
    every = Angles(*(np.stack(each, axis=1) for each in zip(*angles, strict=True)))
    p_value = deviation_p_values(every, plate=plate, is_control=is_control)
    return Shares(wells, expected, score, p_value, plate, is_control, reference.tolist())


def well_table(found: Tally, held: Shares) -> pl.DataFrame:
    """Tabulate the share of every class in every well.

    Returns:
        One row per well and class, sorted: keys and plate map, `class`, `n_cells` (with a class),
        `n_class`, `share`, `share_low`, `share_high` (95%, from counting alone),
        `mean_probability`, `expected_share` (of wells of reference), `log2_ratio` of both,
        `enrichment`, `reference`, `p_value`, `q_value` (among wells that are no controls), and of
        the well as a whole `novelty` with its p-values and `n_unclassified`.
    """
    n_wells, n_parts = found.counts.shape
    total = found.totals[:, None]
    asked = np.where(held.is_control[:, None], np.nan, held.p_value)
    low, high = share_interval(found.counts, np.broadcast_to(total, found.counts.shape))
    numbers = {
        "n_class": found.counts,
        "share": np.divide(found.counts, total, out=np.full(low.shape, np.nan), where=total > 0),
        "share_low": low,
        "share_high": high,
        "mean_probability": found.probability,
        "expected_share": held.expected,
        "log2_ratio": _log2_ratio(found.counts, total, held.expected),
        "enrichment": held.score,
        "p_value": held.p_value,
        "q_value": q_values(asked.ravel()).to_numpy(),
    }
    last = [*NOVELTIES, "n_unclassified"]
    wells = held.wells.with_columns(reference=pl.Series(held.reference, dtype=pl.String))
    long = wells.select(pl.all().repeat_by(n_parts).explode())
    names = pl.Series("class", list(found.names) * n_wells, dtype=pl.String)
    columns = [pl.Series(name, np.ravel(x), nan_to_null=True) for name, x in numbers.items()]
    keys = [name for name in held.wells.columns if name not in (*last, "n_cells")]
    table = long.with_columns(names, *columns)
    return table.select(*keys, "class", "n_cells", *numbers, "reference", *last)


def compound_table(found: Tally, held: Shares) -> pl.DataFrame | None:
    """Tabulate whether a class is enriched in the wells of each treatment.

    Returns:
        One row per treatment that is no negative control and class, the surest first: compound,
        concentration, unit and role, `class`, `n_wells` (with cells), `n_cells`, `n_class`,
        `share` and `expected_share` (means over the wells), `log2_ratio`, `enrichment` (mean over
        the wells), `p_value` of the wells together, `q_value`, and `is_enriched`: more than
        expected at a false discovery rate of 5%. None without compounds or controls.
    """
    if COMPOUND not in held.wells.columns or not held.is_control.any():
        return None
    by = [name for name in (*TREATMENT, TIMEPOINT) if name in held.wells.columns]
    is_asked = pl.col(COMPOUND).is_not_null() & ~pl.col(ROLE).is_in(NOT_TESTED)
    treated = held.wells.with_row_index("row").filter(is_asked, pl.col("n_cells") > 0)
    tests = list(_tests(found, held))
    rows = [
        (*group.key, *line)
        for group in group_rows(treated, by)
        for line in _lines(found, held, treated["row"].to_numpy()[group.rows].astype(int), tests)
    ]
    kinds = {name: held.wells.schema[name] for name in by}
    table = pl.DataFrame(rows, schema=kinds | LINE, orient="row").with_columns(
        pl.col(pl.Float64).fill_nan(None)
    )
    table = table.with_columns(q_values(table["p_value"]))
    more = (pl.col("q_value") <= DISCOVERY) & (pl.col("log2_ratio") > 0)
    strength = pl.col("enrichment").abs()  # where chances are equal
    return table.with_columns(is_enriched=more.fill_null(value=False)).sort(
        "p_value", -strength, *by, "class", nulls_last=True
    )


LINE = {"class": pl.String, "n_wells": pl.Int64, "n_cells": pl.Int64, "n_class": pl.Int64}
LINE |= dict.fromkeys(
    ("share", "expected_share", "log2_ratio", "enrichment", "p_value"), pl.Float64
)


def _tests(found: Tally, held: Shares) -> Iterator[Tested]:
    for counts in found.counts.T:
        angles = on_test_scale(counts, found.totals)
        yield Tested(angles, yardstick(angles, plate=held.plate, is_control=held.is_control))


def _lines(
    found: Tally, held: Shares, rows: np.ndarray, tests: Sequence[Tested]
) -> Iterator[tuple]:
    totals = found.totals[rows]
    for part, (name, test) in enumerate(zip(found.names, tests, strict=True)):
        counts = found.counts[rows, part]
        p_value = treatment_p_value(test.angles, rows=rows, plate=held.plate, by=test.by)
        expected = float(held.expected[rows, part].mean())
        share = float((counts / totals).mean())
        score = float(held.score[rows, part].mean())
        k, n = int(counts.sum()), int(totals.sum())
        ratio = float(_log2_ratio(np.array(k), np.array(n), np.array(expected)))
        yield name, len(rows), n, k, share, expected, ratio, score, p_value


def _of_plate(
    found: Tally, own: np.ndarray, member: np.ndarray, *, into: tuple[PerPart, PerPart]
) -> None:
    expected, score = into
    for part, counts in enumerate(found.counts.T):
        if prior := fit_prior(counts[member], found.totals[member]):
            expected[own, part] = prior.mean
            score[own, part] = enrichment(counts[own], found.totals[own], prior)


def _log2_ratio(counts: np.ndarray, totals: np.ndarray, expected: np.ndarray) -> np.ndarray:
    share = (counts + HALF) / (totals + 2 * HALF)
    usual = (expected * totals + HALF) / (totals + 2 * HALF)
    return np.asarray(np.log2(share / usual))
