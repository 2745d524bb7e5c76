"""The log of a training run: a CSV that a person, or any program, can plot."""

import csv
import os
from collections.abc import Sequence
from pathlib import Path

VALIDATION = ("validation_ap", "validation_f1")


def history_path(out: Path) -> Path:
    """Where the log of a network's training lies: beside its weights."""
    return out.with_name(f"{out.stem}.training.csv")


def begin_history(path: Path, *, losses: Sequence[str], step: int | None) -> None:
    """Start a log, or cut one back to the step that training goes on from.

    Args:
        path: The log.
        losses: Parts of the loss; each gets a column `loss_<name>`.
        step: Rows after it go; None begins anew.
    """
    kept = []
    if step is not None and path.exists():
        with path.open(newline="") as file:
            kept = [row for row in csv.DictReader(file) if int(row["step"]) <= step]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ("step", *(f"loss_{name}" for name in losses), *VALIDATION))
        writer.writeheader()
        writer.writerows(kept)


def note(path: Path, **values: int | float) -> None:
    """Add a row; columns without a value stay empty."""
    with path.open("r+", newline="") as file:
        columns = next(csv.reader(file))
        file.seek(0, os.SEEK_END)
        csv.DictWriter(file, columns).writerow(values)
