"""What the box head minimises."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from profiler.segment.heads.boxes.prediction import (
    BASES,
    STRIDES,
    TERMS,
    Level,
    Prediction,
    mask_logit,
    places,
)
from profiler.segment.heads.boxes.targets import MOST, Targets
from profiler.segment.heads.losses import weighted_mean

LARGEST_PX = (32.0, 64.0)  # longer side of the largest nuclei that strides 4 and 8 take
NEAR = 1.5  # strides from a nucleus's middle at which a place stands for it
GAMMA, ALPHA = 2.0, 0.25  # of the focal loss
GRID = 20  # points across a region in which a mask is compared
MARGIN = 1.15  # of the region around the box
MASK_WEIGHT = 1.0


class Losses(NamedTuple):
    """What is minimised: the sum of these."""

    present: Float[Array, ""]
    sides: Float[Array, ""]
    mask: Float[Array, ""]


def losses(
    predicted: Prediction, target: Targets, weight: Float[Array, "batch height width"]
) -> Losses:
    """Compare a prediction with the truth.

    Returns:
        `present`: focal loss over all places, for each that stands for a nucleus; `sides`:
        negative logarithm of the boxes' intersection over union; `mask`: cross-entropy on a
        fixed grid of points in each nucleus's region.

    Source:
        Focal loss: Lin et al. 2017 (arXiv:1708.02002). Places and sides: FCOS (arXiv:1904.01355).
    """
    places_of = [partial(_places, index) for index in range(len(STRIDES))]
    parts = [
        jax.vmap(each)(level, target, weight)
        for each, level in zip(places_of, predicted.levels, strict=True)
    ]
    focal, sides, count = (sum(part[i].sum() for part in parts) for i in range(3))
    mask, known = jax.vmap(_masks)(predicted, target, weight)
    count = jnp.maximum(count, 1.0)
    return Losses(focal / count, sides / count, MASK_WEIGHT * weighted_mean(mask, known))


def size_level(boxes: Float[Array, "box 4"]) -> Int[Array, " box"]:
    """Which of the levels takes each nucleus, by its longer side."""
    longer = jnp.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    limits = jnp.array(LARGEST_PX)
    return (longer[:, None] > limits[None]).sum(1, dtype=jnp.int32)


def _places(index: int, level: Level, target: Targets, weight: Array) -> tuple[Array, ...]:
    """Losses of one crop at one level, and the places that stand for a nucleus."""
    stride = STRIDES[index]
    at = places(level.present.shape, stride)
    rows, columns = (at[..., axis].astype(jnp.int32) for axis in (0, 1))
    owner = target.labels[rows, columns]
    known = (weight[rows, columns] > 0) & (owner <= MOST)
    nucleus = jnp.clip(owner - 1, 0, MOST - 1)
    away = jnp.abs(at - target.middles[nucleus]).max(-1)
    stands = (owner > 0) & (size_level(target.boxes)[nucleus] == index) & (away < NEAR * stride)
    stands &= known
    error = optax.sigmoid_focal_loss(
        level.present, stands.astype(jnp.float32), alpha=ALPHA, gamma=GAMMA
    )
    box = target.boxes[nucleus]
    true = jnp.concatenate([at - box[..., :2], box[..., 2:] - at], -1)
    sides = jnp.where(stands, -jnp.log(_iou(level.sides, jnp.maximum(true, 0.1))), 0.0)
    return jnp.where(known, error, 0.0).sum(), sides.sum(), stands.sum().astype(jnp.float32)


def _iou(one: Float[Array, "*place 4"], other: Float[Array, "*place 4"]) -> Array:
    """Overlap of two boxes around the same place, given by their sides' distances."""
    area = [(box[..., 0] + box[..., 2]) * (box[..., 1] + box[..., 3]) for box in (one, other)]
    least = jnp.minimum(one, other)
    shared = (least[..., 0] + least[..., 2]) * (least[..., 1] + least[..., 3])
    return shared / (area[0] + area[1] - shared)


def _masks(predicted: Prediction, target: Targets, weight: Array) -> tuple[Array, Array]:
    """Error of each chosen nucleus's mask, and whether there is one."""
    index = jnp.maximum(target.ids - 1, 0)
    boxes, middles = target.boxes[index], target.middles[index]
    mix = _mix_at(predicted.levels, boxes, middles)
    compare = partial(_mask, predicted.bases, target.labels, weight)
    return jax.vmap(compare)(target.ids, boxes, mix), (target.ids > 0).astype(jnp.float32)


def _mix_at(levels: tuple[Level, ...], boxes: Array, middles: Array) -> Float[Array, "box term"]:
    """The mix predicted at the place nearest to each nucleus's middle, at its level."""
    offers = []
    for level, stride in zip(levels, STRIDES, strict=True):
        last = jnp.array([n - 1 for n in level.present.shape], jnp.float32)[None]
        nearest = jnp.round((middles - (stride - 1) / 2) / stride)
        row, column = jnp.clip(nearest, 0, last).astype(jnp.int32).T
        offers.append(level.mix[row, column])
    return jnp.stack(offers, 1)[jnp.arange(len(boxes)), size_level(boxes)]


def _mask(bases: Array, labels: Array, weight: Array, nucleus: Array, box: Array, mix: Array):
    steps = MARGIN * (2 * (jnp.arange(GRID) + 0.5) / GRID - 1)
    u, v = jnp.meshgrid(steps, steps, indexing="ij")
    rows = (box[0] + box[2]) / 2 + u * (box[2] - box[0]) / 2
    columns = (box[1] + box[3]) / 2 + v * (box[3] - box[1]) / 2
    logit = mask_logit(
        sample(bases, rows, columns), jnp.broadcast_to(mix, (GRID, GRID, BASES + TERMS)), u, v
    )
    known = sample((weight > 0).astype(jnp.float32)[..., None], rows, columns)[..., 0] == 1.0
    own = _nearest(labels, rows, columns) == nucleus
    error = optax.sigmoid_binary_cross_entropy(logit, own.astype(jnp.float32))
    return weighted_mean(error, known.astype(jnp.float32))


def sample(
    maps: Float[Array, "height width map"], rows: Float[Array, "*at"], columns: Float[Array, "*at"]
) -> Float[Array, "*at map"]:
    """Read maps between their pixels, bilinearly; beyond the border, at the border."""
    height, width, _ = maps.shape
    rows, columns = jnp.clip(rows, 0, height - 1), jnp.clip(columns, 0, width - 1)
    top, left = jnp.floor(rows), jnp.floor(columns)
    total = 0.0
    for y, share_y in ((top, 1 - (rows - top)), (top + 1, rows - top)):
        for x, share_x in ((left, 1 - (columns - left)), (left + 1, columns - left)):
            at_y = jnp.minimum(y, height - 1).astype(jnp.int32)
            at_x = jnp.minimum(x, width - 1).astype(jnp.int32)
            total = total + maps[at_y, at_x] * (share_y * share_x)[..., None]
    return total


def _nearest(plane: Array, rows: Array, columns: Array) -> Array:
    inside = (rows > -0.5) & (rows < plane.shape[0] - 0.5)
    inside &= (columns > -0.5) & (columns < plane.shape[1] - 0.5)
    at = [jnp.round(each).astype(jnp.int32) for each in (rows, columns)]
    value = plane[jnp.clip(at[0], 0, plane.shape[0] - 1), jnp.clip(at[1], 0, plane.shape[1] - 1)]
    return jnp.where(inside, value, 0)
