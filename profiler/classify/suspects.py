"""The list of labels that are probably wrong: written beside a classifier, mended by hand, kept."""

import hashlib
import json
from pathlib import Path

import polars as pl

from profiler.store.atomic import replacing

ENDING = ".suspects.csv"
OLD = ".suspects.old{}.csv"  # with a number where there is one already


def as_csv(suspects: pl.DataFrame) -> bytes:
    """Turn a list into the bytes of its file."""
    return suspects.write_csv().encode()


def name_of(text: bytes) -> str:
    """Name the content of a list, as the card of its classifier does."""
    return hashlib.sha256(text).hexdigest()


def last_name(model: Path) -> str | None:
    """The name of the list that was last written beside a classifier; None where none is noted."""
    try:
        card = json.loads(model.with_suffix(".json").read_text())
    except (OSError, ValueError):
        return None
    found = card.get("suspects") if isinstance(card, dict) else None
    return found if isinstance(found, str) else None


def write_list(model: Path, text: bytes, *, last: str | None) -> tuple[Path, str | None]:
    """Write a list beside its classifier; one that a person has changed is kept beside it.

    Args:
        model: The classifier.
        text: From `as_csv`.
        last: From `last_name`, before the classifier was written anew.

    Returns:
        Where the list is, and what to say of an earlier one that was kept.

    Raises:
        BadRun: The disk is full or a file cannot be written.
    """
    beside, note = model.with_suffix(ENDING), None
    there = beside.read_bytes() if beside.is_file() else None
    if there is not None and there != text and name_of(there) != last:
        old = _free(model)
        beside.rename(old)
        note = f"{beside} was changed since it was written: it is kept as {old}."
    with replacing(beside) as draft:
        draft.write_bytes(text)
    return beside, note


def _free(model: Path) -> Path:
    number, path = 1, model.with_suffix(OLD.format(""))
    while path.exists():
        number += 1
        path = model.with_suffix(OLD.format(f"-{number}"))
    return path
