"""What a network cannot be taught with, said before the first step."""

import numpy as np

from plates.errors import BadLabels, BadRecipe
from profiler.embed.network.build import check_levels
from profiler.embed.network.config import ModelConfig
from profiler.embed.training.augment import AugmentConfig
from profiler.embed.training.examples import Examples, check_labels, check_weights
from profiler.embed.training.objectives import Objective, ObjectiveConfig
from profiler.embed.training.ranges import (
    ABOVE_0,
    ABOVE_0_TO_1,
    COUNT,
    COUNT_FROM_0,
    COUNT_FROM_2,
    FACTOR,
    FROM_0,
    PART,
    SHARE,
    check_ranges,
)
from profiler.embed.training.step import Schedule

ASKED = {
    "prior": FROM_0,
    "balance": SHARE,
    "smoothing": PART,
    "mixup": SHARE,
    "focus": FROM_0,
    "temperature": ABOVE_0,
    "outputs": COUNT,
    "balance_sources": SHARE,
    "robustness": ABOVE_0_TO_1,
    "teacher_temperature": ABOVE_0,
    "hidden": SHARE,
    "forget": PART,
    "forget_over": COUNT,
}
PACE = {
    "steps": COUNT,
    "batch": COUNT,
    "warmup": COUNT_FROM_0,
    "learning_rate": ABOVE_0,
    "weight_decay": FROM_0,
    "average": PART,
    "frozen": COUNT_FROM_0,
    "report_every": COUNT,
    "save_every": COUNT,
}
VARIED = {
    "zoom": FACTOR,
    "stretch": FACTOR,
    "shift_px": FROM_0,
    "gain": FACTOR,
    "gamma": FACTOR,
    "blur": SHARE,
    "noise": FROM_0,
    "drop": SHARE,
}


def check_settings(
    asked: ObjectiveConfig, schedule: Schedule, varied: AugmentConfig, *, objective: Objective
) -> None:
    """Refuse settings that are out of range or contradict each other.

    Raises:
        BadRecipe: Says which.
    """
    check_ranges(asked, ASKED)
    # Crops are compared with the others of their batch.
    check_ranges(schedule, PACE if objective.needs_labels else PACE | {"batch": COUNT_FROM_2})
    check_ranges(varied, VARIED)
    if asked.forget and not objective.needs_labels:
        raise BadRecipe(_no_labels(asked, "forget (co-teaching)"))
    if asked.forget and asked.mixup:
        raise BadRecipe(
            "Co-teaching (forget) finds wrong labels by the loss of single crops, which mixup "
            "mixes. Ask for one of the two."
        )


def check_examples(examples: Examples, config: ModelConfig) -> None:
    """Refuse crops that a model does not take, or that are not one row with their labels.

    Raises:
        BadLabels: There are no crops, other numbers of crops, labels and groups, labels below -1,
            or weights that are none.
        BadRecipe: Crops of another shape, or pixels that are no intensities from 0 to 1.
    """
    side, channels = config.crops.side, max(1, len(config.stains))
    if examples.crops.shape[1:] != (side, side, channels):
        raise BadRecipe(
            f"Found crops of shape {examples.crops.shape}; the model takes [cell, {side}, {side}, "
            f"{channels}] with the stains {', '.join(config.stains) or 'of any one channel'}."
        )
    cells = len(examples.crops)
    if not cells:
        raise BadLabels("Found no crops; there is nothing to learn from. Give some cells.")
    for what in ("labels", "groups"):
        if (found := np.shape(getattr(examples, what))) != (cells,):
            raise BadLabels(
                f"Found {what} of shape {found} for {cells} crops; expected one of each. Cells "
                "without a label have -1."
            )
    _check_numbers(examples.labels)
    _check_pixels(examples.crops)
    if examples.weights is not None:
        check_weights(examples.weights, cells=cells)


