"""Several networks on one cell, or one with parts left out: what they agree on, and where not.

A single network is sure of cells that it never saw the like of; networks that were trained from
other seeds (`learn` with another `Lesson.seed` and other random weights) differ there.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float
from scipy.special import entr

from plates.errors import BadModel, BadRecipe
from profiler.embed.network.build import Classifier, Model
from profiler.embed.network.config import ModelConfig
from profiler.embed.predict import BATCH, check_crops, check_views, in_batches, see
from profiler.embed.weights import load_model

DRAWS = 32  # of MC dropout

ByMember = Float[np.ndarray, "cell member class"]


class Opinion(NamedTuple):
    """What the members of an ensemble say of cells; row i is crop i.

    Attributes:
        probabilities: Mean over the members, [cell, class].
        mutual_information: How much of the uncertainty is that members differ, and would go with
            more labels of such cells (BALD), [cell], nats; 0 where all say the same.
        disagreement: Share of the members that name another class than the mean does, [cell].
        members: Probabilities by each, [cell, member, class].
    """

    probabilities: np.ndarray
    mutual_information: np.ndarray
    disagreement: np.ndarray
    members: np.ndarray


Ask: TypeAlias = Callable[[np.ndarray], Opinion]


def opinion(members: ByMember) -> Opinion:
    """Sum up what members say.

    Source:
        Mutual information: Houlsby et al. 2011 (arXiv:1112.5745), equation 2: the entropy of the
        mean less the mean entropy.
    """
    mean = members.mean(axis=1)
    shared = entr(mean).sum(axis=-1) - entr(members).sum(axis=-1).mean(axis=1)
    others = members.argmax(axis=-1) != mean.argmax(axis=-1)[:, None]
    # Rounding may leave less than nothing where all agree.
    return Opinion(mean, np.maximum(shared, 0), others.mean(axis=1), members)


def load_ensemble(paths: Sequence[Path | str]) -> tuple[list[Model], ModelConfig]:
    """Read models that are to be asked together.

    Raises:
        UnknownName: No shipped model is called that.
        BadModel: None is named, a file is damaged, or they tell other classes apart or are built
            otherwise.
    """
    loaded = [(path, *load_model(path)[:2]) for path in paths]
    if not loaded:
        raise BadModel("An ensemble needs models; found none. Name at least two.")
    first, _, config = loaded[0]
    for path, _, other in loaded[1:]:
        if other != config:
            raise BadModel(
                f"{path} is another kind of model than {first}: {other} instead of {config}. The "
                "members of an ensemble are one architecture with the same stains and classes."
            )
    return [model for _, model, _ in loaded], config


def ask_ensemble(
    models: Sequence[Model],
    config: ModelConfig,
    *,
    views: int = 1,
    batch: int = BATCH,
    name: str = "given",
) -> Ask:
    """Compile several models, their weights stacked, into one program (deep ensemble).

    Args:
        models: With classes, and alike but for their weights.
        config: What each of them is.
        views: As `make_look`.
        batch: Crops at a time.
        name: Of the ensemble, for messages.

    Returns:
        A function of crops [cell, side, side, channel].

    Raises:
        BadModel: There are no models, or they have no classes.
        BadRecipe: `views` is not 1 to 8.

    Source:
        Lakshminarayanan et al. 2017 (arXiv:1612.01474).
    """
    check_views(views)
    if not models:
        raise BadModel("An ensemble needs models; found none. Name at least two.")
    for model in models:
        _check_classes(model, name)
        model.eval()
    graphs, states = zip(*map(nnx.split, models), strict=True)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)

    # Convolutions with several kernels at once are 4 times slower on a CPU than one by one.
    together = None if jax.default_backend() == "cpu" else len(models)

    def members(crops: Array) -> tuple[Array]:
        def one(state: Any) -> Array:
            return see(graphs[0], views, state, crops)[1]

        logits = jax.lax.map(one, stacked, batch_size=together)
        return (jax.nn.softmax(jnp.moveaxis(logits, 0, 1)),)

    return _asked(members, config, batch=batch, name=name)


def ask_thinned(
    model: Model,
    config: ModelConfig,
    *,
    rate: float | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    name: str = "given",
) -> Ask:
    """Ask one model with ever other features of its vectors left out (MC dropout).

    Features are left out where training does it, before the last layer, so that the encoder runs
    once. Each draw is one thinned model, the same for all cells: what a cell gets depends on
    neither its batch nor its place in it.

    Args:
        model: With classes.
        config: What it is.
        rate: Share of the features that a draw leaves out; that of its training by default. Of a
            model trained without, any other rate gives a rough guess only.
        draws: Thinned models.
        seed: Of the draws: the same gives the same.
        name: Of the model, for messages.

    Returns:
        A function of crops [cell, side, side, channel]; its members are the draws.

    Raises:
        BadModel: The model has no classes.
        BadRecipe: The rate is not 0 to below 1, or it is not given and was 0 in training.

    Source:
        Gal & Ghahramani 2016 (arXiv:1506.02142).
    """
    linear = _check_classes(model, name).linear
    kept = _masks(_check_rate(rate, config, name), draws=draws, size=config.size, seed=seed)
    model.eval()
    graph, state = nnx.split(model)

    def members(crops: Array) -> tuple[Array]:
        vectors, _ = see(graph, 1, state, crops)
        return (jax.nn.softmax(linear(vectors[:, None] * kept[None])),)

    return _asked(members, config, batch=BATCH, name=name)


def _asked(members: Callable, config: ModelConfig, *, batch: int, name: str) -> Ask:
    run = jax.jit(members)

    def ask(crops: np.ndarray) -> Opinion:
        check_crops(crops, config, name)
        (found,) = in_batches(run, crops, batch=batch)
        return opinion(found)

    return ask


def _masks(rate: float, *, draws: int, size: int, seed: int) -> Float[Array, "draw feature"]:
    """What each feature is multiplied with: 0, or so much that the mean over draws stays."""
    kept = jax.random.bernoulli(jax.random.key(seed), 1 - rate, (draws, size))
    return kept / jnp.float32(1 - rate)


def _check_rate(rate: float | None, config: ModelConfig, name: str) -> float:
    if rate is None and not config.encoder.dropout:
        raise BadRecipe(
            f"The model {name!r} was trained without dropout, so that there is no rate to ask it "
            "with. Give one, or train with EncoderConfig.dropout; an ensemble needs neither."
        )
    found = config.encoder.dropout if rate is None else rate
    if not 0 <= found < 1:
        raise BadRecipe(f"Found a rate of {found}; expected 0 to below 1, a share of features.")
    return found


def _check_classes(model: Model, name: str) -> Classifier:
    if not isinstance(model.head, Classifier):
        raise BadModel(
            f"The model {name!r} has no classes, and networks can only differ in opinion about "
            "classes. Train it with labels."
        )
    return model.head
