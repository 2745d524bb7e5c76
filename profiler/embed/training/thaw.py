"""Which part of a model learns from which step on: the head first, then level by level inwards."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Int

from plates.errors import BadRecipe

INNERMOST = ("stem", "place")  # what of a backbone comes before its levels

Path = Sequence[Any]


def keep_frozen(new: Any, old: Any, *, step: Int[Array, ""], starts: Sequence[int]) -> Any:
    """Keep the old values of what does not learn yet.

    Args:
        new: Weights or running averages of a model, after a step.
        old: Before it.
        step: Its number.
        starts: The step from which the head learns, then the outermost level, and so on inwards;
            the last holds for all that is further in.
    """
    levels = count_levels(new)

    def choose(path: Path, after: Array, before: Array) -> Array:
        depth = depth_of(path, levels)
        start = starts[min(depth, len(starts) - 1)]
        # The encoder passes here even if it learns from the start: a program without this choice
        # is compiled otherwise, and its weights differ in their last bits.
        return jnp.where(step >= start, after, before) if depth or start else after

    return jax.tree_util.tree_map_with_path(choose, new, old)


def graphs_by_start(model: nnx.Module, starts: Sequence[int]) -> dict[int, Any]:
    """A model without its numbers, as it learns in each stage of the thaw.

    What has thawed normalises by its batch. What is frozen normalises by its running averages, as
    the saved model does: else all further out would learn from what it never meets again.

    Args:
        model: The model; it stays as it is.
        starts: As in `keep_frozen`.

    Returns:
        By the step from which each holds; the first is 0.
    """
    pupil = nnx.clone(model)
    pupil.train()
    levels = count_levels(nnx.state(pupil, nnx.Param))
    modules = nnx.iter_modules(pupil)
    norms = {path: part for path, part in modules if isinstance(part, nnx.BatchNorm)}
    graphs = {}
    for first in sorted({0, *starts}):
        for path, norm in norms.items():
            start = starts[min(depth_of(path, levels), len(starts) - 1)]
            norm.use_running_average = first < start
        graphs[first] = nnx.graphdef(pupil)
    return graphs


def check_thaw(thaw: Sequence[int], params: Any, *, frozen: int) -> None:
    """Refuse steps to thaw at that a model has no levels for.

    Raises:
        BadRecipe: Says how many parts the model has, or that `frozen` is asked for too.
    """
    if thaw and frozen:
        raise BadRecipe(
            f"Found frozen = {frozen} and thaw = {tuple(thaw)}; thaw says for every level when it "
            "begins to learn. Leave frozen at 0."
        )
    levels = count_levels(params)
    if len(thaw) > levels + 2 or min(thaw, default=0) < 0:
        raise BadRecipe(
            f"Found thaw = {tuple(thaw)}; expected at most {levels + 2} steps, from 0: for the "
            f"head, {levels} levels from the last inwards, and what comes before them."
        )


def count_levels(params: Any) -> int:
    """How many levels a model's backbone has, its blocks where they are in no levels."""
    paths = map(_names, (path for path, _ in jax.tree_util.tree_leaves_with_path(params)))
    return 1 + max((int(names[3]) for names in paths if _is_of_level(names)), default=-1)


def depth_of(path: Path, levels: int) -> int:
    """0 for the head, 1 for the outermost level, rising inwards to `levels` + 1 for the stem."""
    names = _names(path)
    if names[0] != "encoder":
        return 0
    if _is_of_level(names):
        return levels - int(names[3])
    return levels + 1 if names[2] in INNERMOST else 1


def _is_of_level(names: Sequence[str]) -> bool:
    return names[0] == "encoder" and len(names) > 3 and names[3].isdigit()


def _names(path: Path) -> list[str]:
    return [str(getattr(part, "key", part)) for part in path]
