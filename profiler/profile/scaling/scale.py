"""Each feature by itself: centre and spread of the reference, or ranks among it."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int
from scipy.special import ndtri

from profiler.profile.groups import (
    ALL,
    PLATE,
    columns_within,
    each,
    group_rows,
    mask_of,
    to_series,
)
from profiler.profile.outcome import Lost, Normalised, lost_table

MAD_TO_SD = 1.4826  # 1 / Φ⁻¹(3/4): scales the MAD to the sd of a normal
FLOAT_NOISE = 1e-6  # about eight roundings of a float32: a smaller relative spread is none
N_QUANTILES = 1000  # landmarks of the reference's distribution, as in pycytominer
EXTREME = 1e-7  # share of the reference, and of its range, taken for the very end
BLOCK = 1 << 20  # numbers that a thread takes at a time, 8 MiB

Rows: TypeAlias = Float[np.ndarray, "feature row"]  # the values of a feature lie together
References: TypeAlias = Float[np.ndarray, "feature reference"]
PerFeature: TypeAlias = Float[np.ndarray, " feature"]

# (values of a group, those of its reference rows), finite or NaN -> the values on a new scale,
# NaN for features of which the reference has no value, or that do not vary on it.
Transform: TypeAlias = Callable[[Rows, References], Rows]


def transform_features(
    table: pl.DataFrame,
    *,
    features: Sequence[str],
    reference: pl.Expr = ALL,
    within: str | Sequence[str] = PLATE,
    transform: Transform,
) -> Normalised:
    """Put every feature on its own scale, group by group.

    Holds the table, the result, and a block of columns per thread.

    Args:
        table: Cells or wells.
        features: Columns to replace.
        reference: Which rows set the scale.
        within: Columns whose values name a group.
        transform: From the values of a group and of its reference to the group's values
            on the new scale.

    Returns:
        The table with `features` replaced, float32 where they were, else float64.
    """
    within = columns_within(within)
    groups = group_rows(table, within)
    is_reference = mask_of(table, reference)
    references = [np.flatnonzero(is_reference[group.rows]) for group in groups]
    columns = table.select(features).get_columns()  # looking each up by name is slow in wide tables
    width = max(1, BLOCK // max(table.height, 1))
    blocks = [columns[i : i + width] for i in range(0, len(columns), width)]

    def one(block: list[pl.Series]) -> tuple[list[pl.Series], list[Lost]]:
        values = pl.DataFrame(block).cast(pl.Float64).to_numpy().T
        names, lost, result = [column.name for column in block], [], np.empty_like(values)
        for i, (group, its_reference) in enumerate(zip(groups, references, strict=True)):
            found = _of_group(values[:, group.rows], its_reference, transform)
            result[:, group.rows], gone = found
            lost += _lines(names, gone, group=i)
        columns = [
            to_series(column.name, x, is_float32=column.dtype == pl.Float32)
            for column, x in zip(block, result, strict=True)
        ]
        return columns, lost

    done = each(blocks, one)
    lost = [line for _, lines in done for line in lines]
    report = lost_table(lost, groups, table=table, within=within)
    scaled = table.with_columns(column for block, _ in done for column in block)
    return Normalised(scaled, list(features), report)


def _of_group(
    values: Rows, reference: Int[np.ndarray, " reference"], transform: Transform
) -> tuple[Rows, Mapping[str, np.ndarray]]:
    """Values on the new scale, and how many of each feature have none there, by reason."""
    is_finite = np.isfinite(values)
    is_infinite = np.zeros(len(values), dtype=np.int64)
    if not is_finite.all():
        is_infinite = np.isinf(values).sum(axis=1)
        values = np.where(is_finite, values, np.nan)
    scaled = transform(values, values[:, reference])
    is_gone = np.isnan(scaled)
    is_gone &= is_finite
    gone = is_gone.sum(axis=1)
    has_reference = is_finite[:, reference].any(axis=1)
    by_reason = {"no_reference": gone * ~has_reference, "no_spread": gone * has_reference}
    return scaled, {"infinite": is_infinite, **by_reason}


def _lines(names: Sequence[str], gone: Mapping[str, np.ndarray], *, group: int) -> list[Lost]:
    return [
        Lost(group, names[i], reason, int(counts[i]))
        for reason, counts in gone.items()
        for i in np.flatnonzero(counts).tolist()
    ]


def standardize(values: Rows, reference: References) -> Rows:
    """Express values in standard deviations of the reference from its mean (n, not n - 1)."""
    centre = mean(reference)
    spread = np.sqrt(mean((reference - centre[:, None]) ** 2))
    return _scaled(values, centre=centre, spread=spread)


def robustize(values: Rows, reference: References) -> Rows:
    """Express values in interquartile ranges of the reference from its median."""
    low, centre, high = quantiles(reference, shares=(0.25, 0.5, 0.75))
    return _scaled(values, centre=centre, spread=high - low)


def mad_robustize(values: Rows, reference: References) -> Rows:
    """Express values in 1.4826 median absolute deviations of the reference from its median."""
    centre = median(reference)
    spread = median(np.abs(reference - centre[:, None]))
    return _scaled(values, centre=centre, spread=spread, unit=MAD_TO_SD)


def inverse_normal(values: Rows, reference: References) -> Rows:
    """Replace values by the normal quantile of their rank among the reference.

    Between landmarks, 1000 quantiles of the reference, ranks are interpolated; what
    lies beyond the reference becomes ±5.2.

    Source:
        scikit-learn's `QuantileTransformer`, as pycytominer's inverse_normal uses it, but
        with the whole of the reference, of which it takes a random 10,000 rows, and with the
        ends' margin as a share of the range, where its 1e-7 swallows features in small units.
    """
    shares = np.linspace(0, 1, min(N_QUANTILES, reference.shape[1]))
    landmarks = quantiles(reference, shares=shares * 100 / 100).T  # via per cent, as numpy rounds
    result = np.full(values.shape, np.nan)
    if landmarks.size:
        has_scale = varies(landmarks[:, -1] - landmarks[:, 0], centre=median(landmarks))
        for i in np.flatnonzero(has_scale):
            result[i] = _normal_quantile(values[i], landmarks[i], shares)
    return result


def _normal_quantile(values: np.ndarray, landmarks: np.ndarray, shares: np.ndarray) -> np.ndarray:
    landmarks = np.maximum.accumulate(landmarks)  # rounding may have them fall
    # Both ways, then the mean: within a run of equal landmarks the middle rank.
    upward = np.interp(values, landmarks, shares)
    downward = np.interp(-values, -landmarks[::-1], -shares[::-1])
    rank = (upward - downward) / 2
    margin = EXTREME * (landmarks[-1] - landmarks[0])
    rank[values + margin > landmarks[-1]] = 1
    rank[values - margin < landmarks[0]] = 0
    limit = ndtri(EXTREME - np.spacing(1))
    return np.clip(ndtri(rank), limit, -limit)


def mean(values: Float[np.ndarray, "*features row"]) -> Float[np.ndarray, "*features"]:
    """Mean along the last axis of what is not NaN; NaN where nothing is left."""
    is_known = ~np.isnan(values)
    n_known = is_known.sum(axis=-1)
    return np.where(is_known, values, 0).sum(axis=-1) / np.where(n_known > 0, n_known, np.nan)


def median(values: Float[np.ndarray, "*features row"]) -> Float[np.ndarray, "*features"]:
    """Median along the last axis of what is not NaN, several times as fast as numpy's.

    Args:
        values: Finite or NaN; infinite values have no place here.

    Returns:
        NaN where no value is left.
    """
    n = values.shape[-1]
    if not n or np.isnan(values).any():
        return quantiles(values, shares=(0.5,))[0]
    half, is_odd = divmod(n, 2)
    parted = np.partition(values, half, axis=-1)
    upper = parted[..., half]
    return upper if is_odd else (parted[..., :half].max(axis=-1) + upper) / 2


def quantiles(
    values: Float[np.ndarray, "*features row"], *, shares: Sequence[float] | np.ndarray
) -> Float[np.ndarray, "share *features"]:
    """Quantiles along the last axis of what is not NaN, interpolated linearly as numpy does."""
    n_known = (~np.isnan(values)).sum(axis=-1)
    ordered = np.sort(values, axis=-1)  # NaN last
    if not values.shape[-1]:
        return np.full((len(shares), *values.shape[:-1]), np.nan)
    last = np.maximum(n_known - 1, 0)
    found = []
    for share in shares:
        place = share * last
        below = np.floor(place).astype(np.int64)
        low, high = (_at(ordered, np.minimum(i, last)) for i in (below, below + 1))
        found.append(_between(low, high, place - below))
    return np.array(found)


def _between(low: np.ndarray, high: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Interpolate to the last bit as numpy does: ties among landmarks hang on it."""
    step = high - low
    return np.where(share < 0.5, low + step * share, high - step * (1 - share))


def _at(ordered: np.ndarray, place: np.ndarray) -> np.ndarray:
    return np.take_along_axis(ordered, np.expand_dims(place, -1), axis=-1)[..., 0]


def varies(spread: PerFeature, *, centre: PerFeature) -> Bool[np.ndarray, " feature"]:
    """Whether spreads are more than the rounding of numbers about as large as the centres."""
    return spread > FLOAT_NOISE * np.abs(centre)


def _scaled(values: Rows, *, centre: PerFeature, spread: PerFeature, unit: float = 1.0) -> Rows:
    known_spread = np.where(varies(spread, centre=centre), spread, np.nan)
    scaled = values - centre[:, None]
    scaled /= (unit * known_spread)[:, None]
    return scaled
