"""Strict numbers everywhere, and where the real data is."""

import os
import tempfile
from functools import cache
from pathlib import Path

import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_NUMPY_RANK_PROMOTION", "raise")
# Most of the suite's time is compiling programs that run once on small arrays: LLVM's passes bring
# nothing there, nor does MLIR, which XLA lowers fused operations through in twice the time. XLA's
# own passes, and so what is computed and in which order, stay as they are.
COMPILED_FAST = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
os.environ.setdefault("XLA_FLAGS", COMPILED_FAST)
# Every program is compiled once for the whole suite: the first process to come here makes the
# folder, workers and subprocesses inherit its name.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    COMPILED = tempfile.TemporaryDirectory(prefix="jax-", ignore_cleanup_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = COMPILED.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"

SHARED = Path(__file__).parents[2] / "shared"
QUICK = Path(__file__).parent / "quick.toml"  # the demo's recipe with few features


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


@pytest.fixture(scope="module")
def networks_loaded_once():
    """A network is traced anew wherever it is loaded, which takes longer than most that it does."""
    from profiler.segment.segmenter import load_segmenter

    once = cache(load_segmenter)
    with pytest.MonkeyPatch.context() as patch:
        for place in ("compute.reread", "images", "suggest"):
            patch.setattr(f"profiler.{place}.load_segmenter", once)
        yield


@pytest.fixture(scope="session")
def small_plate(tmp_path_factory) -> Path:
    """A 12-well synthetic plate: folder with images and `platemap.csv`."""
    from plates.synthetic import Compound, Phenotype, PlateDesign, write_plate

    folder = tmp_path_factory.mktemp("plates") / "mini"
    design = PlateDesign(
        plate="mini",
        plate_format=12,
        size=192,
        untreated=Phenotype(n_cells=25),
        compounds=(Compound("Mover", phenotype="translocation", ec50=0.3), Compound("Idle")),
        concentrations=(0.1, 1.0, 10.0),
    )
    write_plate(folder, design)
    return folder


@pytest.fixture(scope="session")
def small_run(small_plate, tmp_path_factory) -> Path:
    """The small plate, run once with label images; copy it before changing anything."""
    from profiler.pipeline import run
    from profiler.recipe import load_recipe
    from profiler.request import Request

    out = tmp_path_factory.mktemp("runs") / "mini"
    request = Request(
        plates=(small_plate,),
        out=out,
        recipe=load_recipe(QUICK),
        layout=small_plate / "platemap.csv",
        save_labels=True,
    )
    list(run(request))
    return out
