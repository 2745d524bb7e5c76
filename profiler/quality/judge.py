"""A verdict for every field of a run: empty, saturated, blurred, soiled, badly stained, or ok.

Each check looks at some numbers of `profiler.illuminate.exposure`, which every field has as
`Image_QC_*`. A number is out of range by the plate's own spread and, at the same time, by a least
distance; limits that hold for any plate stand beside it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import polars as pl

from profiler.quality.blur import COARSE, FINE, edge_variance
from profiler.quality.learn import Reach, reach
from profiler.store.schema import FIELD_KEYS

KEYS = tuple(key.name for key in FIELD_KEYS)
PLATE = "Metadata_Plate"
VERDICT, REASON = "Metadata_QC_Verdict", "Metadata_QC_Reason"
OK, FAILED = "ok", "failed"

# Chosen on BBBC039's training fields, every other well of BBBC013, one well of Cell Painting,
# DSB2018's images of 256 pixels and synthetic fields; benchmarks/quality.py checks them on others.
NO_CONTRAST = 3.0  # noise alone has 0.9, and fields with a few dim cells 9
BLURRED = 1.0  # least growth of the edges' variance: in square pixels, and of the plate's own
WIDEST = 28.0  # square pixels: edges of 5.3 pixels are blurred on any plate
STEEPER = 0.6  # least fall of PowerSlope: one of 2 pixels gives 0.1 to 0.5, one of 6 pixels 1
FOLD = np.log(4.0)  # least change of staining
BLOB, SPECK = np.log(3.0), np.log(2.5)  # of the brightest tile, of the brightest spot
FAINT = np.log(6.0)  # least fall of the contrast of a field without cells
HOLE = 0.6  # least fall of the darkest tile, in typical ones
LIMITS = np.array([(2**bits - 1) / 65_535 for bits in range(8, 17)])  # of cameras, scaled


@dataclass(frozen=True)
class Checks:
    """What is looked for, and in which stains.

    Attributes:
        names: Keys of `CHECKS`.
        nuclei: Nuclear stain: in focus and as bright in every well of an assay that works, as
            others, which may be its answer, need not be.
        cells: Stain that cells are seen in.
        stains: All of them.
        false_alarms: As for `profiler.quality.learn.reach`.
        saturated_percent: Pixels at the camera's limit from which a field is saturated.
    """

    names: tuple[str, ...]
    nuclei: str
    cells: str
    stains: tuple[str, ...]
    false_alarms: float = 1e-3
    saturated_percent: float = 0.5


class Finding(NamedTuple):
    """What a check says of the fields of a plate.

    Attributes:
        is_bad: Of each field.
        reasons: Half a sentence for each bad one, with value and threshold.
    """

    is_bad: np.ndarray
    reasons: list[str]


@dataclass
class Plate:
    """The numbers of one plate, as the checks look them up.

    Attributes:
        table: One row per field: keys, `Metadata_Object_Count` and `Image_QC_*`.
        checks: What is looked for.
        is_known: Fields whose numbers count when thresholds are learned.
        learned: Thresholds by column, for the footer.
    """

    table: pl.DataFrame
    checks: Checks
    is_known: np.ndarray
    learned: dict[str, Reach] = field(default_factory=dict)

    def number(self, name: str, stain: str) -> np.ndarray:
        """One of the numbers of a stain, float64, NaN where unknown."""
        column = self.table[f"Image_QC_{name}_{stain}"].cast(pl.Float64)
        return column.fill_null(np.nan).to_numpy()

    def reach(self, name: str, values: np.ndarray, *, least: float) -> Reach:
        """How far values reach in the fields that count; kept for the footer by its name."""
        known = np.where(self.is_known, values, np.nan)
        learned = reach(known, false_alarms=self.checks.false_alarms, least=least)
        self.learned[name] = learned
        return learned


class Judged(NamedTuple):
    """Verdicts, and what they rest on.

    Attributes:
        table: One row per field, in the order of `fields`: keys, `Metadata_Object_*` as there,
            `Metadata_QC_Verdict` ("ok", "failed" for one without results, or the first check that
            found something, in the order of `CHECKS`), `Metadata_QC_Reason` (null if ok; all that
            was found, with values and thresholds), `Image_QC_*`.
        thresholds: Plate -> number -> what was learned of it; infinite ones are None.
    """

    table: pl.DataFrame
    thresholds: dict[str, dict[str, dict[str, float | None]]]


def judge(numbers: pl.DataFrame, *, fields: pl.DataFrame, checks: Checks) -> Judged:
    """Judge every field of a run, each against its own plate.

    Args:
        numbers: The table of images: keys of fields and `Image_QC_*`.
        fields: The table of fields: status and count.
        checks: What is looked for.
    """
    shown = [name for name in numbers.columns if name.startswith("Image_QC_")]
    counted = [name for name in fields.columns if name.startswith("Metadata_Object_")]
    described = fields.select(*KEYS, *counted, "Metadata_QC_Status", pl.col(REASON).alias("said"))
    table = described.join(
        numbers.select(*KEYS, *shown), on=KEYS, how="left", maintain_order="left"
    )
    parts, learned = [], {}
    for (name,), part in table.group_by(PLATE, maintain_order=True):
        verdicts, found = _of_plate(part, checks)
        parts.append(verdicts)
        learned[str(name)] = {number: _finite(each) for number, each in found.items()}
    columns = (*KEYS, *counted, VERDICT, REASON, *shown)
    return Judged(pl.concat(parts).select(columns), learned)


def _finite(found: Reach) -> dict[str, float | None]:
    return {k: float(v) if np.isfinite(v) else None for k, v in found._asdict().items()}


def _of_plate(table: pl.DataFrame, checks: Checks) -> tuple[pl.DataFrame, Mapping[str, Reach]]:
    status = table["Metadata_QC_Status"]
    is_failed = (~status.is_in(["ok", "no_cells", "too_many_cells"])).to_numpy()
    plate = Plate(table, checks, ~is_failed)
    verdict = np.where(is_failed, FAILED, OK).astype(object)
    said = zip(table["said"], is_failed, strict=True)
    reasons = [[reason] if failed else [] for reason, failed in said]
    for name, check in CHECKS.items():
        if name not in checks.names:
            continue
        found = check(plate)
        is_bad = found.is_bad & ~is_failed
        for i, reason in zip(_rows(found.is_bad), found.reasons, strict=True):
            if not is_failed[i]:
                reasons[i].append(reason)
        verdict = np.where(is_bad & (verdict == OK), name, verdict)
        plate.is_known &= ~is_bad  # what is found bad teaches the next check nothing
    return table.with_columns(
        pl.Series(VERDICT, verdict.tolist(), dtype=pl.String),
        pl.Series(REASON, [_sentence(some) for some in reasons], dtype=pl.String),
    ), plate.learned


def _sentence(reasons: list[str]) -> str | None:
    text = "; ".join(reason.rstrip(".") for reason in reasons if reason)
    return f"{text[0].upper()}{text[1:]}." if text else None


def _empty(plate: Plate) -> Finding:
    """No cells, or no light that stands out from the camera's noise."""
    count = plate.table["Metadata_Object_Count"].to_numpy()
    too_many = (plate.table["Metadata_QC_Status"] == "too_many_cells").to_numpy()
    contrast = plate.number("Contrast", plate.checks.nuclei)
    usual = plate.reach(f"LogContrast_{plate.checks.nuclei}", _log(contrast), least=FAINT)
    lowest = max(NO_CONTRAST, np.nan_to_num(np.exp(usual.low)))
    dim = contrast < lowest
    is_bad = ((count == 0) & ~too_many) | dim
    reasons = [
        f"{plate.checks.nuclei} is {contrast[i]:.1f} times the noise, and with cells it is at "
        f"least {lowest:.1f} times"
        if dim[i]
        else "no cells were found"
        for i in _rows(is_bad)
    ]
    return Finding(is_bad, reasons)


