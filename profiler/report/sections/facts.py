"""How a run was made, as run.json tells it, whatever that holds."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from profiler.report.numbers import number

MAX_ITEMS = 24  # of a list, and of the rows of an open group
MAX_LENGTH = 400  # characters of one value
GENERAL = "run"


class Facts(NamedTuple):
    """One group of settings: its heading, and (name, value) rows."""

    title: str
    rows: Sequence[tuple[str, str]]

    @property
    def is_long(self) -> bool:
        """Whether the page shows the group folded."""
        return len(self.rows) > MAX_ITEMS // 2


def fact_groups(facts: Mapping[str, Any]) -> list[Facts]:
    """Sort what run.json says into groups.

    Args:
        facts: Its content. Values that are tables become groups, others the first group.

    Returns:
        Groups that have rows; names inside nested tables are joined as "measure › families".
    """
    plain = {key: value for key, value in facts.items() if not isinstance(value, dict)}
    nested = {key: value for key, value in facts.items() if isinstance(value, dict)}
    groups = [Facts(key, list(_flat(value))) for key, value in {GENERAL: plain, **nested}.items()]
    return [Facts(group.title.replace("_", " "), group.rows) for group in groups if group.rows]


def _flat(value: Mapping[str, Any], *, within: str = "") -> Iterator[tuple[str, str]]:
    for key, inner in value.items():
        name = f"{within}{key}".replace("_", " ")
        if isinstance(inner, dict) and inner:
            yield from _flat(inner, within=f"{name} › ")
        else:
            yield name, written(inner)


def written(value: object) -> str:
    """Write a JSON value for people, cut off where it is long.

    >>> written([1, "a", None]), written(value=True), written(0.123456)
    ('1, a, –', 'yes', '0.123')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or isinstance(value, float):
        return number(value)
    if isinstance(value, dict):
        return "; ".join(f"{key}: {written(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        more = f" and {len(value) - MAX_ITEMS} more" if len(value) > MAX_ITEMS else ""
        return ", ".join(written(item) for item in value[:MAX_ITEMS]) + more
    text = str(value)
    return text if len(text) <= MAX_LENGTH else f"{text[: MAX_LENGTH - 1]}…"
