"""Flows: heat against a slow loop, pointer jumping against 200 interpolated steps."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from profiler.segment.heads.flows import Prediction, Settings, decode, targets
from profiler.segment.score import drop_specks, overlaps


def euler(flow: np.ndarray, inside: np.ndarray, *, steps: int = 200) -> np.ndarray:
    """Where every pixel ends up, walked a pixel at a time along the interpolated flow."""
    at = np.argwhere(inside).T.astype(float)
    size = np.array(inside.shape)[:, None] - 1
    field = np.where(inside[..., None], flow, 0)
    for _ in range(steps):
        step = [ndimage.map_coordinates(field[..., axis], at, order=1) for axis in (0, 1)]
        at = np.clip(at + np.array(step), 0, size)
    return at


def euler_labels(flow: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Cellpose's way on: ends that pile up within 5 pixels of each other are one nucleus."""
    ends = np.round(euler(flow, inside)).astype(int)
    pile = np.zeros(inside.shape, int)
    np.add.at(pile, tuple(ends), 1)
    sinks, _ = ndimage.label(ndimage.maximum_filter(pile, 5) > 2, np.ones((3, 3)))
    labels = np.zeros(inside.shape, np.int32)
    labels[inside] = sinks[tuple(ends)]
    return labels


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_jumping_agrees_with_two_hundred_interpolated_steps(noise, nuclei):
    labels = nuclei(1)
    truth = targets(labels)
    rng = np.random.default_rng(0)
    flow = truth.flow + noise * rng.normal(size=truth.flow.shape)
    inside = labels > 0
    logit = np.where(inside, 9.0, -9.0).astype(np.float32)
    found = decode(Prediction(jnp.asarray(logit), jnp.asarray(flow, jnp.float32)), Settings())
    unit = flow / np.linalg.norm(flow + 1e-9, axis=-1, keepdims=True)
    expected = drop_specks(euler_labels(unit, inside), below=Settings().min_area_px)
    assert found.count == len(np.unique(expected)) - 1 == len(np.unique(labels)) - 1
    assert overlaps(expected, np.asarray(found.labels)).max(1).min() > 0.9


def test_heat_flows_from_the_middle_as_a_slow_loop_says():
    y, x = np.mgrid[:24, :30]
    labels = (((y - 11) / 8) ** 2 + ((x - 14) / 11) ** 2 < 1).astype(np.int32)
    places = np.argwhere(labels)
    middle = places[((places - places.mean(0)) ** 2).sum(1).argmin()]
    heat = np.zeros(labels.shape)
    for _ in range(2 * (17 + 23)):
        heat[tuple(middle)] += 1
        heat = ndimage.convolve(heat, np.ones((3, 3)) / 9, mode="constant") * labels
    expected = np.stack(np.gradient(np.log1p(heat)), -1)
    expected /= np.maximum(np.linalg.norm(expected, axis=-1, keepdims=True), 1e-20)
    found = targets(labels).flow
    agree = (found * expected).sum(-1)[labels > 0]
    assert np.quantile(agree, 0.05) > 0.999  # the middle itself has no direction
    assert not found[labels == 0].any()
