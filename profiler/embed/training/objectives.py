"""What is asked of a network's outputs: one short function for each way of learning.

A supervised objective sees logits and the share of each class in a crop (1 and 0, or two shares
where crops are mixed). Weak supervision by treatment is the same with the compound as label. A
self-supervised one sees two views of every crop, projected.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Logits: TypeAlias = Float[Array, "batch class"]
Views: TypeAlias = Float[Array, "batch output"]
Scalar: TypeAlias = Float[Array, ""]


@dataclass(frozen=True)
class ObjectiveConfig:
    """What is learnt.

    Attributes:
        name: Of `OBJECTIVES`.
        prior: Strength of the logit adjustment for rare classes; 0 is none, 1 aims at all
            classes' mean recall.
        balance: How evenly classes are drawn: 0 as often as they are, 1 all equally often.
        smoothing: Share of a label that is spread over all classes.
        mixup: Share of the crops of a batch that are mixed with another; 0 is none.
        focus: Exponent of the focal loss.
        temperature: Of SimCLR's similarities.
        outputs: Length of the projections that self-supervised objectives compare.
    """

    name: str = "cross_entropy"
    prior: float = 0.0
    balance: float = 0.0
    smoothing: float = 0.1
    mixup: float = 0.0
    focus: float = 2.0
    temperature: float = 0.2
    outputs: int = 128


def cross_entropy(logits: Logits, shares: Logits, config: ObjectiveConfig) -> Scalar:
    """Mean negative log-probability of the labels."""
    return -(shares * jax.nn.log_softmax(logits)).sum(-1).mean()


def focal(logits: Logits, shares: Logits, config: ObjectiveConfig) -> Scalar:
    """Cross entropy that counts less what is sure already (Lin et al. 2017, arXiv:1708.02002)."""
    likely = jax.nn.log_softmax(logits)
    return -(shares * (1 - jnp.exp(likely)) ** config.focus * likely).sum(-1).mean()


def simclr(one: Views, other: Views, config: ObjectiveConfig) -> Scalar:
    """Find a crop's other view among all others of the batch (Chen et al. 2020, eq. 1)."""
    both = jnp.concatenate([one, other])
    unit = both / jnp.linalg.norm(both, axis=-1, keepdims=True).clip(1e-8)
    alike = unit @ unit.T / config.temperature
    alike = jnp.where(jnp.eye(len(both), dtype=bool), -jnp.inf, alike)
    partner = jnp.roll(jnp.arange(len(both)), len(one))
    likely = jax.nn.log_softmax(alike)
    return -jnp.take_along_axis(likely, partner[:, None], axis=1).mean()


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


@dataclass(frozen=True)
class Objective:
    """A way of learning.

    Attributes:
        loss: `(outputs, shares of classes, config)`, or `(view, other view, config)`.
        needs_labels: Which of the two.
    """

    loss: Callable[[Array, Array, ObjectiveConfig], Scalar]
    needs_labels: bool


OBJECTIVES = {
    "cross_entropy": Objective(cross_entropy, True),
    "focal": Objective(focal, True),
    "simclr": Objective(simclr, False),
    "vicreg": Objective(vicreg, False),
}
