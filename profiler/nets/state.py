"""What a training step changes, and what every step does with it, whatever is learnt."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Bool, Int

Net = TypeVar("Net", bound=nnx.Module)


class TrainState(NamedTuple):
    """All that a step changes.

    Attributes:
        step: Steps done.
        params: Weights.
        statistics: Running means and variances of the BatchNorms.
        moments: The optimiser's.
        average: Running average of `params`.
    """

    step: Int[Array, ""]
    params: Any
    statistics: Any
    moments: Any
    average: Any


@runtime_checkable
class Pace(Protocol):
    """What every schedule says of its steps."""

    @property
    def steps(self) -> int:
        """Batches to learn from."""
        ...

    @property
    def warmup(self) -> int:
        """Steps in which the learning rate rises to its peak, before its cosine decay."""
        ...

    @property
    def learning_rate(self) -> float:
        """Its peak."""
        ...

    @property
    def weight_decay(self) -> float:
        """AdamW's."""
        ...


def adamw(pace: Pace) -> optax.GradientTransformation:
    """AdamW with warm-up, cosine decay and clipping."""
    most = max(pace.steps, pace.warmup + 1)
    rate = optax.warmup_cosine_decay_schedule(
        0.0, pace.learning_rate, pace.warmup, most, end_value=1e-6
    )
    decay = pace.weight_decay
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, weight_decay=decay))


def finished(model: Net, state: TrainState) -> Net:
    """Put a state's averaged weights into a copy of its network, ready for inference."""
    graph, _, _ = nnx.split(model, nnx.Param, nnx.BatchStat)
    done = nnx.merge(graph, state.average, state.statistics, copy=True)
    done.eval()
    return done


def unless_frozen(
    new: Any, old: Any, thawed: Bool[Array, ""], *, is_frozen: Callable[[str], bool]
) -> Any:
    """Keep the old values of those parts, by their first name, that are still frozen."""

    def choose(path, after, before):
        is_kept = is_frozen(str(getattr(path[0], "key", path[0])))
        return jnp.where(thawed, after, before) if is_kept else after

    return jax.tree_util.tree_map_with_path(choose, new, old)


def running_average(average: Any, params: Any, keep: float, step: Int[Array, ""]) -> Any:
    """Running average that starts as a plain mean, so that it never lags the first steps."""
    share = jnp.minimum(keep, (step + 1.0) / (step + 10.0))
    return jax.tree.map(lambda a, p: share * a + (1 - share) * p, average, params)
