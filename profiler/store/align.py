"""Tables of several runs with the same columns, and the name of their run."""

from collections.abc import Mapping

import polars as pl

from profiler.store import compare


def aligned(frames: Mapping[str, pl.LazyFrame], *, table: str, features: str) -> list[pl.LazyFrame]:
    """Give the tables of several runs the same columns, and the name of their run.

    Args:
        frames: By run.
        table: Its name, for messages.
        features: "same", "common" or "all", as for `profiler.store.screen.open`.

    Returns:
        As they are where there is one run, else with `Metadata_Run` first.

    Raises:
        BadRun: They differ and may not, or a column has several types.
    """
    if len(frames) == 1:
        return list(frames.values())
    schemas = schemas_of(frames)
    if features == "same":
        compare.check_columns(schemas, table=table)
    compare.check_types(schemas, table=table)
    columns = _columns(schemas, features=features)
    absent = {name: pl.lit(None).alias(name) for name in columns}
    return [
        frame.select(
            pl.lit(run).alias("Metadata_Run"),
            *(name if name in schemas[run] else absent[name] for name in columns),
        )
        for run, frame in frames.items()
    ]


def schemas_of(frames: Mapping[str, pl.LazyFrame]) -> compare.Schemas:
    """The columns of each run's table and their types."""
    return {name: frame.collect_schema() for name, frame in frames.items()}


def _columns(schemas: compare.Schemas, *, features: str) -> list[str]:
    every = list(dict.fromkeys(name for schema in schemas.values() for name in schema))
    if features != "common":
        return every
    return [name for name in every if all(name in schema for schema in schemas.values())]
