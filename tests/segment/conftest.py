"""Networks of many shapes are compiled here, and forgotten file by file."""

import jax
import pytest


@pytest.fixture(scope="module", autouse=True)
def _forgotten_programs():
    """A training step's program takes some hundred megabytes; two workers keep all they met."""
    yield
    jax.clear_caches()
