"""Integrated gradients: what each pixel adds to the difference between a crop and another."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from profiler.embed.explain.line import Line
from profiler.embed.network.build import Model
from profiler.embed.network.encoder import CropBatch

STEPS = 16  # nodes of the quadrature: see tests/embed/explain/test_gradients.py

ByPixel = Float[Array, "batch side side channel"]


def integrated_gradients(
    model: Model, line: Line, crops: CropBatch, baselines: CropBatch, *, steps: int = STEPS
) -> ByPixel:
    """Share the difference between crops and their baselines out among pixels.

    The path is straight between what the network is shown of both: standardised, a crop fading to
    a plain grey is the same picture all the way, then suddenly none, and a path of pixels would put
    all change into one jump, which no sum over steps finds. Each pixel's planes are added up.

    Args:
        model: For inference.
        line: What is explained.
        crops: Intensities from 0 to 1, [batch, side, side, channel].
        baselines: What each is held against: another cell's crop, or an empty one.
        steps: Points along the path, by Gauss and Legendre.

    Returns:
        What each pixel of each stain adds, in the unit of the line: over a crop the values
        add up to line(crop) - line(baseline), but for the error of the sum over steps.

    Source:
        Sundararajan, Taly & Yan 2017 (arXiv:1703.01365), equation 1; with several baselines,
        averaged, expected gradients (Erion et al. 2021, arXiv:1906.10670).
        tests/embed/explain/test_gradients.py holds it to closed forms.
    """
    start, end = model.encoder.show(baselines), model.encoder.show(crops)
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    at = jnp.asarray((nodes + 1) / 2, jnp.float32).reshape(-1, *[1] * start.ndim)
    # All points of the path are one batch: in a loop, XLA convolves on a single core of a CPU.
    path = (start[None] + at * (end - start)[None]).reshape(-1, *start.shape[1:])
    slopes = jax.grad(lambda shown: line(model.encoder.see(shown)).sum())(path)
    mean = jnp.asarray(weights / 2, jnp.float32)
    slope = jnp.tensordot(mean, slopes.reshape(steps, *start.shape), axes=1)
    return jnp.moveaxis(((end - start) * slope).sum(-1), 1, -1)
