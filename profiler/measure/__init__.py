"""Images and labels in, numbers per cell out.

`family.py` says what a feature family is, `plan_measurement` resolves a recipe's names once, and
`measure` (one field) or `measure_batch` (many, on the device) fill the table.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from profiler.measure.driver import CellLabels, HasCompartments, Table, measure, measure_batch
from profiler.measure.families import FAMILIES
from profiler.measure.family import COMPARTMENTS, IMAGE, FeatureFamily, Over
from profiler.measure.plan import Plan, backend_of, resolve, runs_of

__all__ = [
    "COMPARTMENTS",
    "FAMILIES",
    "IMAGE",
    "CellLabels",
    "FeatureFamily",
    "HasCompartments",
    "Over",
    "Plan",
    "Table",
    "measure",
    "measure_batch",
    "plan_measurement",
]


def plan_measurement(
    *,
    families: tuple[str, ...],
    stains: tuple[str, ...],
    channels: tuple[str, ...] | None = None,
    max_cells: int,
    backend: str = "auto",
    options: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    threads: int = 1,
) -> Plan:
    """Decide what to measure, once for a run.

    Args:
        families: Keys of `FAMILIES`, or "module:attribute" of a family of your own.
        stains: Names of the image's channels, in its order.
        channels: Those of them to measure; None for all.
        max_cells: Rows of each field's table.
        backend: Which kernels, "cpu" or "jax"; "auto" takes the CPU's where JAX has no accelerator.
        options: For families that take options, their keyword arguments.
        threads: How many of the CPU's kernels run at a time.

    Returns:
        The plan that `measure` and `measure_batch` follow; `Plan.columns` names the features of
        cells, `Plan.image_columns` those of fields.

    Raises:
        UnknownName: A family, channel or backend that does not exist.
        BadRecipe: Options that a family does not take, or a column written twice.
    """
    chosen = resolve(families, known=FAMILIES, options=options)
    runs = runs_of(chosen, stains=stains, channels=stains if channels is None else channels)
    return Plan(runs, max_cells, stains, backend_of(backend), threads)
