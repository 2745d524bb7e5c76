"""Columns by pattern, as `Nuclei_*Intensity*_DNA`."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from plates.errors import UnknownName, suggestion


def matching(columns: Sequence[str], patterns: Sequence[str], *, table: str) -> list[str]:
    """Choose columns of a table by name or pattern.

    Args:
        columns: All names, in the table's order.
        patterns: Names, or patterns in which `*` stands for any text, `?` for one letter and
            `[35]` for one of those; capitals count.
        table: Its name, for the message.

    Returns:
        The columns of the first pattern in the table's order, then those that the second adds,
        and so on.

    Raises:
        UnknownName: A pattern matches no column.

    >>> names = ["Metadata_Well", "Nuclei_Texture_Entropy_DNA_3_00_256", "Nuclei_AreaShape_Area"]
    >>> matching(names, ["Nuclei_*", "Metadata_*"], table="cells")[1:]
    ['Nuclei_AreaShape_Area', 'Metadata_Well']
    """
    chosen: dict[str, None] = {}
    for pattern in patterns:
        found = [name for name in columns if fnmatchcase(name, pattern)]
        if not found:
            raise UnknownName(_no_match(columns, pattern, table=table))
        chosen |= dict.fromkeys(found)
    return list(chosen)


def _no_match(columns: Sequence[str], pattern: str, *, table: str) -> str:
    other_case = [name for name in columns if fnmatchcase(name.lower(), pattern.lower())]
    if other_case:
        hint = f"Capitals count: {other_case[0]!r} differs only in them."
    else:
        hint = suggestion(pattern, list(columns))
    return f"No column of {table} matches {pattern!r}. {hint}"
