"""Run the steps that a recipe lists, in its order: normalise, correct, select."""

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from plates.errors import BadRecipe, NoControls, lookup
from profiler.profile.controls import count_roles, is_role
from profiler.profile.correction.correct import correct, find_correction
from profiler.profile.features import PREFIXES, feature_columns, has_profile
from profiler.profile.groups import ALL, columns_within
from profiler.profile.options import require_options
from profiler.profile.outcome import Corrected, Normalised
from profiler.profile.scaling.normalise import find_normalisation, normalise
from profiler.profile.scaling.whiten import VARIANTS
from profiler.profile.selection.judge import DROPPED
from profiler.profile.selection.select import Selection, find_selection, select
from profiler.profile.tell import tell_dropped, tell_lost

CHANGES: Mapping[str, Callable[..., Normalised | Corrected]] = {
    "normalise": normalise,
    "correct": correct,
}
STEPS: Mapping[str, Callable[..., Normalised | Corrected | Selection]] = {
    **CHANGES,
    "select": select,
}
FINDERS: Mapping[str, Callable[..., Any]] = {  # what refuses unknown methods and options
    "normalise": find_normalisation,
    "correct": find_correction,
    "select": find_selection,
}
COLUMN_OPTIONS = ("within", "by", "covariates")
LOST = {"number": pl.Int64, "step": pl.String, "group": pl.String, "feature": pl.String}
LOST |= {"reason": pl.String, "wells": pl.Int64}
REPORT = {"number": pl.Int64, "step": pl.String, **DROPPED}


class Processed(NamedTuple):
    """What the steps made of the wells, every loss of it told.

    Attributes:
        profiles: Wells with every feature, after the steps before the first selection.
        selected: Wells with the features left, after all steps.
        features: Those left.
        n_profile_steps: How many steps `profiles` has been through.
        lost: Values that became null: number of the step (from 1), step, group ("P1", or
            "Week1/P1" within two columns; null: the whole table), feature, reason, wells.
        dropped: Features that were dropped: number of the step, then as in `Selection.report`.
        notes: The same in sentences.
    """

    profiles: pl.DataFrame
    selected: pl.DataFrame
    features: list[str]
    n_profile_steps: int
    lost: pl.DataFrame
    dropped: pl.DataFrame
    notes: tuple[str, ...]


def process(
    wells: pl.DataFrame, *, features: Sequence[str], steps: Sequence[Mapping[str, Any]]
) -> Processed:
    """Take profiles through a list of steps.

    Args:
        wells: Annotated wells.
        features: Columns to work on; the table's other features are left out.
        steps: For each its name, `step` (in `STEPS`), the arguments of the function of
            that name, and the `reference`: "all" (the default) or the role of the wells
            that set the scale, or that features are selected by. Wells without any
            value, as those that failed or were not imaged, do not speak against a feature.

    Raises:
        UnknownName: A step, method, role or column does not exist.
        BadRecipe: A step or method has no such option.
        NoControls: No well has the role that a step refers to.

    >>> wells = pl.DataFrame({"Metadata_Plate": "P", "Cells_X": [1.0, 2.0, 3.0], "Cells_Y": 1.0})
    >>> steps = [{"step": "normalise"}, {"step": "select", "steps": ["drop_na_columns"]}]
    >>> found = process(wells, features=["Cells_X", "Cells_Y"], steps=steps)
    >>> found.notes[0]
    'Step 1, normalise, P: 1 feature lost 3 values, as the reference does not vary: Cells_Y.'
    >>> found.notes[1]
    'Step 2, select: 1 of 2 features is left; drop_na_columns took 1.'
    """
    left = list(features)
    table = wells.drop(name for name in feature_columns(wells) if name not in set(left))
    profiles, n_profile_steps = None, 0
    lost, dropped = [pl.DataFrame(schema=LOST)], [pl.DataFrame(schema=REPORT)]
    notes: list[str] = []
    for number, settings in enumerate(steps, start=1):
        step, role, options = _read(settings)
        reference = _reference(role, table, step=step)
        where = f"Step {number}, {step}"
        if step == "select":
            if profiles is None:
                profiles, n_profile_steps = table, number - 1
            judged = table.filter(reference, has_profile(left))
            chosen = select(judged, features=left, **options)
            notes.append(f"{where}: {tell_dropped(chosen.report, n_features=len(left))}")
            table = table.drop(set(left) - set(chosen.features))
            left = chosen.features
            numbered = pl.lit(number, dtype=pl.Int64).alias("number")
            dropped.append(chosen.report.select(numbered, pl.all()))
        else:
            found = CHANGES[step](table, features=left, reference=reference, **options)
            table, left = found.table, found.features
            lost.append(_numbered(found.lost, number, step))
            notes += [f"{where}{told}" for told in tell_lost(lost[-1])]
    if profiles is None:
        profiles, n_profile_steps = table, len(steps)
    every = pl.concat(lost), pl.concat(dropped)
    return Processed(profiles, table, left, n_profile_steps, *every, tuple(notes))


