"""Which wells and which fitted curve belong to a compound."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from profiler.report.draw.curves import Band, Curve, Dose, dose_response, sparkline
from profiler.report.draw.svg import Markup
from profiler.report.numbers import count, defined, interval, number, quantity
from profiler.report.run import Run
from profiler.report.tables import left_out
from profiler.report.wells import IS_TREATED, is_on_robust_z, treatment

MAX_CURVES = 24
SHAPE = ("bottom", "top", "slope", "ec50")


class Series(NamedTuple):
    """The wells of one compound at positive doses, and what was fitted to them."""

    compound: str
    unit: str | None
    doses: Sequence[Dose]
    fit: Mapping[str, Any]  # a row of curves.parquet

    @property
    def curve(self) -> Curve | None:
        """The curve to draw, none where a parameter is undefined."""
        if not all(defined(self.fit.get(name)) for name in SHAPE):
            return None
        return Curve(*(self.fit.get(name) for name in Curve._fields))  # type: ignore[arg-type]


class CurveCard(NamedTuple):
    """One drawing with its heading and what it says in words."""

    compound: str
    svg: Markup
    lines: Sequence[str]


class CurveSection(NamedTuple):
    """All drawings."""

    cards: Sequence[CurveCard]
    remark: str


def all_series(run: Run, wells: pl.DataFrame) -> dict[str, Series]:
    """Find the wells of every compound that has a curve of the run's readout.

    Args:
        run: Whose curves to take; none where there is no curves.parquet.
        wells: From `well_table`.

    Returns:
        By compound, in the order of the curves; compounds none of whose wells
        has a positive dose and a response are left out.
    """
    curves = run.table("curves")
    if curves is None:
        return {}
    doses = _doses_by_compound(wells)
    rows = curves.filter(readout=run.readout).iter_rows(named=True)
    fits = {row["Metadata_Compound"]: row for row in rows}
    return {
        name: Series(name, fit.get("Metadata_Unit"), doses[name], fit)
        for name, fit in fits.items()
        if name in doses
    }


def _doses_by_compound(wells: pl.DataFrame) -> dict[str, list[Dose]]:
    """Wells of treatments alone, as the curves are fitted to no others."""
    drawable = IS_TREATED & (pl.col("concentration") > 0) & pl.col("response").is_finite()
    grouped: dict[str, list[Dose]] = {}
    for well in wells.filter(drawable).iter_rows(named=True):
        note = f"{well['plate']} {well['well']}: {treatment(well)}, {number(well['response'])}"
        dose = Dose(well["concentration"], well["response"], note)
        grouped.setdefault(well["compound"], []).append(dose)
    return grouped


def spark(series: Series | None) -> Markup | str:
    """A compound's curve for the row of a table."""
    if series is None:
        return ""
    return sparkline(series.doses, curve=series.curve, label=f"Curve of {series.compound}")


def control_bands(wells: pl.DataFrame) -> list[Band]:
    """Where the middle 80 per cent of each control's wells lie, both controls or fewer."""
    bands = []
    for role in ("negative", "positive"):
        values = wells.filter(role=role)["response"].drop_nulls()
        if values.len():
            ends = [values.quantile(q, "linear") for q in (0.1, 0.5, 0.9)]
            bands.append(Band(role, *(float(end or 0.0) for end in ends)))
    return bands


def curve_section(
    run: Run,
    wells: pl.DataFrame,
    series: Mapping[str, Series],
    *,
    order: Sequence[str],
    elsewhere: Collection[str] = (),
) -> CurveSection:
    """Draw the curves, the best compounds' first.

    Args:
        run: Names the readout.
        wells: From `well_table`, for the controls.
        series: From `all_series`.
        order: Compounds, best first; others follow in the order of the curves.
        elsewhere: Compounds whose curve the page draws already.
    """
    place = {compound: i for i, compound in enumerate(order)}
    rest = [one for one in series.values() if one.compound not in elsewhere]
    ranked = sorted(rest, key=lambda s: place.get(s.compound, len(place)))
    bands = control_bands(wells)
    cards = [curve_card(one, bands, run=run) for one in ranked[:MAX_CURVES]]
    remark = left_out(len(ranked), len(cards), what="curves", where="curves.parquet")
    return CurveSection(cards, remark)


def curve_card(series: Series, bands: Sequence[Band], *, run: Run) -> CurveCard:
    """Draw the curve of one compound.

    Args:
        series: Its wells and fit.
        bands: From `control_bands`.
        run: Names the readout.
    """
    y_label = f"{run.readout or ''}{', robust z' * is_on_robust_z(run)}"
    svg = dose_response(
        series.doses,
        curve=series.curve,
        bands=bands,
        x_label=f"{series.compound}, {series.unit}" if series.unit else series.compound,
        y_label=y_label,
        label=f"Dose-response of {series.compound}: {'; '.join(_words(series))}",
    )
    return CurveCard(series.compound, svg, _words(series))


def _words(series: Series) -> list[str]:
    fit = series.fit
    between = interval(fit.get("ec50_low"), fit.get("ec50_high"))
    status = fit.get("status")
    shape = [
        f"R² {number(fit['r2'])}" if defined(fit.get("r2")) else "",
        f"slope {number(fit['slope'])}" if defined(fit.get("slope")) else "",
        count(len(series.doses), "well"),
        status.replace("_", " ") if status and status != "ok" else "",
    ]
    potency = f"EC50 {quantity(fit.get('ec50'), series.unit)}{f' ({between})' if between else ''}"
    return [potency, " · ".join(part for part in shape if part)]
