"""What an objective looks like to the loop: a batch comes before a network, a loss goes back."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import jax.numpy as jnp
from flax import nnx
from jax import lax, random
from jaxtyping import Array, Float, Int

from profiler.embed.network.build import Model, as_unit
from profiler.embed.network.config import ModelConfig
from profiler.embed.network.encoder import CropBatch
from profiler.embed.training.augment import AugmentConfig, augment

Logits: TypeAlias = Float[Array, "batch class"]
Views: TypeAlias = Float[Array, "batch output"]
PerCrop: TypeAlias = Float[Array, " batch"]
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
        temperature: Of similarities, where views are compared.
        outputs: Length of the projections that are compared.
        balance_sources: How evenly sources are drawn (`Examples.sources`): 0 as often as they
            are, 1 all equally often; `balance` then evens the classes out within each.
        apart_by_source: Whether a crop is told apart only from crops of its own source; else a
            network soon knows the microscope instead of the cell.
        robustness: Of the generalised cross entropy: near 0 it is the cross entropy, 1 is moved
            least by wrong labels, and learns slowest.
        teacher_temperature: Of DINO's teacher; the sharper, the more it commits itself.
        hidden: Share of the patches that a masked autoencoder has to fill in.
        forget: Share of each batch that two networks, which learn side by side, leave out for each
            other because its loss is largest (co-teaching); about the share of wrong labels. 0
            has one network learn alone.
        forget_over: Steps over which that share grows from nothing.
    """

    name: str = "cross_entropy"
    prior: float = 0.0
    balance: float = 0.0
    smoothing: float = 0.1
    mixup: float = 0.0
    focus: float = 2.0
    temperature: float = 0.2
    outputs: int = 128
    balance_sources: float = 0.0
    apart_by_source: bool = False
    robustness: float = 0.7
    teacher_temperature: float = 0.04
    hidden: float = 0.5
    forget: float = 0.0
    forget_over: int = 500


class Batch(NamedTuple):
    """What one step learns from; row i of each is one crop.

    Attributes:
        crops: [batch, side, side, channel], of any type.
        labels: Index of the class; -1 without one.
        sources: Number of the source.
        weights: How much the crop counts; None if all count as much.
    """

    crops: Array
    labels: Int[Array, " batch"]
    sources: Int[Array, " batch"]
    weights: PerCrop | None = None


class Keys(NamedTuple):
    """Randomness of one step, apart for each use."""

    view: Array
    other: Array
    extra: Array
    dropout: Array


class Scene(NamedTuple):
    """A batch before a network that learns.

    Attributes:
        pupil: The network; it remembers what it sees in its running averages.
        teacher: The same with the running average of its weights; nothing is learnt through it.
        batch: Crops, labels, sources.
        offsets: What is added to the logit of each class; empty without classes.
        config: Settings of the objective.
        augment: How crops are varied.
        kind: Type that the network computes in.
        keys: All that is random.
    """

    pupil: Model
    teacher: Model
    batch: Batch
    offsets: Float[Array, " class"]
    config: ObjectiveConfig
    augment: AugmentConfig
    kind: jnp.dtype
    keys: Keys

    def view(self) -> CropBatch:
        """The crops, varied."""
        return augment(self.keys.view, as_unit(self.batch.crops), config=self.augment)

    def other_view(self) -> CropBatch:
        """The crops, varied in another way."""
        return augment(self.keys.other, as_unit(self.batch.crops), config=self.augment)

    def look(self, crops: CropBatch) -> Float[Array, "batch output"]:
        """What the pupil's head says of crops."""
        rngs = nnx.Rngs(dropout=self.keys.dropout)
        return self.pupil(crops.astype(self.kind), rngs=rngs).astype(jnp.float32)

    def teach(self, crops: CropBatch) -> Float[Array, "batch output"]:
        """What the teacher's head says of crops."""
        return lax.stop_gradient(self.teacher(crops.astype(self.kind)).astype(jnp.float32))


Prepare: TypeAlias = Callable[[Model, ModelConfig, ObjectiveConfig, nnx.Rngs], Model]


@dataclass(frozen=True)
class Objective:
    """A way of learning.

    Attributes:
        loss: From a scene to the loss of each crop, or of the batch as a whole.
        prepare: Puts the head that is learnt with on a model's encoder; it is taken off again,
            and leaves an encoder without classes. None for the model's own classes.
        uses_labels: Whether labels make a difference.
        has_teacher: Whether the running average of the weights teaches. It then lags from the
            first step on; else it starts as a plain mean, to be of use soon.
    """

    loss: Callable[[Scene], PerCrop | Scalar]
    prepare: Prepare | None
    uses_labels: bool
    has_teacher: bool = False

    @property
    def needs_labels(self) -> bool:
        """Whether cells without a label are left out."""
        return self.prepare is None


def keys_of(key: Array, step: Int[Array, ""]) -> Keys:
    """All that is random in one step, by the training's key and the step alone."""
    return Keys(*random.split(random.fold_in(key, step), 4))
