"""How sure the box head is: the likeliest box of the three levels at every place."""

from functools import reduce

import jax
import jax.numpy as jnp

from profiler.segment.confidence.belief import Belief
from profiler.segment.heads.boxes.prediction import Prediction


def believe(prediction: Prediction) -> Belief:
    """Say how sure a prediction is: that a nucleus's middle is near, at any size."""
    likely = [jax.nn.sigmoid(level.present) for level in prediction.levels]
    finest = likely[0].shape
    near = reduce(jnp.maximum, (jax.image.resize(each, finest, "linear") for each in likely))
    return Belief(near, near)
