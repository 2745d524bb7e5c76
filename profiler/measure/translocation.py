"""How a stain is shared between each cell's nucleus and cytoplasm, one channel at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from jax import Array

from plates.errors import BadRecipe
from profiler.measure.family import FeatureFamily, Over
from profiler.measure.image.cuts import cross_entropy_cpu, cross_entropy_jax
from profiler.measure.image.tally import tally
from profiler.shapes import Plane


class Translocation(NamedTuple):
    """The nucleus of a cell against its cytoplasm; NaN where either has no pixel.

    No background is subtracted: do that to the image, or the ratios lean towards 1. Where cells
    are sparse, a ring around the nucleus holds background too; with a `floor`, pixels of the
    cytoplasm below that part of the way from the plane's darkest pixel to its minimum
    cross-entropy threshold are left out of its mean.

    Source: this project; the readout of translocation assays such as BBBC013.

    Attributes:
        NucleusCytoplasmRatio: Mean intensity of the nucleus over that of the cytoplasm; NaN where
            the latter is 0.
        NucleusCytoplasmLog2Ratio: Its logarithm to base 2; NaN where either mean is 0.
        NucleusCytoplasmMedianRatio: Median over median of all pixels; NaN where the latter is 0.
        NucleusCytoplasmDifference: Mean of the nucleus minus mean of the cytoplasm, in the units
            of the image.
        NucleusFraction: Integrated intensity of the nucleus over that of nucleus and cytoplasm,
            which leaves out a gap between them: 1 for a cell without cytoplasm, NaN for one
            without nucleus or where the latter is 0. Of all pixels.
    """

    NucleusCytoplasmRatio: Any
    NucleusCytoplasmLog2Ratio: Any
    NucleusCytoplasmMedianRatio: Any
    NucleusCytoplasmDifference: Any
    NucleusFraction: Any


@dataclass(frozen=True)
class Kernel:
    """The family for one floor; `threshold` is the backend's."""

    floor: float
    threshold: Callable[[Any], Any]

    def __call__(self, nuclei: Any, cells: Any, cytoplasm: Any) -> Translocation:
        """Compare every cell's nucleus and cytoplasm in one channel; on the CPU or traced.

        Args:
            nuclei: The channel's `Signal` in the nuclei.
            cells: In the cells; unused, a family over cells is given all three.
            cytoplasm: In the cytoplasm.
        """
        del cells
        inside = nuclei.total / nuclei.objects.area
        outside = self._mean(cytoplasm)
        nucleus = inside * nuclei.objects.area
        xp = inside.__array_namespace__()
        return Translocation(
            inside / outside,
            xp.log2(inside / outside),
            nuclei.quantile(0.5) / cytoplasm.quantile(0.5),
            inside - outside,
            nucleus / (nucleus + cytoplasm.total),
        )

    def _mean(self, cytoplasm: Any) -> Any:
        if not self.floor:
            return cytoplasm.total / cytoplasm.objects.area
        darkest = cytoplasm.plane.min()
        level = darkest + self.floor * (cytoplasm.once(self.threshold) - darkest)
        is_stained = (cytoplasm.values > level).astype(cytoplasm.values.dtype)
        stained = cytoplasm.objects.total(cytoplasm.values * is_stained)
        return stained / cytoplasm.objects.total(is_stained)


def _threshold_cpu(plane: np.ndarray) -> float:
    return cross_entropy_cpu(tally(plane))


def _threshold_jax(plane: Plane) -> Array:
    return cross_entropy_jax(plane)


def translocation(*, floor: Any = 0.0) -> FeatureFamily:
    """Make the family.

    Args:
        floor: See `Translocation`; 0 takes all pixels of the cytoplasm.

    Returns:
        The same family for the same floor.

    Raises:
        BadRecipe: A floor that is not a number from 0 to 1.
    """
    if isinstance(floor, bool) or not isinstance(floor, int | float) or not 0 <= floor <= 1:
        raise BadRecipe(f"Translocation's floor is {floor!r}; expected a number from 0 to 1.")
    return _family(float(floor))


@lru_cache
def _family(floor: float) -> FeatureFamily:
    return FeatureFamily(
        "Translocation",
        Over.CELL,
        Translocation._fields,
        cpu=Kernel(floor, _threshold_cpu),
        jax=Kernel(floor, _threshold_jax),
        about=Translocation.__doc__ or "",
    )
