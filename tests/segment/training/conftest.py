"""Small labelled images of discs, in memory and on disk."""

import numpy as np
import pytest
import tifffile


def draw(seed: int = 0, *, size: int = 96, radius: float = 8.0) -> tuple[np.ndarray, np.ndarray]:
    """A plane of bright discs on a jittered grid, and their labels."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    labels = np.zeros((size, size), np.int32)
    for number, (cy, cx) in enumerate(np.mgrid[12:size:24, 12:size:24].reshape(2, -1).T, 1):
        dy, dx = rng.uniform(-2, 2, 2)
        labels[np.hypot(y - cy - dy, x - cx - dx) < radius] = number
    plane = 10 + 50 * (labels > 0) + rng.normal(0, 2, labels.shape)
    return np.clip(plane, 0, 255).astype(np.uint8), labels


@pytest.fixture
def discs():
    return draw


@pytest.fixture
def folder(tmp_path):
    """Six images of discs and their 16-bit labels."""
    data = tmp_path / "data"
    for part in ("images", "labels"):
        (data / part).mkdir(parents=True)
    for seed in range(6):
        plane, labels = draw(seed)
        tifffile.imwrite(data / "images" / f"field{seed}.tif", plane)
        tifffile.imwrite(data / "labels" / f"field{seed}.tif", labels.astype(np.uint16))
    return data
