"""A run's recipe with other settings for what comes after its cells."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from plates.errors import BadRecipe
from profiler.recipe import AFTER_CELLS, CELL_SECTIONS, Recipe, parse_recipe, read_table


def amend(
    recipe: Recipe,
    name: str | Path = "",
    *,
    sections: Sequence[str] = AFTER_CELLS,
    changes: Mapping[str, Mapping[str, Any]] = {},
) -> Recipe:
    """Give the recipe of a run other settings for what comes after its cells.

    Args:
        recipe: What the cells were made with.
        name: Another recipe, built-in or a .toml file, which may leave out [images], [segment]
            and [measure]; or none.
        sections: Those to take from it; one that it leaves out stays as it was.
        changes: Section -> settings that come before both.

    Raises:
        UnknownName: As `load_recipe`.
        BadRecipe: As `load_recipe`; or the other recipe would give other cells.
    """
    path, table = (Path(), {}) if not name else read_table(name)
    own = recipe.model_dump(mode="json")
    other = parse_recipe({**own, **table}, where=str(path))
    _check_cells(recipe, other, where=str(path))
    taken = {key: table[key] for key in sections if key in table}
    merged = own | taken
    merged |= {key: {**merged[key], **more} for key, more in changes.items()}
    return parse_recipe(merged, where=str(path) if name else "settings")


def _check_cells(recipe: Recipe, other: Recipe, *, where: str) -> None:
    """Refuse a recipe that would find or measure other cells than those that are there."""
    for section in CELL_SECTIONS:
        ours, theirs = (getattr(each, section).model_dump() for each in (recipe, other))
        for key, value in ours.items():
            if not _is_same(key, value, theirs[key]):
                raise BadRecipe(
                    f"{where} would give other cells: its [{section}] {key} is "
                    f"{_short(theirs[key])}, and the run's is {_short(value)}. Leave "
                    f"[{'], ['.join(CELL_SECTIONS)}] out of the recipe to keep the cells, or make "
                    "them anew with `profiler run`."
                )


def _is_same(key: str, ours: Any, theirs: Any) -> bool:
    """Weights are known by the name of their file, wherever it lies."""
    if key == "model" and ours and theirs:
        return Path(ours).name == Path(theirs).name
    return ours == theirs


def _short(value: Any, *, most: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}…"
