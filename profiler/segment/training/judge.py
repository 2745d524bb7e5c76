"""How good a network is on images kept apart from training."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from profiler.nets.state import TrainState
from profiler.segment.heads import HEADS
from profiler.segment.joining.join import Joining
from profiler.segment.joining.joiner import Joiner, joiner
from profiler.segment.look import program
from profiler.segment.network.build import Network
from profiler.segment.network.config import NetworkConfig
from profiler.segment.score import SPECK_PX, Scores, drop_specks, score, where_known
from profiler.segment.segmenter import Examined, examiner
from profiler.segment.sizes import put_together, scale_for
from profiler.segment.training.fields import median_diameter
from profiler.segment.training.labelled import Labelled

Judge = Callable[[TrainState], Scores]


def make_judge(
    model: Network,
    config: NetworkConfig,
    apart: Sequence[Labelled],
    *,
    ignore: int | None,
    trained_px: float,
    joining: Joining | None = None,
) -> Judge:
    """Compile a function that scores a training state's averaged weights on `apart`.

    Each image is brought to the training diameter by its true nuclei; what lies where nobody
    has looked is not counted.
    """
    graph, _, _ = nnx.split(model, nnx.Param, nnx.BatchStat)
    find, together = program(graph, config, HEADS[config.head]), _joiner(joining)

    def judge(state: TrainState) -> Scores:
        def pair(one: Labelled) -> tuple[np.ndarray, np.ndarray]:
            truth, known = looked_at(one, ignore)
            scale = _scale_of(truth, trained_px)
            field = jnp.asarray(one.image, jnp.float32)
            seen, grey = find((state.average, state.statistics), field, scale)
            found = put_together(together, seen, grey, scale=scale)
            labels = where_known(np.asarray(found.labels), known, truth=truth)
            return drop_specks(truth, below=SPECK_PX), drop_specks(labels, below=SPECK_PX)

        return score(map(pair, apart))

    return judge


def make_examiner(
    model: Network,
    config: NetworkConfig,
    *,
    ignore: int | None,
    trained_px: float,
    joining: Joining | None = None,
) -> Callable[[Labelled], Examined]:
    """Make a function that weighs what speaks for the nuclei that a network finds in an image.

    The image is brought to the training diameter as for `make_judge`, whose programs serve again.
    """
    graph, *states = nnx.split(model, nnx.Param, nnx.BatchStat)
    is_cpu = jax.default_backend() == "cpu"
    examine = examiner(None, min_area_px=SPECK_PX, is_cpu=is_cpu)
    find, together = program(graph, config, HEADS[config.head]), _joiner(joining)

    def one(image: Labelled) -> Examined:
        scale = _scale_of(looked_at(image, ignore)[0], trained_px)
        field = jnp.asarray(image.image, jnp.float32)
        seen, grey = find(tuple(states), field, scale)
        return examine(put_together(together, seen, grey, scale=scale))

    return one


def average_precision(
    examine: Callable[[Labelled], Examined], apart: Sequence[Labelled], *, ignore: int | None
) -> float:
    """AP@[.5:.95] of what `make_examiner` finds in images, as `make_judge` scores it."""

    def pair(one: Labelled) -> tuple[np.ndarray, np.ndarray]:
        truth, known = looked_at(one, ignore)
        labels = where_known(np.asarray(examine(one).nuclei.labels), known, truth=truth)
        return drop_specks(truth, below=SPECK_PX), drop_specks(labels, below=SPECK_PX)

    return float(score(map(pair, apart)).average_precision.mean())


def _joiner(joining: Joining | None) -> Joiner:
    is_cpu = jax.default_backend() == "cpu"
    return joiner(joining, min_area_px=SPECK_PX, is_cpu=is_cpu)


def looked_at(one: Labelled, ignore: int | None) -> tuple[np.ndarray, np.ndarray]:
    """The labels of an image, and where somebody has looked; elsewhere they are 0."""
    known = np.ones(one.labels.shape, bool) if ignore is None else one.labels != ignore
    return np.where(known, one.labels, 0), known


def _scale_of(truth: np.ndarray, trained_px: float) -> float:
    # A field without nuclei has no size of its own and is left as it is.
    return scale_for(median_diameter(truth) or trained_px, trained_px=trained_px)
