"""Which cells a person should label next."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import rankdata

from plates.errors import lookup
from profiler.classify.trust.shapes import PerCell, Probabilities, Vectors

SHORTLIST = 5  # of how many times as many doubtful cells the mixed strategy takes the most diverse

Chosen = Int[np.ndarray, " chosen"]


class Pool(NamedTuple):
    """The cells to choose from, and what is known of them.

    Attributes:
        vectors: Of the cells without a label.
        probabilities: What the classifier at hand says of them.
        labelled: Vectors of the cells that have a label.
        novelty: How new each cell is, large is new, as `novelty.cell_novelty` says; None where
            nobody asked.
    """

    vectors: Vectors
    probabilities: Probabilities
    labelled: Vectors
    novelty: PerCell | None = None


def entropy(probabilities: Probabilities) -> PerCell:
    """How undecided the classifier is between all classes, in nats; large is undecided."""
    logs = np.log(probabilities, out=np.zeros_like(probabilities), where=probabilities > 0)
    return -(probabilities * logs).sum(axis=1)


def closeness(probabilities: Probabilities) -> PerCell:
    """One less the margin between the two likeliest classes: 1 where they are as likely.

    Raises:
        ValueError: There is only one class.
    """
    if probabilities.shape[1] < 2:
        raise ValueError("Found one class; expected two or more, as a margin is between two.")
    top = np.partition(probabilities, -2, axis=1)[:, -2:]
    return 1 - (top[:, 1] - top[:, 0])


def farthest(
    vectors: Vectors, *, start: Float[np.ndarray, "start dimension"], count: int
) -> Chosen:
    """Choose cells that cover the space: each the farthest from all that came before.

    Args:
        vectors: The candidates.
        start: Cells that are labelled already; without any, the first is nearest the mean.
        count: How many to choose; all candidates where there are fewer.

    Returns:
        Rows of `vectors` in the order chosen; of equals, the first.

    Source:
        Greedy k-centre: Gonzalez 1985; as "core-set" for active learning, Sener & Savarese 2018
        (arXiv:1708.00489).
    """
    from sklearn.metrics import pairwise_distances_argmin_min  # takes a second to import

    middle = ((vectors - vectors.mean(axis=0)) ** 2).sum(axis=1) if len(vectors) else np.zeros(0)
    gap = pairwise_distances_argmin_min(vectors, start)[1] ** 2 if len(start) else -middle
    chosen: list[int] = []
    for _ in range(min(count, len(vectors))):
        new = int(gap.argmax())
        to_new = ((vectors - vectors[new]) ** 2).sum(axis=1)
        gap = np.minimum(gap, to_new) if chosen or len(start) else to_new
        chosen.append(new)
        gap[chosen] = -np.inf
    return np.array(chosen, int)


def choose(strategy: str, pool: Pool, *, count: int, seed: int = 0) -> Chosen:
    """Choose the cells to label next.

    Args:
        strategy: A key of `STRATEGIES`.
        pool: The cells, and what is known of them.
        count: How many; all where there are fewer.
        seed: It alone decides between equals, and what "random" takes.

    Returns:
        Rows of the pool, different ones, the most wanted first.

    Raises:
        UnknownName: There is no such strategy.
        ValueError: A strategy that needs novelty, and a pool without.
    """
    order = np.random.default_rng(seed).permutation(len(pool.vectors))
    shuffled = Pool(
        pool.vectors[order],
        pool.probabilities[order],
        pool.labelled,
        None if pool.novelty is None else pool.novelty[order],
    )
    return order[lookup(STRATEGIES, kind="strategy", name=strategy)(shuffled, count)]


def _largest(wanted: PerCell, count: int) -> Chosen:
    return np.argsort(-wanted, kind="stable")[:count]


def _novelty(pool: Pool) -> PerCell:
    if pool.novelty is None:
        raise ValueError(
            "Found a pool without novelty; expected one value per cell. Compute it with "
            "`novelty.cell_novelty`, or choose another strategy."
        )
    return pool.novelty


def _mixed(pool: Pool, count: int) -> Chosen:
    """The most diverse of the most doubtful; a cell is in doubt that is undecided or new."""
    doubt = rankdata(closeness(pool.probabilities))
    if pool.novelty is not None:
        doubt = np.maximum(doubt, rankdata(pool.novelty))
    shortlist = _largest(doubt, SHORTLIST * count)
    return shortlist[farthest(pool.vectors[shortlist], start=pool.labelled, count=count)]


STRATEGIES: dict[str, Callable[[Pool, int], Chosen]] = {
    "uncertainty": lambda pool, count: _largest(entropy(pool.probabilities), count),
    "margin": lambda pool, count: _largest(closeness(pool.probabilities), count),
    "diversity": lambda pool, count: farthest(pool.vectors, start=pool.labelled, count=count),
    "novelty": lambda pool, count: _largest(_novelty(pool), count),
    "mixed": _mixed,
    "random": lambda pool, count: np.arange(len(pool.vectors))[:count],
}
