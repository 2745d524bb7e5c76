"""Cells of one label are alike, cells without a label only to themselves.

Supervised, weakly supervised (the compound as label) and self-supervised learning in one: what
labels there are is used, of any source, and no cell is left out.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from profiler.embed.training.objectives.objective import (
    Objective,
    ObjectiveConfig,
    PerCrop,
    Scene,
    Views,
)
from profiler.embed.training.objectives.views import as_units, projected, two_views

Integers = Int[Array, " batch"]


def supcon(
    one: Views, other: Views, labels: Integers, sources: Integers, *, config: ObjectiveConfig
) -> PerCrop:
    """Find what is alike to a crop among all others of the batch.

    Alike are the crop's other view and, if it has a label, all views of crops with that label. With
    `apart_by_source` all others are those of the crop's own source, and what is alike elsewhere.

    Returns:
        The loss of each crop, the mean over its two views. Without labels it is SimCLR's.

    Source:
        Khosla et al. 2020 (arXiv:2004.11362), equation 2; by loops in
        tests/embed/training/test_objectives.py.
    """
    unit = as_units(jnp.concatenate([one, other]))
    itself = jnp.eye(len(unit), dtype=bool)
    cells = jnp.arange(len(one))
    is_alike = _pairs(cells) | (_pairs(labels) & jnp.tile(labels >= 0, 2)[:, None])
    is_alike &= ~itself
    rivals = ~itself
    if config.apart_by_source:
        rivals &= is_alike | _pairs(sources)
    found = jnp.where(rivals, unit @ unit.T / config.temperature, -jnp.inf)
    likely = jnp.where(is_alike, jax.nn.log_softmax(found), 0.0)
    return -(likely.sum(1) / is_alike.sum(1)).reshape(2, -1).mean(0)


def _pairs(numbers: Integers) -> Bool[Array, "view view"]:
    """Which two views have the same number."""
    both = jnp.tile(numbers, 2)
    return both[:, None] == both[None]


def _losses(scene: Scene) -> PerCrop:
    labels, sources = scene.batch.labels, scene.batch.sources
    return supcon(*two_views(scene), labels, sources, config=scene.config)


SUPCON = Objective(_losses, projected, uses_labels=True)
