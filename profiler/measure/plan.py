"""What to measure, resolved once from a recipe's names."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

import jax

from plates.errors import BadRecipe, UnknownName, lookup
from profiler.measure.family import COMPARTMENTS, IMAGE, FeatureFamily

Backend = Literal["cpu", "jax"]
BACKENDS: dict[str, Backend | None] = {"auto": None, "cpu": "cpu", "jax": "jax"}
Entry = FeatureFamily | tuple[FeatureFamily, ...] | Callable[..., Any]


@dataclass(frozen=True)
class Run:
    """One family in one compartment.

    Attributes:
        family: What to measure.
        compartment: Whose rows are filled; `IMAGE` for the field's own.
        picks: Channels of each call, as indices into the image.
        columns: Names of the columns, call after call.
    """

    family: FeatureFamily
    compartment: str
    picks: tuple[tuple[int, ...], ...]
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """What to measure, and where. Hashable, so that one plan is one compiled program.

    Attributes:
        runs: The work, in the order of the columns.
        max_cells: Rows of a field's table.
        stains: Names of the image's channels.
        backend: Which kernels run.
        threads: How many of the CPU's kernels run at a time.
    """

    runs: tuple[Run, ...]
    max_cells: int
    stains: tuple[str, ...]
    backend: Backend
    threads: int = 1

    @property
    def columns(self) -> tuple[str, ...]:
        """Full names of the cells' features, "Nuclei_AreaShape_Area" first."""
        return columns_of(self.runs)

    @property
    def image_columns(self) -> tuple[str, ...]:
        """Full names of the fields' own features, as "Image_Granularity_1_DNA"."""
        return columns_of(self.runs, of_image=True)

    @property
    def device_runs(self) -> tuple[Run, ...]:
        """The runs that JAX kernels do."""
        return tuple(run for run in self.runs if self.backend == "jax" and run.family.jax)

    @property
    def host_runs(self) -> tuple[Run, ...]:
        """The runs that CPU kernels do: all, or those of families without a JAX kernel."""
        return tuple(run for run in self.runs if self.backend == "cpu" or not run.family.jax)


def columns_of(runs: tuple[Run, ...], *, of_image: bool = False) -> tuple[str, ...]:
    """Names of the columns that runs fill: those of cells, or those of the image."""
    return tuple(
        column for run in runs if (run.compartment == IMAGE) is of_image for column in run.columns
    )


def resolve(
    names: tuple[str, ...], *, known: Mapping[str, Entry], options: Mapping[str, Mapping[str, Any]]
) -> tuple[FeatureFamily, ...]:
    """Find the families that a recipe names.

    Args:
        names: Keys of `known`, or "module:attribute".
        known: The families that come with the engine.
        options: For families that take options, their keyword arguments.

    Raises:
        UnknownName: A name that leads to no family.
        BadRecipe: Options that a family does not take, or that belong to none.
    """
    for name in options:
        lookup(dict.fromkeys(names), kind="family with options among those measured", name=name)
    found = [_made(name, _entry(name, known), options.get(name, {})) for name in names]
    return tuple(family for families in found for family in families)


def runs_of(
    families: tuple[FeatureFamily, ...], *, stains: tuple[str, ...], channels: tuple[str, ...]
) -> tuple[Run, ...]:
    """Lay families out over compartments and channels, in the order of the columns.

    Raises:
        UnknownName: A channel that the image does not have.
        BadRecipe: Two families that write the same column.
    """
    at = dict.fromkeys(stains)
    chosen = {}
    for name in channels:
        lookup(at, kind="channel", name=name)
        chosen[name] = stains.index(name)
    runs = tuple(
        _run(family, compartment, chosen)
        for compartment in (*COMPARTMENTS, IMAGE)
        for family in families
        if compartment in family.reported_for
    )
    _refuse_twins([column for run in runs for column in run.columns])
    return tuple(run for run in runs if run.picks)


def backend_of(wanted: str) -> Backend:
    """Which kernels to use: by default the CPU's where JAX has no accelerator.

    Raises:
        UnknownName: No such kernels.
    """
    chosen = lookup(BACKENDS, kind="backend", name=wanted)
    return chosen or ("cpu" if jax.default_backend() == "cpu" else "jax")


def _run(family: FeatureFamily, compartment: str, channels: dict[str, int]) -> Run:
    picks = family.picks(channels)
    return Run(
        family,
        compartment,
        tuple(tuple(channels[stain] for stain in pick) for pick in picks),
        tuple(
            f"{compartment}_{family.column(feature, pick)}"
            for pick in picks
            for feature in family.features
        ),
    )


def _entry(name: str, known: Mapping[str, Entry]) -> Any:
    if ":" not in name:
        return lookup(known, kind="feature family", name=name)
    module, _, attribute = name.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UnknownName(
            f"The feature family {name!r} cannot be imported: {error}. Expected "
            "'module:attribute', a FeatureFamily or a function that returns one."
        ) from error


def _made(name: str, entry: Any, options: Mapping[str, Any]) -> tuple[FeatureFamily, ...]:
    if callable(entry):
        try:
            entry = entry(**options)
        except TypeError as error:
            raise BadRecipe(f"The feature family {name!r} refused its options: {error}.") from error
    elif options:
        raise BadRecipe(
            f"The feature family {name!r} takes no options; found {', '.join(options)}."
        )
    entries = entry if isinstance(entry, tuple) else (entry,)
    families = tuple(family for family in entries if isinstance(family, FeatureFamily))
    if len(families) < len(entries):
        raise BadRecipe(
            f"{name!r} is a {type(entry).__name__}; expected a FeatureFamily, a tuple of them, "
            "or a function that returns one."
        )
    return families


def _refuse_twins(columns: list[str]) -> None:
    twins = [column for column, times in Counter(columns).items() if times > 1]
    if twins:
        raise BadRecipe(
            f"{len(twins)} columns would be written twice, {twins[0]} first. "
            "Name each feature family once."
        )
