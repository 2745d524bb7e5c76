"""Several runs' profiles in one table, by the features that all of them have."""

from collections.abc import Mapping
from typing import NamedTuple

import polars as pl

from plates.errors import BadPlate
from profiler.profile.features import feature_columns
from profiler.profile.wells.aggregate import WELL

TIMEPOINT = "Metadata_Timepoint"
MISSING = {"feature": pl.String, "missing_in": pl.List(pl.String)}


class Combined(NamedTuple):
    """Wells of several runs.

    Attributes:
        table: All wells; columns that are no features are null where a run lacks them.
        features: Those that every run has, in the order of the first.
        dropped: Features that some run lacks: feature, missing_in (the runs' names).
    """

    table: pl.DataFrame
    features: list[str]
    dropped: pl.DataFrame

    def sentence(self) -> str:
        """Tell it to a person."""
        if self.dropped.is_empty():
            return f"All runs have the same {len(self.features):,} features."
        runs = self.dropped["missing_in"].explode(empty_as_null=True).value_counts(sort=True)
        lacks = ", ".join(f"{run} lacks {n:,}" for run, n in runs.iter_rows())
        return f"The runs share {len(self.features):,} features; {lacks} that others have."


def combine(tables: Mapping[str, pl.DataFrame]) -> Combined:
    """Put runs' profiles under one another.

    Args:
        tables: Name of the run -> its wells, at least one; over several time points a row
            for each.

    Raises:
        BadPlate: The runs share no feature, or two of them have the same well of a plate at
            the same time point.
    """
    of_run = {run: feature_columns(table) for run, table in tables.items()}
    every = list(dict.fromkeys(name for features in of_run.values() for name in features))
    lacking = {
        name: [run for run, features in of_run.items() if name not in set(features)]
        for name in every
    }
    shared = [name for name, runs in lacking.items() if not runs]
    if every and not shared:
        firsts = ", ".join(f"{run} has {features[:1]}" for run, features in of_run.items())
        raise BadPlate(f"The runs share no feature: {firsts}. Measure them by the same recipe.")
    left = [
        table.drop(name for name in of_run[run] if lacking[name]) for run, table in tables.items()
    ]
    table = pl.concat(left, how="diagonal_relaxed")
    keys = [name for name in (*WELL, TIMEPOINT) if name in table.columns]
    twice = table.filter(table.select(keys).is_duplicated()).select(WELL)
    if twice.height:
        plate, well = twice.row(0)
        raise BadPlate(
            f"Well {well} of plate {plate} is in more than one run, as are "
            f"{twice.unique().height - 1} others. Leave one of the runs out."
        )
    dropped = [(name, runs) for name, runs in lacking.items() if runs]
    return Combined(table, shared, pl.DataFrame(dropped, schema=MISSING, orient="row"))
