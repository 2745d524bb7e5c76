"""Labelled cells in parts that are held out in turn: whole plates, else whole wells."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Shaped

from profiler.classify.trust.few import SharedGroups
from profiler.classify.trust.folds import group_folds
from profiler.classify.trust.shapes import Classes, Vectors

LEVELS = ("plates", "wells", "cells")
MOST_NAMES = 5  # of classes that a message names

Rows = Int[np.ndarray, " row"]
Places = Shaped[np.ndarray, " cell"]


class Examples(NamedTuple):
    """Labelled cells.

    Attributes:
        vectors: One row per cell, on their plates' scale.
        labels: Their classes, from 0.
        plates: Name of each cell's plate.
        wells: Name of each cell's well, its plate included.
    """

    vectors: Vectors
    labels: Classes
    plates: Places
    wells: Places

    def take(self, rows: Rows) -> "Examples":
        """Some of the cells."""
        return Examples(*(each[rows] for each in self))

    def groups(self, level: str) -> Places:
        """What is held out whole at a level."""
        return {
            "plates": self.plates, "wells": self.wells, "cells": np.arange(len(self.labels))
        }[level]  # fmt: skip


class Folds(NamedTuple):
    """Parts that are held out in turn.

    Attributes:
        level: What stays whole: "plates", "wells" or "cells".
        parts: For each, the rows of the others, and its own.
    """

    level: str
    parts: list[tuple[Rows, Rows]]


def folds_of(examples: Examples, *, parts: int, seed: int, level: str | None = None) -> Folds:
    """Put cells in parts, at the coarsest level at which others keep cells of each class.

    Args:
        examples: Labelled cells, two at least.
        parts: How many; as many as there are plates or wells where these are fewer.
        seed: It alone decides which.
        level: What stays whole; by default what can.
    """
    level = level or next(each for each in LEVELS if each == "cells" or _is_fit(examples, each))
    groups = examples.groups(level)
    count = min(parts, len(np.unique(groups)))
    return Folds(level, list(group_folds(examples.labels, groups, parts=count, seed=seed)))


def level_to_hold_out(examples: Examples, *, classes: Sequence[str], is_mixed: bool) -> str:
    """Choose what a test holds out whole.

    Args:
        examples: Labelled cells.
        classes: Their names, for the message.
        is_mixed: Whether cells of one plate may be on both sides.

    Returns:
        "plates" where several have labels, else "wells"; with `is_mixed` wells, or cells
        where a class is in one well only.

    Raises:
        SharedGroups: A class is on one plate, or of one plate in one well, so that a test would
            have to put that on both sides.
    """
    wanted = "wells" if is_mixed or len(np.unique(examples.plates)) == 1 else "plates"
    if _is_fit(examples, wanted):
        return wanted
    if is_mixed:
        return "cells"
    lonely = _lonely(examples, wanted)
    named = ", ".join(
        f"{classes[code]} ({place})" for code, place in list(lonely.items())[:MOST_NAMES]
    )
    more = f" and {len(lonely) - MOST_NAMES} more" if len(lonely) > MOST_NAMES else ""
    one = wanted.removesuffix("s")
    raise SharedGroups(
        f"{len(lonely)} classes have cells of one {one} only: {named}{more}. A test holds whole "
        f"{wanted} out, and would have none of them to learn from or none to be judged by. Label "
        f"cells of them in another {one}, or use --mixed-plates to let cells of one {one} be on "
        "both sides: such scores are too good."
    )


def _is_fit(examples: Examples, level: str) -> bool:
    return len(np.unique(examples.groups(level))) > 1 and not _lonely(examples, level)


def _lonely(examples: Examples, level: str) -> dict[int, str]:
    """Classes of several cells that are in one group only, and in which."""
    groups = examples.groups(level)
    found = {}
    for code in np.unique(examples.labels):
        own = groups[examples.labels == code]
        if len(own) > 1 and len(np.unique(own)) == 1:
            found[int(code)] = str(own[0])
    return found
