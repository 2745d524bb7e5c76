"""What is learnt from: crops, what they are, and where they come from. Host side, NumPy."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial
from typing import NamedTuple, TypeAlias

import numpy as np

from plates.errors import BadLabels

NAMED = 5  # groups or classes listed in a message

Draws: TypeAlias = Callable[[int], np.ndarray]


class Examples(NamedTuple):
    """Crops with labels; row i of each is one cell.

    Attributes:
        crops: [cell, side, side, channel], of the files' type.
        labels: Index of the class, [cell] int32; -1 where nobody has looked.
        groups: Plate or movie, [cell] strings: cells of one group look alike for reasons that
            have nothing to do with their class.
    """

    crops: np.ndarray
    labels: np.ndarray
    groups: np.ndarray

    def at(self, rows: np.ndarray) -> "Examples":
        """Some of them."""
        return Examples(*(part[rows] for part in self))


def check_apart(taught: Iterable[str], apart: Iterable[str]) -> None:
    """Refuse a group on both sides of a split.

    Raises:
        BadLabels: Names them.
    """
    both = sorted({str(name) for name in taught} & {str(name) for name in apart})
    if both:
        raise BadLabels(
            f"{len(both)} groups (plates or movies) are both learnt from and tested on: "
            f"{_listed(both)}. Scores would be of the group, not of the cells: split by group, or "
            "ask for mixed groups and say so beside the scores."
        )


def check_labels(labels: np.ndarray, classes: Sequence[str]) -> None:
    """Refuse labels that nothing can be learnt from.

    Raises:
        BadLabels: A label is no class, fewer than two classes have cells, or a class has one.
    """
    known = labels[labels >= 0]
    if len(known) and known.max() >= len(classes):
        raise BadLabels(
            f"Label {int(known.max())} is no class: there are {len(classes)}, numbered from 0."
        )
    counts = Counter(known.tolist())
    if len(counts) < 2:
        only = classes[next(iter(counts))] if counts else "none"
        raise BadLabels(
            f"The labels hold one class only ({only}); a classifier needs at least two. Label "
            "cells that are something else too."
            if counts
            else "No cell is labelled; a classifier needs cells of at least two classes."
        )
    single = [str(classes[index]) for index, count in sorted(counts.items()) if count == 1]
    if single:
        raise BadLabels(
            f"{len(single)} classes have one labelled cell each: {_listed(single)}. Label at least "
            "one more of each, or leave the class out."
        )


def drawn_by_step(labels: np.ndarray, *, seed: int, batch: int, balance: float) -> Draws:
    """Rows of each step's batch, by step and seed alone, so that a resumed run sees the same.

    Args:
        labels: Of all cells; -1 counts as a class.
        seed: Of the run.
        batch: How many rows.
        balance: 0 goes through all cells before any comes again; 1 draws every class equally
            often, values between lie between.

    Returns:
        A function from a step to its rows.
    """
    if not balance:
        return partial(_in_turn, cells=len(labels), seed=seed, batch=batch)
    _, place, counts = np.unique(labels, return_inverse=True, return_counts=True)
    share = (counts ** -float(balance))[place]
    reach = np.cumsum(share / share.sum())
    return partial(_by_share, reach=reach / reach[-1], seed=seed, batch=batch)


def _by_share(step: int, *, reach: np.ndarray, seed: int, batch: int) -> np.ndarray:
    """What `Generator.choice` draws with replacement, its sums over all cells at hand already."""
    drawn = np.random.default_rng([seed, step]).random(batch)
    return reach.searchsorted(drawn, side="right")


def _in_turn(step: int, *, cells: int, seed: int, batch: int) -> np.ndarray:
    epochs, at = np.divmod(step * batch + np.arange(batch), cells)
    return np.array([_order(seed, int(e), cells)[i] for e, i in zip(epochs, at, strict=True)])


@lru_cache(maxsize=2)  # a batch may reach into the next epoch
def _order(seed: int, epoch: int, cells: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(cells)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(map(str, names[:NAMED])) + more
