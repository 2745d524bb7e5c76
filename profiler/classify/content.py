"""Labels stay with the cells that a person looked at, though their wells are computed anew.

Labels name cells by number. Where a well is segmented anew, the numbers are of other cells, and
labels would go to those without a word. Lists of cells to label therefore say what the content of
each well was, and where in its field each nucleus lies.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import polars as pl

from profiler.classify.labels import KIND, WELL, check_times, name_cells
from profiler.classify.learned import file_of
from profiler.store.cell_keys import CONTENT, KEYS, OBJECT, PLACE, TIMEPOINT, Kind
from profiler.store.places import Well, well_path
from profiler.store.screen import Screen
from profiler.store.tables import read_footers

MARK = "c"  # before the name: of digits and one e alone, a spreadsheet would make it a number
NEAR_PX = 3.0  # between a nucleus's centre then and now; of two neighbours they are further apart
NOW = "number now"
MOST_NAMES = 5


class Followed(NamedTuple):
    """Cells as the runs have them now.

    Attributes:
        cells: Their keys, in the order that they were given in.
        told: What a person should know, in sentences.
    """

    cells: pl.DataFrame
    told: tuple[str, ...]


def contents_of(screen: Screen, wells: Sequence[Well]) -> dict[Well, str]:
    """Name the content of wells; written anew, it has another name.

    Args:
        screen: The runs that they are of.
        wells: Plate and well; those that no run has are left out.

    Raises:
        BadRun: A file cannot be read.
    """
    for run in screen.runs:
        run.fetch("cells")
    paths = {
        well: path
        for run in screen.runs
        for well in wells
        if (path := well_path(run.folder, *well)).is_file()
    }
    return {
        well: MARK + file_of(footer)
        for well, footer in zip(paths, read_footers(paths.values()), strict=True)
    }


def follow(
    cells: pl.DataFrame, noted: pl.DataFrame, screen: Screen, *, kind: Kind = KIND
) -> Followed:
    """Find cells of a table again whose wells have been computed anew since they were looked at.

    A cell is found where exactly one nucleus of its field has its centre within `NEAR_PX` of where
    its own was. If one is not, none is taken.

    Args:
        cells: Keys of the labelled cells, or those of another kind.
        noted: Keys and `ASIDE` of those whose table says it, as `read_labels` finds them; wells
            that the runs do not have pass by.
        screen: The runs that they are to be of.
        kind: What the table is, for messages.

    Returns:
        The cells, by their numbers of now.

    Raises:
        ProfilingError: Of the kind (`BadLabelTable`): a cell is not found again. The message names
            wells and cells, how many, and what to do.
        BadRun: A file cannot be read.
    """
    found = contents_of(screen, noted.select(WELL).unique().rows()) if noted.height else {}
    old = noted.filter(_is_old(noted, found))
    if not old.height:
        return Followed(cells, ())
    about = _about(old, noted.height, kind)
    _check_once(noted, cells.columns, about, kind)
    again = _again(old, screen, about, kind)
    lost = again.filter(pl.col(NOW).is_null())
    if lost.height:
        raise kind.error(
            f"{about} The others were found again by where their nuclei lie, but of {lost.height} "
            f"there is none, or more than one, within {NEAR_PX:g} pixels of where it was: "
            f"{name_cells(lost)}. Take them out of the table, or choose cells of the run as "
            "it is (`profiler suggest-cells`)."
        )
    keys = cells.columns
    now = cells.join(again.select(*keys, NOW), on=keys, how="left", maintain_order="left")
    now = now.with_columns(pl.coalesce(NOW, OBJECT).alias(OBJECT)).select(keys)
    twice = now.filter(now.is_duplicated()).unique(maintain_order=True)
    if twice.height:
        raise kind.error(
            f"{about} By where their nuclei lie, two of them are one cell now: "
            f"{name_cells(twice)}. Decide on one for each."
        )
    return Followed(now, (f"{about} They were found again by where their nuclei lie.",))


def _is_old(noted: pl.DataFrame, found: Mapping[Well, str]) -> pl.Series:
    rows = noted.select(*WELL, CONTENT).iter_rows()
    is_old = [found.get((plate, well), said) != said for plate, well, said in rows]
    return pl.Series(is_old, dtype=pl.Boolean)


def _about(old: pl.DataFrame, noted: int, kind: Kind) -> str:
    wells = old.select(WELL).unique(maintain_order=True)
    named = ", ".join(" ".join(well) for well in wells.head(MOST_NAMES).iter_rows())
    more = f" and {wells.height - MOST_NAMES} more" if wells.height > MOST_NAMES else ""
    return (
        f"{old.height} of {noted} {kind.cells} are of {wells.height} wells that have been computed "
        f"anew since, or are of another run: {named}{more}. Their numbers may name other cells now."
    )


def _check_once(noted: pl.DataFrame, keys: list[str], about: str, kind: Kind) -> None:
    """Refuse a table of before and after: one number may stand for two cells in it."""
    both = noted.select(*keys, CONTENT).unique(maintain_order=True)
    twice = both.filter(both.select(keys).is_duplicated())
    if twice.height:
        raise kind.error(
            f"{about} The table has other cells under the same numbers, of before or since, "
            f"such as {name_cells(twice.head(1))}. Give cells of one time alone."
        )


def _again(old: pl.DataFrame, screen: Screen, about: str, kind: Kind) -> pl.DataFrame:
    """Old cells with the number that their cell has now, null where it is not clear."""
    columns = screen.cells.collect_schema().names()
    if not {*PLACE} <= {*columns} or any(old[name].null_count() for name in PLACE):
        raise kind.error(
            f"{about} Nothing was matched, as the table, or the run, does not say where their "
            "nuclei lie. Choose cells of the run as it is (`profiler suggest-cells`), or give the "
            "run that they were chosen in. If you know that its cells are the same, number by "
            f"number, take the column {CONTENT} out of the table."
        )
    wells = old.select(pl.struct(WELL)).to_series().unique().implode()
    own = screen.cells.filter(pl.struct(WELL).is_in(wells)).select(*KEYS, *PLACE).collect()
    keys = [name for name in KEYS if name in old.columns]
    check_times(keys, times=own[TIMEPOINT].n_unique())
    field = [name for name in keys if name != OBJECT]
    there = own.select(
        *field, pl.col(OBJECT).alias(NOW), *(pl.col(n).alias(f"{n} now") for n in PLACE)
    )
    gaps = [(pl.col(name) - pl.col(f"{name} now")) ** 2 for name in PLACE]
    near = (
        old.join(there, on=field, how="inner")
        .filter(pl.sum_horizontal(gaps) <= NEAR_PX**2)
        .group_by(keys)
        .agg(pl.col(NOW).unique())
        .filter(pl.col(NOW).list.len() == 1)
        .with_columns(pl.col(NOW).list.first())
    )
    return (
        old.select(keys)
        .unique(maintain_order=True)
        .join(near, on=keys, how="left", maintain_order="left")
    )
