"""Options that recipes give by name: refuse those that a step does not have."""

import inspect
from collections.abc import Callable, Mapping, Set
from typing import Any

from plates.errors import BadRecipe, suggestion

GIVEN = frozenset({"features", "reference", "within", "transform"})


def require_options(
    step: Callable[..., Any],
    options: Mapping[str, Any],
    *,
    name: str,
    given: Set[str] = GIVEN,
) -> None:
    """Refuse options that are not keyword arguments of a step.

    Args:
        step: What will be called.
        options: What it will be called with.
        name: The step's name, for the message.
        given: Arguments that the caller gives itself.

    Raises:
        BadRecipe: An option is unknown; the message says which was probably meant.
    """
    parameters = inspect.signature(step).parameters.values()
    keywords = {each.name for each in parameters if each.kind is each.KEYWORD_ONLY}
    known = sorted(keywords - given)
    for option in options:
        if option not in known:
            raise BadRecipe(f"{name} has no option {option!r}. {suggestion(option, known)}")
