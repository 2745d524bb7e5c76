"""Whether a well deviates from its plate's controls by more than those differ among themselves.

Cells of a well are not independent: they share their seeding, staining and position. So wells are
what is counted. What they differ by is a part that counting gives, which is known, and a part
between wells, which is estimated: from the controls, and where these are few, from the other wells
too, most of which are taken to be as the controls are.
"""

from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import f as fisher
from scipy.stats import t as student

from profiler.phenotype.counts import PerWell

LEAST_FREEDOM = 2  # degrees, of controls alone; three of them on one plate
ENOUGH_FREEDOM = 20  # degrees up to which other wells lend theirs
LEAST_LENDERS = 10  # on a plate
TOO_FAR = 0.1  # chance of other wells' variance among alike ones, below which they lend nothing
ONE_SD = 0.6827  # of the wells are nearer than a standard deviation
FULL_TRUST = 5.0  # degrees of freedom for each power of what counting explains; see `p_value`

PerPart: TypeAlias = Float[np.ndarray, "well part"]
Plates: TypeAlias = Int[np.ndarray, " well"]
Controls: TypeAlias = Bool[np.ndarray, " well"]
Numbers: TypeAlias = float | Float[np.ndarray, "*test"]


class Angles(NamedTuple):
    """Shares of cells on a scale on which counting noise is alike for all shares.

    Attributes:
        values: Angles; NaN without cells.
        noise: Their variance from counting alone.
        half: How far half a cell more, or fewer, moves an angle towards that of equal shares.
    """

    values: Float[np.ndarray, "*shape"]
    noise: Float[np.ndarray, "*shape"]
    half: Float[np.ndarray, "*shape"]


class Lent(NamedTuple):
    """What wells that are no controls say of how wells differ.

    Attributes:
        variance: As most of them have it.
        noise: Its part that counting gives.
        freedom: Degrees of it.
    """

    variance: float
    noise: float
    freedom: float


class Spread(NamedTuple):
    """How wells differ that are alike but for chance: one number, or one for each well tested.

    Attributes:
        shown: The variance that was seen.
        between: Its part that counting does not explain, at least 0.
        freedom: Degrees of it.
    """

    shown: Numbers
    between: Numbers
    freedom: Numbers


class Yardstick(NamedTuple):
    """What the control wells say.

    Attributes:
        centre: Mean of the controls of each well's plate; NaN without.
        controls: How many these are.
        noise: Mean variance that counting gives them.
        squares: Summed squares of the controls' gaps to their plate's centre.
        counted: What of that counting explains.
        freedom: Degrees that the squares have.
        lent: What other wells say.
    """

    centre: PerWell
    controls: PerWell
    noise: PerWell
    squares: Numbers
    counted: Numbers
    freedom: Numbers
    lent: Lent


def shares_apart(counts: Int[np.ndarray, "well part"]) -> Angles:
    """Bring shares of cells to a scale on which counting noise is alike for all shares.

    Args:
        counts: Cells of each well and subpopulation.

    Source:
        Anscombe 1948, Biometrika 35:246: asin(sqrt((x + 3/8) / (n + 3/4))), 1 / (4 n + 2).
    """
    total = counts.sum(axis=1, keepdims=True).astype(float)
    total[total == 0] = np.nan
    angle, nearer = (
        np.arcsin(np.sqrt((cells + 0.375) / (total + 0.75)))
        for cells in (counts, counts + 0.5 * np.sign(total - 2 * counts))
    )
    return Angles(angle, np.broadcast_to(1 / (4 * total + 2), angle.shape), nearer - angle)


def plain(values: Float[np.ndarray, "*shape"]) -> Angles:
    """Numbers of which no part of the variance is known; NaN is none."""
    return Angles(values, np.zeros(values.shape), np.zeros(values.shape))


def deviation_p_values(angles: Angles, *, plate: Plates, is_control: Controls) -> PerPart:
    """Test each well against the control wells of its plate.

    Args:
        angles: Of every well and subpopulation; `plain` makes them of other numbers.
        plate: Number of each well's plate.
        is_control: The negative controls; one is tested against the others.

    Returns:
        Two-sided p-values of a new well's t statistic. Its variance is what counting gives and
        what controls differ by beyond that, pooled over plates; see `yardstick` for how far other
        wells count. NaN without two degrees of freedom between controls, or where the plate has
        no control.

    Source:
        Student's t prediction interval, against scipy in tests/phenotype/test_shift.py, which
        also simulates levels; for controls, externally studentised residuals (Cook & Weisberg
        1982, section 2.2).
    """
    parts = [
        _of_part(Angles(*(each[:, part] for each in angles)), plate, is_control)
        for part in range(angles.values.shape[1])
    ]
    return np.stack(parts, axis=1)


