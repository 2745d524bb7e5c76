"""Whether this machine can run plates, and what would hold it up."""

import importlib.metadata
import os
import platform
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SLOW_SCATTER = ((0, 10, 2), (0, 11, 0))  # jaxlib versions, both ends included: jax#38806


class Finding(NamedTuple):
    """One thing looked at.

    Attributes:
        name: What.
        text: What was found and, where it is not fine, what to do.
        is_fine: Whether it is.
    """

    name: str
    text: str
    is_fine: bool = True


def examine() -> Iterator[Finding]:
    """Look at interpreter, packages, device, disk and shipped weights."""
    yield Finding("python", f"{platform.python_version()} on {platform.platform()}")
    for package in ("jax", "jaxlib", "flax", "polars", "pyarrow", "numba"):
        yield Finding(package, importlib.metadata.version(package))
    yield from _devices()
    yield Finding("processors", f"{os.cpu_count()} cores")
    yield _disk(Path.cwd())
    yield from _weights()


def _devices() -> Iterator[Finding]:
    import jax

    from profiler.compute.devices import keep_compiled_programs

    kinds = ", ".join(device.device_kind for device in jax.devices())
    backend = jax.default_backend()
    yield Finding("device", f"{backend}: {kinds}")
    version = tuple(map(int, re.findall(r"\d+", jax.lib.__version__)[:3]))
    if backend == "gpu" and SLOW_SCATTER[0] <= version <= SLOW_SCATTER[1]:
        text = "adds thousands of times too slowly on GPUs (jax#38806); install jax 0.11.1 or newer"
        yield Finding("scatter", text, is_fine=False)
    keep_compiled_programs()
    yield Finding("compiled programs", f"kept in {jax.config.values['jax_compilation_cache_dir']}")


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free / 1e9
    text = f"{free:.0f} GB free in {folder}"
    return Finding("disk", text if free > 1 else f"{text}; make room before a run", free > 1)


def _weights() -> Iterator[Finding]:
    from plates.errors import BadModel
    from profiler.segment.catalogue import MODELS
    from profiler.segment.weights import load_network

    for name in MODELS:
        try:
            _, _, card = load_network(name)
            yield Finding(f"model {name}", f"whole, sha256 {card.sha256[:16]}")
        except BadModel as error:
            yield Finding(f"model {name}", str(error), is_fine=False)
