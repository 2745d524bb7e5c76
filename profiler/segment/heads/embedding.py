"""Embedding: every pixel points at its nucleus's middle, and says how far off it may be."""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jaxtyping import Array, Float
from scipy import ndimage

from profiler.segment.confidence.belief import Belief
from profiler.segment.decoding.candidates import peaks, room
from profiler.segment.decoding.claim import claim, grid
from profiler.segment.decoding.neighbours import neighbours, survivors
from profiler.segment.decoding.nuclei import Nuclei, number
from profiler.segment.heads.head import Head, pixelwise
from profiler.segment.heads.instances import chosen, consecutive
from profiler.segment.heads.losses import weighted_mean
from profiler.segment.score import SPECK_PX

UNIT_PX = 8.0  # what an output of 1 stands for
WINDOW_PX = 64  # a nucleus is learnt within a square of this side around it
LEARNT = 24  # nuclei of a crop that are learnt from in a step
SPREAD_WEIGHT, SEED_WEIGHT = 0.5, 1.0
PEAK_RADIUS = 2
RIVALS = 32  # better candidates that each one is compared with


class Prediction(NamedTuple):
    """What a network says about every pixel.

    Attributes:
        offset: From the pixel to its nucleus's middle (rows, columns), pixels.
        spread: Logarithm of the distance, in pixels, at which pointing is too far off.
        seed: Logit of how well the pixel points.
    """

    offset: Float[Array, "*batch height width 2"]
    spread: Float[Array, "*batch height width"]
    seed: Float[Array, "*batch height width"]


class Targets(NamedTuple):
    """What losses need to know of a label image.

    Attributes:
        labels: Consecutive, [height, width] int32.
        ids: Nuclei to learn from, 0 for none, [nucleus].
        corners: First row and column of the window around each, [nucleus, 2].
    """

    labels: Any
    ids: Any
    corners: Any


class Losses(NamedTuple):
    """What is minimised: the sum of these."""

    shape: Float[Array, ""]
    spread: Float[Array, ""]
    seed: Float[Array, ""]


@dataclass(frozen=True)
class Settings:
    """Which seeds found nuclei, and what belongs to them.

    Attributes:
        seed: Score that a seed must reach.
        foreground: Score below which a pixel belongs to nothing.
        belongs: Membership above which a pixel belongs to a seed, and a seed to a better one.
        min_area_px: Smaller objects are specks.
    """

    seed: float = 0.5
    foreground: float = 0.2
    belongs: float = 0.5
    min_area_px: int = SPECK_PX


def read(layer: nnx.Module, levels: tuple) -> Prediction:
    """Predict from the finest level."""
    out = layer(levels[0])
    return Prediction(UNIT_PX * out[..., :2], out[..., 2] + np.log(UNIT_PX), out[..., 3])


