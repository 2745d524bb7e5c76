"""Networks whose answer is known, and crops to ask them about."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jaxtyping import Array

from profiler.embed.crops import CropConfig
from profiler.embed.explain.line import Line
from profiler.embed.network.build import Model, build
from profiler.embed.network.config import EncoderConfig, ModelConfig
from profiler.embed.network.encoder import Encoder

SIDE = 16
KINDS = {
    "small": EncoderConfig(widths=(8,), blocks=(1,)),
    "resnet": EncoderConfig(widths=(8, 16), blocks=(1, 1)),
    "efficientnet": EncoderConfig("efficientnet", widths=(8, 8, 16), blocks=(1,)),
    "vit": EncoderConfig("vit", widths=(32,), blocks=(2,)),
}


class Planted(nnx.Module):
    """A backbone of one feature: any function of the planes [plane, side, side, kind]."""

    def __init__(self, see: Callable[[Array], Array]):
        self.see = see

    def __call__(self, planes: Array) -> Array:
        return self.see(planes)[:, None]


def planted_model(see: Callable[[Array], Array], *, scale: str = "brightness") -> Model:
    return Model(Encoder(EncoderConfig(scale=scale), Planted(see)), None)


def random_model(kind: str, *, stains: int = 2, seed: int = 0) -> tuple[Model, ModelConfig]:
    names = tuple(f"stain{i}" for i in range(stains))
    config = ModelConfig(KINDS[kind], CropConfig(SIDE), names)
    model = build(config, rngs=nnx.Rngs(seed))
    model.eval()
    return model, config


def random_line(size: int, seed: int = 0) -> Line:
    weights = np.random.default_rng(seed).normal(size=size)
    return Line(jnp.asarray(weights, jnp.float32), jnp.float32(0.25))


def random_crops(count: int, *, stains: int = 2, seed: int = 0) -> np.ndarray:
    """A bright disc in noise, each crop's and stain's own brightness."""
    rng = np.random.default_rng(seed)
    bright = rng.uniform(0.2, 0.8, (count, 1, 1, stains))
    noise = rng.uniform(0, 0.1, (count, SIDE, SIDE, stains))
    return (noise + bright * disc()[None, :, :, None]).astype(np.float32)


def disc() -> np.ndarray:
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    return np.hypot(y, x) < 5


def compiled(function: Callable, *fixed, **options) -> Callable:
    """One program in place of hundreds of operations, each compiled on its own."""
    return jax.jit(partial(function, *fixed, **options))


@pytest.fixture
def quick():
    return compiled


@pytest.fixture
def planted():
    return planted_model


@pytest.fixture
def model():
    return random_model


@pytest.fixture
def line():
    return random_line


@pytest.fixture
def crops():
    return random_crops


@pytest.fixture
def mask():
    return disc
