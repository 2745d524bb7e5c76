"""From images and labels to a table of features: the checks, and the loop over fields."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np

from plates.errors import BadLabels
from profiler.measure import cpu, device
from profiler.measure.family import COMPARTMENTS, Over
from profiler.measure.plan import Plan


@runtime_checkable
class HasCompartments(Protocol):
    """Label images of the same cells, [..., height, width], one id for the three, 0 background.

    The segmenter's result is one. A cell may have no pixel in any of them.
    """

    @property
    def nuclei(self) -> Any:
        """Label image of the nuclei."""
        ...

    @property
    def cells(self) -> Any:
        """Of the whole cells."""
        ...

    @property
    def cytoplasm(self) -> Any:
        """Of the cells without their nuclei."""
        ...


class CellLabels(NamedTuple):
    """The plainest `HasCompartments`."""

    nuclei: Any
    cells: Any
    cytoplasm: Any


class Table(NamedTuple):
    """Features of the cells of a field, or of a batch of fields.

    Attributes:
        features: Float32, [..., cell, column]; row i is label i + 1. NaN where undefined, and
            throughout for labels that do not occur. On the device if it was computed there.
        present: Whether a label occurs in any compartment, [..., cell] bool.
    """

    features: Any
    present: Any


def measure(image: Any, compartments: HasCompartments, *, plan: Plan) -> Table:
    """Measure every cell of one field.

    Args:
        image: Intensities scaled to 0 to 1, [height, width, channel].
        compartments: Label images, [height, width] of integers.
        plan: From `plan_measurement`.

    Returns:
        A table of numpy arrays, [cell, column] and [cell].

    Raises:
        BadLabels: Labels that are not integers from 0 to `max_cells`, or of another shape.
    """
    labels = {name: np.asarray(label) for name, label in _by_name(compartments).items()}
    _check(image, labels, plan, axes=3)
    _check_range(labels, plan)
    batch = CellLabels(*(labels[name][None] for name in COMPARTMENTS))
    table = measure_batch(np.asarray(image)[None], batch, plan=plan)
    return Table(*(np.asarray(part)[0] for part in table))


def measure_batch(images: Any, compartments: HasCompartments, *, plan: Plan) -> Table:
    """Measure every cell of a batch of fields, on the device where there is one.

    Args:
        images: Intensities scaled to 0 to 1, [batch, height, width, channel].
        compartments: Label images, [batch, height, width] of integers.
        plan: From `plan_measurement`.

    Returns:
        [batch, cell, column] and [batch, cell]. Labels outside 1 to `max_cells` have no row.

    Raises:
        BadLabels: Labels that are not integers, or of another shape than the images.
    """
    labels = _by_name(compartments)
    _check(images, labels, plan, axes=4)
    if not plan.device_runs:
        return _on_host(images, labels, plan)
    on_device = {name: jnp.asarray(label).astype(jnp.int32) for name, label in labels.items()}
    features, area = device.measure_fields(jnp.asarray(images, jnp.float32), on_device, plan=plan)
    table = Table(features, (area > 0).any(axis=1))
    # The device is still at work here: JAX returns before the numbers are there.
    return _merged(table, _on_host(images, labels, plan), plan) if plan.host_runs else table


def _on_host(images: Any, labels: dict[str, Any], plan: Plan) -> Table:
    is_masks_only = all(run.family.over is Over.OBJECTS for run in plan.host_runs)
    without = np.empty((*images.shape[:-1], 0), np.float32)
    pixels = without if is_masks_only else np.asarray(images, np.float32)
    at_hand = {name: np.asarray(label) for name, label in labels.items()}
    fields = [
        cpu.measure_field(
            pixels[i], {n: label[i] for n, label in at_hand.items()}, plan.host_runs, plan=plan
        )
        for i in range(len(pixels))
    ]
    width = sum(len(run.columns) for run in plan.host_runs)
    features = np.empty((len(fields), plan.max_cells, width), np.float32)
    present = np.zeros((len(fields), plan.max_cells), bool)
    for i, (columns, area) in enumerate(fields):
        features[i], present[i] = columns, (area > 0).any(axis=0)
    return Table(features, present)


def _merged(device_table: Table, host_table: Table, plan: Plan) -> Table:
    """Put the columns of both back in the plan's order."""
    parts = (device_table, host_table)
    runs = (plan.device_runs, plan.host_runs)
    names = [column for part in runs for run in part for column in run.columns]
    both = np.concatenate([np.asarray(table.features) for table in parts], axis=-1)
    place = {name: i for i, name in enumerate(names)}
    return Table(
        both[..., [place[name] for name in plan.columns]], np.asarray(device_table.present)
    )


def _by_name(compartments: HasCompartments) -> dict[str, Any]:
    return {name: getattr(compartments, name.lower()) for name in COMPARTMENTS}


def _check(image: Any, labels: dict[str, Any], plan: Plan, *, axes: int) -> None:
    expected = ("batch", "height", "width", "channel")[-axes:]
    if image.ndim != axes or image.shape[-1] != len(plan.stains):
        raise BadLabels(
            f"Found an image of shape {image.shape}; expected [{', '.join(expected)}] with the "
            f"{len(plan.stains)} channels {', '.join(plan.stains)}."
        )
    for name, label in labels.items():
        if not np.issubdtype(label.dtype, np.integer):
            raise BadLabels(
                f"The labels of {name} are {label.dtype}; expected integers, 0 for background."
            )
        if label.shape != image.shape[:-1]:
            raise BadLabels(
                f"The labels of {name} have shape {label.shape}, their image {image.shape[:-1]}; "
                "expected one label for each pixel."
            )


def _check_range(labels: dict[str, np.ndarray], plan: Plan) -> None:
    for name, label in labels.items():
        low, high = int(label.min(initial=0)), int(label.max(initial=0))
        if low < 0 or high > plan.max_cells:
            raise BadLabels(
                f"The labels of {name} run from {low} to {high}; expected 0 to {plan.max_cells}. "
                "Relabel them from 1, or plan with a larger max_cells."
            )
