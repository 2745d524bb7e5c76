"""The run in one line, and in five numbers."""

from typing import NamedTuple

import polars as pl

from profiler.report.numbers import count, defined, number, seconds
from profiler.report.run import Run
from profiler.report.wells import IS_TREATED


class Tile(NamedTuple):
    """One number with what it counts."""

    value: str
    label: str


def verdict(run: Run, wells: pl.DataFrame) -> str:
    """Say how many hits there are, how good the assay is, and what failed."""
    parts = [_hits(run, wells), _assay(z_primes(run)), _wells(wells)]
    return "; ".join(part for part in parts if part) + "."


def tiles(run: Run, wells: pl.DataFrame) -> list[Tile]:
    """The numbers at the head of the page; those that are unknown are left out."""
    fields = run.table("fields")
    found = [
        Tile(f"{_n_hits(wells):,}", "hit wells") if _is_called(wells) else None,
        Tile(_range(z_primes(run)), "Z′ of the readout") if z_primes(run) else None,
        Tile(f"{_measured(wells):,} / {wells.height:,}", "wells measured"),
        Tile(f"{int(wells['cells'].sum()):,}", "cells"),
        None if fields is None else Tile(_pace(fields), "per field, median"),
    ]
    return [tile for tile in found if tile]


def z_primes(run: Run) -> list[float]:
    """Z' of the run's readout on every plate that has one, ascending."""
    statistics = run.table("statistics")
    if statistics is None:
        return []
    return sorted(z for z in statistics.filter(readout=run.readout)["z_prime"] if defined(z))


def _hits(run: Run, wells: pl.DataFrame) -> str:
    compounds = run.table("compounds")
    if compounds is not None and "is_hit" in compounds.columns:
        roles = compounds.rename({"Metadata_Role": "role"}, strict=False)
        tested = roles.filter(IS_TREATED) if "role" in roles.columns else roles
        hits = int(tested["is_hit"].fill_null(value=False).sum())
        return f"{hits:,} {'hit' if hits == 1 else 'hits'} among {count(tested.height, 'compound')}"
    if _is_called(wells):
        return count(_n_hits(wells), "hit well")
    return "No hits called yet"


def _is_called(wells: pl.DataFrame) -> bool:
    return wells["is_hit"].is_not_null().any()


def _n_hits(wells: pl.DataFrame) -> int:
    """Treated wells that are hits: a positive control that works is none."""
    return wells.filter(IS_TREATED & pl.col("is_hit")).height


def _assay(values: list[float]) -> str:
    return f"Z′ {_range(values)}" if values else "no Z′, for want of controls or statistics"


def _range(values: list[float]) -> str:
    low, high = number(values[0], digits=2), number(values[-1], digits=2)
    return low if low == high else f"{low} to {high}"


def _wells(wells: pl.DataFrame) -> str:
    failed = wells.filter(status="failed").height
    empty = wells.filter(status="no_cells").height
    absent = wells.filter(status="not_imaged").height
    words = {"failed": failed, "without cells": empty, "not imaged": absent}
    tail = "".join(f", {n:,} {what}" for what, n in words.items() if n)
    return f"{_measured(wells):,} of {count(wells.height, 'well')} measured{tail}"


def _measured(wells: pl.DataFrame) -> int:
    known = wells["status"].is_not_null().any()
    return wells.filter(status="ok").height if known else wells.filter(pl.col("cells") > 0).height


def _pace(fields: pl.DataFrame) -> str:
    middle = fields["Metadata_Seconds"].median()
    return seconds(middle if defined(middle) else None)
