"""The columns by which wells can be coloured: numbers on a scale, or kinds."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import polars as pl

from profiler.report.draw.colour import BLUE_GREY_RED, ColourScale
from profiler.report.draw.palette import REST, Look, by_frequency, look
from profiler.report.numbers import Number
from profiler.report.run import Run

MAX_FEATURES = 12  # of the profiles, offered besides the run's readout
MAX_LEVELS = 400  # a column with more kinds than this is a name, not a kind
LEAST_Z, MOST_Z = 3.0, 10.0  # a scale shorter than 3 shows noise, a longer one hides weak hits
NUMBERS = {"z": "Readout, robust z-score", "readout": "", "score": "Profile score"}
MORE_NUMBERS = {"cells": "Cells per well", "Novelty": "Novelty", "concentration": "Concentration"}
KINDS = {"role": "Role", "Cluster": "Cluster", "compound": "Compound", "plate": "Plate"}
AROUND_ZERO = ("z", "feature:")


class Column(NamedTuple):
    """One column of the wells.

    Attributes:
        key: Name that the page's script knows it by.
        label: For people.
        values: One per well: a number, or the number of its level; None where undefined.
        scale: Colours of numbers; None for kinds.
        levels: Names of the kinds, the most frequent first; empty for numbers.
    """

    key: str
    label: str
    values: Sequence[Number | None]
    scale: ColourScale | None = None
    levels: Sequence[str] = ()

    def look(self, index: int) -> Look:
        """How the well with this number is drawn."""
        value = self.values[index]
        if self.scale is None:
            return look(value if value is None else int(value))
        return REST if value is None else Look(self.scale(value))


def page_columns(run: Run, wells: pl.DataFrame) -> list[Column]:
    """Choose the columns of the wells that the page offers.

    Args:
        run: Whose plate map's further columns, phenotype map and profiles are joined.
        wells: From `well_table`.

    Returns:
        Numbers first: the readout's, then features of the best compounds; then kinds.
        Columns without any value are left out.
    """
    wide = _joined(run, wells)
    labels = {**NUMBERS, "readout": run.readout or "Readout", **MORE_NUMBERS}
    more = [name for name in wide.columns if name.startswith("Metadata_")]
    is_number = {name: wide[name].dtype.is_numeric() for name in more}
    features = [name for name in wide.columns if name.startswith("feature:")]
    found = [
        *(numbers(wide[name], label) for name, label in labels.items() if name in wide.columns),
        *(numbers(wide[name], f"{name[8:]}, robust z") for name in features),
        *(numbers(wide[name], _plain(name)) for name in more if is_number[name]),
        *(kinds(wide[name], label) for name, label in KINDS.items() if name in wide.columns),
        *(kinds(wide[name], _plain(name)) for name in more if not is_number[name]),
    ]
    return [column for column in found if column is not None]


def numbers(values: pl.Series, label: str) -> Column | None:
    """Column of numbers, coloured from the 1st to the 99th percentile; z-scores around zero."""
    values = values.cast(pl.Float64).fill_nan(None)
    scale = colour_scale(values, is_around_zero=values.name.startswith(AROUND_ZERO))
    return scale and Column(values.name, label, values.to_list(), scale)


def colour_scale(values: pl.Series, *, is_around_zero: bool) -> ColourScale | None:
    """Colours from the 1st to the 99th percentile; None without a finite value."""
    known = values.filter(values.is_finite())
    if not known.len():
        return None
    low, high = (float(known.quantile(q, "linear") or 0.0) for q in (0.01, 0.99))
    if not is_around_zero:
        return ColourScale(low, high)
    end = min(max(abs(low), abs(high), LEAST_Z), MOST_Z)
    return ColourScale(-end, end, BLUE_GREY_RED)


def kinds(values: pl.Series, label: str) -> Column | None:
    """Column of kinds; None where there are none, or so many that they are names."""
    texts = values.cast(pl.String).to_list()
    levels = by_frequency(texts)
    if not 0 < len(levels) <= MAX_LEVELS:
        return None
    codes = {level: code for code, level in enumerate(levels)}
    return Column(values.name, label, [codes.get(t) for t in texts], levels=levels)


def _plain(name: str) -> str:
    return name.removeprefix("Metadata_").replace("_", " ")


def _joined(run: Run, wells: pl.DataFrame) -> pl.DataFrame:
    """The well table with the phenotype map, the plate map's other columns and some features."""
    wide = wells
    for extra in (_map(run), _plate_map(run, wells), _features(run)):
        keys = {"Metadata_Plate": "plate", "Metadata_Well": "well"}
        unique = extra.rename(keys).unique(["plate", "well"], keep="first")
        wide = wide.join(unique, on=["plate", "well"], how="left", maintain_order="left")
    return wide


def _map(run: Run) -> pl.DataFrame:
    found = run.table("map")
    wanted = ("Cluster", "Novelty")
    return run.effects([]).clear() if found is None else _keep(found, wanted)


def _plate_map(run: Run, wells: pl.DataFrame) -> pl.DataFrame:
    """What the plate map says beyond the columns that every run has."""
    found = run.table("wells")
    if found is None:
        return run.effects([]).clear()
    known = {"Compound", "Role", "Concentration", "Unit", "Object_Count", "Plate", "Well"}
    more = [n for n in found.columns if n.startswith("Metadata_") and n[9:] not in known]
    return _keep(found, [n for n in more if not n.startswith("Metadata_QC_")])


def _keep(table: pl.DataFrame, names: Iterable[str]) -> pl.DataFrame:
    return table.select(
        "Metadata_Plate", "Metadata_Well", *(n for n in names if n in table.columns)
    )


def _features(run: Run) -> pl.DataFrame:
    effects = run.effects(notable_features(run))
    return effects.rename({n: f"feature:{n}" for n in effects.columns[2:]})


def notable_features(run: Run) -> list[str]:
    """Features that move most often among the best compounds, but for the readout itself."""
    compounds = run.table("compounds")
    if compounds is None or "top_features" not in compounds.columns:
        return []
    best = (
        compounds.sort("rank", nulls_last=True).head(100)
        if "rank" in compounds.columns
        else compounds
    )
    names = best["top_features"].drop_nulls().to_list()
    ranked = by_frequency([name for some in names for name in some if name != run.readout])
    return ranked[:MAX_FEATURES]
