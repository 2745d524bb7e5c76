"""Options that recipes give by name: refuse those that a step does not have, or lacks."""

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
    """Refuse options that are not keyword arguments of a step, and a step that lacks one.

    Args:
        step: What will be called.
        options: What it will be called with.
        name: The step's name, for the message.
        given: Arguments that the caller gives itself.

    Raises:
        BadRecipe: An option is unknown, and the message says which was probably meant; or
            one that has no default is missing.
    """
    parameters = inspect.signature(step).parameters.values()
    keywords = {each.name: each for each in parameters if each.kind is each.KEYWORD_ONLY}
    known = sorted(keywords.keys() - given)
    for option in options:
        if option not in known:
            raise BadRecipe(f"{name} has no option {option!r}. {suggestion(option, known)}")
    for option in known:
        if option not in options and keywords[option].default is inspect.Parameter.empty:
            raise BadRecipe(f"{name} needs the option {option!r}, and it is not given.")
