"""Options that recipes give by name: refuse those that a step lacks or cannot take."""

import inspect
from collections.abc import Callable, Mapping, Set
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from plates.errors import BadRecipe, lookup, suggestion

GIVEN = frozenset({"features", "reference", "within", "transform"})

# Ranges of options, as annotations of the steps that have them.
Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
NotNegative: TypeAlias = Annotated[float, Field(ge=0)]
Positive: TypeAlias = Annotated[float, Field(gt=0)]
Count: TypeAlias = Annotated[int, Field(ge=1)]
Seed: TypeAlias = Annotated[int, Field(ge=0)]


def named(registry: Mapping[str, Any], *, kind: str) -> AfterValidator:
    """Say in an annotation that an option is a name in a registry."""

    def check(name: str) -> str:
        lookup(registry, kind=kind, name=name)
        return name

    return AfterValidator(check)


def require_options(
    step: Callable[..., Any],
    options: Mapping[str, Any],
    *,
    name: str,
    given: Set[str] = GIVEN,
) -> None:
    """Refuse options that a step cannot be called with, before there is anything to call it on.

    Args:
        step: What will be called; its annotations say what it takes.
        options: What it will be called with.
        name: The step's name, for the message.
        given: Arguments that the caller gives itself.

    Raises:
        BadRecipe: An option is unknown, and the message says which was probably meant; its value
            is of the wrong kind or out of range; or one that has no default is missing.
        UnknownName: An option is a name that does not exist.
    """
    parameters = inspect.signature(step).parameters.values()
    keywords = {each.name: each for each in parameters if each.kind is each.KEYWORD_ONLY}
    known = sorted(keywords.keys() - given)
    for option, value in options.items():
        if option not in known:
            raise BadRecipe(f"{name} has no option {option!r}. {suggestion(option, known)}")
        _require_value(value, keywords[option].annotation, name=f"{name}: {option}")
    for option in known:
        if option not in options and keywords[option].default is inspect.Parameter.empty:
            raise BadRecipe(f"{name} needs the option {option!r}, and it is not given.")


def _require_value(value: Any, kind: Any, *, name: str) -> None:
    try:
        TypeAdapter(kind).validate_python(value, strict=True)
    except ValidationError as error:
        wanted = dict.fromkeys(line["msg"].replace("Input", "it", 1) for line in error.errors())
        raise BadRecipe(f"{name} is {value!r}; {' or '.join(wanted)}.") from None
