"""One drawing with what belongs around it: a heading, words, and the tables it shows."""

from collections.abc import Sequence
from typing import NamedTuple

from profiler.report.draw.svg import Markup


class Figure(NamedTuple):
    """A drawing of the page.

    Attributes:
        title: Heading.
        svg: The drawing.
        caption: What it says in words.
        sources: Files of the run folder that it shows, linked to below it.
        remark: What was left out, or nothing.
    """

    title: str
    svg: Markup
    caption: str
    sources: Sequence[str]
    remark: str = ""
