"""Refuse tables in which a well stands twice, or one compound goes by two names or units."""

import polars as pl

from plates.errors import BadLayout
from profiler.profile.controls import is_role

WELL = ("Metadata_Plate", "Metadata_Well")
COMPOUND, ROLE, UNIT = "Metadata_Compound", "Metadata_Role", "Metadata_Unit"


def check_wells(wells: pl.DataFrame) -> None:
    """Refuse tables in which a well has several rows.

    Args:
        wells: Annotated wells or profiles.

    Raises:
        BadLayout: A well of a plate has several rows.
    """
    twice = wells.filter(pl.struct(WELL).is_duplicated())
    for plate, well in twice.select(WELL).iter_rows():
        raise BadLayout(
            f"Well {well} of plate {plate} has several rows; one row per well is needed. Join the "
            "plate map on plate and well, or give plates their own names."
        )


def check_compounds(layout: pl.DataFrame) -> None:
    """Refuse compounds whose wells would be split or pooled wrongly.

    Args:
        layout: A plate map, or annotated wells; columns it lacks are not checked.

    Raises:
        BadLayout: Two names differ only in case or spaces, the treated wells of
            a compound have concentrations in different units, or one is negative.
    """
    if COMPOUND not in layout.columns:
        return
    _check_names(layout)
    if UNIT in layout.columns:
        _check_units(layout)
    if "Metadata_Concentration" in layout.columns:
        _check_concentrations(layout)


def _check_names(layout: pl.DataFrame) -> None:
    folded = pl.col(COMPOUND).str.strip_chars().str.to_lowercase()
    spellings = layout.drop_nulls(COMPOUND).group_by(folded.alias("folded"))
    split = spellings.agg(pl.col(COMPOUND).unique().sort()).filter(pl.col(COMPOUND).list.len() > 1)
    for _, names in split.sort("folded").iter_rows():
        raise BadLayout(
            f"The compounds {' and '.join(map(repr, names))} differ only in case or spaces. Spell "
            "a compound alike in every well, or the replicates are ranked as two compounds."
        )


def _check_units(layout: pl.DataFrame) -> None:
    """Only treated wells: the vehicle's 0 nM is its 0 uM."""
    dosed = layout.drop_nulls([COMPOUND, UNIT])
    if ROLE in layout.columns:
        dosed = dosed.filter(is_role("treatment"))
    units_of = dosed.group_by(COMPOUND).agg(pl.col(UNIT).unique().sort())
    for name, units in units_of.filter(pl.col(UNIT).list.len() > 1).sort(COMPOUND).iter_rows():
        example = [_first_well(dosed, name, unit) for unit in units]
        raise BadLayout(
            f"The concentrations of {name!r} are in {' and in '.join(units)} (wells "
            f"{', '.join(example)}, among others). Give them all in one unit."
        )


def _first_well(dosed: pl.DataFrame, compound: str, unit: str) -> str:
    key = [name for name in WELL if name in dosed.columns]
    mine = dosed.filter(pl.col(COMPOUND) == compound, pl.col(UNIT) == unit)
    return "/".join(map(str, mine.select(key).row(0)))


def _check_concentrations(layout: pl.DataFrame) -> None:
    below = layout.filter(pl.col("Metadata_Concentration") < 0)
    for row in below.iter_rows(named=True):
        where = f" in well {row['Metadata_Well']}" if "Metadata_Well" in row else ""
        value = row["Metadata_Concentration"]
        raise BadLayout(f"The concentration{where} is {value:g}; it must be 0 or more.")
