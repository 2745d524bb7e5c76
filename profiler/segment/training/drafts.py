"""What lies beside a network in training, until it is through and takes its place."""

from pathlib import Path

from profiler.segment.weights import copy_network


def checkpoint_path(out: Path) -> Path:
    """Where a run that is not yet through lies: beside its weights."""
    return out.with_name(f"{out.stem}.training.safetensors")


def best_path(out: Path) -> Path:
    """Where the best network so far lies, to be used like any other."""
    return out.with_name(f"{out.stem}.best.safetensors")


def publish(out: Path) -> None:
    """Put the best network in its place, and whatever was there before out of it.

    Interrupted at any moment, this can be done again: the checkpoint goes after the network is
    there, the best network after the checkpoint.
    """
    best = best_path(out)
    copy_network(best, out)
    checkpoint_path(out).unlink(missing_ok=True)
    for path in (best, best.with_suffix(".json")):
        path.unlink(missing_ok=True)
