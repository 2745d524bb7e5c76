"""The ranked readout seen otherwise: without its plate's rows and columns, and at equal count."""

import polars as pl

from profiler.hits.scores.adjust import count_adjusted
from profiler.hits.scores.b_score import b_score
from profiler.profile.controls import is_role
from profiler.profile.scaling.normalise import robust_z

SECOND = ("b_score", "adjusted_z")


def second_scores(wells: pl.DataFrame, *, readout: str | None) -> pl.DataFrame:
    """Score one readout in ways that tell what else its effect may come from.

    Args:
        wells: Annotated wells, with features in their own units.
        readout: Feature to score, or none.

    Returns:
        One row per well, in the order of `wells`:

        - b_score: from `b_score` over all wells of the plate; misleading where doses or
          controls fill rows or columns
        - adjusted_z: robust z of the negative controls after `count_adjusted`: what is left
          of the effect that cells missing from the well do not explain

        Null where the method has no answer, and both without a readout.
    """
    if readout is None:
        return pl.DataFrame(schema=dict.fromkeys(SECOND, pl.Float64)).clear(wells.height)
    polished = b_score(wells, features=[readout])[readout].alias("b_score")
    adjusted = count_adjusted(wells, features=[readout])
    z = robust_z(adjusted, features=[readout], reference=is_role("negative"))[readout]
    return pl.DataFrame([polished, z.alias("adjusted_z")])
