"""Deep Sets in Flax: every cell through `phi`, their mean through `rho`."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float


@dataclass(frozen=True)
class SetConfig:
    """What an aggregator is made of.

    Attributes:
        phi: Widths of the layers that each cell passes; none leave cells as they are.
        rho: Widths of the layers that the cells' mean passes; the last is the profile's length.
    """

    phi: tuple[int, ...] = (128, 128)
    rho: tuple[int, ...] = (64,)


class DeepSets(nnx.Module):
    """The network; `profiler.profile.wells.sets` computes the same in NumPy."""

    def __init__(self, inputs: int, config: SetConfig, *, rngs: nnx.Rngs):
        widths = [inputs, *config.phi, *config.rho]
        layers = [nnx.Linear(a, b, rngs=rngs) for a, b in pairwise(widths)]
        self.phi = nnx.List(layers[: len(config.phi)])
        self.rho = nnx.List(layers[len(config.phi) :])

    def __call__(self, cells: Float[Array, "set cell feature"]) -> Float[Array, "set number"]:
        """Make the profile of each set of cells."""
        return _pass(_pass(cells, self.phi).mean(axis=1), self.rho)


def _pass(values: Array, layers: Any) -> Array:
    for number, layer in enumerate(layers):
        values = layer(values)
        if number < len(layers) - 1:
            values = nnx.relu(values)
    return values


def contrastive_loss(
    profiles: Float[Array, "set number"],
    labels: Array,
    plates: Array,
    *,
    temperature: float,
) -> Float[Array, ""]:
    """Draw profiles of one label together, and push those of others on the same plate away.

    Sets of another label on another plate are no negatives: that they differ is the plates' doing
    as well, and would teach to tell plates.

    Args:
        profiles: Of each set.
        labels: What each is of, [set] integers.
        plates: Where each is, [set] integers.
        temperature: Of the cosines: small values weigh the nearest negatives most.

    Returns:
        The mean over the sets that have another of their label; 0 without any.

    Source:
        Khosla et al. 2020, "Supervised contrastive learning", equation 2; by hand in
        tests/embed/sets/test_network.py.
    """
    unit = profiles * jax.lax.rsqrt((profiles**2).sum(axis=1, keepdims=True) + 1e-12)
    with jax.default_matmul_precision("float32"):
        likeness = unit @ unit.T / temperature
    is_same = labels[:, None] == labels[None]
    is_self = jnp.eye(len(labels), dtype=bool)
    is_pair = is_same & ~is_self
    is_seen = is_pair | (~is_same & (plates[:, None] == plates[None]))
    among = jax.nn.logsumexp(jnp.where(is_seen, likeness, -jnp.inf), axis=1, keepdims=True)
    pairs = is_pair.sum(axis=1)
    drawn = jnp.where(is_pair, likeness - jnp.where(pairs[:, None] > 0, among, 0.0), 0.0)
    each = -drawn.sum(axis=1) / jnp.maximum(pairs, 1)
    return each.sum() / jnp.maximum((pairs > 0).sum(), 1)
