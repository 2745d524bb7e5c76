"""Parts of the cells in which movies and plates stay whole."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int, Shaped

from profiler.classify.trust.shapes import Classes

WAYS = 100  # to part the groups that are compared

Groups = Shaped[np.ndarray, " cell"]


def group_folds(
    labels: Classes, groups: Groups, *, parts: int, seed: int
) -> Iterator[tuple[Int[np.ndarray, " seen"], Int[np.ndarray, " apart"]]]:
    """Set each part of the groups apart in turn, with classes in about the same shares.

    Args:
        labels: Classes of the cells.
        groups: Movie or plate of each.
        parts: How many.
        seed: It alone decides which.

    Yields:
        Rows of the other parts, and of the one that is apart.

    Raises:
        ValueError: There are fewer groups than parts.
    """
    names, group_of = np.unique(groups, return_inverse=True)
    if len(names) < parts:
        raise ValueError(
            f"Found {len(names)} movies or plates; expected at least {parts}, one for each part. "
            "Ask for fewer parts, or bring cells of more of them."
        )
    counts = np.zeros((len(names), int(labels.max(initial=0)) + 1))
    np.add.at(counts, (group_of, labels), 1)
    part_of = _most_even(counts, parts=parts, random=np.random.default_rng(seed))[group_of]
    for part in range(parts):
        yield np.flatnonzero(part_of != part), np.flatnonzero(part_of == part)


def _most_even(
    counts: Float[np.ndarray, "group class"], *, parts: int, random: np.random.Generator
) -> Int[np.ndarray, " group"]:
    """Of many random ways to part the groups, the one that parts the classes most evenly.

    scikit-learn's StratifiedGroupKFold goes by falling size: real movies differ in it, so that
    each seed gives the same parts, and intervals over seeds would be of nothing.
    """
    expected = np.maximum(counts.sum(axis=0) / parts, 1e-9)
    ways = [random.permutation(np.arange(len(counts)) % parts) for _ in range(WAYS)]
    shares = [np.stack([counts[way == part].sum(axis=0) for part in range(parts)]) for way in ways]
    return ways[int(np.argmin([(((share - expected) ** 2) / expected).sum() for share in shares]))]
