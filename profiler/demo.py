"""The first thing a visitor sees: a plate whose hits are known, and what the engine makes of it."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from plates.synthetic import PlateDesign, PlateTruth, write_plate
from profiler.events import Event
from profiler.pipeline import run as run_pipeline
from profiler.recipe import load_recipe
from profiler.request import Request
from profiler.store.screen import open as open_screen

PLATE, RUN = "plate", "run"


def make_plate(folder: Path) -> PlateTruth:
    """Draw the plate into `folder/plate`, and return what was planted."""
    return write_plate(folder / PLATE, PlateDesign())


def run(folder: Path) -> Iterator[Event]:
    """Run the plate into `folder/run`; the report there links to the tables beside it."""
    plate = folder / PLATE
    request = Request(
        plates=(plate,),
        out=folder / RUN,
        recipe=load_recipe("demo"),
        layout=plate / "platemap.csv",
    )
    yield from run_pipeline(request)


def compare(folder: Path, truth: PlateTruth) -> str:
    """Lay what was found beside what was planted.

    Returns:
        A Markdown table, one row per compound, and a sentence that counts.
    """
    planted = truth.compounds.select("compound", "phenotype", "is_hit", planted_ec50="ec50")
    planted = planted.rename({"compound": "Metadata_Compound", "is_hit": "is_planted"})
    found = open_screen(folder / RUN).compounds.filter(pl.col("Metadata_Role") == "treatment")
    both = planted.join(found.collect(), on="Metadata_Compound", how="left").sort("rank")
    lines = ["| rank | compound | planted | called | EC50 planted | EC50 of the readout found |"]
    lines += ["|---|---|---|---|---|---|"] + [_row(row) for row in both.iter_rows(named=True)]
    return "\n".join([*lines, "", _verdict(both)])


def _row(row: dict) -> str:
    called = "hit, toxic" if row["is_hit"] and row["is_toxic"] else "hit" if row["is_hit"] else "-"
    low, ec50, high = (_number(row[name]) for name in ("ec50_low", "ec50", "ec50_high"))
    ec50 = f"{ec50} ({low} to {high})" if row["curve_status"] == "ok" else row["curve_status"]
    planted = _number(row["planted_ec50"])
    cells = (row["rank"], row["Metadata_Compound"], row["phenotype"], called, planted, ec50)
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2g}"


def _verdict(both: pl.DataFrame) -> str:
    is_planted, is_called = pl.col("is_planted"), pl.col("is_hit")
    found = both.filter(is_planted & is_called).height
    false = both.filter(~is_planted & is_called).height
    planted = both.filter(is_planted).height
    return (
        f"{found} of {planted} planted hits found; "
        f"{false} of {both.height - planted} null compounds called."
    )
