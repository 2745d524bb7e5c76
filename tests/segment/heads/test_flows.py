"""Flows: heat against a slow loop, pointer jumping against 200 interpolated steps."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from profiler.segment.heads.flows import (
    FLOW_SCALE,
    Prediction,
    Settings,
    believe,
    decode,
    targets,
)
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


def test_depth_is_high_in_middles_and_low_where_two_nuclei_touch():
    y, x = np.mgrid[:40, :60]
    labels = np.zeros((40, 60), np.int32)
    labels[np.hypot(y - 20, x - 18) < 12] = 1
    labels[(np.hypot(y - 20, x - 41) < 12) & (labels == 0)] = 2
    truth = targets(labels)
    logit = jnp.asarray(18 * truth.foreground - 9)
    depth = np.asarray(believe(Prediction(logit, jnp.asarray(FLOW_SCALE * truth.flow))).depth)
    assert (labels[20, 29], labels[20, 30]) == (1, 2)
    assert depth[19:22, 29:31].max() < 0.1  # they run apart there
    assert depth[20, 18] > 0.95
    assert depth[20, 41] > 0.95
    assert depth.min() >= 0
    assert depth.max() <= 1
    # In between the heat falls as around a point: a unit flow there runs together by 1 / r.
    assert depth[20, 12] == pytest.approx(0.5 + 1 / 2 / 6, abs=0.05)
