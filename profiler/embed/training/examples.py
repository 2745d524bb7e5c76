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
            have nothing to do with their class. `SOURCE:GROUP` where data of several microscopes
            or screens are learnt from together.
        weights: How far each label is trusted, [cell], 0 or more; see
            `classify.trust.label_errors.soft_weights`. None trusts all alike.
    """

    crops: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    weights: np.ndarray | None = None

    def at(self, rows: np.ndarray) -> "Examples":
        """Some of them."""
        weights = None if self.weights is None else self.weights[rows]
        return Examples(self.crops[rows], self.labels[rows], self.groups[rows], weights)

    @property
    def sources(self) -> np.ndarray:
        """Number of the source of each cell, [cell] int32: what its group names before a colon.

        Groups without a colon are all of one source.
        """
        names = [str(name).partition(":")[0] * (":" in name) for name in self.groups]
        return np.unique(names, return_inverse=True)[1].astype(np.int32)


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


def check_weights(weights: np.ndarray, *, cells: int) -> None:
    """Refuse weights that are not one finite number of 0 or more for each cell, some above 0.

    Raises:
        BadLabels: Says what was found.
    """
    if weights.shape != (cells,):
        raise BadLabels(
            f"Found weights of shape {weights.shape} for {cells} cells; expected one of each."
        )
    odd = np.flatnonzero(~np.isfinite(weights) | (weights < 0))
    if len(odd) or not weights.any():
        found = f"{weights[odd[0]]} for cell {odd[0]}" if len(odd) else "0 for every cell"
        raise BadLabels(
            f"Found a weight of {found}; expected 0 (not learnt from) or more, and some above 0."
        )


def drawn_by_step(
    labels: np.ndarray,
    *,
    seed: int,
    batch: int,
    balance: float,
    sources: np.ndarray | None = None,
    balance_sources: float = 0.0,
) -> Draws:
    """Rows of each step's batch, by step and seed alone, so that a resumed run sees the same.

    Args:
        labels: Of all cells; -1 counts as a class.
        seed: Of the run.
        batch: How many rows.
        balance: 0 goes through all cells before any comes again; 1 draws every class equally
            often, values between lie between.
        sources: Number of the source of each cell; all of one without it.
        balance_sources: As `balance`, of sources; classes are then balanced within each, so that
            cells without a label are a class of their own in every source.

    Returns:
        A function from a step to its rows.
    """
    if not balance and not balance_sources:
        return partial(_in_turn, cells=len(labels), seed=seed, batch=batch)
    if sources is None or not balance_sources:
        share = _evened(labels, balance)
    else:
        share = _evened(sources * (labels.max() + 2) + labels, balance)
        _, place, counts = np.unique(sources, return_inverse=True, return_counts=True)
        share *= (counts ** (1.0 - balance_sources) / np.bincount(place, weights=share))[place]
    reach = np.cumsum(share / share.sum())
    return partial(_by_share, reach=reach / reach[-1], seed=seed, batch=batch)


def _evened(kinds: np.ndarray, balance: float) -> np.ndarray:
    """How often each cell is drawn for its kind to be that even."""
    _, place, counts = np.unique(kinds, return_inverse=True, return_counts=True)
    return (counts ** -float(balance))[place]


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
