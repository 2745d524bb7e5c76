"""The contract between networks and decoders."""

from typing import NamedTuple

from jaxtyping import Array, Float


class Prediction(NamedTuple):
    """What a network says about every pixel.

    Attributes:
        foreground: Logit of belonging to any nucleus.
        distance: Distance to the nucleus's own edge over the largest such distance in
            that nucleus: 1 at its middle, 0 at its edge and in the background.
    """

    foreground: Float[Array, "*batch height width"]
    distance: Float[Array, "*batch height width"]
