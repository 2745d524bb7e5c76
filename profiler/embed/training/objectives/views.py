"""Two views of every crop, projected: what objectives that compare them share."""

import jax.numpy as jnp
from flax import nnx

from profiler.embed.network.build import Model, with_projector
from profiler.embed.network.config import ModelConfig
from profiler.embed.training.objectives.objective import ObjectiveConfig, Scene, Views


def two_views(scene: Scene) -> tuple[Views, Views]:
    """Projections of the crops, varied in two ways."""
    both = scene.look(jnp.concatenate([scene.view(), scene.other_view()]))
    one, other = jnp.split(both, 2)
    return one, other


def projected(model: Model, config: ModelConfig, asked: ObjectiveConfig, rngs: nnx.Rngs) -> Model:
    """Put a projector on a model's encoder."""
    return with_projector(model, config, outputs=asked.outputs, rngs=rngs)


def as_units(views: Views) -> Views:
    """Bring projections to length 1."""
    return views / jnp.linalg.norm(views, axis=-1, keepdims=True).clip(1e-8)
