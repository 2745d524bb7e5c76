"""Control wells: how to point at them, and what to say when they are missing."""

import polars as pl

from plates.errors import NoControls, lookup

ROLES = {  # Metadata_Role -> what such a well is for
    "negative": "untreated or vehicle: what no effect looks like",
    "positive": "what a full effect looks like",
    "treatment": "what is being tested",
    "empty": "no cells or nothing to measure",
}


MOST_NAMES = 8


def is_role(role: str) -> pl.Expr:
    """Select the wells of one role; a well without a role is of none.

    Args:
        role: A name in `ROLES`.

    Returns:
        A boolean expression, never null.

    Raises:
        UnknownName: `role` is no role.
    """
    lookup(ROLES, kind="role", name=role)
    return pl.col("Metadata_Role").eq_missing(pl.lit(role))


def has_cells(wells: pl.DataFrame) -> pl.Expr:
    """Select the wells that measurements came from.

    Args:
        wells: Annotated wells.

    Returns:
        A boolean expression: `Metadata_QC_Status` is "ok", or every well where
        the table has no such column.
    """
    if "Metadata_QC_Status" in wells.columns:
        return pl.col("Metadata_QC_Status").eq_missing(pl.lit("ok"))
    return pl.lit(value=True)


def has_controls(wells: pl.DataFrame, *, role: str, at_least: int) -> pl.Expr:
    """Select the wells of plates that have enough control wells with cells.

    Args:
        wells: Annotated wells, with `Metadata_Role`.
        role: "negative" or "positive".
        at_least: How many are enough.

    Returns:
        A boolean expression, never null.

    Raises:
        UnknownName: `role` is no role.
    """
    return (is_role(role) & has_cells(wells)).sum().over("Metadata_Plate") >= at_least


def require_controls(wells: pl.DataFrame, *, role: str, at_least: int, why: str) -> None:
    """Refuse plates that lack the control wells a statistic needs.

    Args:
        wells: Annotated wells, one row per well.
        role: "negative" or "positive".
        at_least: Wells with cells that every plate must have.
        why: What they are needed for, completing "... are needed to".

    Raises:
        NoControls: A plate has fewer; the message names it, its roles, and what to do.
        UnknownName: `role` is no role.
    """
    lookup(ROLES, kind="role", name=role)
    if "Metadata_Role" not in wells.columns:
        raise NoControls(
            f"No plate map says which wells are {role} controls; {at_least} per plate are needed "
            f"to {why}. Give one with --layout: a CSV with a well and a role column."
        )
    for (plate,), group in wells.group_by("Metadata_Plate", maintain_order=True):
        usable = group.filter(is_role(role), has_cells(group)).height
        if usable < at_least:
            raise NoControls(_complaint(plate, group, role=role, at_least=at_least, why=why))


def _complaint(plate: object, wells: pl.DataFrame, *, role: str, at_least: int, why: str) -> str:
    usable = wells.filter(is_role(role), has_cells(wells)).height
    lost = wells.filter(is_role(role), ~has_cells(wells))
    if lost.height:
        states = lost.select(pl.format("{} {}", "Metadata_Well", "Metadata_QC_Status")).to_series()
        more = f" and {lost.height - MOST_NAMES} more" if lost.height > MOST_NAMES else ""
        advice = (
            f"The plate map has {usable + lost.height}, but of these "
            f"{', '.join(states[:MOST_NAMES])}{more}. Leave the plate out, or name other wells as "
            f"{role} in the plate map."
        )
    else:
        advice = f"Its roles are {count_roles(wells)}; mark the wells as {role} in the plate map."
    return (
        f"Plate {plate} has {usable} {role} control well{'s' * (usable != 1)} with cells, "
        f"and {at_least} are needed to {why}. {advice}"
    )


def count_roles(wells: pl.DataFrame) -> str:
    """List the roles that wells have and how many have each, for a message."""
    counts = wells["Metadata_Role"].drop_nulls().value_counts(sort=True).sort("Metadata_Role")
    return ", ".join(f"{role} ({count})" for role, count in counts.iter_rows()) or "not given"
