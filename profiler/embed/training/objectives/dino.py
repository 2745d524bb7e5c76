"""Say of one view what a slower self says of another: no labels, and no other crops to be unlike.

Attracted only, all crops would become the same; the teacher's answers are therefore centred, so
that no prototype wins everywhere, and sharpened, so that they do not all win alike.

Source:
    DINO, Caron et al. 2021 (arXiv:2104.14294), algorithm 1, with two views of the whole crop: a
    cell's crop has no parts worth a view of their own. The teacher is the running average of the
    weights that the loop keeps anyway (`Schedule.average`; .99 to .999).
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from profiler.embed.network.build import Model
from profiler.embed.network.config import ModelConfig
from profiler.embed.network.encoder import Vectors
from profiler.embed.training.objectives.objective import (
    Objective,
    ObjectiveConfig,
    PerCrop,
    Scene,
    Views,
)
from profiler.embed.training.objectives.views import as_units, two_views

KEPT = 0.9  # of the centre at each step
NARROW = 64  # features that are compared with prototypes

Centre = Float[Array, " output"]


class Prototypes(nnx.Module):
    """How alike a vector, projected, is to each of many directions that are learnt."""

    def __init__(self, size: int, *, outputs: int, rngs: nnx.Rngs):
        self.widen = nnx.Linear(size, 2 * size, rngs=rngs)
        # Cells look so alike to a new network that, unspread, the answers settle on all prototypes
        # alike; DINO has it for convolutional networks.
        self.norm = nnx.BatchNorm(2 * size, momentum=0.95, rngs=rngs)
        self.narrow = nnx.Linear(2 * size, NARROW, rngs=rngs)
        self.prototypes = nnx.Param(rngs.params.normal((outputs, NARROW)))
        # Kept as BatchNorms keep their means, so that checkpoints hold it.
        self.centre = nnx.BatchStat(jnp.zeros(outputs))

    def __call__(self, vectors: Vectors, *, rngs: nnx.Rngs | None = None) -> Views:
        """Cosines, -1 to 1."""
        narrow = self.narrow(nnx.gelu(self.norm(self.widen(vectors))))
        return as_units(narrow) @ as_units(self.prototypes[...]).T


def dino(seen: Views, taught: Views, centre: Centre, config: ObjectiveConfig) -> PerCrop:
    """Cross entropy between what the teacher says of a view and the pupil of the other."""
    wanted = jax.nn.softmax((taught - centre[None]) / config.teacher_temperature)
    return -(wanted * jax.nn.log_softmax(seen / config.temperature)).sum(-1)


def _losses(scene: Scene) -> PerCrop:
    one, other = two_views(scene)
    taught = scene.teach(scene.view()), scene.teach(scene.other_view())
    head = scene.pupil.head
    assert isinstance(head, Prototypes)
    centre = head.centre[...]
    head.centre[...] = KEPT * centre + (1 - KEPT) * jnp.concatenate(taught).mean(0)
    crossed = dino(one, taught[1], centre, scene.config) + dino(
        other, taught[0], centre, scene.config
    )
    return crossed / 2


def _prepare(model: Model, config: ModelConfig, asked: ObjectiveConfig, rngs: nnx.Rngs) -> Model:
    return Model(model.encoder, Prototypes(config.size, outputs=asked.outputs, rngs=rngs))


DINO = Objective(_losses, _prepare, uses_labels=False, has_teacher=True)
