"""Compounds, and copies of a layout, kept apart to judge by what was learnt from the rest."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import polars as pl
from jaxtyping import Bool, Float

from plates.errors import BadLabels
from profiler.hits.precision.average import average_precision
from profiler.hits.precision.matching import Matching
from profiler.profile.controls import is_role
from profiler.profile.features import EMBEDDING
from profiler.profile.scaling.normalise import robust_z

PLATE, WELL, COMPOUND = "Metadata_Plate", "Metadata_Well", "Metadata_Compound"
TREATMENT = (COMPOUND, "Metadata_Concentration", "Metadata_Unit", "Metadata_Timepoint")
LEAST_COPIES = 4  # plates with the same compounds, from which some are kept apart
COPIES_APART = 2
LEAST_COMPOUNDS = 3
AGAINST = ("controls", "others")

PerWell: TypeAlias = Bool[np.ndarray, " well"]


@dataclass(frozen=True)
class Split:
    """What is kept apart.

    Attributes:
        taught: Wells that are learnt from.
        judged: Wells that are judged by: of the compounds kept apart, on the plates kept apart if
            there are any, with their negative controls; else half of each plate's, by chance.
        compounds: Those kept apart; none where fewer than two have two wells of one dose.
        plates: Those kept apart, perhaps none.
    """

    taught: PerWell
    judged: PerWell
    compounds: tuple[str, ...]
    plates: tuple[str, ...]


def split_wells(wells: pl.DataFrame, *, share: float, seed: int) -> Split:
    """Keep compounds, and copies of a layout, apart from what is learnt.

    Args:
        wells: Annotated wells, those with usable cells.
        share: Of the treated compounds; one at least, of those with two wells of one dose.
        seed: Decides which.

    Raises:
        BadLabels: There are fewer than three treated compounds.
    """
    random = np.random.default_rng(seed)
    names, treated = treated_compounds(wells), wells.filter(is_role("treatment"))
    plates = _plates_apart(treated, random)
    repeated = _repeated(treated)
    fit = _repeated(treated.filter(pl.col(PLATE).is_in(plates)))
    fit, plates = (fit, plates) if fit else (repeated, ())
    if len(repeated) < 2:  # one would leave nothing to learn from
        return Split(np.ones(wells.height, bool), np.zeros(wells.height, bool), (), ())
    n_apart = min(max(1, round(share * len(names))), len(fit), len(repeated) - 1)
    compounds = tuple(sorted(random.choice(fit, n_apart, replace=False).tolist()))
    is_apart = is_well(wells, pl.col(COMPOUND).is_in(compounds))
    on_apart = is_well(wells, pl.col(PLATE).is_in(plates))
    is_control = is_well(wells, is_role("negative"))
    if plates:
        return Split(~is_apart & ~on_apart, (is_apart | is_control) & on_apart, compounds, plates)
    # Controls are a label, too: those that were learnt from would flatter what is learnt.
    held = is_control & _half(wells, is_control, random)
    return Split(~is_apart & ~held, is_apart | held, compounds, plates)


def treated_compounds(wells: pl.DataFrame) -> list[str]:
    """Name the compounds that are being tested.

    Raises:
        BadLabels: There are fewer than three.
    """
    names = wells.filter(is_role("treatment"))[COMPOUND].drop_nulls().unique().sort().to_list()
    if len(names) < LEAST_COMPOUNDS:
        raise BadLabels(
            f"Found {len(names)} treated compounds; at least {LEAST_COMPOUNDS} are needed, of "
            "which some are kept apart to judge by. Give runs with more compounds."
        )
    return names


def _repeated(treated: pl.DataFrame) -> list[str]:
    """Compounds with two wells of one dose, which can be asked whether they find one another."""
    by = [name for name in TREATMENT if name in treated.columns]
    twice = treated.group_by(by).len().filter(pl.col("len") > 1)
    return twice[COMPOUND].drop_nulls().unique().sort().to_list()


def _plates_apart(treated: pl.DataFrame, random: np.random.Generator) -> tuple[str, ...]:
    """Two plates of every layout that is there four times or more."""
    layouts: dict[tuple, list[str]] = {}
    for (plate,), rows in treated.group_by(PLATE, maintain_order=True):
        held = tuple(rows[COMPOUND].drop_nulls().unique().sort())
        layouts.setdefault(held, []).append(str(plate))
    chosen = [
        random.choice(sorted(plates), COPIES_APART, replace=False).tolist()
        for plates in layouts.values()
        if len(plates) >= LEAST_COPIES
    ]
    return tuple(sorted(plate for some in chosen for plate in some))


def _half(wells: pl.DataFrame, is_control: PerWell, random: np.random.Generator) -> PerWell:
    """Half of each plate's controls, by chance: a rule may take a column of its own."""
    held: list[tuple[str, str]] = []
    controls = wells.filter(pl.Series(is_control)).select(PLATE, WELL).unique().sort(PLATE, WELL)
    for (plate,), own in controls.group_by(PLATE, maintain_order=True):
        chosen = random.permutation(own.height)[: (own.height + 1) // 2]
        held += [(str(plate), str(own[WELL][int(row)])) for row in chosen]
    kept = set(held)  # at all their time points, which show the same cells
    return np.array([row in kept for row in wells.select(PLATE, WELL).iter_rows()], bool)


def precisions_of(
    keys: pl.DataFrame, values: Float[np.ndarray, "well feature"]
) -> tuple[float, ...]:
    """Say how well the replicates of some wells find one another by vectors of theirs.

    Args:
        keys: Metadata of the wells, with compounds and roles; treated ones and negative controls.
        values: A vector for each; they are put on the scale of their plate's controls.

    Returns:
        Mean average precision of treated wells against each of `AGAINST`; NaN where there is none.
    """
    names = [f"{EMBEDDING}{i:04d}" for i in range(values.shape[1])]
    table = keys.hstack(pl.DataFrame(values.astype(float), schema=names))
    z = robust_z(table, features=names, reference=is_role("negative"))
    same = tuple(name for name in TREATMENT if name in keys.columns)
    found = []
    for against in AGAINST:
        rows = average_precision(z, matching=Matching(same=same, against=against), features=names)
        treated = rows.join(keys.filter(~is_role("negative")), on=[PLATE, WELL], how="semi")
        mean = treated["average_precision"].mean()
        found.append(float(mean) if isinstance(mean, float) else float("nan"))
    return tuple(found)


def is_well(wells: pl.DataFrame, rows: pl.Expr) -> PerWell:
    """Say which wells an expression holds of; not of those it is null for."""
    chosen = wells.select(rows.fill_null(value=False).alias("chosen"))["chosen"]
    return chosen.to_numpy().astype(bool)
