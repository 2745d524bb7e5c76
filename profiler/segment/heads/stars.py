"""Star-convex polygons: how likely each pixel is a middle, and how far the edge is all around."""

from dataclasses import dataclass
from typing import Any, NamedTuple, no_type_check

import jax
import jax.numpy as jnp
import numba
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from profiler.segment.confidence.belief import Belief
from profiler.segment.decoding.candidates import peaks, room
from profiler.segment.decoding.claim import claim, grid
from profiler.segment.decoding.neighbours import neighbours, survivors
from profiler.segment.decoding.nuclei import Nuclei, number
from profiler.segment.decoding.polygons import DIRECTIONS, RAYS, SHORTEST_PX, covers, overlap
from profiler.segment.heads import watershed
from profiler.segment.heads.head import Head, hidden
from profiler.segment.heads.losses import entropy, weighted_mean
from profiler.segment.score import SPECK_PX

UNIT_PX = 10.0  # what an output of 1 stands for, so that training starts near nuclei's size
DISTANCE_WEIGHT = 0.2
BACKGROUND_WEIGHT = 1e-4  # keeps distances small where nobody needs them
PEAK_RADIUS = 2
RIVALS = 32  # better candidates that each one is compared with


class Prediction(NamedTuple):
    """What a network says about every pixel.

    Attributes:
        middle: Logit of `Targets.middle`.
        rays: Distance to the own nucleus's edge along each ray, pixels.
    """

    middle: Float[Array, "*batch height width"]
    rays: Float[Array, "*batch height width ray"]


class Targets(NamedTuple):
    """Truth for `Prediction`.

    Attributes:
        middle: Distance to the own edge over its maximum in that nucleus, [height, width].
        rays: Distance to the own edge along each ray, pixels, [height, width, ray].
    """

    middle: Any
    rays: Any


class Losses(NamedTuple):
    """What is minimised: the sum of these."""

    middle: Float[Array, ""]
    rays: Float[Array, ""]


@dataclass(frozen=True)
class Settings:
    """Which polygons are nuclei.

    Attributes:
        middle: Probability that a candidate must reach.
        overlap: Share of the smaller polygon that two nuclei may have in common.
        min_area_px: Smaller objects are specks.
    """

    middle: float = 0.45
    overlap: float = 0.4
    min_area_px: int = SPECK_PX


def read(layer: nnx.Module, levels: tuple) -> Prediction:
    """Predict from the finest level."""
    out = layer(levels[0])
    return Prediction(out[..., 0], UNIT_PX * out[..., 1:])


def targets(labels: np.ndarray) -> Targets:
    """Make the targets of one label image; the field's border is an edge along a ray.

    Source:
        StarDist (Schmidt et al. 2018, arXiv:1806.03535) and its half-pixel correction.
    """
    middle = watershed.targets(labels).distance
    return Targets(middle, _rays(np.ascontiguousarray(labels, np.int32), DIRECTIONS))


@numba.njit(cache=True)
@no_type_check  # annotations are checked at run time in tests, which numba cannot compile
def _rays(labels, directions):
    height, width = labels.shape
    out = np.zeros((height, width, len(directions)), np.float32)
    for y in range(height):
        for x in range(width):
            own = labels[y, x]
            if own == 0:
                continue
            for ray in range(len(directions)):
                dy, dx = directions[ray]
                steps = 0
                while True:
                    steps += 1
                    v, u = round(y + steps * dy), round(x + steps * dx)
                    beyond = v < 0 or u < 0 or v >= height or u >= width
                    if beyond or labels[v, u] != own:
                        break
                out[y, x, ray] = steps - 0.5
    return out


def losses(
    predicted: Prediction, target: Targets, weight: Float[Array, "batch height width"]
) -> Losses:
    """Compare a prediction with the truth; rays count as much as their pixel is a middle."""
    off = jnp.abs(predicted.rays - target.rays).mean(-1)
    counts = jnp.where(target.middle > 0, target.middle, BACKGROUND_WEIGHT)
    return Losses(
        entropy(predicted.middle, target.middle, weight),
        DISTANCE_WEIGHT * weighted_mean(off, weight * counts),
    )


def decode(prediction: Prediction, settings: Settings) -> Nuclei:
    """Let the likeliest middles suppress those whose polygons overlap theirs, and draw the rest.

    Source:
        StarDist's suppression, on local maxima in place of all pixels, solved for all
        candidates at once.
    """
    shape = prediction.middle.shape
    probability = jax.nn.sigmoid(prediction.middle)
    most = room(probability.size)
    found = peaks(probability, above=settings.middle, radius=PEAK_RADIUS, most=most)
    centres = jnp.stack(jnp.unravel_index(found.index, shape), -1).astype(jnp.float32)
    rays = jnp.maximum(prediction.rays.reshape(-1, RAYS)[found.index], SHORTEST_PX)
    reach = jnp.where(found.present, rays.max(1), -jnp.inf)

    circles = (centres, reach)
    near = neighbours(centres, circles, within=reach, most=RIVALS, only_before=True)
    over = overlap(centres, rays, near.ids) > settings.overlap
    stays = survivors(over, near.ids) & found.present

    def value(y, x, polygon):
        dy, dx = y - centres[polygon, 0], x - centres[polygon, 1]
        return jnp.where(covers(rays, polygon, dy, dx), found.score[polygon], -jnp.inf)

    kept = (centres, jnp.where(stays, reach, -jnp.inf))
    roots, crowded = claim(value, kept, grid(shape))
    return number(roots, min_area_px=settings.min_area_px, dropped=found.dropped + crowded)


def believe(prediction: Prediction) -> Belief:
    """Say how sure a prediction is: of middles, which fade towards the edge."""
    middle = jax.nn.sigmoid(prediction.middle)
    return Belief(middle, middle)


STARS = Head(
    name="stars",
    suits="roundish nuclei in dense fields: an outline is guessed even where nuclei overlap",
    make=hidden(1 + RAYS),
    read=read,
    targets=targets,
    parts=Losses._fields,
    losses=losses,
    decode=decode,
    settings=Settings(),
    believe=believe,
    context=1,
)
