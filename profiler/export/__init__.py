"""Tables of a run as files that other programs take as they are."""

from collections.abc import Callable, Mapping
from pathlib import Path

from plates.errors import lookup
from profiler.export.delimited import export_csv
from profiler.export.h5ad import export_anndata
from profiler.export.pairs import export_copairs
from profiler.export.source import Exported, Source, read_source
from profiler.store.atomic import replacing
from profiler.store.screen import Screen
from profiler.store.screen import open as open_screen

__all__ = ["EXPORTS", "Exported", "export", "export_anndata", "export_copairs", "export_csv"]

EXPORTS: Mapping[str, Callable[[Source, Path], Exported]] = {
    "anndata": export_anndata,
    "csv": export_csv,
    "copairs": export_copairs,
}


def export(
    run: str | Path | Screen, *, to: str, path: str | Path, table: str = "profiles"
) -> Exported:
    """Write a table of a run for another program, whole or not at all.

    Args:
        run: A run folder, or a screen of several.
        to: A name in `EXPORTS`: "anndata" (.h5ad), "csv" (.csv or .csv.gz) or "copairs"
            (.parquet).
        path: The file to make or replace.
        table: Which table, a name of `profiler.store.schema.TABLES`.

    Returns:
        Where it is, how large, and what was left out and why.

    Raises:
        UnknownName: There is no such format or table.
        BadExport: The table does not fit the format.
        MissingPackage: The format needs a package that is not installed.
        BadRun: The table was not made yet, or the file cannot be written.
    """
    write = lookup(EXPORTS, kind="export", name=to)
    screen = run if isinstance(run, Screen) else open_screen(run)
    source = read_source(screen, table)
    with replacing(Path(path)) as draft:
        written = write(source, draft)
    return written._replace(path=Path(path))
