"""Rare classes: what to add to logits, and what examples should weigh."""

import numpy as np

from profiler.classify.trust.shapes import Classes, Logits, PerClass, counts_of


def prior_offsets(labels: Classes, *, classes: int, strength: float = 1.0) -> PerClass:
    """Offsets of the logits for each class's frequency: `strength` times its logarithm.

    Added to the logits inside the training loss (and not afterwards), they make a classifier that
    is as good as it can be for every class alike; or taken from the logits of one that was trained
    without, by `adjusted`. Never both.

    Args:
        labels: Of the training cells.
        classes: How many there are; a class without cells counts as if it had half a one.
        strength: 0 for none, 1 for equal classes.

    Raises:
        ValueError: Labels that name no class.

    Source:
        Menon et al. 2021 (arXiv:2007.07314), equations 9 and 10.
    """
    counts = np.maximum(counts_of(labels, classes=classes), 0.5)
    return strength * np.log(counts / counts.sum())


def adjusted(logits: Logits, offsets: PerClass) -> Logits:
    """Logits of a classifier trained without offsets, as if all classes were as frequent."""
    return logits - offsets


def balanced_weights(labels: Classes, *, classes: int, beta: float = 1.0) -> PerClass:
    """Weigh classes so that each counts, in the loss, for what it has to tell.

    Args:
        labels: Of the training cells.
        classes: How many there are.
        beta: 1 weighs by the inverse of the count, as scikit-learn's "balanced" does; below 1 a
            further cell adds less than the one before: 0.999 for counts in the thousands.

    Returns:
        Weights of one cell of each class, 1 on average over the cells; 0 for a class without cells.

    Raises:
        ValueError: Labels that name no class, or a beta outside 0 to 1.

    Source:
        Cui et al. 2019 (arXiv:1901.05555), equation 2.
    """
    if not 0 <= beta <= 1:
        raise ValueError(f"Found a beta of {beta}; expected 0 (no weights) to 1 (inverse counts).")
    counts = counts_of(labels, classes=classes)
    effective = counts if beta == 1 else (1 - beta**counts) / (1 - beta)
    weights = np.divide(1.0, effective, out=np.zeros(classes), where=counts > 0)
    return weights * counts.sum() / (weights @ counts)
