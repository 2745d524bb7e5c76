"""CellProfiler's quantile, for numpy and JAX arrays alike."""

from typing import Any


def quantile(ordered: Any, offsets: Any, fraction: float) -> Any:
    """Interpolate a quantile of every object from its sorted pixels.

    Args:
        ordered: Values sorted within each object, [pixel].
        offsets: Object i holds `ordered[offsets[i]:offsets[i + 1]]`, [cell + 1].
        fraction: In 0 to 1.

    Returns:
        [cell]; NaN for empty objects.

    Source:
        CellProfiler's MeasureObjectIntensity: rank n q, clamped to the last value, where
        numpy takes (n - 1) q. Checked against cp_measure in tests/measure/test_intensity.py.
    """
    xp = ordered.__array_namespace__()
    if not len(ordered):
        return xp.full(len(offsets) - 1, xp.nan, dtype=ordered.dtype)
    start, area = offsets[:-1], offsets[1:] - offsets[:-1]
    rank = area * ordered.dtype.type(fraction)
    low = xp.floor(rank).astype(offsets.dtype)
    part = (rank - low).astype(ordered.dtype)
    below, above = (
        ordered[xp.clip(start + xp.minimum(at, area - 1), 0, len(ordered) - 1)]
        for at in (low, low + 1)
    )
    return xp.where(area > 0, below * (1 - part) + above * part, xp.nan)
