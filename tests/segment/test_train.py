"""Training: it learns, and the same seed gives the same weights; augmentation keeps pairs."""

from itertools import islice

import jax
import numpy as np
import pytest
from flax import nnx

from profiler.segment.augment import (
    AugmentConfig,
    LabelledField,
    examples,
    normalise_host,
)
from profiler.segment.normalise import normalise
from profiler.segment.train import TrainConfig, train
from profiler.segment.unet import UNet, UNetConfig

CROPS = AugmentConfig(size=48, batch=4, empty=0.0)


def discs() -> LabelledField:
    y, x = np.mgrid[:96, :96]
    labels = np.zeros((96, 96), np.int32)
    for number, (cy, cx) in enumerate(np.mgrid[12:96:24, 12:96:24].reshape(2, -1).T, 1):
        labels[np.hypot(y - cy, x - cx) < 8] = number
    return LabelledField(normalise_host((labels > 0) * 50.0 + 10), labels)


def trained(seed: int, steps: int = 40):
    model = UNet(UNetConfig(widths=(8, 16)), rngs=nnx.Rngs(seed))
    schedule = TrainConfig(steps=steps, warmup=2, learning_rate=1e-2, report_every=steps - 1)
    log = list(train(model, examples([discs()], [1.0], CROPS, seed=seed), schedule))
    return model, log


def test_losses_fall_and_the_first_is_untrained():
    _, log = trained(0)
    (_, before), (last, after) = log
    assert last == 39
    assert after.foreground < 0.5 * before.foreground
    assert after.distance < before.distance


def test_the_same_seed_gives_the_same_weights():
    states = [nnx.state(trained(3, steps=4)[0], nnx.Param) for _ in range(2)]
    for one, other in zip(*map(jax.tree.leaves, states), strict=True):
        np.testing.assert_array_equal(one, other)


def test_crops_and_targets_stay_together():
    for example in islice(examples([discs()], [1.0], CROPS, seed=1), 5):
        bright = example.images[..., 0] > 0.5
        agree = (bright == (example.target.foreground > 0.5)).mean()
        assert agree > 0.85
        assert example.images.shape == (4, 48, 48, 1)
        assert 0 <= example.target.distance.min() <= example.target.distance.max() <= 1


def test_empty_crops_have_no_targets():
    crops = next(examples([discs()], [1.0], AugmentConfig(size=32, batch=3, empty=1.0), seed=0))
    assert not crops.target.foreground.any()
    assert crops.images.std() > 0.1  # noise fills the range, as in a real empty field


@pytest.mark.parametrize("gain", [1.0, 300.0])
def test_host_and_device_normalise_alike_at_any_gain(gain):
    plane = np.random.default_rng(0).gamma(2, 5, (60, 70)).astype(np.float32)
    host = normalise_host(gain * plane + 7)
    device = jax.jit(normalise)(jax.numpy.asarray(gain * plane + 7))
    np.testing.assert_allclose(host, device, atol=1e-4)


def test_a_constant_plane_normalises_to_zero():
    assert not np.asarray(normalise(jax.numpy.full((8, 8), 3.0))).any()
