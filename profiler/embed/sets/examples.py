"""What an aggregator is taught on: wells as sets of cells, dealt out in batches. NumPy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from plates.errors import BadLabels

LEAST_LABELS = 2


class Sets(NamedTuple):
    """Wells with their cells.

    Attributes:
        cells: Standardised vectors, the cells of a well side by side, [cell, feature] float32.
        starts: Where each well's cells begin, and the end, [well + 1].
        labels: What each well is a replicate of, [well]; the negative controls have one label.
        plates: Number of each well's plate, [well].
    """

    cells: Float[np.ndarray, "cell feature"]
    starts: Int[np.ndarray, " bound"]
    labels: Int[np.ndarray, " well"]
    plates: Int[np.ndarray, " well"]

    def at(self, wells: Bool[np.ndarray, " well"]) -> "Sets":
        """Some of the wells."""
        chosen = np.flatnonzero(wells)
        parts = [self.cells[self.starts[i] : self.starts[i + 1]] for i in chosen]
        cells = np.concatenate(parts) if parts else self.cells[:0]
        starts = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
        return Sets(cells, starts, self.labels[chosen], self.plates[chosen])


@dataclass(frozen=True)
class Deal:
    """What a batch is made of.

    Attributes:
        plates: That its wells are of, those with most labels in common with the first.
        labels: In it.
        wells: Of each label, of different wells as far as there are.
        cells: Of each well: a random subset, another one each time.
    """

    plates: int = 4
    labels: int = 24
    wells: int = 2
    cells: int = 64


class Dealt(NamedTuple):
    """A batch: row i of each is one set.

    Attributes:
        cells: [set, cell, feature].
        labels: [set] int32.
        plates: [set] int32.
    """

    cells: np.ndarray
    labels: np.ndarray
    plates: np.ndarray


def check_sets(sets: Sets, *, features: int) -> None:
    """Refuse wells that nothing can be learnt from.

    Args:
        sets: Wells with their cells.
        features: How many numbers a cell has.

    Raises:
        BadLabels: Parts do not belong together, a number is not finite, or fewer than two labels,
            of which the negative controls may be one, have two wells.
    """
    _check_bounds(sets)
    _check_cells(sets.cells, features)
    names, counts = np.unique(sets.labels, return_counts=True)
    if (counts >= 2).sum() < LEAST_LABELS:
        raise BadLabels(
            f"Found {len(sets.labels)} wells of {len(names)} treatments, of which "
            f"{(counts >= 2).sum()} have two wells or more; an aggregator is taught by replicates, "
            "so it needs two such treatments, of which the negative controls may be one. Give runs "
            "with replicates of the same compound and dose."
        )


def _check_bounds(sets: Sets) -> None:
    wells, cells = len(sets.labels), np.diff(sets.starts)
    is_whole = len(cells) == len(sets.plates) == wells and sets.starts[0] == 0
    if not is_whole or sets.starts[-1] != len(sets.cells) or (cells < 1).any():
        raise BadLabels(
            f"Found {wells} labels, {len(sets.plates)} plates, and {len(sets.starts)} bounds of "
            f"wells in {len(sets.cells)} cells; expected a label and a plate for each well, bounds "
            "that rise from 0 to the number of cells, and a cell or more in every well."
        )


def _check_cells(cells: np.ndarray, features: int) -> None:
    is_odd = ~np.isfinite(cells).all(axis=1)
    if cells.shape[1] != features or is_odd.any():
        raise BadLabels(
            f"Found {cells.shape[1]} numbers for each cell, and {is_odd.sum()} of {len(cells)} "
            f"cells with one that is NaN or infinite; expected {features} finite ones. Leave such "
            "cells out, or put 0, their controls' middle, for what is undefined."
        )


def deal(sets: Sets, how: Deal, *, seed: int, step: int) -> Dealt:
    """Draw the batch of a step; the seed and the step alone decide it."""
    random = np.random.default_rng([seed, step])
    near = _plates(sets, how.plates, random)
    here = np.flatnonzero(np.isin(sets.plates, near))
    names = np.unique(sets.labels[here])
    chosen = random.choice(names, min(how.labels, len(names)), replace=False)
    wells = np.concatenate(
        [_of_label(sets, here, name, how.wells, random) for name in chosen.tolist()]
    )
    cells = np.stack([_some(sets, well, how.cells, random) for well in wells.tolist()])
    return Dealt(cells, sets.labels[wells].astype(np.int32), sets.plates[wells].astype(np.int32))


def _plates(sets: Sets, n: int, random: np.random.Generator) -> np.ndarray:
    """A plate, and those that share most labels with it: replicates of its layout come first."""
    first = random.choice(np.unique(sets.plates))
    own = np.unique(sets.labels[sets.plates == first])
    others = random.permutation(np.setdiff1d(np.unique(sets.plates), [first]))
    shared = [np.isin(own, sets.labels[sets.plates == other]).sum() for other in others]
    nearest = others[np.argsort(-np.array(shared, int), kind="stable")]
    return np.concatenate([[first], nearest[: n - 1]])


def _of_label(
    sets: Sets, here: np.ndarray, label: int, n: int, random: np.random.Generator
) -> np.ndarray:
    """Wells of a label; a well alone stands for its own replicate, by other cells."""
    own = here[sets.labels[here] == label]
    return random.choice(own, n, replace=len(own) < n)


def _some(sets: Sets, well: int, n: int, random: np.random.Generator) -> np.ndarray:
    start, stop = sets.starts[well : well + 2]
    return sets.cells[random.choice(np.arange(start, stop), n, replace=stop - start < n)]


def replicate_labels(
    treatments: Sequence[tuple], *, is_control: Bool[np.ndarray, " well"]
) -> Int[np.ndarray, " well"]:
    """Number treatments (compound and dose) from 1; the negative controls are all one, 0."""
    names = {name: i + 1 for i, name in enumerate(sorted(set(treatments), key=repr))}
    found = np.array([names[name] for name in treatments], np.int64)
    return np.where(is_control, 0, found)
