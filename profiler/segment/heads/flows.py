"""Flow fields: at every pixel of a nucleus, the way that heat from its middle came."""

from dataclasses import dataclass
from typing import Any, NamedTuple, no_type_check

import jax.numpy as jnp
import numba
import numpy as np
from flax import nnx
from jax import lax
from jax.nn import sigmoid
from jax.ops import segment_sum
from jaxtyping import Array, Float, Int
from scipy import ndimage

from profiler.segment.confidence.belief import Belief
from profiler.segment.decoding.components import ascend
from profiler.segment.decoding.nuclei import Nuclei, number
from profiler.segment.heads.head import Head, pixelwise
from profiler.segment.heads.losses import entropy, weighted_mean
from profiler.segment.score import SPECK_PX
from profiler.shapes import Mask, Plane

FLOW_SCALE = 5.0  # of the truth in the loss, and so of what the network gives
JUMPS = 8  # of doubled length: 256 steps of one pixel, more than Cellpose's 200
SINK_PX = 5  # side of the squares in which ends of paths are counted together, twice


class Prediction(NamedTuple):
    """What a network says about every pixel.

    Attributes:
        foreground: Logit of belonging to any nucleus.
        flow: Way to the own nucleus's middle (rows, columns), a unit vector times 5.
    """

    foreground: Float[Array, "*batch height width"]
    flow: Float[Array, "*batch height width 2"]


class Targets(NamedTuple):
    """Truth for `Prediction`: [height, width] and [height, width, 2], unit vectors, float32."""

    foreground: Any
    flow: Any


class Losses(NamedTuple):
    """What is minimised: the sum of these."""

    foreground: Float[Array, ""]
    flow: Float[Array, ""]


@dataclass(frozen=True)
class Settings:
    """Logit above which a pixel belongs to a nucleus; smaller objects are specks."""

    foreground: float = 0.0
    min_area_px: int = SPECK_PX


def read(layer: nnx.Module, levels: tuple) -> Prediction:
    """Predict from the finest level."""
    out = layer(levels[0])
    return Prediction(out[..., 0], FLOW_SCALE * out[..., 1:])


def targets(labels: np.ndarray) -> Targets:
    """Make the targets of one label image.

    Source:
        Cellpose (Stringer et al. 2021): heat flows from the pixel nearest to each nucleus's
        centroid, what leaves the nucleus is lost, and the flow is the direction of the gradient
        of its logarithm.
    """
    flow = np.zeros((*labels.shape, 2), np.float32)
    for label, box in enumerate(ndimage.find_objects(labels), 1):
        if box is None:
            continue
        inside = np.pad(labels[box] == label, 1)
        row, column = _middle(inside)
        heat = np.log1p(_heat(inside, row, column, 2 * sum(inside.shape)))
        slope = np.stack([*np.gradient(heat)], -1)
        unit = slope / np.maximum(np.linalg.norm(slope, axis=-1, keepdims=True), 1e-20)
        flow[box][inside[1:-1, 1:-1]] = unit[inside]
    return Targets((labels > 0).astype(np.float32), flow)


def _middle(inside: np.ndarray) -> np.ndarray:
    places = np.argwhere(inside)
    return places[((places - places.mean(0)) ** 2).sum(1).argmin()]


@numba.njit(cache=True)
@no_type_check
def _heat(inside, row, column, rounds):
    now = np.zeros(inside.shape)
    height, width = inside.shape
    for _ in range(rounds):
        now[row, column] += 1.0
        later = np.zeros(inside.shape)
        for y in range(1, height - 1):
            for x in range(1, width - 1):
                if inside[y, x]:
                    later[y, x] = now[y - 1 : y + 2, x - 1 : x + 2].sum() / 9.0
        now = later
    return now


def losses(
    predicted: Prediction, target: Targets, weight: Float[Array, "batch height width"]
) -> Losses:
    """Compare a prediction with the truth."""
    off = ((predicted.flow - FLOW_SCALE * target.flow) ** 2).mean(-1) / 2
    return Losses(
        entropy(predicted.foreground, target.foreground, weight), weighted_mean(off, weight)
    )


def decode(prediction: Prediction, settings: Settings) -> Nuclei:
    """Follow the flow from every pixel; those that end together are a nucleus.

    A pixel's successor is one of its neighbours, so that eight doublings of all paths at once
    stand for 256 steps. The ends pile up near the middles; every end climbs to the top of its
    pile.

    Source:
        Cellpose's dynamics (Stringer et al. 2021) on whole pixels; checked against 200
        interpolated steps in tests/segment/heads/test_flows.py.
    """
    foreground = prediction.foreground > settings.foreground
    ends = _follow(prediction.flow, foreground)
    landed = segment_sum(foreground.ravel().astype(jnp.float32), ends, foreground.size)
    pile = _gather(_gather(landed.reshape(foreground.shape)))
    tops = ascend(pile, pile > 0)
    roots = jnp.where(foreground.ravel(), tops[ends], foreground.size).reshape(foreground.shape)
    return number(roots, min_area_px=settings.min_area_px)


def _follow(flow: Float[Array, "height width 2"], foreground: Mask) -> Int[Array, " pixel"]:
    """Where every pixel ends up; background stays where it is."""
    height, width = foreground.shape
    length = jnp.sqrt((flow**2).sum(-1, keepdims=True))
    step = jnp.round(flow / jnp.maximum(length, 1e-12)).astype(jnp.int32)
    step = jnp.where(foreground[..., None], step, 0)
    rows, columns = jnp.indices(foreground.shape, jnp.int32)
    rows = jnp.clip(rows + step[..., 0], 0, height - 1)
    columns = jnp.clip(columns + step[..., 1], 0, width - 1)
    pointers = (rows * width + columns).ravel()
    for _ in range(JUMPS):
        pointers = pointers[pointers]
    return pointers


def _gather(count: Plane) -> Plane:
    return lax.reduce_window(count, 0.0, lax.add, (SINK_PX, SINK_PX), (1, 1), "SAME")


def believe(prediction: Prediction) -> Belief:
    """Say how sure a prediction is: of the foreground, and of where in it the flow runs together.

    Depth is 1 where the flow runs together from all sides, at a middle; half where it runs on; 0
    where it runs apart, between two nuclei, as it does without doubt where both are real.
    """
    foreground = sigmoid(prediction.foreground)
    together = (1 - _divergence(prediction.flow / FLOW_SCALE)) / 2  # more than 1 at a point
    return Belief(foreground, foreground * jnp.clip(together, 0, 1))


def _divergence(flow: Float[Array, "height width 2"]) -> Plane:
    """How much runs out of each pixel: 1 where unit vectors of one axis point apart, 2 of both."""
    wide = jnp.pad(flow, ((1, 1), (1, 1), (0, 0)), mode="edge")
    down = wide[2:, 1:-1, 0] - wide[:-2, 1:-1, 0]
    across = wide[1:-1, 2:, 1] - wide[1:-1, :-2, 1]
    return (down + across) / 2


FLOWS = Head(
    name="flows",
    suits="nuclei and cells of any shape, elongated and bent ones too",
    make=pixelwise(3),
    read=read,
    targets=targets,
    parts=Losses._fields,
    losses=losses,
    decode=decode,
    settings=Settings(),
    believe=believe,
    resizable=True,
)
