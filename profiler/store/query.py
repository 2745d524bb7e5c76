"""SQL over the tables of a run."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from difflib import get_close_matches

import polars as pl

from plates.errors import BadRun, ProfilingError, UnknownName, suggestion
from profiler.store.schema import TABLES
from profiler.store.screen import Screen, not_made

_READS = ("SELECT", "WITH", "EXPLAIN")
_TOKEN = re.compile(r"""--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|"[^"]*"|\w+|[()]""", re.DOTALL)
_FILTERS, _SETS = ("WHERE", "GROUP", "HAVING"), ("UNION", "INTERSECT", "EXCEPT")
_ENDS_TABLES = ("SELECT", *_FILTERS, "ORDER", "LIMIT", "OFFSET", *_SETS)
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_PATTERN = re.compile(r"\bCOLUMNS\s*\(\s*'((?:[^']|'')*)'", re.IGNORECASE)
_NO_TABLE = re.compile(r"relation '(.+?)' was not found")
_NO_COLUMN = re.compile(r"""(?:find column|no column named) ["'](.+?)["']""")
_DAMAGED = "File out of specification"  # what polars says of a Parquet file's inside
_MOST_NAMES = 12  # a cell table has hundreds of columns: no message should list them


class BadQuery(ProfilingError, ValueError):
    """A query that is not SQL, or not one that only reads."""


def query(
    screen: Screen, sql: str, *, beside: Mapping[str, pl.LazyFrame] | None = None
) -> pl.DataFrame:
    """Answer a SQL query over the tables of a run, reading only the columns it needs.

    Args:
        screen: What `profiler.store.screen.open` returned.
        sql: One SELECT, in the dialect of polars; tables as in `schema.TABLES`. Columns by
            pattern are `COLUMNS('^Nuclei_.*_DNA$')`, a regular expression, and `* EXCLUDE (x)`.
        beside: Tables that are not of the runs, by name.

    Returns:
        The answer, as many rows as it has.

    Raises:
        BadQuery: It is not a SELECT, or polars does not understand it.
        UnknownName: It names a table or a column that does not exist, or a pattern that
            matches none.
        BadRun: It names a table that was not made yet; the message says which command makes it.
            Or a file went or turned out to be damaged while it was read.
    """
    bare = _COMMENT.sub(" ", sql).strip().lstrip("( ")
    if not bare.upper().startswith(_READS):
        raise BadQuery(
            f"A query only reads, so it starts with {' or '.join(_READS)}; this one starts with "
            f"{bare.split(maxsplit=1)[0] if bare else 'nothing'!r}."
        )
    tables = _mentioned(screen, sql) | dict(beside or {})
    _check_patterns(sql, tables)
    try:
        return pl.SQLContext(tables).execute(sql).collect()
    except pl.exceptions.PolarsError as error:
        raise _explained(error, screen=screen, tables=tables) from error
    except FileNotFoundError as error:
        raise BadRun(f"A file went while the query was reading it: {error}. Try again.") from error


def _mentioned(screen: Screen, sql: str) -> dict[str, pl.LazyFrame]:
    """Open only what the query may need: the cells of a large screen are many files."""
    names = {word: word.lower() for word in _behind_from(sql)}  # SQL minds no capitals
    return {
        word: screen.table(name)
        for word, name in names.items()
        if name in TABLES and screen.has(name)
    }


def _behind_from(sql: str) -> Iterator[str]:
    """All words from FROM to the end of its clause: tables, and what they are joined on."""
    is_behind, outer = False, []
    for token in _TOKEN.findall(sql):
        word = token.upper()
        if token == "(":
            outer.append(is_behind)
        elif token == ")":
            is_behind = outer.pop() if outer else False
        elif word == "FROM" or word in _ENDS_TABLES:
            is_behind = word == "FROM"
        elif is_behind and token[0] not in "'-/":
            yield token.strip('"')


def _check_patterns(sql: str, tables: dict[str, pl.LazyFrame]) -> None:
    """Refuse a pattern without a column, which polars leaves out of the answer silently."""
    for pattern in _PATTERN.findall(_COMMENT.sub(" ", sql)):
        columns = [name for frame in tables.values() for name in frame.collect_schema()]
        with suppress(re.error):  # of a dialect that only polars knows
            if not any(re.search(pattern.replace("''", "'"), name) for name in columns):
                raise UnknownName(
                    f"No column of {', '.join(tables)} matches {pattern!r}, a regular expression. "
                    f"{_hint(pattern, columns)}"
                )


def _explained(
    error: Exception, *, screen: Screen, tables: dict[str, pl.LazyFrame]
) -> ProfilingError:
    if found := _NO_TABLE.search(str(error)):
        return _no_table(found[1], screen)
    if found := _NO_COLUMN.search(str(error)):
        return _no_column(found[1], tables)
    reason = str(error).split("\n\n")[0]
    if _DAMAGED in reason:
        return BadRun(
            f"A file of {', '.join(tables)} is damaged inside ({reason}). `profiler run` with "
            "--replace makes the run again; a copy of the file from elsewhere mends it too."
        )
    return BadQuery(f"The query was not understood: {reason}. Text goes in 'single quotes'.")


def _no_table(name: str, screen: Screen) -> ProfilingError:
    if (table := name.lower()) in TABLES:
        lacking = next(run for run in screen.runs if not Screen((run,)).has(table))
        return not_made(lacking.folder, table)
    return UnknownName(f"There is no table called {name!r}. {suggestion(name, TABLES)}")


def _no_column(name: str, tables: dict[str, pl.LazyFrame]) -> ProfilingError:
    columns = [column for frame in tables.values() for column in frame.collect_schema()]
    return UnknownName(
        f"There is no column called {name!r} in {', '.join(tables)}. {_hint(name, columns)}"
    )


def _hint(name: str, columns: Iterable[str]) -> str:
    known = list(dict.fromkeys(columns))
    if len(known) <= _MOST_NAMES or get_close_matches(name, known, n=1):
        return suggestion(name, known)
    shown = ", ".join(known[:_MOST_NAMES])
    return f"Known: {shown} and {len(known) - _MOST_NAMES} more."
