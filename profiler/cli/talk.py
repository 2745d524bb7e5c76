"""How commands speak: data on stdout, everything else on stderr."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from profiler.store.home import Home


@contextmanager
def held(run: Path) -> Iterator["Home"]:
    """Keep other commands out of a run, having checked that it is one."""
    from profiler.store.home import at_home
    from profiler.store.objects import run_address
    from profiler.store.run import read_facts

    if run_address(run) is None:
        read_facts(run)
    with at_home(run) as home:
        read_facts(home.folder)
        say(home.notes)
        yield home


def say(notes: Iterable[str]) -> None:
    """Tell a person what was found and dropped, a line each."""
    for note in notes:
        talk(note)


def talk(text: str) -> None:
    """Tell a person something, on stderr."""
    typer.echo(text, err=True)


def interrupted(checkpoint: Path, *, replace: bool) -> str:
    """Say what is left of a training that was stopped."""
    if not checkpoint.exists():
        return "Interrupted before anything was learnt; the same command begins anew."
    same = "The same command without --replace" if replace else "The same command"
    return f"Interrupted. What was learnt is kept in {checkpoint}. {same} goes on from there."


def print_table(table) -> None:
    """Print a polars frame in full as CSV; lists become words."""
    import polars as pl

    lists = [name for name, kind in table.schema.items() if isinstance(kind, pl.List)]
    words = pl.col(lists).cast(pl.List(pl.String)).list.join(" ")
    typer.echo(table.with_columns(words).write_csv(), nl=False)