def yardstick(angles: Angles, *, plate: Plates, is_control: Controls) -> Yardstick:
    """Learn from the control wells of all plates how wells differ.

    Where the controls have fewer than 20 degrees of freedom, the other wells lend what is lacking
    (see `spread`): those of plates that have ten or more with at least half as many cells as the
    controls. Two thirds of these are within a standard deviation of their median, whatever the
    rest were treated with.

    Args:
        angles: One number per well; NaN is none.
        plate: Number of each well's plate, from 0.
        is_control: The negative controls.
    """
    values, noise, _ = angles
    used = is_control & np.isfinite(values)
    size = int(plate.max(initial=0)) + 1
    count = np.bincount(plate[used], minlength=size)
    with np.errstate(invalid="ignore"):
        centre = np.bincount(plate[used], values[used], size) / count
        usual = np.bincount(plate[used], noise[used], size) / count
    squares = float(((values - centre[plate])[used] ** 2).sum())
    counted = float(((count - 1) * usual)[count > 0].sum())
    freedom = float(used.sum() - (count > 0).sum())
    lent = _lent(angles, plate=plate, is_lender=~is_control & (noise <= 2 * usual[plate]))
    return Yardstick(
        centre[plate], count[plate].astype(float), usual[plate], squares, counted, freedom, lent
    )


def spread(by: Yardstick) -> Spread:
    """Put together what controls and other wells show.

    Other wells lend nothing where they differ by so much more than the controls that many of them
    must be unlike these.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        own = np.maximum(by.squares, by.counted) / by.freedom
        most = own * fisher.isf(TOO_FAR, by.lent.freedom, by.freedom)
        lacking = np.clip(ENOUGH_FREEDOM - by.freedom, 0, by.lent.freedom)
        borrowed = np.where(by.lent.variance <= most, lacking, 0.0)
        whole = by.freedom + borrowed
        shown = (by.squares + borrowed * by.lent.variance) / whole
        explained = (by.counted + borrowed * by.lent.noise) / whole
    return Spread(shown, np.maximum(shown - explained, 0.0), whole)


def p_value(gap: Numbers, *, by: Spread, weight: Numbers, noise: Numbers) -> Numbers:
    """Test gaps of which a part of the variance is known.

    Args:
        gap: What is asked whether it is 0.
        by: How wells differ.
        weight: How often the gap holds the variance between wells.
        noise: The variance that counting gives the gap.

    Returns:
        Two-sided p-values; NaN without variance. The more of the variance is known, the more
        degrees of freedom the test has: as Satterthwaite 1946 from ten on; fewer are believed
        less far, as controls that happen to be alike say little then.
    """
    variance = by.between * weight + noise
    with np.errstate(invalid="ignore", divide="ignore"):
        known = variance / (by.shown * weight)
        trust = np.where(known > 1, np.minimum(by.freedom / FULL_TRUST, 2.0), 2.0)
        found = 2 * student.sf(np.abs(gap) / np.sqrt(variance), by.freedom * known**trust)
    return np.where(variance > 0, found, np.nan)


def less_half(gap: Numbers, half: Numbers) -> Numbers:
    """Bring gaps to where half a cell more would have them, if they lie towards the nearer end.

    Counts near none (or near all) are more likely than a normal distribution has them: of 30,000
    wells with 8 cells of a class on average ten have none, where it expects less than one.

    Args:
        gap: Of angles to that of the controls.
        half: As of `Angles`.
    """
    left = np.maximum(np.abs(gap) - np.abs(half), 0.0)
    return np.where(np.asarray(half * gap) < 0, np.sign(gap) * left, gap)


def _of_part(angles: Angles, plate: Plates, is_control: Controls) -> PerWell:
    by = yardstick(angles, plate=plate, is_control=is_control)
    own = is_control & np.isfinite(angles.values)
    n, left = by.controls, by.controls - own
    some = np.maximum(left, 1.0)
    # A control is held against the others: its own part is taken out of all that they say.
    gap = (angles.values - by.centre) * np.where(own, n / some, 1.0)
    others = np.where(own, (n * by.noise - angles.noise) / some, by.noise)
    squares = by.squares - np.where(own, gap**2 * left / np.maximum(n, 1.0), 0.0)
    counted = by.counted - np.where(own, (n - 1) * by.noise - (left - 1) * others, 0.0)
    free = by.freedom - own.astype(float)
    seen = spread(by._replace(squares=np.maximum(squares, 0.0), counted=counted, freedom=free))
    noise = angles.noise + others / some
    found = p_value(less_half(gap, angles.half), by=seen, weight=1 + 1 / some, noise=noise)
    return np.where((left > 0) & (free >= LEAST_FREEDOM), found, np.nan)


def _lent(angles: Angles, *, plate: Plates, is_lender: Controls) -> Lent:
    """Learn from wells most of which are as controls are, how far most of them are apart."""
    away, noise = [np.zeros(0)], [np.zeros(0)]
    is_lender = is_lender & np.isfinite(angles.values)
    for code in np.unique(plate[is_lender]):
        own = is_lender & (plate == code)
        if own.sum() >= LEAST_LENDERS:
            away.append(np.abs(angles.values[own] - np.median(angles.values[own])))
            noise.append(angles.noise[own])
    every = np.concatenate(away)
    if not len(every):
        return Lent(0.0, 0.0, 0.0)
    # A quantile of n values says about as much of their variance as n / 2 squares would.
    variance = float(np.quantile(every, ONE_SD)) ** 2
    return Lent(variance, float(np.concatenate(noise).mean()), len(every) / 2)
