"""Small crops of three kinds: a disc, a ring, stripes."""

import numpy as np
import pytest

from profiler.embed.crops import CropConfig
from profiler.embed.network.config import EncoderConfig, ModelConfig
from profiler.embed.training.examples import Examples

SIDE = 16
KINDS = ("disc", "ring", "stripes")


def draw(count: int, seed: int = 0) -> Examples:
    """Crops [cell, 16, 16, 1] uint8 of each kind in turn, from four movies."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    away = np.hypot(y, x)
    shapes = [away < 5, (away > 3) & (away < 6), (x // 2 % 2 == 0) & (away < 7)]
    labels = np.arange(count, dtype=np.int32) % len(KINDS)
    noise = rng.normal(0, 8, (count, SIDE, SIDE))
    crops = np.stack([60 + 120 * shapes[k] for k in labels]) + noise
    groups = np.array([f"movie{i}" for i in rng.integers(0, 4, count)])
    return Examples(np.clip(crops, 0, 255).astype(np.uint8)[..., None], labels, groups)


@pytest.fixture
def shapes():
    return draw


@pytest.fixture
def config() -> ModelConfig:
    encoder = EncoderConfig(widths=(8, 16), blocks=(1, 1))
    return ModelConfig(encoder, CropConfig(SIDE), ("DNA",), KINDS)
