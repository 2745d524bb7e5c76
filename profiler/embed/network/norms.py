"""Normalisations under which a cell's vector does not depend on its batch at inference."""

from functools import partial

from flax import nnx

GROUP = 8  # features


def group_norm(features: int, *, rngs: nnx.Rngs) -> nnx.GroupNorm:
    """Wu & He 2018 (arXiv:1803.08494), over groups of features of one crop."""
    return nnx.GroupNorm(features, num_groups=max(1, features // GROUP), rngs=rngs)


NORMS = {
    # Running averages at inference: it costs nothing there.
    "batch": partial(nnx.BatchNorm, momentum=0.95),
    # Keras' own numbers, with which EfficientNet's published weights were trained.
    "batch-keras": partial(nnx.BatchNorm, momentum=0.99, epsilon=1e-3),
    "group": group_norm,
}
