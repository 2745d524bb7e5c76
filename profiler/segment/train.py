"""Fit a network to labelled fields."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Float

from profiler.segment.prediction import Prediction

DISTANCE_WEIGHT = 3.0  # brings both losses to one size after a few hundred steps


@dataclass(frozen=True)
class TrainConfig:
    """Schedule of one training run."""

    steps: int = 2_000
    warmup: int = 100
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    report_every: int = 20

    def optimiser(self) -> optax.GradientTransformation:
        """AdamW with warm-up, cosine decay and clipping."""
        rate = optax.warmup_cosine_decay_schedule(
            0.0, self.learning_rate, self.warmup, self.steps, end_value=1e-6
        )
        return optax.chain(
            optax.clip_by_global_norm(1.0),
            optax.adamw(rate, weight_decay=self.weight_decay),
        )


class Example(NamedTuple):
    """A batch of normalised planes and their targets, on the host or on the device."""

    images: Any
    target: Prediction


class Losses(NamedTuple):
    """What is minimised: the sum of these."""

    foreground: Float[Array, ""]
    distance: Float[Array, ""]


def losses(predicted: Prediction, target: Prediction) -> Losses:
    """Compare a prediction with the truth.

    Distance errors weigh twice inside nuclei: the background is easy, and most of
    the field.
    """
    entropy = optax.sigmoid_binary_cross_entropy(predicted.foreground, target.foreground)
    error = optax.huber_loss(predicted.distance, target.distance, delta=0.1) / 0.1
    weight = 1.0 + target.foreground
    return Losses(entropy.mean(), DISTANCE_WEIGHT * (error * weight).sum() / weight.sum())


@nnx.jit
def step(model: nnx.Module, optimiser: nnx.Optimizer, example: Example) -> Losses:
    """Update the model in place and return the losses before the update."""

    def objective(model):
        parts = losses(model(example.images), example.target)
        return sum(parts), parts

    (_, parts), grads = nnx.value_and_grad(objective, has_aux=True)(model)
    optimiser.update(model, grads)
    return parts


def train(
    model: nnx.Module, examples: Iterable[Example], config: TrainConfig
) -> Iterator[tuple[int, Losses]]:
    """Train in place, yielding (step, losses); the caller draws, saves and stops."""
    model.train()
    optimiser = nnx.Optimizer(model, config.optimiser(), wrt=nnx.Param)
    for index, example in zip(range(config.steps), examples, strict=False):
        parts = step(model, optimiser, jax.tree.map(jnp.asarray, example))
        if index % config.report_every == 0 or index == config.steps - 1:
            yield index, jax.device_get(parts)
    model.eval()
