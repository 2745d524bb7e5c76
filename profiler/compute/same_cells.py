"""Whether the cells found in a field are those of a run's table: as many, and where they were."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from plates.errors import BadRun
from plates.imageset import FieldKey
from profiler.store.cell_keys import OBJECT
from profiler.store.places import well_path
from profiler.store.tables import read_footer, scan_checked
from profiler.store.wells import IN_WELL

FAMILIES = ("Location", "AreaShape")  # the same places in either; a recipe may measure neither
# Of the same label image: the table has float32, two of whose steps are less than this up to
# 65,536 pixels, and a nucleus's sums are exact in it below 2**24.
SAME_PX = 0.01
# Of nuclei found again: another device may round a pixel of the outline otherwise, and of two
# neighbours they are further apart. As labels follow their cells, see `classify.content`.
NEAR_PX = 3.0

LabelPair: TypeAlias = tuple[np.ndarray, np.ndarray]  # nuclei, and cells under the same numbers
Centres: TypeAlias = Float[np.ndarray, "cell 2"]


class Listed(NamedTuple):
    """Cells of one field in the table.

    Attributes:
        number: Labels in the label images.
        centre: Row and column of each nucleus, or of each whole cell, NaN where it has none.
    """

    number: Int[np.ndarray, " cell"]
    centre: Centres


Fields: TypeAlias = dict[tuple[int, int], Listed]


class KnownWell(NamedTuple):
    """What a run says of a well.

    Attributes:
        footer: How its cells were made.
        nuclei: Site and time point -> its cells, by their nuclei; a field without any has no entry.
            None where the recipe does not measure where nuclei lie.
        cells: The same by whole cells.
    """

    footer: Mapping[str, Any]
    nuclei: Fields | None
    cells: Fields | None = None


def known_well(out: Path, plate: str, well: str) -> KnownWell:
    """Read what a run says of a well, of its cells where they lie alone.

    Raises:
        BadRun: The well's file is absent or damaged.
    """
    path = well_path(out, plate, well)
    footer = read_footer(path).parameters
    cells = scan_checked([path])
    return KnownWell(footer, *(_listed(cells, of=each) for each in ("Nuclei", "Cells")))


def _listed(cells: pl.LazyFrame, *, of: str) -> Fields | None:
    names = set(cells.collect_schema().names())
    pairs = [(f"{of}_{family}_Center_Y", f"{of}_{family}_Center_X") for family in FAMILIES]
    place = next((pair for pair in pairs if set(pair) <= names), None)
    if place is None:
        return None
    fields = cells.select(*IN_WELL, OBJECT, *place).collect().partition_by(IN_WELL, as_dict=True)
    return {
        (site, time): Listed(own[OBJECT].to_numpy(), own.select(place).to_numpy().astype(float))
        for (site, time), own in fields.items()
    }


def check_same(key: FieldKey, labels: LabelPair, known: KnownWell, *, is_kept: bool) -> None:
    """Refuse a field in which other cells are found than the run's table has.

    Args:
        key: The field.
        labels: Label images of its nuclei and of its cells.
        known: Of its well.
        is_kept: Whether the run kept the label images; else its nuclei were found again, and how
            far cells around them reach is not looked at.

    Raises:
        BadRun: There are more or fewer, or a nucleus or a cell lies elsewhere. Cells that the
            table leaves out are not looked at; one that has no nucleus in it must have none.
    """
    nuclei, cells = labels
    _check_count(key, int(nuclei.max(initial=0)), known.footer)
    within = SAME_PX if is_kept else NEAR_PX
    _check_places(key, nuclei, known.nuclei, what="nuclei", within=within)
    if is_kept:
        _check_places(key, cells, known.cells, what="cells", within=within)


def _check_places(
    key: FieldKey, labels: np.ndarray, known: Fields | None, *, what: str, within: float
) -> None:
    own = (known or {}).get((key.site, key.timepoint))
    if own is None:
        return
    found = centres_of(labels, most=int(own.number.max()))[own.number - 1]
    is_there = np.isfinite(found).all(axis=1)
    away = np.hypot(*(found - own.centre).T)
    is_same = np.where(is_there, away <= within, False)
    is_same |= ~is_there & ~np.isfinite(own.centre).all(axis=1)
    if not is_same.all():
        _refuse(key, own, found, is_same, what=what)


def centres_of(labels: np.ndarray, *, most: int = 0) -> Centres:
    """Mean row and column of each label, row i is label i + 1; NaN where it does not occur.

    Args:
        labels: A label image.
        most: Rows to return at least.
    """
    at = np.flatnonzero(labels)
    owner = labels.ravel()[at]
    length = max(most, int(owner.max(initial=0))) + 1
    area = np.bincount(owner, minlength=length)[1:]
    places = np.divmod(at, labels.shape[1])
    sums = [np.bincount(owner, weights=place, minlength=length)[1:] for place in places]
    return np.stack([np.where(area > 0, each / np.maximum(area, 1), np.nan) for each in sums], 1)


def _check_count(key: FieldKey, found: int, footer: Mapping[str, Any]) -> None:
    (count,) = (
        row["Metadata_Object_Count"]
        for row in footer["fields"]
        if (row["Metadata_Site"], row["Metadata_Timepoint"]) == (key.site, key.timepoint)
    )
    if found != count:
        raise BadRun(
            f"{key.plate} {key.well} site {key.site} has {found} cells now, and {count} in the "
            "run's table: its network or label images changed since. Run the plate again first."
        )


def _refuse(key: FieldKey, own: Listed, found: Centres, is_same: np.ndarray, *, what: str) -> None:
    first = int(np.flatnonzero(~is_same)[0])
    raise BadRun(
        f"{key.plate} {key.well} site {key.site} has other cells now than the run's table, under "
        f"the same numbers: {(~is_same).sum()} of {len(is_same)} {what} lie elsewhere, such as "
        f"cell {own.number[first]}, {_at(found[first])} and {_at(own.centre[first])} in the table. "
        "Its network or label images changed since. Run the plate again first."
    )


def _at(centre: np.ndarray) -> str:
    if not np.isfinite(centre).all():
        return "nowhere"
    return f"at row {centre[0]:.1f}, column {centre[1]:.1f}"
