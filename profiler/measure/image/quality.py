"""Whether a field is sharp, well exposed and not saturated, one channel at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, no_type_check

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from plates.errors import BadRecipe
from profiler.measure import cpu, device
from profiler.measure.family import IMAGE, FeatureFamily, Over
from profiler.measure.image.intensity import FieldIntensity, summary_cpu, summary_jax
from profiler.measure.image.otsu import KINDS, otsu_cpu, otsu_jax
from profiler.measure.image.sharpness import (
    correlations_cpu,
    correlations_jax,
    focus_cpu,
    focus_jax,
    slope_cpu,
    slope_jax,
)
from profiler.shapes import Plane

INTENSITIES = FieldIntensity._fields[:8]  # those that CellProfiler has here too
DEPTHS = (255, 65_535)  # what integers of 8 and 16 bits are divided by
ROUNDING = 2.5e-7  # of a value divided and multiplied again, in float32


class Quality(NamedTuple):
    """Focus, exposure and saturation of a field; in the names, `Orig` is before the stain.

    They are of the image as it is measured: after illumination correction, if there is one.

    Source: CellProfiler 4.2.8, MeasureImageQuality. Values that it cannot compute are 0 there and
    here, except for Scaling.

    Attributes:
        FocusScore: Variance over mean; 0 for a black field.
        LocalFocusScore: The same within squares of about the scale's side: its variance over its
            median, black squares left out; 0 where the median is 0.
        Correlation: Of 8 grey levels, from the darkest to the brightest, with those the scale to
            the right; 0 where one side is constant.
        PowerLogLogSlope: Slope of the logarithm of the power over that of the spatial frequency,
            up to an eighth of the shorter side: steeper the more blurred, 0 for a constant field.
        PercentMaximal: Share of the pixels that have the largest value, in percent.
        PercentMinimal: Share that have the smallest, in percent.
        Intensities: TotalIntensity, MeanIntensity, MedianIntensity, StdIntensity, MADIntensity,
            MaxIntensity, MinIntensity and TotalArea are those of the Intensity group.
        Scaling: What the file's integers were divided by, 255 or 65535; NaN where the pixels do
            not tell, as after illumination correction.
        ThresholdOtsu: Threshold of the logarithms, in two classes (`_2W`) or in three with the
            middle as foreground (`_3FW`) or background (`_3BW`).
    """

    FocusScore: Any
    LocalFocusScore: Any
    Correlation: Any
    PowerLogLogSlope: Any
    PercentMaximal: Any
    PercentMinimal: Any
    Intensities: Any
    Scaling: Any
    ThresholdOtsu: Any


@dataclass(frozen=True)
class QualityCpu:
    """Judges a field in one channel, on the CPU.

    Attributes:
        scales: Of blur, in pixels.
        otsu: Kinds of thresholds.
    """

    scales: tuple[int, ...]
    otsu: tuple[str, ...]

    def __call__(self, signal: cpu.Signal) -> list[np.ndarray]:
        """Measure the field."""
        pixels, bright = signal.once(summary_cpu)
        plane = np.ascontiguousarray(signal.plane)
        found = Quality(
            bright.StdIntensity**2 / bright.MeanIntensity if bright.MeanIntensity > 0 else 0.0,
            [focus_cpu(plane, scale=scale) for scale in self.scales],
            correlations_cpu(plane, scales=self.scales),
            slope_cpu(plane),
            bright.PercentMaximal,
            100 * pixels.up_to(bright.MinIntensity) / pixels.area,
            bright[: len(INTENSITIES)],
            _depth(pixels.values, np.array(DEPTHS, np.float32)),
            otsu_cpu(pixels, kinds=self.otsu),
        )
        return [np.full(1, value) for value in _in_a_row(found)]


@dataclass(frozen=True)
class QualityJax:
    """Judges a field in one channel, on an accelerator.

    Attributes:
        scales: Of blur, in pixels.
        otsu: Kinds of thresholds.
    """

    scales: tuple[int, ...]
    otsu: tuple[str, ...]

    def __call__(self, signal: device.Signal) -> list[Array]:
        """Measure the field."""
        plane, bright = signal.plane, signal.once(summary_jax)
        focus = bright.StdIntensity**2 / bright.MeanIntensity
        found = Quality(
            jnp.where(bright.MeanIntensity > 0, focus, 0),
            [focus_jax(plane, scale=scale) for scale in self.scales],
            correlations_jax(plane, scales=self.scales),
            slope_jax(plane),
            bright.PercentMaximal,
            100 * (plane == bright.MinIntensity).sum() / plane.size,
            bright[: len(INTENSITIES)],
            _depth_jax(plane),
            otsu_jax(plane, kinds=self.otsu),
        )
        return [jnp.reshape(value, 1) for value in _in_a_row(found)]


def _in_a_row(found: Quality) -> list[Any]:
    several = (part if isinstance(part, Sequence | np.ndarray) else [part] for part in found)
    return [value for part in several for value in part]


@no_type_check
@cpu.compiled()
def _depth(values, depths):
    """The first depth of which all values are multiples, unless all are 0 or 1."""
    for depth in depths:
        is_multiple, is_grey = True, False
        for value in values:
            steps = value * depth
            is_multiple = abs(steps - np.rint(steps)) <= depth * np.float32(ROUNDING)
            if not is_multiple:
                break
            is_grey = is_grey or 0 < value < 1
        if is_multiple and is_grey:
            return np.float64(depth)
    return np.nan


def _depth_jax(plane: Plane) -> Array:
    is_grey = ((plane > 0) & (plane < 1)).any()
    depth = jnp.nan
    for one in reversed(DEPTHS):
        steps = plane * one
        is_multiple = (jnp.abs(steps - jnp.round(steps)) <= one * ROUNDING).all()
        depth = jnp.where(is_multiple & is_grey, one, depth)
    return jnp.asarray(depth)


def image_quality(*, scales: Any = (5, 10, 20, 50), otsu: Any = ("2W", "3FW")) -> FeatureFamily:
    """Measure focus, exposure and saturation, by default as for the JUMP consortium's tables.

    Those have one kind of threshold for DNA and another for RNA; here each channel has both.

    Args:
        scales: List of distances and sizes of blur, in pixels.
        otsu: List of thresholds: of two classes ("2W"), or of three with the middle one as
            foreground ("3FW") or background ("3BW").

    Raises:
        BadRecipe: Scales that are not integers from 1, or a threshold that does not exist.
    """
    if not isinstance(scales, list | tuple) or not all(map(_is_scale, scales)):
        raise BadRecipe(
            f"ImageQuality found scales = {scales!r}; expected a list of whole pixels, at least 1."
        )
    if not isinstance(otsu, list | tuple) or not all(kind in KINDS for kind in otsu):
        raise BadRecipe(
            f"ImageQuality found otsu = {otsu!r}; expected a list of {', '.join(KINDS)}."
        )
    return _family(tuple(dict.fromkeys(scales)), tuple(dict.fromkeys(otsu)))


def _is_scale(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _family(scales: tuple[int, ...], otsu: tuple[str, ...]) -> FeatureFamily:
    return FeatureFamily(
        "ImageQuality",
        Over.CHANNEL,
        (
            "FocusScore_Orig{}",
            *(f"LocalFocusScore_Orig{{}}_{scale}" for scale in scales),
            *(f"Correlation_Orig{{}}_{scale}" for scale in scales),
            "PowerLogLogSlope_Orig{}",
            "PercentMaximal_Orig{}",
            "PercentMinimal_Orig{}",
            *(f"{name}_Orig{{}}" for name in INTENSITIES),
            "Scaling_Orig{}",
            *(f"ThresholdOtsu_Orig{{}}_{kind}" for kind in otsu),
        ),
        cpu=QualityCpu(scales, otsu),
        jax=QualityJax(scales, otsu),
        compartments=(IMAGE,),
        needs_px=max(scales, default=0) + 1,
        about=Quality.__doc__ or "",
    )
