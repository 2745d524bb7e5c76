"""Which class a crop is of, by logits and the share of each class in the crop.

Shares are 1 and 0, or two shares where crops are mixed. Weak supervision by treatment is the same
with the compound as label.
"""

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jax import random
from jaxtyping import Array

from profiler.embed.network.encoder import CropBatch
from profiler.embed.training.objectives.objective import (
    Logits,
    Objective,
    ObjectiveConfig,
    PerCrop,
    Scene,
)

Loss: TypeAlias = Callable[[Logits, Logits, ObjectiveConfig], PerCrop]


def cross_entropy(logits: Logits, shares: Logits, config: ObjectiveConfig) -> PerCrop:
    """Negative log-probability of the labels."""
    return -(shares * jax.nn.log_softmax(logits)).sum(-1)


def focal(logits: Logits, shares: Logits, config: ObjectiveConfig) -> PerCrop:
    """Cross entropy that counts less what is sure already (Lin et al. 2017, arXiv:1708.02002)."""
    likely = jax.nn.log_softmax(logits)
    return -(shares * (1 - jnp.exp(likely)) ** config.focus * likely).sum(-1)


def generalised(logits: Logits, shares: Logits, config: ObjectiveConfig) -> PerCrop:
    """Cross entropy that wrong labels move less (Zhang & Sabuncu 2018, arXiv:1805.07836, eq. 6).

    As `classify.trust.label_errors.generalised_cross_entropy`, which the tests compare it with.
    """
    likely = jnp.exp(config.robustness * jax.nn.log_softmax(logits))
    return (shares * (1 - likely)).sum(-1) / config.robustness


def classifying(loss: Loss) -> Objective:
    """Have the model's own classes learnt by a loss."""
    return Objective(partial(_losses, loss=loss), prepare=None, uses_labels=True)


def _losses(scene: Scene, *, loss: Loss) -> PerCrop:
    config, offsets = scene.config, scene.offsets
    shares = _shares(scene.batch.labels, len(offsets), config.smoothing)
    view, shares = _mixed(scene.keys.extra, scene.view(), shares, config.mixup)
    return loss(scene.look(view) + offsets[None], shares, config)


def _shares(labels: Array, classes: int, smoothing: float) -> Array:
    return (1 - smoothing) * jax.nn.one_hot(labels, classes) + smoothing / classes


def _mixed(key: Array, crops: CropBatch, shares: Array, mixup: float) -> tuple[CropBatch, Array]:
    """Mix a share of the crops with others of the batch (Zhang et al. 2018, arXiv:1710.09412)."""
    if not mixup:
        return crops, shares
    which_key, part_key = random.split(key)
    part = random.uniform(part_key, (len(crops), 1), maxval=0.5)
    part = part * (random.uniform(which_key, (len(crops), 1)) < mixup)
    image_part = part[:, :, None, None]
    crops = (1 - image_part) * crops + image_part * jnp.roll(crops, 1, axis=0)
    return crops, (1 - part) * shares + part * jnp.roll(shares, 1, axis=0)
