"""Which wells a treatment's cells are in, and which hold the controls they are held against."""

import math
from typing import NamedTuple

import polars as pl

from plates.errors import BadLayout, BadRun, NoControls, UnknownName, suggestion
from profiler.explain.listed import Listed, times_of
from profiler.store.screen import TIMEPOINT, Screen

WELL = ["Metadata_Plate", "Metadata_Well"]
CELL = [*WELL, "Metadata_Site", "Metadata_ObjectNumber"]
COMPOUND, DOSE, ROLE = "Metadata_Compound", "Metadata_Concentration", "Metadata_Role"


class TwoSides(NamedTuple):
    """The wells of a treatment and of its plates' negative controls.

    Attributes:
        name: What is explained, for titles: "Compound 01, 30 uM".
        folder: The same as the name of a folder.
        treated: `WELL`, one row per well.
        controls: Likewise.
        timepoint: Of both; None where the run has one.
        listed: The cells asked for, `CELL`; None where they are chosen.
    """

    name: str
    folder: str
    treated: pl.DataFrame
    controls: pl.DataFrame
    timepoint: int | None
    listed: pl.DataFrame | None = None


def compound_sides(
    screen: Screen, compound: str, *, concentration: float | None, timepoint: int | None
) -> TwoSides:
    """Find the wells of a compound at one dose, and the controls on their plates.

    Args:
        screen: Of one run.
        compound: As in the plate map.
        concentration: Which dose; by default the one that speaks most for the compound, as
            compounds.parquet has it, else the highest.
        timepoint: Which one, where the run has several; the last by default.

    Raises:
        UnknownName: There is no such compound, or not at that dose.
        NoControls: It is the negative control, or its plates have none.
        BadLayout: The run has no plate map that names compounds.
    """
    wells, time = _wells(screen, timepoint)
    own = wells.filter(pl.col(COMPOUND) == compound)
    if not own.height:
        known = wells[COMPOUND].drop_nulls().unique().sort().to_list()
        raise UnknownName(f"No well of the run holds {compound!r}. {suggestion(compound, known)}")
    if (own[ROLE] == "negative").all():
        raise NoControls(
            f"{compound!r} is the negative control itself: there is nothing to hold it against. "
            "Name a compound, or the positive control."
        )
    dose, unit = concentration, ""
    if DOSE in own.columns and own[DOSE].count():
        dose = _best_dose(screen, compound, own) if dose is None else dose
        unit = next(iter(own.filter(pl.col(DOSE) == dose)["Metadata_Unit"].drop_nulls()), "")
        own = _at_dose(own, compound, dose)
    elif dose is not None:
        raise UnknownName(f"The plate map has no concentration of {compound!r}; leave it out.")
    name = compound if dose is None else f"{compound}, {dose:g} {unit}".rstrip()
    return TwoSides(name, compound, own.select(WELL), _controls(wells, own), time)


def listed_sides(screen: Screen, listed: Listed) -> TwoSides:
    """Take the cells that a table names, and the controls on their plates; as `cell_sides`."""
    cells = listed.cells.select(CELL)
    return cell_sides(screen, cells, name=listed.name, timepoint=listed.timepoint)


def cell_sides(
    screen: Screen, cells: pl.DataFrame, *, name: str, timepoint: int | None
) -> TwoSides:
    """Take some cells, and the controls on their plates.

    Args:
        screen: Of one run.
        cells: With the columns `CELL`, as the run has them.
        name: Of what they are.
        timepoint: As for `compound_sides`.

    Raises:
        BadRun: A cell's well is not in the run.
        NoControls: A plate has no controls.
        UnknownName: The run has no such time point.
    """
    wells, time = _wells(screen, timepoint)
    listed = cells.select(CELL).unique()
    own = listed.select(WELL).unique(maintain_order=True)
    strange = own.join(wells, on=WELL, how="anti")
    if strange.height:
        first = " ".join(strange.row(0))
        raise BadRun(f"{strange.height} wells of {name!r} are not in the run, such as {first}.")
    return TwoSides(name, name, own.sort(WELL), _controls(wells, own), time, listed.sort(CELL))


def _wells(screen: Screen, timepoint: int | None) -> tuple[pl.DataFrame, int | None]:
    wells, times = screen.wells, times_of(screen)
    if timepoint is not None and timepoint not in times:
        has = f"{times[0]} to {times[-1]}" if len(times) > 1 else f"{times[0]} alone"
        raise UnknownName(f"The run has no time point {timepoint}; it has {has}.")
    names = wells.collect_schema().names()
    lacking = [name for name in (COMPOUND, ROLE) if name not in names]
    if lacking:
        raise BadLayout(
            f"The run's wells have no {' and no '.join(lacking)}, so neither compounds nor "
            "controls are known. Run it again with a plate map (--layout)."
        )
    kept = [*WELL, COMPOUND, ROLE, *(n for n in (DOSE, "Metadata_Unit", TIMEPOINT) if n in names)]
    found = wells.select(kept).collect()
    if "Metadata_Unit" not in kept:
        found = found.with_columns(pl.lit(None, pl.String).alias("Metadata_Unit"))
    if TIMEPOINT not in kept:
        return found, None
    time = times[-1] if timepoint is None else timepoint
    return found.filter(pl.col(TIMEPOINT) == time), time


def _controls(wells: pl.DataFrame, own: pl.DataFrame) -> pl.DataFrame:
    controls = wells.filter(pl.col(ROLE) == "negative").select(WELL)
    alone = sorted(set(own["Metadata_Plate"]) - set(controls["Metadata_Plate"]))
    if alone:
        raise NoControls(
            f"Plate {alone[0]} has no negative controls to hold cells against. Mark them in the "
            "plate map (role negative), and run again with it."
        )
    return controls.filter(pl.col("Metadata_Plate").is_in(own["Metadata_Plate"].to_list()))


def _best_dose(screen: Screen, compound: str, own: pl.DataFrame) -> float:
    highest = own[DOSE].max()
    if screen.has("compounds"):
        table = screen.compounds
        if "best_concentration" in table.collect_schema():
            of_it = table.filter(pl.col(COMPOUND) == compound).collect()["best_concentration"]
            known = of_it.drop_nulls().to_list()
            highest = known[0] if known else highest
    return float(highest)  # type: ignore[arg-type]


def _at_dose(own: pl.DataFrame, compound: str, dose: float) -> pl.DataFrame:
    is_at = (pl.col(DOSE) - pl.lit(dose)).abs() <= 1e-6 * abs(dose)
    at = own.filter(is_at) if math.isfinite(dose) else own.clear()
    if not at.height:
        doses = ", ".join(f"{each:g}" for each in own[DOSE].drop_nulls().unique().sort())
        raise UnknownName(f"{compound!r} is not on the run's plates at {dose:g}; it is at {doses}.")
    return at
