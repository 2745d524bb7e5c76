"""What computes: cores, devices, their memory, and the programs compiled for them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Shaped

from plates.errors import ProfilingError

MOST_FIELDS = 16  # in a batch, on each device: more gain nothing, and keep the first well waiting
SHARE = 0.7  # of a device's memory that a batch may take; the rest is programs and fragments
BYTES_PER_PIXEL = 5_000  # of a field of five stains, by the compiler: see docs/speed.md


class OutOfMemory(ProfilingError, MemoryError):
    """A batch does not fit into the device's memory."""


def keep_compiled_programs() -> None:
    """Turn JAX's persistent compilation cache on, unless the user has placed it elsewhere."""
    if jax.config.values["jax_compilation_cache_dir"] is None:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        jax.config.update("jax_compilation_cache_dir", str(Path(home) / "plate-profiler" / "jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


def leave_accelerators() -> None:
    """Compute on the CPU in this process from now on: the accelerators are for others."""
    jax.config.update("jax_platforms", "cpu")


def available_cores() -> int:
    """Cores that this process may use: the machine's, or fewer; `NPROC`, as XLA reads it, too."""
    everywhere = os.cpu_count() or 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else everywhere
    return min(cores, int(os.environ.get("NPROC", cores)))


def device_name() -> str:
    """What computes, for `run.json`: platform, kind and number of the devices of this machine."""
    devices = jax.local_devices()
    many = f" x {len(devices)}" if len(devices) > 1 else ""
    return f"{devices[0].platform}: {devices[0].device_kind}{many}"


def batch_size(*, pixels: int, channels: int) -> int:
    """Fields to compute together: as many as the memory at hand holds.

    On a CPU one field on each device: its kernels take the fields one after another, and more
    would only keep the others' results waiting.

    Args:
        pixels: Of one plane.
        channels: Of one field.
    """
    devices = jax.local_devices()
    if jax.default_backend() == "cpu":
        return len(devices)
    free = min(map(_free, devices))
    fits = SHARE * free / field_bytes(pixels=pixels, channels=channels)
    return max(1, int(min(MOST_FIELDS, fits))) * len(devices)


def field_bytes(*, pixels: int, channels: int) -> int:
    """What a field takes of a device's memory while it is computed, about."""
    return int(BYTES_PER_PIXEL * pixels * max(channels, 1) / 5)


def _free(device: Any) -> float:
    """Bytes that a device has left for us; endless where it does not tell."""
    stats = device.memory_stats() or {}
    if "bytes_limit" not in stats:
        return float("inf")
    return float(stats["bytes_limit"] - stats.get("bytes_in_use", 0))


def place(images: Shaped[np.ndarray, "batch ..."]) -> Shaped[Array, "batch ..."]:
    """Send a batch to the devices of this machine, an equal share of its fields to each.

    Returns:
        The batch, sharded along its first axis over as many devices as divide it evenly. The
        copy may still be under way.
    """
    devices = jax.local_devices()
    count = max(n for n in range(1, len(devices) + 1) if len(images) % n == 0)
    if count == 1:
        return jax.device_put(images, devices[0])
    mesh = Mesh(np.array(devices[:count]), ("batch",))
    return jax.device_put(images, NamedSharding(mesh, PartitionSpec("batch")))


def shards(images: Shaped[Array, "batch ..."]) -> list[Shaped[Array, "share ..."]]:
    """The shares of a batch in their order, each on its own device."""
    parts = images.addressable_shards
    return [part.data for part in sorted(parts, key=lambda part: part.index[0].start or 0)]


@contextmanager
def telling_out_of_memory(fields: int) -> Iterator[None]:
    """Raise `OutOfMemory` where the device, or the machine, has no room for a batch.

    Args:
        fields: In the batch, for the message.
    """
    try:
        yield
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
        if isinstance(error, OutOfMemory) or not (
            isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)
        ):
            raise
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise OutOfMemory(
            f"{fields} field{'s' * (fields > 1)} together do not fit into the memory of "
            f"{device_name()} ({first}). Finished wells are kept. Free memory that other programs "
            "hold, lower [segment] max_cells, measure fewer families, or use a larger device; then "
            "run the same command again."
        ) from error
