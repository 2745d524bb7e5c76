"""Nuclei that touch, and what a network that is always right would say of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from profiler.segment.heads import HEADS, boundary, embedding, flows, semantic, stars, watershed
from profiler.segment.heads.boxes import prediction as boxes
from profiler.segment.heads.boxes.losses import NEAR, size_level

SURE = 10.0  # a logit


def ellipses(seed: int = 0, *, size: int = 160, apart: int = 25) -> np.ndarray:
    """Label image of nuclei on a jittered grid, some of which touch."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    labels = np.zeros((size, size), np.int32)
    for number, (cy, cx) in enumerate(np.mgrid[14:size:apart, 14:size:apart].reshape(2, -1).T, 1):
        dy, dx = y - cy - rng.uniform(-3, 3), x - cx - rng.uniform(-3, 3)
        inside = (dy / rng.uniform(8, 13)) ** 2 + (dx / rng.uniform(8, 13)) ** 2 < 1
        labels[inside & (labels == 0)] = number
    return labels


def _logit(mask) -> jax.Array:
    return jnp.where(jnp.asarray(mask) > 0, SURE, -SURE)


def _watershed(truth) -> watershed.Prediction:
    return watershed.Prediction(_logit(truth.foreground), jnp.asarray(truth.distance))


def _boundary(truth) -> boundary.Prediction:
    return boundary.Prediction(SURE * jax.nn.one_hot(truth.classes, 3))


def _stars(truth) -> stars.Prediction:
    middle = np.clip(truth.middle, 1e-4, 1 - 1e-4)
    return stars.Prediction(jnp.log(middle / (1 - middle)), jnp.asarray(truth.rays))


def _flows(truth) -> flows.Prediction:
    return flows.Prediction(_logit(truth.foreground), flows.FLOW_SCALE * jnp.asarray(truth.flow))


def _semantic(truth) -> semantic.Prediction:
    return semantic.Prediction(_logit(truth.foreground))


def _embedding(truth) -> embedding.Prediction:
    labels = truth.labels
    offset = np.zeros((*labels.shape, 2), np.float32)
    for number in range(1, labels.max() + 1):
        places = np.argwhere(labels == number)
        offset[labels == number] = places.mean(0) - places
    seed = _logit(labels)
    return embedding.Prediction(jnp.asarray(offset), jnp.full(labels.shape, np.log(4.0)), seed)


def _boxes(truth) -> boxes.Prediction:
    """Each nucleus has a code of eight signs, which only its own mix answers to."""
    codes = np.array([[1 if (n >> b) & 1 else -1 for b in range(8)] for n in range(256)])
    own = np.where(truth.labels[..., None] > 0, codes[truth.labels % 255 + 1], 0)
    count = truth.labels.max()
    order = np.asarray(size_level(jnp.asarray(truth.boxes)))
    levels, high = [], boxes.ELLIPSE
    for index, stride in enumerate(boxes.STRIDES):
        shape = tuple(-(-n // stride) for n in truth.labels.shape)
        at = np.asarray(boxes.places(shape, stride))
        present = np.full(shape, -SURE)
        sides, mix = np.ones((*shape, 4)), np.zeros((*shape, boxes.BASES + boxes.TERMS))
        for number in range(1, count + 1):
            if order[number - 1] != index:
                continue
            off = np.abs(at - truth.middles[number - 1]).max(-1)
            rows, columns = np.minimum(at.astype(int).T, np.array(own.shape[:2])[:, None, None] - 1)
            near = (off < NEAR * stride) & (truth.labels[rows.T, columns.T] == number)
            box = truth.boxes[number - 1]
            present[near] = SURE - 0.01 * off[near]
            sides[near] = np.concatenate([at[near] - box[:2], box[2:] - at[near]], 1)
            mix[near] = [*codes[number % 255 + 1], -7 - high, 0, 0, high, 0, high]
        parts = (jnp.asarray(part, jnp.float32) for part in (present, sides, mix))
        levels.append(boxes.Level(*parts))
    return boxes.Prediction(tuple(levels), jnp.asarray(own, jnp.float32))


RIGHT = {
    "watershed": _watershed,
    "boundary": _boundary,
    "stars": _stars,
    "flows": _flows,
    "embedding": _embedding,
    "boxes": _boxes,
    "semantic": _semantic,
}


@pytest.fixture
def nuclei():
    return ellipses


@pytest.fixture
def right():
    """From a head's name and labels to what a network that is always right would say."""
    return lambda name, labels: RIGHT[name](HEADS[name].targets(labels))
