"""The B-score: how far a well is out, once its plate's rows and columns have had their say."""

from collections.abc import Sequence

import polars as pl

from profiler.profile.correction.position import median_polish
from profiler.profile.groups import ALL
from profiler.profile.scaling.normalise import robust_z


def b_score(
    wells: pl.DataFrame,
    *,
    features: Sequence[str],
    reference: pl.Expr = ALL,
    within: str = "Metadata_Plate",
) -> pl.DataFrame:
    """Express features as B-scores.

    Plate by plate, a two-way median polish takes out row and column effects; what remains is
    divided by 1.4826 times its median absolute deviation. It holds where most wells of each row
    and column do nothing: not for dose series laid out along rows, nor for columns of controls
    if these set the scale; `reference` leaves wells out that would.

    Args:
        wells: One row per well, with `Metadata_Well`.
        features: Columns to replace.
        reference: Which wells effects and scale are estimated from.
        within: Column whose values name a plate.

    Returns:
        The table with `features` replaced, in float64. Null where the plate's wells do not
        vary, and for wells in a row or column without reference.

    Raises:
        BadLayout: A plate names a well twice.

    Source:
        Brideau et al. 2003, J Biomol Screen 8:634; Malo et al. 2006, Nature Biotechnology
        24:167. By hand and against a loop over one plate in tests/hits/scores/test_b_score.py.
    """
    polished = median_polish(wells, features=features, reference=reference, within=within).table
    return robust_z(polished, features=features, reference=reference, within=within)
