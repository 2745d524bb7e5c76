"""Features and embeddings in one profile: blocks of very different size, each with its say.

A thousand measured features beside 192 numbers of a network would decide every distance between
them alone; 30 selected ones beside the same network would have none.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import polars as pl
from jaxtyping import Float

from profiler.profile.features import EMBEDDING

SET = f"{EMBEDDING}Set_"  # what a learned aggregator makes of a well
MEASURED = "features"
BLOCKS = {SET: "sets", EMBEDDING: "embeddings"}  # prefix -> name; the first that fits

Blocks: TypeAlias = Literal["equal", "as_is"]
Weights: TypeAlias = Float[np.ndarray, " feature"]


class Weighed(NamedTuple):
    """Profiles in which every block has its say.

    Attributes:
        table: The profiles.
        factors: Block -> what its columns were multiplied by; empty where nothing was.
    """

    table: pl.DataFrame
    factors: dict[str, float]

    def sentences(self) -> list[str]:
        """Tell it to a person."""
        told = ", ".join(f"{name} by {factor:.3g}" for name, factor in self.factors.items())
        return [f"So that all blocks have the same say, multiplied {told}."] if told else []


def block_of(feature: str) -> str:
    """Name the block that a feature is of.

    >>> block_of("Embedding_0007"), block_of("Embedding_Set_0007"), block_of("Cells_Texture_A")
    ('embeddings', 'sets', 'features')
    """
    return next((name for prefix, name in BLOCKS.items() if feature.startswith(prefix)), MEASURED)


def block_weights(features: Sequence[str]) -> Weights:
    """Weigh features so that every block has the same sum of weights.

    Args:
        features: The columns that make a profile.

    Returns:
        1 for measured features (or, without any, the first block), so that a profile of one block
        is what it was; for every other block the measured ones' number over its own.

    >>> block_weights(["Cells_A", "Embedding_0000", "Embedding_0001"]).tolist()
    [1.0, 0.5, 0.5]
    """
    found = [block_of(name) for name in features]
    sizes = Counter(found)
    own = sizes[MEASURED] or (sizes[found[0]] if found else 0)
    return np.array([own / sizes[name] for name in found], dtype=float)


def weigh_blocks(
    profiles: pl.DataFrame, *, features: Sequence[str], blocks: Blocks = "equal"
) -> Weighed:
    """Scale embeddings so that distances hear every block equally; features keep their unit.

    Args:
        profiles: Wells, normalised, so that every feature varies by about 1.
        features: The columns that make a profile.
        blocks: "equal", or "as_is" where every column is to have the same say instead.

    Returns:
        The profiles; unchanged where there is but one block.
    """
    roots = np.sqrt(block_weights(features))
    if blocks == "as_is" or (roots == 1).all():
        return Weighed(profiles, {})
    scaled = [
        (pl.col(name) * root).alias(name)
        for name, root in zip(features, roots.tolist(), strict=True)
        if root != 1
    ]
    factors = {block_of(n): f for n, f in zip(features, roots.tolist(), strict=True) if f != 1}
    return Weighed(profiles.with_columns(scaled), factors)