def targets(labels: np.ndarray) -> Targets:
    """Choose nuclei to learn from, and a window around each."""
    labels = consecutive(labels)
    ids = chosen(int(labels.max()), most=LEARNT)
    boxes = ndimage.find_objects(labels)
    side = np.minimum(WINDOW_PX, labels.shape)
    middles = [[(s.start + s.stop) // 2 for s in boxes[i - 1]] if i else (0, 0) for i in ids]
    corners = np.clip(np.array(middles) - side // 2, 0, np.array(labels.shape) - side)
    return Targets(labels, ids, corners.astype(np.int32))


def membership(off: Float[Array, "*place 2"], spread: Float[Array, "*place"]) -> Array:
    """How much a pixel belongs to a nucleus: 1 where it points at its middle, 1/2 at its edge."""
    return jnp.exp2(-((off**2).sum(-1)) / jnp.exp(2 * spread))


def losses(
    predicted: Prediction, target: Targets, weight: Float[Array, "batch height width"]
) -> Losses:
    """Compare a prediction with the truth, nucleus by nucleus.

    Returns:
        `shape`: Lovász hinge of the membership against the nucleus, in its window;
        `spread`: variance of the spread in a nucleus; `seed`: squared error of the seed score,
        against the membership in nuclei and 0 in the background.

    Source:
        Neven et al. 2019 (arXiv:1906.11109), EmbedSeg (arXiv:2101.10033).
    """
    parts = jax.vmap(_field)(predicted, target, weight)
    present = (target.ids > 0).astype(weight.dtype)
    shape, spread, seed = (weighted_mean(part, present) for part in parts)
    score = jax.nn.sigmoid(predicted.seed) ** 2
    empty = weighted_mean(score, weight * (target.labels == 0))
    return Losses(shape, SPREAD_WEIGHT * spread, SEED_WEIGHT * (seed + empty))


def _field(predicted: Prediction, target: Targets, weight: Float[Array, "height width"]):
    place = jnp.stack(grid(weight.shape), -1) + predicted.offset
    known = (weight > 0).astype(jnp.float32)
    maps = (place, predicted.spread, jax.nn.sigmoid(predicted.seed), known, target.labels)
    return jax.vmap(partial(_nucleus, maps))(target.ids, target.corners)


def _nucleus(maps: tuple, nucleus: Array, corner: Array) -> tuple[Array, Array, Array]:
    sides = [min(WINDOW_PX, length) for length in maps[1].shape]
    start = (corner[0], corner[1])
    cut = [
        lax.dynamic_slice(each, (*start, 0)[: each.ndim], (*sides, *each.shape[2:]))
        for each in maps
    ]
    place, spread, seed, known, labels = cut
    own = (labels == nucleus) * known
    mean_spread = weighted_mean(spread, own)
    middle = [weighted_mean(place[..., axis], own) for axis in (0, 1)]
    belongs = membership(place - jnp.stack(middle)[None, None], jnp.full_like(spread, mean_spread))
    return (
        lovasz_hinge(2 * belongs - 1, own, known),
        weighted_mean((spread - mean_spread) ** 2, own),
        weighted_mean((seed - lax.stop_gradient(belongs)) ** 2, own),
    )


def lovasz_hinge(
    margin: Float[Array, "..."], truth: Float[Array, "..."], known: Float[Array, "..."]
) -> Float[Array, ""]:
    """A convex bound of 1 - intersection over union, of two classes.

    Args:
        margin: Above 0 where the nucleus is predicted.
        truth: 1 in the nucleus.
        known: 0 where a pixel is ignored.

    Source:
        Berman, Triki & Blaschko 2018 (arXiv:1705.08790), algorithm 1.
    """
    errors = jnp.where(known > 0, 1.0 - margin * (2.0 * truth - 1.0), -1.0).ravel()
    order = jnp.argsort(-errors)
    hit = truth.ravel()[order]
    missed = hit.sum() - jnp.cumsum(hit)
    union = hit.sum() + jnp.cumsum(1.0 - hit)
    loss = 1.0 - missed / jnp.maximum(union, 1.0)
    steps = jnp.diff(loss, prepend=jnp.zeros(1))
    return (jax.nn.relu(errors[order]) * steps).sum()


def decode(prediction: Prediction, settings: Settings) -> Nuclei:
    """Let the best seeds take the seeds that point at them, and then the pixels that do.

    Source:
        The greedy clustering of Neven et al. 2019, for all seeds at once.
    """
    shape = prediction.seed.shape
    rows, columns = grid(shape)
    at = (rows + prediction.offset[..., 0], columns + prediction.offset[..., 1])
    score = jax.nn.sigmoid(prediction.seed)
    # A good seed lies where it points: of a plateau of sure pixels, this leaves the middle.
    middle = score * membership(prediction.offset, prediction.spread)
    found = peaks(middle, above=settings.seed, radius=PEAK_RADIUS, most=room(score.size))
    centres = jnp.stack([each.ravel()[found.index] for each in at], -1)
    spread = prediction.spread.ravel()[found.index]
    reach = jnp.exp(spread) * np.sqrt(-np.log2(settings.belongs))
    reach = jnp.where(found.present, reach, -jnp.inf)

    near = neighbours(centres, (centres, reach), within=0.0, most=RIVALS, only_before=True)
    rival = jnp.minimum(near.ids, len(centres) - 1)
    taken = membership(centres[:, None] - centres[rival], spread[rival]) > settings.belongs
    stays = survivors(taken, near.ids) & found.present

    def value(y, x, nucleus):
        off = jnp.stack([y - centres[nucleus, 0], x - centres[nucleus, 1]], -1)
        belongs = membership(off, spread[nucleus])
        return jnp.where(belongs > settings.belongs, belongs, -jnp.inf)

    kept = (centres, jnp.where(stays, reach, -jnp.inf))
    roots, crowded = claim(value, kept, at)
    roots = jnp.where(score > settings.foreground, roots, score.size)
    return number(roots, min_area_px=settings.min_area_px, dropped=found.dropped + crowded)


def believe(prediction: Prediction) -> Belief:
    """Say how sure a prediction is: how well a pixel points, by its own account."""
    seed = jax.nn.sigmoid(prediction.seed)
    return Belief(seed, seed)


EMBEDDING = Head(
    name="embedding",
    suits="crowded cells of mixed sizes and shapes, and partly annotated images",
    make=pixelwise(4),
    read=read,
    targets=targets,
    parts=Losses._fields,
    losses=losses,
    decode=decode,
    settings=Settings(),
    believe=believe,
)
