"""Tables as the template wants them: text to show, values to sort by."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from profiler.report.draw.svg import Markup, element, escape
from profiler.report.numbers import Number, defined, number


class Cell(NamedTuple):
    """One cell.

    Attributes:
        text: What is shown; `Markup` is shown as it is, plain text is escaped.
        sort: Number to sort by where the text alone would sort wrongly.
        is_number: Whether it is set to the right in even digits.
        note: Second, smaller line.
    """

    text: str
    sort: float | None = None
    is_number: bool = False
    note: str = ""


class Table(NamedTuple):
    """A caption, the columns' names, and rows of as many cells.

    Attributes:
        remark: What was left out, or nothing.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    remark: str = ""


def figure(value: Number | None, *, note: str = "") -> Cell:
    """Cell of a number."""
    return Cell(number(value), value if defined(value) else None, True, note)


def pill(text: str, *, kind: str) -> Markup:
    """A short word in a coloured frame; kind is a class of the style sheet."""
    return element("span", text, class_=f"pill {kind}")


def breakable(name: str) -> Markup:
    """Let a long feature name break after its underscores.

    >>> breakable("Nuclei_Area")
    Markup('Nuclei_<wbr>Area')
    """
    return Markup("_<wbr>").join(name.split("_"))


def stacked(lines: Iterable[object]) -> Markup:
    """Lines one below the other."""
    return Markup("<br>").join(escape(line) for line in lines)


def deviating(row: Mapping, *, most: int = 4) -> Markup:
    """The features that stand out in a cluster or a kind of cell, with their robust z.

    Args:
        row: Has `features` and `z`, lists of one length.
        most: How many are named.
    """
    pairs = zip(row.get("features") or [], row.get("z") or [], strict=False)
    lines = (Markup("{} {}").format(number(z), breakable(name)) for name, z in islice(pairs, most))
    return element("span", stacked(lines), class_="features")


def left_out(total: int, shown: int, *, what: str, where: str) -> str:
    """Say how many rows a table or gallery leaves out; nothing where it has them all.

    >>> left_out(12, 10, what="wells", where="hits.parquet")
    '2 more wells are not shown here; all 12 are in hits.parquet.'
    """
    if total <= shown:
        return ""
    return f"{total - shown:,} more {what} are not shown here; all {total:,} are in {where}."
