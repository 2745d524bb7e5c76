"""Strict numbers everywhere, and where the real data is."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_NUMPY_RANK_PROMOTION", "raise")

SHARED = Path(__file__).parents[2] / "shared"


def _shared(folder: str) -> Path:
    path = SHARED / folder
    if not path.is_dir():
        pytest.skip(f"needs the real data in {path.name}/ beside the checkout, which is not here")
    return path


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Real images and tables; see the README there."""
    return _shared("data")


@pytest.fixture(scope="session")
def reference_folder() -> Path:
    """CellProfiler's own output and column lists."""
    return _shared("reference")
