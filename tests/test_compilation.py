"""No shape is compiled twice in a run, and the next run finds the programs on disk."""

import logging
from collections import Counter
from pathlib import Path

import jax
import pytest

from profiler.pipeline import run
from profiler.recipe import load_recipe
from profiler.request import Request

QUICK = Path(__file__).parent / "quick.toml"  # the demo's recipe with few features


@pytest.fixture
def compiled(caplog):
    """Names and shapes of the programs that JAX compiles, as it logs them."""
    jax.clear_caches()
    jax.config.update("jax_log_compiles", True)
    caplog.set_level(logging.DEBUG, logger="jax")
    yield lambda: Counter(
        record.getMessage()
        for record in caplog.records
        if record.getMessage().startswith("Compiling")
    )
    jax.config.update("jax_log_compiles", False)


def test_no_shape_compiles_twice(compiled, small_plate, tmp_path):
    request = Request(
        (small_plate,), tmp_path / "run", load_recipe(QUICK), wells=("A01", "A02", "B03"), batch=2
    )
    list(run(request))  # two batches, the last one padded
    found = compiled()
    assert any("jit(look)" in name for name in found)
    assert found.most_common(1)[0][1] == 1, found.most_common(3)


def test_the_persistent_cache_is_on_and_filled(small_run):
    folder = Path(jax.config.jax_compilation_cache_dir)
    assert list(folder.iterdir())