def _saturation(plate: Plate) -> Finding:
    """Pixels at the camera's limit, in any stain."""
    limit, worst = plate.checks.saturated_percent, {}
    for stain in plate.checks.stains:
        share = plate.number("PercentMaximal", stain)
        is_bad = (share >= limit) & _is_limit(plate.number("Max", stain))
        for i in _rows(is_bad):
            worst[i] = max(worst.get(i, (0.0, "")), (share[i], stain))
    return _finding(
        plate,
        {
            i: f"{share:.1f}% of the pixels of {stain} are at the camera's limit; {limit:g}% are "
            "too many"
            for i, (share, stain) in worst.items()
        },
    )


def _is_limit(most: np.ndarray) -> np.ndarray:
    """Whether a field's largest value is where cameras end, or the plate's, met several times.

    Of a stain that is black on the whole plate the largest value is 0, which is no limit.
    """
    ends = np.isclose(most[:, None], LIMITS, rtol=1e-6, atol=0).any(axis=1)
    top = np.nanmax(most, initial=0)
    return ends | ((most == top) & (top > 0) & ((most == top).sum() > 1))


def _focus(plate: Plate) -> Finding:
    """Edges that are too wide, in the nuclear stain, by its fine or by its coarse detail."""
    stain = plate.checks.nuclei
    fine = _edges(plate, "FineDetail", FINE)
    coarse = _edges(plate, "CoarseDetail", COARSE)
    slope = plate.number("PowerSlope", stain)
    steep = plate.reach(f"PowerSlope_{stain}", slope, least=STEEPER)
    is_steep = (slope < steep.low) & (fine.variance > fine.usual.middle + BLURRED / 2)
    said = {
        i: f"{stain} is blurred: the slope of its power is {slope[i]:.2f}, the plate's "
        f"{steep.middle:.2f} and at least {steep.low:.2f}"
        for i in _rows(is_steep)
    }
    # Noise may pass for fine detail that is missing, so WIDEST is held against the coarse alone.
    for each, widest in ((coarse, WIDEST), (fine, np.inf)):
        most = min(each.usual.high, widest)
        said |= {
            i: f"{stain} is blurred: its edges are {np.sqrt(each.variance[i]):.1f} pixels wide, "
            f"the plate's {np.sqrt(each.usual.middle):.1f}; {np.sqrt(most):.1f} is too wide"
            for i in _rows(each.variance > most)
        }
    return _finding(plate, said)


