"""What a head is: what is predicted of every pixel, how it is learnt, how it becomes nuclei."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from profiler.segment.confidence.belief import Belief
from profiler.segment.decoding.nuclei import Nuclei


@dataclass(frozen=True)
class Head:
    """One way to say where nuclei are.

    Attributes:
        name: As configurations call it.
        suits: What it is good for, in a sentence.
        make: `(features of each level, rngs)` to the layers that predict.
        read: Those layers and the levels, the finest first, to a prediction: a NamedTuple of
            maps with a batch axis, each at full resolution or at that of a coarser level.
        targets: One label image [height, width] to what a perfect network knows of it, a
            NamedTuple of arrays whose shapes hang on the image's alone. Host side, NumPy.
        parts: Names of the parts of the loss.
        losses: `(prediction, targets, weight)` of a batch to a NamedTuple of them, whose sum is
            minimised; pixels of weight 0 are ignored, whatever is in them.
        decode: One field's prediction and settings to its nuclei, on the device, at fixed shapes.
        settings: Thresholds, a frozen dataclass with `min_area_px`.
        believe: One field's prediction to two maps that say how sure the network is of it.
        resizable: Whether a prediction may be brought to another resolution before it is decoded.
        context: How far the layers look around themselves, in pixels of the coarsest level.
    """

    name: str
    suits: str
    make: Callable[[tuple[int, ...], nnx.Rngs], nnx.Module]
    read: Callable[[Any, tuple], Any]
    targets: Callable[[np.ndarray], Any]
    parts: tuple[str, ...]
    losses: Callable[[Any, Any, Any], Any]
    decode: Callable[[Any, Any], Nuclei]
    settings: Any
    believe: Callable[[Any], Belief]
    resizable: bool = False
    context: int = 0


def pixelwise(maps: int) -> Callable[[tuple[int, ...], nnx.Rngs], nnx.Conv]:
    """Make a 1x1 convolution at full resolution."""
    return lambda widths, rngs: nnx.Conv(widths[0], maps, (1, 1), rngs=rngs)


class Hidden(nnx.Module):
    """A 3x3 convolution before the one that predicts, for heads of many maps."""

    def __init__(self, inputs: int, width: int, maps: int, *, rngs: nnx.Rngs):
        self.look = nnx.Conv(inputs, width, (3, 3), rngs=rngs)
        self.tell = nnx.Conv(width, maps, (1, 1), rngs=rngs)

    def __call__(
        self, x: Float[Array, "batch height width _"]
    ) -> Float[Array, "batch height width _"]:
        """Predict from the features of every pixel and its neighbours."""
        return self.tell(nnx.relu(self.look(x)))


def hidden(maps: int, *, width: int = 32) -> Callable[[tuple[int, ...], nnx.Rngs], Hidden]:
    """Make a hidden layer and a 1x1 convolution at full resolution."""
    return lambda widths, rngs: Hidden(widths[0], width, maps, rngs=rngs)