def check_steps(
    steps: Sequence[Mapping[str, Any]], *, metadata: Collection[str] | None = None
) -> None:
    """Refuse steps that could not be run, before there is anything to run them on.

    Args:
        steps: As for `process`.
        metadata: Columns of the wells besides features, to look up in them the columns that
            options name; by default they are not looked up.

    Raises:
        UnknownName: A step, method, role or name in an option does not exist.
        BadRecipe: A step has no name, a step or method no such option or value, or a step
            would give components that have no features' names.
    """
    for settings in steps:
        step, role, options = _read(settings)
        if metadata is not None:
            _require_columns(options, metadata, step=step)
        if role != "all":
            is_role(role)
        method = _find(step, options)
        _require_names_kept(options.get("options", {}))
        if metadata is not None and step in CHANGES and "within" not in options:
            _require_columns({"within": _default_within(method)}, metadata, step=step)


def own_within(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """The columns within which a step that normalises or corrects works, given or by default.

    Raises:
        UnknownName: As `check_steps`.
        BadRecipe: As `check_steps`.

    >>> own_within({"step": "correct", "method": "position_means"})
    ('Metadata_Batch',)
    """
    step, _, options = _read(settings)
    if "within" in options:
        return columns_within(options["within"])
    return _default_within(_find(step, options))


def _find(step: str, options: Mapping[str, Any]) -> Any:
    """The method that a step names, its options checked."""
    find = FINDERS[step]
    named = inspect.signature(find).parameters.keys() & options
    return find(**{name: options[name] for name in named})


def _default_within(method: Callable[..., Any]) -> tuple[str, ...]:
    """The default of a method; methods that look at each value alone have none."""
    known = inspect.signature(method).parameters
    return columns_within(known["within"].default) if "within" in known else ()


def _require_names_kept(options: Mapping[str, Any]) -> None:
    """Refuse components: what comes after the steps knows features by their names."""
    variant = options.get("variant")
    if variant in VARIANTS and not VARIANTS[variant].is_turned_back:
        kept = " or ".join(name for name, how in VARIANTS.items() if how.is_turned_back)
        raise BadRecipe(
            f"spherize with variant = {variant!r} gives components in place of features, and hits "
            f"need features by name. Take {kept} in a recipe; the function spherize of "
            "profiler.profile takes all four."
        )


def _require_columns(options: Mapping[str, Any], known: Collection[str], *, step: str) -> None:
    """Look up the columns that options name, at whatever depth; features are not known yet."""
    for option, value in options.items():
        if isinstance(value, Mapping):
            _require_columns(value, known, step=step)
            continue
        for name in columns_within(value) if option in COLUMN_OPTIONS else ():
            if not name.startswith(PREFIXES):
                kind = f"column for {option} of the step {step!r}"
                lookup(dict.fromkeys(known), kind=kind, name=name)


def _read(settings: Mapping[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """The name of a step, the role that it refers to, and its options."""
    for name in ("step", "method", "reference"):
        if not isinstance(settings.get(name, ""), str):
            raise BadRecipe(f"A step of the profile has {name} = {settings[name]!r}: give a name.")
    options = dict(settings)
    step = options.pop("step", None)
    if step is None:
        known = ", ".join(STEPS)
        raise BadRecipe(f"A step of the profile has no name: give step = one of {known}.")
    function = lookup(STEPS, kind="profile step", name=step)
    role = options.pop("reference", "all")
    require_options(function, options, name=step, given={"features", "reference"})
    return step, role, options


def _reference(role: str, wells: pl.DataFrame, *, step: str) -> pl.Expr:
    if role == "all":
        return ALL
    rows = is_role(role)
    if "Metadata_Role" not in wells.columns or wells.filter(rows).is_empty():
        has_roles = "Metadata_Role" in wells.columns
        found = f"the roles are {count_roles(wells)}" if has_roles else "no plate map gives roles"
        raise NoControls(
            f"The step {step!r} refers to the {role} wells, and there is none: {found}. Mark them "
            f'in the plate map, or set reference = "all".'
        )
    return rows


def _numbered(lost: pl.DataFrame, number: int, step: str) -> pl.DataFrame:
    within = [pl.col(name).cast(pl.String) for name in lost.columns[:-3]]
    group = pl.concat_str(within, separator="/") if within else pl.lit(None, dtype=pl.String)
    named = {"number": pl.lit(number, dtype=pl.Int64), "step": pl.lit(step), "group": group}
    return lost.select("feature", "reason", "wells", **named).select(list(LOST))
