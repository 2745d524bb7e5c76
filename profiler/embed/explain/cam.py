"""Coarse maps of where a network finds what it goes by."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from plates.errors import BadModel
from profiler.embed.explain.gradients import ByPixel
from profiler.embed.explain.line import Line
from profiler.embed.explain.rollout import rollout
from profiler.embed.network.build import Model
from profiler.embed.network.encoder import POOLS, CropBatch
from profiler.embed.network.layers import Map
from profiler.embed.network.vit import ViT

Grid = Float[Array, "batch height width channel"]


def grad_cam(model: Model, line: Line, crops: CropBatch) -> ByPixel:
    """Weigh the last level's maps by what they do for a line, each stain's own.

    Args:
        model: For inference, with a convolutional backbone.
        line: What is explained.
        crops: Intensities from 0 to 1, [batch, side, side, channel].

    Returns:
        0 and above: what speaks for the line, as fine as the last level (a sixteenth of the
        crop, say) and enlarged to the crop.

    Raises:
        BadModel: The backbone has no convolutional level.

    Source:
        Selvaraju et al. 2017 (arXiv:1610.02391), equations 1 and 2.
    """
    batch, _, _, channels = crops.shape
    shown = model.encoder.show(crops)
    maps = _last_level(model.encoder.backbone)(shown.reshape(-1, *shown.shape[2:]))

    def place(maps: Map) -> Float[Array, ""]:
        vectors = maps.mean((1, 2)).reshape(batch, channels, -1)
        return line(POOLS[model.encoder.stains](vectors)).sum()

    weights = jax.grad(place)(maps).mean((1, 2), keepdims=True)
    cam = jax.nn.relu((weights * maps).sum(-1))
    return enlarged(jnp.moveaxis(cam.reshape(batch, channels, *cam.shape[1:]), 1, -1), crops)


def _last_level(backbone: Any) -> Callable[[Map], Map]:
    if not hasattr(backbone, "last_level"):
        raise BadModel(
            f"Grad-CAM needs a last convolutional level; the backbone {type(backbone).__name__} "
            "has none. Use attention rollout for a ViT, or integrated gradients."
        )
    return backbone.last_level


def coarse_map(model: Model, line: Line, crops: CropBatch) -> ByPixel:
    """Grad-CAM, or for a vision transformer attention rollout; 0 and above.

    Raises:
        BadModel: The backbone has neither convolutions nor attention.
    """
    if isinstance(model.encoder.backbone, ViT):
        return enlarged(rollout(model, line, crops), crops)
    return grad_cam(model, line, crops)


def coarse_name(model: Model) -> str:
    """What its coarse map is called."""
    return "attention rollout" if isinstance(model.encoder.backbone, ViT) else "Grad-CAM"


def enlarged(grid: Grid, crops: CropBatch) -> ByPixel:
    """Bring a coarse map to the size of the crops, linearly."""
    return jax.image.resize(grid, (*crops.shape[:3], grid.shape[-1]), "linear")
