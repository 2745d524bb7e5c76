"""A crop is alike to itself, however varied, and to no other."""

import jax
import jax.numpy as jnp

from profiler.embed.training.objectives.objective import (
    Objective,
    ObjectiveConfig,
    Scalar,
    Scene,
    Views,
)
from profiler.embed.training.objectives.views import as_units, projected, two_views


def simclr(one: Views, other: Views, config: ObjectiveConfig) -> Scalar:
    """Find a crop's other view among all others of the batch (Chen et al. 2020, eq. 1)."""
    unit = as_units(jnp.concatenate([one, other]))
    alike = unit @ unit.T / config.temperature
    alike = jnp.where(jnp.eye(len(unit), dtype=bool), -jnp.inf, alike)
    partner = jnp.roll(jnp.arange(len(unit)), len(one))
    likely = jax.nn.log_softmax(alike)
    return -jnp.take_along_axis(likely, partner[:, None], axis=1).mean()


def _loss(scene: Scene) -> Scalar:
    return simclr(*two_views(scene), scene.config)


SIMCLR = Objective(_loss, projected, uses_labels=False)
