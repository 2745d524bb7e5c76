"""Doses that differ by the rounding of a program alone are one dose."""

from collections.abc import Iterator, Sequence

import polars as pl

COMPOUND, DOSE, UNIT = "Metadata_Compound", "Metadata_Concentration", "Metadata_Unit"
ROUNDING = 1e-6  # of a dose: some ten roundings of a float32; no one pipettes so finely
MOST_NAMES = 3


def merge_doses(layout: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """Give doses of one compound that differ by less than a millionth one value.

    0.1 and 0.10000000149 (0.1 as a float32) would else be two treatments of one well each.

    Args:
        layout: A plate map, or annotated wells.

    Returns:
        The same table, in which each such dose is the one that takes the fewest digits to
        write, the smallest of several; and a sentence, if any dose was changed.

    >>> doses = {"Metadata_Compound": "taxol", "Metadata_Concentration": [0.1, 0.10000000149, 0.2]}
    >>> merge_doses(pl.DataFrame(doses))[0]["Metadata_Concentration"].to_list()
    [0.1, 0.1, 0.2]
    """
    per = [name for name in (COMPOUND, UNIT) if name in layout.columns]
    if COMPOUND not in per or DOSE not in layout.columns:
        return layout, []
    known = layout.filter(pl.col(DOSE).is_finite())
    series = known.group_by(per, maintain_order=True).agg(pl.col(DOSE).unique().sort())
    other = pl.DataFrame(
        [(*key, old, new) for *key, doses in series.iter_rows() for old, new in _merged(doses)],
        schema={**{name: layout.schema[name] for name in per}, DOSE: pl.Float64, "as": pl.Float64},
        orient="row",
    )
    if other.is_empty():
        return layout, []
    joined = layout.join(
        other, on=[*per, DOSE], how="left", nulls_equal=True, maintain_order="left"
    )
    n_wells = joined["as"].count()
    names = other[COMPOUND].unique().sort().to_list()
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    are = "well has" if n_wells == 1 else "wells have"
    note = (
        f"{n_wells:,} {are} a dose that differs from another of its compound by less than a "
        f"millionth, and counts as the same ({', '.join(map(str, names[:MOST_NAMES]))}{more})."
    )
    return joined.with_columns(pl.coalesce("as", DOSE).alias(DOSE)).drop("as"), [note]


def _merged(doses: Sequence[float]) -> Iterator[tuple[float, float]]:
    """Doses to be changed, ascending ones given, and what they become."""
    groups: list[list[float]] = []
    for dose in doses:
        if groups and dose - groups[-1][-1] <= ROUNDING * dose:
            groups[-1].append(dose)
        else:
            groups.append([dose])
    for alike in groups:
        chosen = min(alike, key=lambda each: (len(repr(each)), each))
        yield from ((each, chosen) for each in alike if each != chosen)
