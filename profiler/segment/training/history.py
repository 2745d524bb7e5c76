"""The log of a training run: a CSV that a person, or any program, can plot."""

import csv
from pathlib import Path

COLUMNS: tuple[str, ...] = (
    "step",
    "loss_foreground",
    "loss_distance",
    "validation_ap",
    "validation_f1",
)


def history_path(out: Path) -> Path:
    """Where the log of a network's training lies: beside its weights."""
    return out.with_name(f"{out.stem}.training.csv")


def begin_history(path: Path, *, step: int) -> None:
    """Start a log, or cut one back to the step that training goes on from."""
    kept = []
    if step and path.exists():
        with path.open(newline="") as file:
            kept = [row for row in csv.DictReader(file) if int(row["step"]) <= step]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(kept)


def note(path: Path, **values: int | float) -> None:
    """Add a row; columns without a value stay empty."""
    with path.open("a", newline="") as file:
        csv.DictWriter(file, COLUMNS).writerow(values)
