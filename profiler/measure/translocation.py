"""How a stain is shared between each cell's nucleus and cytoplasm, one channel at a time."""

from typing import Any, NamedTuple

from profiler.measure.family import FeatureFamily, Over


class Translocation(NamedTuple):
    """The nucleus of a cell against its cytoplasm; NaN where either has no pixel.

    No background is subtracted: do that to the image, or the ratios lean towards 1.

    Source: this project; the readout of translocation assays such as BBBC013.

    Attributes:
        NucleusCytoplasmRatio: Mean intensity of the nucleus over that of the cytoplasm; NaN where
            the latter is 0.
        NucleusCytoplasmLog2Ratio: Its logarithm to base 2; NaN where either mean is 0.
        NucleusCytoplasmMedianRatio: Median over median; NaN where the latter is 0.
        NucleusCytoplasmDifference: Mean of the nucleus minus mean of the cytoplasm, in the units
            of the image.
        NucleusFraction: Integrated intensity of the nucleus over that of nucleus and cytoplasm,
            which leaves out a gap between them: 1 for a cell without cytoplasm, NaN for one
            without nucleus or where the latter is 0.
    """

    NucleusCytoplasmRatio: Any
    NucleusCytoplasmLog2Ratio: Any
    NucleusCytoplasmMedianRatio: Any
    NucleusCytoplasmDifference: Any
    NucleusFraction: Any


def translocation(nuclei: Any, cells: Any, cytoplasm: Any) -> Translocation:
    """Compare every cell's nucleus and cytoplasm in one channel; on the CPU or traced.

    Args:
        nuclei: The channel's `Signal` in the nuclei.
        cells: In the cells; unused, a family over cells is given all three.
        cytoplasm: In the cytoplasm.
    """
    del cells
    inside = nuclei.total / nuclei.objects.area
    outside = cytoplasm.total / cytoplasm.objects.area
    nucleus = inside * nuclei.objects.area
    xp = inside.__array_namespace__()
    return Translocation(
        inside / outside,
        xp.log2(inside / outside),
        nuclei.quantile(0.5) / cytoplasm.quantile(0.5),
        inside - outside,
        nucleus / (nucleus + cytoplasm.total),
    )


TRANSLOCATION = FeatureFamily(
    "Translocation",
    Over.CELL,
    Translocation._fields,
    cpu=translocation,
    jax=translocation,
    about=Translocation.__doc__ or "",
)
