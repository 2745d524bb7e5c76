"""Where our numbers are not those of another program on the same pixels and masks, and why."""

import re
from typing import NamedTuple

BOTH = "both"


class Difference(NamedTuple):
    """One kind of difference, by name.

    Attributes:
        features: Which, for the reader.
        reference: "CellProfiler" (4.2.8), "cp_measure" (0.3), or "both".
        reason: Why, and which side is right by CellProfiler's definition.
        columns: Regular expression of features that may differ in any cell; empty where only
            cells of an unusual kind do, so that their features still count as compared.
    """

    features: str
    reference: str
    reason: str
    columns: str = ""


DIFFERENCES = (
    Difference(
        "Location_MaxIntensity_X, _Y",
        BOTH,
        "Of several brightest pixels we take the first in raster order; theirs depends on how the "
        "image happens to sort. Any of them is right.",
        r"_Location_MaxIntensity_[XY]_",
    ),
    Difference(
        "RadialDistribution_FracAtD, _MeanFrac, _RadialCV",
        "CellProfiler",
        "Where several pixels are farthest from the edge we take the first in raster order, as "
        "cp_measure does; CellProfiler takes whichever its sort leaves last (10 of the 111 "
        "objects of its reference field). Any of them is right.",
        r"_RadialDistribution_(FracAtD|MeanFrac|RadialCV)_",
    ),
    Difference(
        "AreaShape_CentralMoment_0_1, _1_0",
        BOTH,
        "0 by definition, and here; theirs is what rounding leaves.",
        r"_CentralMoment_(0_1|1_0)$",
    ),
    Difference(
        "AreaShape_Orientation",
        "CellProfiler",
        "Where only the variances in x and y are equal, 4.2.8 has the other sign, which "
        "scikit-image has corrected since. Ours is right.",
    ),
    Difference(
        "AreaShape_Orientation of a round object",
        "cp_measure",
        "Where the axes are equal, there is no orientation: CellProfiler 4.2.8 has 45 degrees, "
        "and so do we; cp_measure, by a later scikit-image, -45.",
    ),
    Difference(
        "Correlation_RWC",
        "cp_measure",
        "CellProfiler ranks the pixels of all objects of a compartment together, and so do we; "
        "cp_measure ranks each object's alone. Ours is right by CellProfiler's definition.",
        r"_Correlation_RWC_",
    ),
    Difference(
        "Correlation_Costes",
        "cp_measure",
        "CellProfiler finds one pair of thresholds for the whole field, and so do we; cp_measure "
        "one for each object, and null where its search ends without one. Ours is right by "
        "CellProfiler's definition.",
        r"_Correlation_Costes_",
    ),
    Difference(
        "Correlation_Overlap, _K, _Manders; Texture",
        "cp_measure",
        "Pixels at exactly the threshold of 15%, or just between two grey levels: CellProfiler "
        "computes in float32, and so do we; cp_measure in float64.",
    ),
    Difference(
        "Neighbors_FirstClosestObjectNumber, _SecondClosestObjectNumber",
        "cp_measure",
        "cp_measure 0.3 counts an object as its own closest; ours equals CellProfiler's.",
        r"_Neighbors_(First|Second)ClosestObjectNumber_",
    ),
    Difference(
        "Neighbors",
        "CellProfiler",
        "It also looks at border objects that it has dropped from the labels, which nobody else "
        "can see.",
        r"_Neighbors_",
    ),
    Difference(
        "Neighbors of an object without one or two others in its field",
        BOTH,
        "There is no closest: CellProfiler writes 0, and cp_measure fails; ours are null.",
    ),
    Difference(
        "Granularity of a black object",
        BOTH,
        "Theirs divide by 2.2e-16; ours is null.",
    ),
    Difference(
        "Texture without a pair of pixels at a scale",
        "CellProfiler",
        "It writes 0; ours is null, as cp_measure's.",
    ),
    Difference(
        "Correlation of a black or constant channel",
        "CellProfiler",
        "Where a sum to divide by is 0, it writes 0 in some fields and nan in others; ours is "
        "null.",
    ),
    Difference(
        "Intensity of the edge, and RadialDistribution, of an object that fills its field",
        BOTH,
        "It has no edge: theirs is 0, and rings about a pixel that nothing chose; ours are null.",
    ),
    Difference(
        "AreaShape_Zernike, RadialDistribution_Zernike on an accelerator",
        BOTH,
        "Which pixels of an object's outermost circle count is a matter of the last bit. Where it "
        "goes through four or more (1 object in 300), CellProfiler asks numpy's arccos and sort, "
        "and so does our kernel for the CPU; an accelerator has neither.",
    ),
)


def is_named(column: str, *, reference: str) -> bool:
    """Whether a feature may differ from a reference in any cell.

    >>> is_named("Cells_Correlation_RWC_DNA_ER", reference="cp_measure")
    True
    >>> is_named("Cells_Correlation_RWC_DNA_ER", reference="CellProfiler")
    False
    """
    return any(
        each.columns and each.reference in (reference, BOTH) and re.search(each.columns, column)
        for each in DIFFERENCES
    )
