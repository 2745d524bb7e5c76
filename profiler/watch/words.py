"""Words that every table, page and log can hold: a file's name is bytes, and need not be text."""

from dataclasses import fields, replace

from profiler.watch.events import WatchEvent


def legible(text: str) -> str:
    r"""Write out what is no character: the bytes of a name that is not UTF-8.

    >>> print(legible("P\udcb5m"))
    P\udcb5m
    """
    return text.encode("utf-8", "backslashreplace").decode()


def legibly(event: WatchEvent) -> WatchEvent:
    """The same event, told in characters alone."""
    said = {field.name: getattr(event, field.name) for field in fields(event)}
    return replace(event, **{k: legible(v) for k, v in said.items() if isinstance(v, str)})
