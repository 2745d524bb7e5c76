"""From images and labels to a table of features: the checks, and the loop over fields."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np

from plates.errors import BadLabels, BadRecipe
from profiler.measure import cpu, device
from profiler.measure.family import COMPARTMENTS, Over
from profiler.measure.plan import Plan, Run, columns_of


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
    """Features of a field and its cells, or of a batch of fields.

    Attributes:
        features: Float32, [..., cell, column]; row i is label i + 1. NaN where undefined, and
            throughout for labels that do not occur. On the device if it was computed there.
        present: Whether a label occurs in any compartment, [..., cell] bool.
        image: Features of the field itself, float32, [..., image column]; NaN where undefined.
    """

    features: Any
    present: Any
    image: Any


def measure(image: Any, compartments: HasCompartments, *, plan: Plan) -> Table:
    """Measure every cell of one field.

    Args:
        image: Intensities scaled to 0 to 1, [height, width, channel].
        compartments: Label images, [height, width] of integers.
        plan: From `plan_measurement`.

    Returns:
        A table of numpy arrays, [cell, column], [cell] and [image column].

    Raises:
        BadLabels: Labels that are not integers from 0 to `max_cells`, or of another shape; an
            image of integers.
        BadRecipe: A family that needs a larger field.
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
        [batch, cell, column], [batch, cell] and [batch, image column]. Labels outside 1 to
        `max_cells` have no row.

    Raises:
        BadLabels: Labels that are not integers, or of another shape than the images; images of
            integers.
        BadRecipe: A family that needs a larger field.
    """
    labels = _by_name(compartments)
    _check(images, labels, plan, axes=4)
    if not plan.device_runs:
        return _on_host(images, labels, plan)
    on_device = {name: jnp.asarray(label).astype(jnp.int32) for name, label in labels.items()}
    found = device.measure_fields(jnp.asarray(images, jnp.float32), on_device, plan=plan)
    table = Table(found.features, (found.area > 0).any(axis=1), found.image)
    # The device is still at work here: JAX returns before the numbers are there.
    return _merged(table, _on_host(images, labels, plan), plan) if plan.host_runs else table


def _on_host(images: Any, labels: dict[str, Any], plan: Plan) -> Table:
    runs = plan.host_runs
    is_masks_only = all(run.family.over is Over.OBJECTS for run in runs)
    without = np.empty((*images.shape[:-1], 0), np.float32)
    pixels = without if is_masks_only else np.asarray(images, np.float32)
    at_hand = {name: np.asarray(label) for name, label in labels.items()}
    fields = len(pixels)
    table = Table(
        np.empty((fields, plan.max_cells, len(columns_of(runs))), np.float32),
        np.zeros((fields, plan.max_cells), bool),
        np.empty((fields, len(columns_of(runs, of_image=True))), np.float32),
    )
    for i in range(fields):
        own = {name: label[i] for name, label in at_hand.items()}
        found = cpu.measure_field(pixels[i], own, runs, plan=plan)
        table.features[i], table.image[i] = found.features, found.image
        table.present[i] = (found.area > 0).any(axis=0)
    return table


def _merged(on_device: Table, on_host: Table, plan: Plan) -> Table:
    """Put the columns of both back in the plan's order."""
    runs = (*plan.device_runs, *plan.host_runs)

    def joined(part: str, wanted: tuple[str, ...], *, of_image: bool) -> np.ndarray:
        both = [np.asarray(getattr(table, part)) for table in (on_device, on_host)]
        place = {name: i for i, name in enumerate(columns_of(runs, of_image=of_image))}
        return np.concatenate(both, axis=-1)[..., [place[name] for name in wanted]]

    return Table(
        joined("features", plan.columns, of_image=False),
        np.asarray(on_device.present),
        joined("image", plan.image_columns, of_image=True),
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
    if not jnp.issubdtype(image.dtype, jnp.floating):
        raise BadLabels(
            f"Found an image of {image.dtype}; expected floats from 0 to 1: divide integers by "
            "the largest of their type, as CellProfiler does."
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
    for run in plan.runs:
        _check_size(run, image.shape[-3:-1])


def _check_size(run: Run, shape: tuple[int, int]) -> None:
    if min(shape) < run.family.needs_px:
        raise BadRecipe(
            f"{run.compartment}_{run.family.group} needs a field of at least "
            f"{run.family.needs_px} pixels a side; found {shape[0]} x {shape[1]}. Give it smaller "
            "scales in the recipe's [measure.options], or leave it out."
        )


def _check_range(labels: dict[str, np.ndarray], plan: Plan) -> None:
    for name, label in labels.items():
        low, high = int(label.min(initial=0)), int(label.max(initial=0))
        if low < 0 or high > plan.max_cells:
            raise BadLabels(
                f"The labels of {name} run from {low} to {high}; expected 0 to {plan.max_cells}. "
                "Relabel them from 1, or plan with a larger max_cells."
            )
