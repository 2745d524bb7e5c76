"""Whether runs that are opened together may be one screen, and how they differ."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import polars as pl

from plates.errors import BadRun
from profiler.store.run import Run, RunFacts
from profiler.store.schema import CELL_SECTIONS

COMMON = 'features="common" (`profiler query --features common`)'
RANKING = ("readout", "rank_by", "threshold", "toxic_below")
# Runs from before a setting or a column was there may stand beside newer ones.
BEFORE = {  # what they did
    "settings.segment.min_confidence": 0.0,
    "settings.embed.channels": [],
    "settings.profile.features": [],
    "settings.profile.blocks": "equal",
}
LATER = ("Metadata_QC_Confidence", "Metadata_Object_Doubtful", "Metadata_Object_Confidence")  # null
_MOST_NAMES = 3  # of columns in a message; `Screen.differences` has all

Schemas: TypeAlias = Mapping[str, Mapping[str, Any]]  # run -> column of one table -> type


def check_settings(runs: Sequence[Run], *, sections: Sequence[str] = CELL_SECTIONS) -> None:
    """Check that runs were made alike, as far as some sections of the recipe say.

    Raises:
        BadRun: The weights or a setting differ; the message has the first and how to go on.
    """
    for name, values in setting_differences(runs, sections=sections).items():
        first, odd = _odd_one(runs, values)
        raise BadRun(
            f"Runs {first.name} and {odd.name} were made differently, so their numbers cannot be "
            f"compared: {name} is {values[first.name]!r} in one and {values[odd.name]!r} in the "
            "other. Open them apart, run one again with the recipe of the other, or open them all "
            f"the same with {COMMON}, where differences() lists what differs."
        )


def check_plates(runs: Sequence[Run]) -> None:
    """Check that no plate is in two runs.

    Raises:
        BadRun: One is: grouped by plate and well its cells would be mixed.
    """
    home: dict[str, str] = {}
    for run in runs:
        for plate in run.facts.plates:
            if plate in home:
                raise BadRun(
                    f"Plate {plate} is in runs {home[plate]} and {run.name}, so grouping by plate "
                    "and well would mix them. Open one of them, or say repeated_plates=True and "
                    "group and join by Metadata_Run as well."
                )
            home[plate] = run.name


def setting_differences(
    runs: Sequence[Run], *, sections: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Find the settings that are not alike: name -> run -> value, None where a run has none."""
    made = {run.name: _made_by(run, sections) for run in runs}
    names = sorted({name for settings in made.values() for name in settings})
    values = {name: {run: made[run].get(name) for run in made} for name in names}
    return {name: found for name, found in values.items() if not _is_one(found.values())}


def column_differences(schemas: Schemas) -> dict[str, dict[str, str | None]]:
    """Find the columns that are not alike: name -> run -> type, None where a run has none."""
    names = list(dict.fromkeys(name for schema in schemas.values() for name in schema))
    kinds = {
        name: {run: str(s[name]) if name in s else None for run, s in schemas.items()}
        for name in names
    }
    return {name: found for name, found in kinds.items() if not _is_one(found.values())}


def check_columns(schemas: Schemas, *, table: str) -> None:
    """Check that a table has the same columns, of the same types, in all runs.

    Those in `LATER` may be absent from older runs.

    Raises:
        BadRun: It has not; the message says how many only one of two runs has, and which.
    """
    first, columns = next(iter(schemas.items()))
    for name, schema in schemas.items():
        only_first = [column for column in columns if column not in (*schema, *LATER)]
        only_other = [column for column in schema if column not in (*columns, *LATER)]
        retyped = [c for c, kind in columns.items() if schema.get(c, kind) != kind]
        if only_first or only_other or retyped:
            raise BadRun(
                f"The {table} of runs {first} and {name} differ: {_count(only_first)} only in "
                f"{first}, {_count(only_other)} only in {name}, {_count(retyped)} of another "
                f"type. Open them with {COMMON} for the columns that all have, or with "
                'features="all" for null where a run has none; '
                f'differences("{table}") then lists them.'
            )


def check_ranking(made: Mapping[str, Mapping[str, Any]], *, table: str) -> None:
    """Check that a table was ranked alike in all runs, which recipes alone do not say.

    Args:
        made: Run -> parameters of the table's footer: the best readout may be another in each,
            and `profiler hits` takes settings of its own.
        table: Its name, for the message.

    Raises:
        BadRun: It was not; the message says by what, and how to go on.
    """
    for name in RANKING:
        values = {run: parameters.get(name) for run, parameters in made.items()}
        if not _is_one(values.values()):
            first, *others = values
            odd = next(run for run in others if values[run] != values[first])
            raise BadRun(
                f"The {table} of runs {first} and {odd} were ranked differently: {name} is "
                f"{values[first]!r} in one and {values[odd]!r} in the other. Rank one again with "
                f"`profiler hits`, or open them all the same with {COMMON}."
            )


