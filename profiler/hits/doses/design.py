"""Dose series laid out for fitting: the wells of each compound and readout, alike ones together."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Bool, Float

from profiler.hits.doses.logistic import Dose
from profiler.profile.controls import is_role
from profiler.profile.groups import group_rows
from profiler.profile.wells.compounds import check_compounds

AT_ONCE = 1000  # curves in memory together
COMPOUND, DOSE, UNIT = "Metadata_Compound", "Metadata_Concentration", "Metadata_Unit"
PLATE = "Metadata_Plate"


class Design(NamedTuple):
    """Wells in order of dose, and which of them are treated: alike for many curves."""

    dose: Dose
    is_treated: Bool[np.ndarray, " well"]

    @property
    def tested(self) -> Dose:
        """log10 doses of the treated wells, without dose 0."""
        return self.dose[self.is_treated & np.isfinite(self.dose)]


class Curve(NamedTuple):
    """One compound and readout: the wells where it is defined."""

    compound: str
    unit: str | None
    readout: str
    design: Design
    responses: Float[np.ndarray, " well"]


def curves_by_design(
    wells: pl.DataFrame, *, readouts: Sequence[str], anchored: bool
) -> Iterator[list[Curve]]:
    """Lay out the dose series of every compound and readout.

    Args:
        wells: Annotated wells. Only those whose role is treatment enter as doses.
        readouts: Columns to lay out.
        anchored: Whether the negative controls of the compound's plates stand in for dose 0.

    Yields:
        Curves over the same doses, at most `AT_ONCE` of them: they can be fitted together.

    Raises:
        BadLayout: One compound under two names or units; see `check_compounds`.
    """
    treated = wells.filter(is_role("treatment")).drop_nulls(
        [name for name in (COMPOUND, DOSE) if name in wells.columns]
    )
    if not {COMPOUND, DOSE} <= set(wells.columns) or treated.is_empty() or not readouts:
        return
    check_compounds(treated)
    controls = wells.filter(is_role("negative")) if anchored else wells.clear()
    yield from _by_design(_curves(treated, controls, list(readouts)))


def _curves(
    treated: pl.DataFrame, controls: pl.DataFrame, readouts: list[str]
) -> Iterator[tuple[bytes, Curve]]:
    """Every compound and readout, with a key that curves over the same doses share."""
    values, anchors = (_values(frame, readouts) for frame in (treated, controls))
    with np.errstate(divide="ignore"):
        doses = np.log10(treated[DOSE].cast(pl.Float64).to_numpy())
    units, plates = _units(treated), treated[PLATE].to_numpy()
    controls_of = {group.key[0]: group.rows for group in group_rows(controls, [PLATE])}
    rows_of = np.arange(controls.height)
    for group in group_rows(treated, [COMPOUND]):
        beside = [rows_of[controls_of[p]] for p in set(plates[group.rows]) if p in controls_of]
        some = anchors[np.sort(np.concatenate(beside))] if beside else anchors[:0]
        own = values[group.rows]
        dose = np.concatenate([doses[group.rows], np.full(len(some), -np.inf)])
        design = Design(dose, np.arange(len(dose)) < len(own))
        order = np.lexsort(design[::-1])
        design, responses = _some(design, order), np.concatenate([own, some])[order]
        key = _key(design)
        for readout, response in zip(readouts, responses.T, strict=True):
            curve = Curve(group.key[0], units[group.key[0]], readout, design, response)
            known = ~np.isnan(response)
            if known.all():
                yield key, curve
            else:
                part = _some(design, known)
                yield _key(part), curve._replace(design=part, responses=response[known])


def _values(wells: pl.DataFrame, readouts: list[str]) -> Float[np.ndarray, "well readout"]:
    """Responses, NaN for null; infinite ones stay, to be told."""
    return wells.select(pl.col(readouts).cast(pl.Float64)).to_numpy()


def _units(treated: pl.DataFrame) -> dict[str, str | None]:
    unit = pl.col(UNIT).drop_nulls().first() if UNIT in treated.columns else pl.lit(None)
    return dict(treated.group_by(COMPOUND).agg(unit.alias(UNIT)).iter_rows())


def _some(design: Design, wells: np.ndarray) -> Design:
    return Design(design.dose[wells], design.is_treated[wells])


def _key(design: Design) -> bytes:
    return b"".join(array.tobytes() for array in design)


def _by_design(curves: Iterable[tuple[bytes, Curve]]) -> Iterator[list[Curve]]:
    """Curves over the same doses can be fitted at once: in most screens, all of them."""
    alike: dict[bytes, list[Curve]] = {}
    for key, curve in curves:
        alike.setdefault(key, []).append(curve)
    for group in alike.values():
        for first in range(0, len(group), AT_ONCE):
            yield group[first : first + AT_ONCE]
