"""Which cells an encoder learns from, by what label, and which are kept apart to judge it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from plates.errors import BadLabels, BadRun, lookup
from profiler.classify.content import follow
from profiler.classify.labels import LABEL, Labels, check_times
from profiler.classify.trust.folds import group_folds
from profiler.explain.cells import check_there, keyed, whole
from profiler.hits.precision.apart import COMPOUND, LEAST_COMPOUNDS, Split, is_well, split_wells
from profiler.profile.controls import is_role
from profiler.quality import marked
from profiler.store.cell_keys import KEYS, TIMEPOINT
from profiler.store.screen import Screen

PLATE, WELL = "Metadata_Plate", "Metadata_Well"
ROLE = "Metadata_Role"
FIELD = (PLATE, WELL, "Metadata_Site", TIMEPOINT)
CELL = (*FIELD, "Metadata_ObjectNumber")
USE = "Use"  # of a cell: `TAUGHT`, `JUDGED`, or null for neither
TAUGHT, JUDGED = "taught", "judged"
AND = " | "  # between the values of several columns
LEAST_LABELS = 2  # to tell apart


class Chosen(NamedTuple):
    """Cells to be cut out.

    Attributes:
        cells: `CELL`, `LABEL` (null without one) and `USE`, one row each, by field; those that are
            learnt from come first.
        wells: Of the cells that judge, by compounds; None where labels of cells do, or nothing.
        compounds: That are kept apart.
        notes: What a person should know, in sentences.
    """

    cells: pl.DataFrame
    wells: pl.DataFrame | None
    compounds: tuple[str, ...]
    notes: tuple[str, ...]


class Draw(NamedTuple):
    """How cells are drawn.

    Attributes:
        cells: Most of each well and time point, besides those that a person labelled.
        apart: Share that is kept apart: of compounds, or of the plates or wells with labels.
        seed: Decides which.
    """

    cells: int
    apart: float
    seed: int


def choose_by_wells(screen: Screen, by: Sequence[str], draw: Draw) -> Chosen:
    """Take cells of every well, labelled by what was done to it.

    Args:
        screen: Of one run or several.
        by: Columns of the plate map that make the label together; none gives cells no label.
        draw: How.

    Raises:
        UnknownName: The plate map has no such column.
        BadLabels: Fewer than two labels are left.
        BadRun: The runs have no usable cells.
    """
    wells = screen.wells.collect().select(pl.col("^Metadata_.*$"))
    for name in by:
        lookup({known: known for known in wells.columns}, kind="column of the wells", name=name)
    if ROLE in wells.columns:
        wells = wells.filter(~is_role("empty").fill_null(value=False))
    keys = [name for name in (PLATE, WELL, TIMEPOINT) if name in wells.columns]
    there = _usable(screen)
    # A well without cells is no replicate of any.
    wells = wells.join(there.select(keys).unique(), on=keys, how="semi").sort(keys)
    # Of one use at all its time points: they show the same cells.
    once = wells.unique([PLATE, WELL], keep="first", maintain_order=True)
    use, compounds, notes = _split(once, draw)
    uses = once.select(PLATE, WELL, pl.Series(USE, use, pl.String))
    label = pl.concat_str([pl.col(name).cast(pl.String) for name in by], separator=AND)
    wells = wells.join(uses, on=[PLATE, WELL], maintain_order="left")
    wells = wells.with_columns((label if by else pl.lit(None, pl.String)).alias(LABEL))
    there = there.join(wells.select(*keys, LABEL, USE), on=keys, how="inner")
    cells = _taught_first(_drawn(there.filter(pl.col(USE).is_not_null()), draw))
    if by:
        check_taught(cells, what=f"wells by {', '.join(by)}")
    judging = wells.filter(pl.col(USE) == JUDGED).drop(LABEL, USE) if compounds else None
    return Chosen(cells, judging, compounds, notes)


def choose_labelled(screen: Screen, labels: Labels, draw: Draw) -> Chosen:
    """Take all cells that a person labelled, and some of every well beside them.

    Where labels lie on two plates or more, whole plates are kept apart, else whole wells.

    Raises:
        BadRun: Labelled cells are not there, or none lies whole within its field.
        BadLabelTable: The runs have several time points, and the labels name none; or a cell is not
            found again since its well was computed anew.
        BadLabels: Fewer than two labels are left to learn from.
    """
    check_times(labels.cells.columns, times=_times(screen))
    names = pl.Series(LABEL, labels.classes, pl.String)[labels.codes.tolist()]
    followed = follow(labels.cells, labels.noted, screen)
    wanted = followed.cells.with_columns(names)
    there = _usable(screen)
    check_there(wanted, keyed(screen.cells).collect(), what="labelled")
    keys = [name for name in KEYS if name in wanted.columns]
    every = there.join(wanted, on=keys, how="left", maintain_order="left")
    known = every.filter(pl.col(LABEL).is_not_null())
    notes = [*followed.told]
    if lost := wanted.height - known.height:
        notes.append(
            f"{lost} of {wanted.height} labelled cells are cut by a border or in fields that are "
            "not believed, and left out."
        )
    group, apart, told = _groups_apart(known, draw)
    use = pl.when(group.is_in(list(apart))).then(pl.lit(JUDGED)).otherwise(pl.lit(TAUGHT))
    beside = _drawn(every.filter(pl.col(LABEL).is_null()), draw)
    cells = _taught_first(pl.concat([known, beside]).with_columns(use.alias(USE)))
    cells = cells.filter((pl.col(USE) == TAUGHT) | pl.col(LABEL).is_not_null())
    check_taught(cells, what="cells")
    return Chosen(cells, None, (), (*notes, *told))


def _split(
    wells: pl.DataFrame, draw: Draw
) -> tuple[list[str | None], tuple[str, ...], tuple[str, ...]]:
    """What each well is for, the compounds that are kept apart, and what to say of it."""
    every: list[str | None] = [TAUGHT] * wells.height
    if COMPOUND not in wells.columns or ROLE not in wells.columns:
        return every, (), ("There is no score: the runs have no plate map with compounds.",)
    treated = wells.filter(is_role("treatment"))[COMPOUND].drop_nulls().n_unique()
    if treated < LEAST_COMPOUNDS or not is_well(wells, is_role("negative")).any():
        why = f"There is no score: it takes {LEAST_COMPOUNDS} compounds and controls."
        return every, (), (why,)
    split = split_wells(wells, share=draw.apart, seed=draw.seed)
    if not split.compounds:
        why = "There is no score: it takes two compounds with two wells of one dose each."
        return every, (), (why,)
    uses = {(True, False): TAUGHT, (False, True): JUDGED}
    pairs = zip(split.taught.tolist(), split.judged.tolist(), strict=True)
    return [uses.get(pair) for pair in pairs], split.compounds, tuple(_tell(split))


def _tell(split: Split) -> Iterator[str]:
    if split.plates:
        yield (
            f"Nothing is learnt from {', '.join(split.plates)}, copies of other plates: the "
            "compounds kept apart are judged there."
        )
    if len(split.compounds) == 1:
        yield (
            f"Only {split.compounds[0]} is kept apart, so there is no score among compounds: that "
            "takes two. Keep a larger share apart (--apart)."
        )


def _groups_apart(
    known: pl.DataFrame, draw: Draw
) -> tuple[pl.Expr, tuple[str, ...], tuple[str, ...]]:
    """How cells are grouped, which groups are kept apart, and what to say of it."""
    by_plate, by_well = pl.col(PLATE), pl.concat_str(PLATE, WELL, separator=" ")
    group = by_plate if known[PLATE].n_unique() > 1 else by_well
    names = known.select(group.alias("group"))["group"]
    parts = min(max(2, round(1 / min(draw.apart, 1 - draw.apart))), names.n_unique())
    if parts < 2:
        return group, (), ("There is no score: all labelled cells are of one well.",)
    codes = known[LABEL].rank("dense").to_numpy().astype(np.int64) - 1
    folds = group_folds(codes, names.to_numpy(), parts=parts, seed=draw.seed)
    ways = [way if draw.apart <= 0.5 else way[::-1] for way in folds]
    # A label whose cells all lie apart would not be learnt.
    taught, apart = max(ways, key=lambda way: [len(np.unique(codes[rows])) for rows in way])
    if len(np.unique(codes[taught])) < LEAST_LABELS:
        why = "one label alone would be left to learn from"
        return group, (), (f"There is no score: whatever is kept apart, {why}.",)
    lost = sorted(set(known[LABEL]) - set(known[LABEL][taught.tolist()]))
    told = (
        f"All cells labelled {', '.join(map(repr, lost))} are kept apart, so that it is not "
        "learnt. Label some on other plates or wells.",
    )
    return group, tuple(names[apart.tolist()].unique().sort().to_list()), told * bool(lost)


def _taught_first(cells: pl.DataFrame) -> pl.DataFrame:
    """By field; a field is of one use."""
    return cells.sort(pl.col(USE) != TAUGHT, *CELL)


def _usable(screen: Screen) -> pl.DataFrame:
    """Cells that lie whole within a field that is believed."""
    found = whole(keyed(marked(screen.cells, exclude=True)).collect())
    if not found.height:
        raise BadRun("No cell of the runs lies whole within a field that is believed.")
    return found.select(CELL).sort(CELL)


def _times(screen: Screen) -> int:
    return int(screen.cells.select(pl.col(TIMEPOINT).n_unique()).collect().item())


def _drawn(cells: pl.DataFrame, draw: Draw) -> pl.DataFrame:
    """Some cells of each well and time point, from as few of its fields as hold them."""
    random = np.random.default_rng(draw.seed)
    fields = cells.select(FIELD).unique().sort(FIELD)
    turn = pl.Series("turn", random.permutation(fields.height))
    ranked = cells.join(fields.with_columns(turn), on=FIELD, how="left", maintain_order="left")
    luck = pl.Series("luck", random.permutation(cells.height))
    place = pl.int_range(pl.len()).over(PLATE, WELL, TIMEPOINT)
    order = ranked.with_columns(luck).sort("turn", "luck").filter(place < draw.cells)
    return order.select(cells.columns).sort(CELL)


def check_taught(cells: pl.DataFrame, *, what: str) -> None:
    """Refuse cells of which those that are learnt from have fewer than two labels.

    Args:
        cells: With `LABEL` and `USE`.
        what: They are, for the message.

    Raises:
        BadLabels: They have.
    """
    taught = cells.filter((pl.col(USE) == TAUGHT) & pl.col(LABEL).is_not_null())[LABEL]
    if taught.n_unique() < LEAST_LABELS:
        only = f" ({taught[0]!r})" if len(taught) else ""
        raise BadLabels(
            f"The {what} that are learnt from have {taught.n_unique()} labels{only}; expected two "
            "or more, or nothing is told apart. Label others, name another column, keep less "
            "apart, or learn without labels."
        )


def counts_of(cells: pl.DataFrame) -> Mapping[str, int]:
    """Say how many cells that are learnt from have each label."""
    taught = cells.filter((pl.col(USE) == TAUGHT) & pl.col(LABEL).is_not_null())
    return dict(taught[LABEL].value_counts().sort(LABEL).iter_rows())