def usable(
    examples: Examples, config: ModelConfig, *, asked: ObjectiveConfig, objective: Objective
) -> Examples:
    """Those that an objective learns from.

    Raises:
        BadLabels: The labels or their weights are nothing to learn from.
        BadRecipe: There are weights, and no labels are learnt, or crops are mixed.
    """
    if examples.weights is not None and not objective.uses_labels:
        raise BadRecipe(_no_labels(asked, "weights of labels"))
    if not objective.needs_labels:
        if objective.uses_labels:
            _check_unlike(examples, asked)
        return examples
    if examples.weights is not None and asked.mixup:
        raise BadRecipe(
            "Weights say how far the label of each cell is trusted, and mixup has a crop learn "
            "another's label as well, whatever that weighs. Ask for one of the two."
        )
    check_labels(examples.labels, config.classes)
    known = examples.at(np.flatnonzero(examples.labels >= 0))
    if known.weights is not None:
        check_weights(known.weights, cells=len(known.crops))
        _check_trusted(known.labels, known.weights, config)
    return known


def _check_unlike(examples: Examples, asked: ObjectiveConfig) -> None:
    """Refuse crops of which none is to be unlike another: all would become the same."""
    names = np.array([str(name).partition(":")[0] * (":" in str(name)) for name in examples.groups])
    for source in map(str, np.unique(names)) if asked.apart_by_source else [None]:
        own = examples.labels if source is None else examples.labels[names == source]
        if len(own) > 1 and own[0] >= 0 and (own == own[0]).all():
            of = f" of the source {source!r}" if source else ""
            raise BadLabels(
                f"All {len(own)} crops{of} have the label {own[0]}: {asked.name!r} would learn to "
                "make them the same, having none to tell them from. Label cells that are something "
                "else, or take -1 for their label, by which each is like itself alone."
            )


def _check_trusted(labels: np.ndarray, weights: np.ndarray, config: ModelConfig) -> None:
    counts = np.bincount(labels, minlength=len(config.classes))
    totals = np.bincount(labels, weights=weights, minlength=len(config.classes))
    lost = [config.classes[code] for code in np.flatnonzero((counts > 0) & (totals == 0))]
    if lost:
        raise BadLabels(
            f"{len(lost)} classes have labels that all weigh 0, so they would never be learnt: "
            f"{', '.join(lost)}. Trust some of their labels, or leave these classes out."
        )


def _no_labels(asked: ObjectiveConfig, what: str) -> str:
    return f"The objective {asked.name!r} learns no labels, and {what} are for those."


def _check_numbers(labels: np.ndarray) -> None:
    if not np.issubdtype(labels.dtype, np.integer):
        raise BadLabels(
            f"Found labels of type {labels.dtype}; expected integers: the index of each cell's "
            "class, and -1 where nobody has looked."
        )
    if labels.min() < -1:
        raise BadLabels(
            f"Found the label {labels.min()} for cell {labels.argmin()}; expected the index of a "
            "class, from 0, or -1 where nobody has looked."
        )


def _check_pixels(crops: np.ndarray) -> None:
    """Integers are divided by their type's maximum, floats are taken as they are."""
    if not np.issubdtype(crops.dtype, np.floating):
        check_levels(crops)
    most = 1.0 if np.issubdtype(crops.dtype, np.floating) else np.inf
    low, high = crops.min(), crops.max()
    if low >= 0 and high <= most:  # NaN is neither
        return
    is_odd = ~((crops >= 0) & (crops <= most)).all(axis=(1, 2, 3))
    where = np.flatnonzero(is_odd)
    raise BadRecipe(
        f"Found pixels from {low:g} to {high:g} ({crops.dtype}), out of range or NaN in "
        f"{len(where)} of {len(crops)} crops, such as crop {where[0]}; expected finite floats from "
        "0 to 1, or unsigned integers as files have them. Divide grey levels by the largest that "
        "the camera gives, or hand over the integers."
    )
