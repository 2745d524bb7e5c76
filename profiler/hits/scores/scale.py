"""The scale that hits are called on, whatever steps a recipe takes the profiles through."""

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any, NamedTuple

import polars as pl

from profiler.profile.controls import is_role
from profiler.profile.features import feature_columns
from profiler.profile.groups import PLATE, columns_within
from profiler.profile.scaling.normalise import robust_z

PER_PLATE = {*PLATE, "Metadata_Timepoint"}
MIXING = "spherize"  # its features are no readouts, and its controls closer than any other well


class OnScale(NamedTuple):
    """Profiles as robust z of the negative controls, and what to say of them."""

    profiles: pl.DataFrame
    notes: tuple[str, ...] = ()


def on_scale(
    wells: pl.DataFrame, profiles: pl.DataFrame, *, steps: Sequence[Mapping[str, Any]]
) -> OnScale:
    """Give profiles whose sds are those of the plate's negative controls.

    Args:
        wells: Annotated wells, with features in their own units.
        profiles: The same wells after the steps before the first selection.
        steps: What the profiles went through, as `profiler.profile.process` takes them.

    Returns:
        `profiles` where the one step is such a robust z; else these, scaled so. Of the wells
        instead where a step whitens: it mixes features, and fits the controls too well.
    """
    before = [*takewhile(lambda step: step.get("step") != "select", steps)]
    if len(before) == 1 and _is_robust_z(before[0]):
        return OnScale(profiles)
    is_mixed = any(step.get("method") == MIXING for step in before)
    table = wells if is_mixed else profiles
    scaled = robust_z(table, features=feature_columns(table), reference=is_role("negative"))
    of = f"the wells, as {MIXING} mixes features" if is_mixed else "these profiles"
    note = (
        "The steps before the first selection are not a robust z of the plate's negative "
        f"controls, so hits are scored by that of {of}."
    )
    return OnScale(scaled, (note,))


def _is_robust_z(step: Mapping[str, Any]) -> bool:
    within = set(columns_within(step.get("within", PLATE)))
    return (
        step.get("step") == "normalise"
        and step.get("method", "mad_robustize") == "mad_robustize"
        and step.get("reference") == "negative"
        and set(PLATE) <= within <= PER_PLATE
    )
