"""Training stops where its numbers are none any more, before they replace any that are."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from plates.errors import ProfilingError


class Diverged(ProfilingError, ArithmeticError):
    """Training whose loss or weights are no longer finite."""


def check_finite(numbers: Any, *, step: int, checkpoint: Path | None = None) -> None:
    """Stop a training that has diverged; asked before anything is told or written.

    Args:
        numbers: Losses, weights or both, in any structure, on the device or not.
        step: Steps done.
        checkpoint: Where the run is kept until it is through, if it is.

    Raises:
        Diverged: One is NaN or infinite.
    """
    found = jax.tree.leaves(jax.device_get(numbers))
    if all(np.isfinite(part).all() for part in found):
        return
    kept = ""
    if checkpoint is not None and checkpoint.exists():
        kept = (
            f" {checkpoint} keeps an earlier step, whose numbers are finite; delete it to begin "
            "anew with other settings."
        )
    raise Diverged(
        f"After {step} steps the loss or a weight is NaN or infinite, so training stopped; no "
        "model was written. Lower the learning rate, train in full precision, or look for images "
        f"and labels that are not like the others.{kept}"
    )
