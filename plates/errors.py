"""Errors the user can fix. The CLI prints the message; any other error is our bug."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import ClassVar, TypeVar

T = TypeVar("T")

MOST_NAMES = 12  # listed in a message


class ProfilingError(Exception):
    """Says what was found, what was expected, what to do, and what was kept.

    Attributes:
        is_incident: Whether it befell a run, rather than being about what a person asked for.
    """

    is_incident: ClassVar[bool] = False


class UnknownName(ProfilingError, LookupError):
    """A name that no registry, recipe or table holds."""


class BadRecipe(ProfilingError, ValueError):
    """A recipe that cannot be read or contradicts itself or the plate."""


class BadPlate(ProfilingError, ValueError):
    """A plate folder that is empty, unreadable or in no known format."""


class BadLayout(ProfilingError, ValueError):
    """A plate map that cannot be read, or names a well twice."""


class BadImage(ProfilingError, OSError):
    """One image file that cannot become a plane; its field becomes a coded row.

    Attributes:
        code: Short reason for `Metadata_QC_Status`, such as "wrong_shape".
    """

    def __init__(self, message: str, *, code: str):
        super().__init__(message)
        self.code = code


class BadLabels(ProfilingError, ValueError):
    """Label images that do not fit their image or the table to fill."""


class BadModel(ProfilingError, ValueError):
    """Network weights that are missing, edited, or of another architecture."""


class BadRun(ProfilingError, OSError):
    """A run folder that is locked, incomplete, of another recipe or of another version."""


class NoControls(ProfilingError, ValueError):
    """A plate without the control wells that a statistic needs."""


def lookup(registry: Mapping[str, T], *, kind: str, name: str) -> T:
    """Find a registered object, or say which name was probably meant.

    >>> lookup({"pattern": 1}, kind="reader", name="patern")
    Traceback (most recent call last):
    plates.errors.UnknownName: There is no reader called 'patern'. Did you mean 'pattern'?
    """
    if name in registry:
        return registry[name]
    raise UnknownName(f"There is no {kind} called {name!r}. {suggestion(name, registry)}")


def suggestion(name: str, known: Mapping[str, object] | list[str]) -> str:
    """Complete an error about an unknown name: the likely one, or the first dozen."""
    names = list(known)
    close = get_close_matches(name, names, n=1)
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    listed = ", ".join(names[:MOST_NAMES]) + more
    return f"Did you mean {close[0]!r}?" if close else f"Known: {listed or 'none'}."
