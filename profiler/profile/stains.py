"""Which stains an encoder's vectors are of, and in which order: their numbers mean nothing without.

The hash of the encoder does not say it: one network makes vectors of any stains in any order.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from plates.errors import BadModel

Stains: TypeAlias = tuple[str, ...]
Settings: TypeAlias = Mapping[str, Any]  # the recipe as resolved, as `run.json` has it


def stains_of(settings: Settings) -> Stains | None:
    """Name the stains of the cells' vectors, in the order of their blocks.

    Args:
        settings: One table per stage.

    Returns:
        `[embed] channels`, by default all of `[images] channels`; None where neither is told.

    >>> stains_of({"images": {"channels": {"DNA": "1", "ER": "2"}}, "embed": {"channels": ["ER"]}})
    ('ER',)
    """
    chosen = settings.get("embed", {}).get("channels")
    return tuple(chosen or settings.get("images", {}).get("channels", ())) or None


def shared_stains(runs: Mapping[str, Settings]) -> Stains | None:
    """Name the stains of the vectors of several runs.

    Args:
        runs: Name of each and its settings.

    Returns:
        As `stains_of`; of the runs that tell.

    Raises:
        BadModel: Two runs have other stains, or the same in another order.
    """
    by_stains: dict[Stains, str] = {}
    for name, settings in runs.items():
        if found := stains_of(settings):
            by_stains.setdefault(found, name)
    if len(by_stains) > 1:
        named = "; ".join(f"{', '.join(found)} in {name}" for found, name in by_stains.items())
        raise BadModel(
            f"The cells have embeddings of other stains, or of the same in another order: {named}. "
            "Run all plates with the same [embed] channels, or leave embeddings out with "
            "--features."
        )
    return next(iter(by_stains), None)


def check_stains(
    taught: Sequence[str] | None, found: Sequence[str] | None, *, what: str, where: str
) -> None:
    """Refuse vectors of other stains, or of the same in another order.

    Args:
        taught: The stains that something was trained on; None for one that does not say.
        found: Those of the cells; None for cells that do not say.
        what: Was trained, for the message.
        where: The cells are, for the message.

    Raises:
        BadModel: They differ. Where either is unknown, nothing is checked.
    """
    if not taught or not found or tuple(taught) == tuple(found):
        return
    listed = ", ".join(f'"{stain}"' for stain in taught)
    raise BadModel(
        f"{where} has embeddings of the stains {', '.join(found)}, in this order, and {what} was "
        f"trained on those of {', '.join(taught)}: each number is of one stain. Run with [embed] "
        f"channels = [{listed}], or train on cells of this one."
    )
