"""The layers of the box head: a small tower that all levels of the pyramid share."""

import math

import jax.numpy as jnp
from flax import nnx

from plates.errors import BadModel
from profiler.segment.heads.boxes.prediction import BASES, STRIDES, TERMS, Level, Prediction

WIDTH = 32  # features of the tower
RARE = 0.01  # share of places that hold a nucleus, as the untrained network believes


class BoxLayers(nnx.Module):
    """RetinaNet's single stage (Lin et al. 2017, arXiv:1708.02002) without anchors.

    Sides are predicted from each place as in FCOS (arXiv:1904.01355).
    """

    def __init__(self, widths: tuple[int, ...], rngs: nnx.Rngs):
        self.indices = tuple(int(math.log2(stride)) for stride in STRIDES)
        if len(widths) <= self.indices[-1]:
            raise BadModel(
                f"The head 'boxes' looks at strides {STRIDES}; a network of {len(widths)} levels "
                f"ends at {2 ** (len(widths) - 1)}. Give it {self.indices[-1] + 1} widths."
            )
        lateral = [nnx.Conv(widths[i], WIDTH, (1, 1), rngs=rngs) for i in self.indices]
        self.lateral = nnx.List(lateral)
        self.tower = nnx.List([nnx.Conv(WIDTH, WIDTH, (3, 3), rngs=rngs) for _ in range(2)])
        rare = nnx.initializers.constant(-math.log(1 / RARE - 1))
        self.present = nnx.Conv(WIDTH, 1, (1, 1), bias_init=rare, rngs=rngs)
        self.sides = nnx.Conv(WIDTH, 4, (1, 1), rngs=rngs)
        self.mix = nnx.Conv(WIDTH, BASES + TERMS, (1, 1), rngs=rngs)
        self.bases = nnx.Conv(widths[0], BASES, (1, 1), rngs=rngs)

    def __call__(self, levels: tuple) -> Prediction:
        """Predict boxes at three levels, and mask maps from the finest."""
        boxes = [
            self._boxes(nnx.relu(lateral(levels[index])), stride)
            for lateral, index, stride in zip(self.lateral, self.indices, STRIDES, strict=True)
        ]
        return Prediction(tuple(boxes), self.bases(levels[0]))

    def _boxes(self, x, stride: int) -> Level:
        for layer in self.tower:
            x = nnx.relu(layer(x))
        sides = 2 * stride * jnp.exp(jnp.clip(self.sides(x), -4.0, 4.0))
        return Level(self.present(x)[..., 0], sides, self.mix(x))


def read(layers: BoxLayers, levels: tuple) -> Prediction:
    """Predict from all levels."""
    return layers(levels)