def check_classifier(made: Mapping[str, Mapping[str, Any]], *, table: str) -> None:
    """Check that cells were classified alike in all runs.

    Args:
        made: Run -> parameters of the table's footer.
        table: Its name, for the message.

    Raises:
        BadRun: They were not; the message says by what.
    """
    for name in ("model", "coverage"):
        values = {run: _text(parameters.get(name)) for run, parameters in made.items()}
        if not _is_one(values.values()):
            each = ", ".join(f"{str(value)[:12]} in {run}" for run, value in values.items())
            raise BadRun(
                f"The {table} of these runs are not of one {name}: {each}. Classify them with the "
                "same classifier and coverage (`profiler classify RUN --model MODEL.safetensors`), "
                "or open them apart."
            )


def check_types(schemas: Schemas, *, table: str) -> None:
    """Check that each column could be one column: of one type, or of numbers in all runs.

    Raises:
        BadRun: A column is text in one run and a number in another, say.
    """
    for name, kinds in column_differences(schemas).items():
        types = {schema[name] for schema in schemas.values() if name in schema} - {pl.Null()}
        if len(types) > 1 and not all(kind.is_numeric() for kind in types):
            found = ", ".join(f"{kind or 'absent'} in {run}" for run, kind in kinds.items())
            raise BadRun(
                f"Column {name} of {table} is {found}: it cannot be one column. Open the runs "
                "apart, or run one again with a plate map whose columns are like the others'."
            )


def of_one_network(
    frames: Mapping[str, pl.LazyFrame], runs: Sequence[Run], *, features: str
) -> Mapping[str, pl.LazyFrame]:
    """Keep the numbers of different networks apart, which have the same names.

    Args:
        frames: Run -> its table.
        runs: The same ones.
        features: As for `open`.

    Returns:
        The tables; for "common" without the vectors that are not of one network in all runs.

    Raises:
        BadRun: Vectors are of several networks, and "common" was not asked for.
    """
    for kind, (is_one, network_of) in VECTORS.items() if len(frames) > 1 else ():
        columns = {run: list(filter(is_one, f.collect_schema())) for run, f in frames.items()}
        networks = {run.name: network_of(run.facts) for run in runs if columns[run.name]}
        if _is_one(networks.values()) or not networks:
            continue
        if features != "common":
            (first, one), *others = networks.items()
            odd, other = next(each for each in others if each[1] != one)
            raise BadRun(
                f"{columns[first][0]} is another number in run {first} than in {odd}: the {kind} "
                f"are of the networks {str(one)[:12]} and {str(other)[:12]}. Open the runs apart, "
                f"run one again with the other's network, or leave them out with {COMMON}."
            )
        frames = {run: frame.drop(columns[run]) for run, frame in frames.items()}
    return frames


def _is_of_sets(column: str) -> bool:
    return column.startswith("Embedding_Set_")


def _is_of_cells(column: str) -> bool:
    return column.startswith("Embedding_") and not _is_of_sets(column)


VECTORS: Mapping[str, tuple[Callable[[str], bool], Callable[[RunFacts], Any]]] = {
    "vectors of cells": (_is_of_cells, lambda facts: facts.embedder),
    "vectors of wells": (_is_of_sets, lambda facts: facts.summary.get("aggregator")),
}


def as_table(kind: str, differences: Mapping[str, Mapping[str, Any]]) -> pl.DataFrame:
    """Lay differences out, one row per name and run."""
    rows = [
        (kind, name, run, _text(value))
        for name, values in differences.items()
        for run, value in values.items()
    ]
    names = ("kind", "name", "Metadata_Run", "value")
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")


def _odd_one(runs: Sequence[Run], values: Mapping[str, Any]) -> tuple[Run, Run]:
    first = runs[0]
    return first, next(run for run in runs if values[run.name] != values[first.name])


def _made_by(run: Run, sections: Sequence[str]) -> dict[str, Any]:
    settings = {name: run.facts.settings.get(name) for name in sections}
    networks = {"weights": run.facts.weights, "embedder": run.facts.embedder}
    flat = _flat(settings, prefix="settings")
    for name in ("embed.model", "segment.cells_model"):  # weights count, by hash, not by name
        flat.pop(f"settings.{name}", None)
    return BEFORE | networks | flat


def _flat(table: Mapping[str, Any], *, prefix: str) -> dict[str, Any]:
    flat = {}
    for key, value in table.items():
        name = f"{prefix}.{key}"
        flat |= _flat(value, prefix=name) if isinstance(value, Mapping) else {name: value}
    return flat


def _is_one(values: Iterable[Any]) -> bool:
    return len({_text(value) for value in values}) == 1


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)


def _count(names: Sequence[str]) -> str:
    if not names:
        return "no columns"
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"{len(names)} columns ({', '.join(names[:_MOST_NAMES])}{more})"
