"""From boxes and mask maps to nuclei, on the device."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from profiler.segment.decoding.candidates import Candidates, peaks, room, strongest
from profiler.segment.decoding.claim import claim, grid
from profiler.segment.decoding.neighbours import neighbours, survivors
from profiler.segment.decoding.nuclei import Nuclei, number
from profiler.segment.heads.boxes.prediction import (
    STRIDES,
    Level,
    Prediction,
    mask_logit,
    places,
)
from profiler.segment.score import SPECK_PX

RIVALS = 32  # better boxes that each one is compared with
MARGIN = 1.15  # how far beyond its box a mask may reach


@dataclass(frozen=True)
class Settings:
    """Which boxes are nuclei.

    Attributes:
        present: Probability that a box must reach.
        overlap: Intersection over union of two boxes above which the worse goes.
        min_area_px: Smaller objects are specks.
    """

    present: float = 0.35
    overlap: float = 0.5
    min_area_px: int = SPECK_PX


class Boxes(NamedTuple):
    """The likeliest boxes of a field, of all levels together.

    Attributes:
        found: Their scores.
        middle: Rows and columns, pixels.
        half: Half height and width, pixels.
        mix: How their masks are mixed.
    """

    found: Candidates
    middle: Float[Array, "box 2"]
    half: Float[Array, "box 2"]
    mix: Float[Array, "box term"]


def decode(prediction: Prediction, settings: Settings) -> Nuclei:
    """Let the likeliest boxes suppress those that overlap them, and give pixels to masks.

    A pixel goes to the box whose mask is surest of it.
    """
    boxes = _likeliest(prediction, settings)
    reach = jnp.sqrt((boxes.half**2).sum(-1))
    reach = jnp.where(boxes.found.present, reach, -jnp.inf)
    circles = (boxes.middle, reach)
    near = neighbours(boxes.middle, circles, within=reach, most=RIVALS, only_before=True)
    over = box_overlap(boxes.middle, boxes.half, near.ids) > settings.overlap
    stays = survivors(over, near.ids) & boxes.found.present

    def value(y, x, box):
        u = (y - boxes.middle[box, 0]) / boxes.half[box, 0]
        v = (x - boxes.middle[box, 1]) / boxes.half[box, 1]
        logit = mask_logit(prediction.bases, boxes.mix[box], u, v)
        inside = jnp.maximum(jnp.abs(u), jnp.abs(v)) <= MARGIN
        return jnp.where(inside & (logit > 0), logit, -jnp.inf)

    kept = (boxes.middle, jnp.where(stays, MARGIN * reach, -jnp.inf))
    roots, crowded = claim(value, kept, grid(prediction.bases.shape[:2]))
    return number(roots, min_area_px=settings.min_area_px, dropped=boxes.found.dropped + crowded)


def box_overlap(
    middle: Float[Array, "box 2"], half: Float[Array, "box 2"], listed: Int[Array, "box most"]
) -> Float[Array, "box most"]:
    """Intersection over union of each box and those listed for it."""
    other = jnp.minimum(listed, len(middle) - 1)
    top = jnp.maximum((middle - half)[:, None], (middle - half)[other])
    bottom = jnp.minimum((middle + half)[:, None], (middle + half)[other])
    shared = jnp.maximum(bottom - top, 0.0).prod(-1)
    area = 4 * half.prod(-1)
    return shared / (area[:, None] + area[other] - shared)


def _likeliest(prediction: Prediction, settings: Settings) -> Boxes:
    """Local maxima of every level, the best of all levels together."""
    most = room(prediction.bases[..., 0].size)
    parts = [
        _of_level(level, stride, settings, most=most)
        for level, stride in zip(prediction.levels, STRIDES, strict=True)
    ]
    score, middle, half, mix, dropped = (jnp.concatenate(each) for each in zip(*parts, strict=True))
    best = strongest(score, most=min(most, len(score)))
    found = best._replace(dropped=best.dropped + dropped.sum())
    return Boxes(found, *(each[best.index] for each in (middle, half, mix)))


def _of_level(level: Level, stride: int, settings: Settings, *, most: int) -> tuple[Array, ...]:
    score = jax.nn.sigmoid(level.present)
    found = peaks(score, above=settings.present, radius=1, most=min(most, score.size))
    at = places(score.shape, stride).reshape(-1, 2)[found.index]
    sides = level.sides.reshape(-1, 4)[found.index]
    middle = at + (sides[:, 2:] - sides[:, :2]) / 2
    half = (sides[:, 2:] + sides[:, :2]) / 2
    mix = level.mix.reshape(-1, level.mix.shape[-1])[found.index]
    return found.score, middle, half, mix, found.dropped[None]
