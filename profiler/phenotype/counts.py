"""How many cells wells have: the plainest phenotype, which every claim here is held against.

Much of what separates profiles is toxicity. What a cell count alone tells as well needs no images.
"""

from typing import TypeAlias

import numpy as np
import polars as pl
from jaxtyping import Float

from profiler.profile.controls import is_role
from profiler.profile.groups import COUNT, column_values

PLATE = "Metadata_Plate"

PerWell: TypeAlias = Float[np.ndarray, " well"]


def log_counts(wells: pl.DataFrame) -> PerWell:
    """Give the cells of every well, as a log2 ratio to the plate's negative controls.

    Args:
        wells: Annotated wells, with `Metadata_Object_Count` if it is known.

    Returns:
        log2((cells + 1) / (median cells of the plate's negative controls + 1)), against the
        median of all wells on a plate without such controls; NaN without a count.

    >>> roles = ["negative", "treatment"]
    >>> wells = pl.DataFrame({"Metadata_Plate": "P", "Metadata_Role": roles, COUNT: [99, 24]})
    >>> log_counts(wells).tolist()
    [0.0, -2.0]
    """
    if COUNT not in wells.columns:
        return np.full(wells.height, np.nan)
    count = pl.col(COUNT).cast(pl.Float64).fill_nan(None)
    usual = count.median()
    if "Metadata_Role" in wells.columns:
        usual = pl.coalesce(count.filter(is_role("negative")).median(), usual)
    if PLATE in wells.columns:
        usual = usual.over(PLATE)
    ratio = ((count + 1) / (usual + 1)).log(2)
    return column_values(wells.select(ratio.alias("ratio"))["ratio"])
