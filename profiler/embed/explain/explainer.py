"""Cells of a network explained: crops in; maps, shares and changes out, a few cells at a time."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from plates.errors import BadModel
from profiler.embed.explain.cam import coarse_map
from profiler.embed.explain.gradients import STEPS, integrated_gradients
from profiler.embed.explain.inside import share_inside, share_of_mask
from profiler.embed.explain.line import Line
from profiler.embed.explain.occlude import occlude_places, occlude_stains
from profiler.embed.network.build import Model

BATCH = 2  # cells; one program for any number of them, and each is `STEPS` crops on its path

CropStack: TypeAlias = Float[np.ndarray, "cell side side channel"]
MaskStack: TypeAlias = Bool[np.ndarray, "cell side side"]


class Reference(NamedTuple):
    """What cells are held against.

    Attributes:
        crops: Of ordinary cells, the negative controls', say; at least one.
        inside: Which of their pixels are the cell's.
        background: Of each stain, what a place without cells looks like, 0 to 1.
    """

    crops: CropStack
    inside: MaskStack
    background: Float[np.ndarray, " channel"]


class Explained(NamedTuple):
    """What a network goes by in some cells; row i is crop i, changes in the unit of the line.

    Attributes:
        place: Where the cell lies on the line.
        attribution: Integrated gradients, the mean over the reference cells: for each pixel of
            each stain what it adds, [cell, side, side, channel].
        missing: What they lack to place - mean place of the reference cells, by error of the sum
            over steps.
        coarse: Grad-CAM or attention rollout, 0 and above, [cell, side, side, channel].
        share_inside: Of the attribution, in the cell or in the reference cell it is held against.
        share_of_mask: Of the pixels, likewise: what chance would give.
        coarse_inside: Of the coarse map, in the cell.
        coarse_mask: Of the pixels, in the cell.
        emptied: Change with a stain at its background level, [cell, channel].
        exchanged: Change with a stain taken from the reference cells, their mean, [cell, channel].
        without_cell: Change with the cell at the background level.
        without_surroundings: Change with all else at the background level.
    """

    place: np.ndarray
    attribution: np.ndarray
    missing: np.ndarray
    coarse: np.ndarray
    share_inside: np.ndarray
    share_of_mask: np.ndarray
    coarse_inside: np.ndarray
    coarse_mask: np.ndarray
    emptied: np.ndarray
    exchanged: np.ndarray
    without_cell: np.ndarray
    without_surroundings: np.ndarray


Explain: TypeAlias = Callable[[CropStack, MaskStack], Explained]


def make_explainer(
    model: Model, line: Line, reference: Reference, *, steps: int = STEPS, batch: int = BATCH
) -> Explain:
    """Compile the explanation of cells by one network along one line.

    Args:
        model: With its weights.
        line: What is explained.
        reference: What cells are held against.
        steps: Points along the path of integrated gradients.
        batch: Cells at a time.

    Returns:
        A function of crops [cell, side, side, channel], 0 to 1, and of which pixels are the
        cell's. A cell's explanation does not depend on the others.

    Raises:
        BadModel: There is no reference cell, or the crops are of another shape than theirs; or
            the backbone has neither convolutions nor attention.
    """
    if not len(reference.crops):
        raise BadModel("There is no reference cell to hold cells against; give at least one.")
    model.eval()
    graph, state = nnx.split(model)
    by_itself, beside, placed = _programs(graph, steps)
    alone = partial(by_itself, state, line, reference.background)
    against = partial(beside, state, line)
    usual = float(placed(state, line, reference.crops).mean())

    def explain(crops: CropStack, inside: MaskStack) -> Explained:
        _check(crops, inside, reference)
        own = _batched(alone, crops, inside, batch=batch)
        pairs = [
            _batched(partial(against, *other), crops, inside, batch=batch)
            for other in zip(*reference[:2], strict=True)
        ]
        held = _Held(*(_mean(np.stack(part)) for part in zip(*pairs, strict=True)))
        added = held.attribution.sum((1, 2, 3))
        missing = own["place"] - usual - added
        return Explained(**own, **held._asdict(), missing=missing)

    return explain


@lru_cache(maxsize=8)  # compiled programs hold memory
def _programs(graph: nnx.GraphDef, steps: int) -> tuple[Callable, Callable, Callable]:
    """Compile what one architecture is asked, whatever its weights."""
    asked = partial(_alone, graph), partial(_against, graph, steps), partial(_place, graph)
    alone, against, place = map(jax.jit, asked)
    return alone, against, place


class _Held(NamedTuple):
    """Fields of `Explained` that say how cells differ from others."""

    attribution: Any
    share_inside: Any
    share_of_mask: Any
    exchanged: Any


def _mean(parts: np.ndarray) -> np.ndarray:
    """Mean over reference cells, without those that say nothing: the cell itself may be one."""
    known = np.isfinite(parts)
    count = known.sum(0)
    total = np.where(known, parts, 0).sum(0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(parts.dtype)


def _place(graph: Any, state: Any, line: Line, crops: Array) -> Array:
    return line(nnx.merge(graph, state).encoder(crops))


def _alone(
    graph: Any, state: Any, line: Line, background: Array, *given: Array
) -> dict[str, Array]:
    """What can be said of a cell without others."""
    model, (crops, inside) = nnx.merge(graph, state), given
    coarse = coarse_map(model, line, crops)
    empty = jnp.broadcast_to(background[None, None, None], crops.shape)
    places = occlude_places(model, line, crops, empty, inside=inside)
    return {
        "place": line(model.encoder(crops)),
        "coarse": coarse,
        "coarse_inside": share_inside(coarse, inside),
        "coarse_mask": share_of_mask(inside),
        "emptied": occlude_stains(model, line, crops, empty),
        "without_cell": places.cell,
        "without_surroundings": places.surroundings,
    }


def _against(graph: Any, steps: int, state: Any, line: Line, *given: Array) -> _Held:
    """Hold cells against one other."""
    model, (other, other_inside, crops, inside) = nnx.merge(graph, state), given
    others = jnp.broadcast_to(other[None], crops.shape)
    attribution = integrated_gradients(model, line, crops, others, steps=steps)
    # The other cell's pixels count as a cell's too: that they are dark here is about the cell.
    either = inside | other_inside[None]
    exchanged = occlude_stains(model, line, crops, others)
    return _Held(attribution, share_inside(attribution, either), share_of_mask(either), exchanged)


def _batched(run: Callable, crops: CropStack, inside: MaskStack, *, batch: int) -> Any:
    """Run a program of `batch` cells over any number of them."""
    count = len(crops)
    short = -count % batch if count else batch
    crops = np.pad(crops, ((0, short), (0, 0), (0, 0), (0, 0)))
    inside = np.pad(inside, ((0, short), (0, 0), (0, 0)))
    starts = range(0, len(crops), batch)
    parts = [jax.device_get(run(crops[i : i + batch], inside[i : i + batch])) for i in starts]
    return jax.tree.map(lambda *part: np.concatenate(part)[:count], *parts)


def _check(crops: CropStack, inside: MaskStack, reference: Reference) -> None:
    if crops.shape[1:] != reference.crops.shape[1:] or crops.shape[:3] != inside.shape:
        raise BadModel(
            f"Found crops of shape {crops.shape} and masks of {inside.shape}; the reference cells' "
            f"are {reference.crops.shape}. Cut all crops at one size and of the same stains."
        )