class Edges(NamedTuple):
    """How wide edges are, in square pixels: of each field, and on the plate."""

    variance: np.ndarray
    usual: Reach


def _edges(plate: Plate, name: str, table: Sequence[float]) -> Edges:
    stain = plate.checks.nuclei
    variance = edge_variance(plate.number(name, stain), table)
    known = variance[plate.is_known & np.isfinite(variance)]
    least = BLURRED * max(1.0, float(np.median(known)) if known.size else 0.0)
    return Edges(variance, plate.reach(f"EdgeVariance_{name}_{stain}", variance, least=least))


def _staining(plate: Plate) -> Finding:
    """A nuclear stain far too bright for its plate, or too dim even where it is brightest.

    A field of few nuclei has little signal however well they are stained: a compound that kills
    must not pass for a failed stain.
    """
    stain = plate.checks.nuclei
    signal = _log(plate.number("Signal", stain))
    peak = _log(plate.number("Peak", stain))
    usual = plate.reach(f"LogSignal_{stain}", signal, least=FOLD)
    brightest = plate.reach(f"LogStainPeak_{stain}", peak, least=FOLD)
    is_dim = (signal < usual.low) & (peak < brightest.low)
    return _finding(
        plate,
        {
            i: f"{stain} is {_times(signal[i] - usual.middle)} as bright as on the plate; "
            f"{_times(usual.low - usual.middle)} to {_times(usual.high - usual.middle)} is usual"
            for i in _rows(is_dim | (signal > usual.high))
        },
    )


def _bubble(plate: Plate) -> Finding:
    """Areas larger than cells that are far too bright, or a hole in a lawn of cells."""
    found = {}
    for stain in dict.fromkeys((plate.checks.nuclei, plate.checks.cells)):
        bright = _log(plate.number("BrightTile", stain))
        usual = plate.reach(f"LogBrightTile_{stain}", bright, least=BLOB)
        found |= {
            i: f"an area of {stain} larger than cells is {_times(bright[i] - usual.middle)} as "
            f"bright as usual; up to {_times(usual.high - usual.middle)} is"
            for i in _rows(bright > usual.high)
        }
        dark = plate.number("DarkTile", stain)
        usual = plate.reach(f"DarkTile_{stain}", dark, least=HOLE)
        found |= {
            i: f"an area of {stain} is dark: {dark[i]:.2f} of the typical light, the plate's is "
            f"{usual.middle:.2f} and at least {usual.low:.2f}"
            for i in _rows(dark < usual.low)
        }
    return _finding(plate, found)


def _debris(plate: Plate) -> Finding:
    """Something far brighter than any nucleus of the plate."""
    stain = plate.checks.nuclei
    peak = _log(plate.number("Peak", stain))
    usual = plate.reach(f"LogPeak_{stain}", peak, least=SPECK)
    return _finding(
        plate,
        {
            i: f"something in {stain} is {_times(peak[i] - usual.middle)} as bright as the "
            f"brightest usually is; up to {_times(usual.high - usual.middle)} is usual"
            for i in _rows(peak > usual.high)
        },
    )


CHECKS: Mapping[str, Callable[[Plate], Finding]] = {  # worst first
    "empty": _empty,
    "saturation": _saturation,
    "focus": _focus,
    "staining": _staining,
    "bubble": _bubble,
    "debris": _debris,
}


def _rows(is_bad: np.ndarray) -> list[int]:
    return np.flatnonzero(is_bad).tolist()


def _finding(plate: Plate, reasons: Mapping[int, str]) -> Finding:
    is_bad = np.zeros(plate.table.height, bool)
    is_bad[list(reasons)] = True
    return Finding(is_bad, [reasons[i] for i in _rows(is_bad)])


def _log(values: np.ndarray) -> np.ndarray:
    return np.log(np.where(values > 0, values, np.nan))


def _times(logarithm: float) -> str:
    """Say a factor.

    >>> _times(np.log(2.5)), _times(np.log(0.2)), _times(np.inf)
    ('2.5 times', '0.2 times', 'any number of times')
    """
    return f"{np.exp(logarithm):.2g} times" if np.isfinite(logarithm) else "any number of times"
