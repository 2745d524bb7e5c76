"""Views alike without others to tell them from: features are kept spread and uncorrelated."""

import jax
import jax.numpy as jnp

from profiler.embed.training.objectives.objective import (
    Objective,
    ObjectiveConfig,
    Scalar,
    Scene,
    Views,
)
from profiler.embed.training.objectives.views import projected, two_views


def vicreg(one: Views, other: Views, config: ObjectiveConfig) -> Scalar:
    """Views alike, features spread and uncorrelated (Bardes et al. 2022, eqs. 1 to 6)."""
    alike = ((one - other) ** 2).mean()
    return 25.0 * alike + sum(25.0 * _spread(z) + _redundancy(z) for z in (one, other))


def _spread(z: Views) -> Scalar:
    return jax.nn.relu(1.0 - jnp.sqrt(z.var(0, ddof=1) + 1e-4)).mean() / 2


def _redundancy(z: Views) -> Scalar:
    centred = z - z.mean(0, keepdims=True)
    covariance = centred.T @ centred / (len(z) - 1)
    off = covariance - jnp.diag(jnp.diag(covariance))
    return (off**2).sum() / z.shape[1]


def _loss(scene: Scene) -> Scalar:
    return vicreg(*two_views(scene), scene.config)


VICREG = Objective(_loss, projected, uses_labels=False)
