"""The arrays of this folder: numpy, a row is a cell."""

import numpy as np
from jaxtyping import Bool, Float, Int

Vectors = Float[np.ndarray, "cell dimension"]
Logits = Float[np.ndarray, "cell class"]
Probabilities = Float[np.ndarray, "cell class"]  # rows sum to 1
Classes = Int[np.ndarray, " cell"]  # from 0, in the order of the classes' columns
Sets = Bool[np.ndarray, "cell class"]
PerCell = Float[np.ndarray, " cell"]
PerClass = Float[np.ndarray, " class"]


def check_classes(labels: Classes, *, classes: int) -> None:
    """Refuse labels that name no column.

    Raises:
        ValueError: There are no labels, or one is not from 0 to `classes` - 1.
    """
    if not len(labels):
        raise ValueError("Found no labelled cells; expected at least one.")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise ValueError(
            f"Found labels from {low} to {high}; expected 0 to {classes - 1}, one for each of "
            f"the {classes} columns."
        )


def counts_of(labels: Classes, *, classes: int) -> Int[np.ndarray, " class"]:
    """How many cells each class has, classes without any included."""
    check_classes(labels, classes=classes)
    return np.bincount(labels, minlength=classes)
