"""A direction among cells' vectors: from the controls to a treatment, and how far cells lie along.

Each plate's control cells are its origin, so that what plates differ in is no direction.
"""

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import mannwhitneyu

from plates.errors import NoControls

Vectors: TypeAlias = Float[np.ndarray, "cell feature"]
PerCell: TypeAlias = Float[np.ndarray, " cell"]
Mask: TypeAlias = Bool[np.ndarray, " cell"]


class Sides(NamedTuple):
    """Which cells a direction leads from, and to; every cell is on one side.

    Attributes:
        is_treated: Whether a cell is on the far side, else it is a control.
        well: Of each cell, by any name; cells of a well are not independent.
        plate: Of each cell.
    """

    is_treated: Mask
    well: np.ndarray
    plate: np.ndarray


class Direction(NamedTuple):
    """From the mean control cell to the mean treated one, every well counting the same.

    Attributes:
        unit: Of length 1.
        spread: Sd of the control cells along it: what counts as 1.
        origins: Mean control vector of each plate.
        length: How far the treated mean lies from the controls', in `spread`.
        auroc: How often a treated cell lies further along than a control, where the
            direction was found on other wells: .5 is chance. None where the wells cannot be halved
            so that each half has treated ones and controls on the same plate.
    """

    unit: Float[np.ndarray, " feature"]
    spread: float
    origins: Mapping[str, Float[np.ndarray, " feature"]]
    length: float
    auroc: float | None


def find_direction(vectors: Vectors, sides: Sides) -> Direction:
    """Find the direction from controls to treated cells.

    Args:
        vectors: Finite, of any unit.
        sides: Of each cell.

    Raises:
        NoControls: A side has no cells, a plate with treated cells has no control, or both
            means are the same.
    """
    _check(sides)
    origins = _origins(vectors, sides)
    centred = vectors - _origin(origins, sides.plate)
    way = _mean_of_wells(centred, sides, sides.is_treated)
    length = float(np.linalg.norm(way))
    spread = float(np.std(centred[~sides.is_treated] @ way) / length) if length else 0.0
    if not spread:
        raise NoControls(
            "Treated cells and controls have the same mean vector, or the controls do not vary: "
            "there is no direction between them. Are they the same images, or is the network of "
            "one output?"
        )
    return Direction(way / length, spread, origins, length / spread, _held_out(vectors, sides))


def along(direction: Direction, vectors: Vectors, *, plate: np.ndarray) -> PerCell:
    """How far cells lie along a direction, in sds of the control cells, whose mean is 0.

    Raises:
        NoControls: A plate has no controls to be its origin.
    """
    return (vectors - _origin(direction.origins, plate)) @ direction.unit / direction.spread


def separation(place: PerCell, is_treated: Mask) -> float:
    """How often a treated cell lies further along than a control, ties half: the AUROC."""
    treated, controls = place[is_treated], place[~is_treated]
    return float(mannwhitneyu(treated, controls).statistic / (len(treated) * len(controls)))


def _held_out(vectors: Vectors, sides: Sides) -> float | None:
    """AUROC along directions found without the wells that are judged, mean of two halves."""
    half = np.zeros(len(vectors), int)
    for is_side in (sides.is_treated, ~sides.is_treated):
        half[is_side] = np.unique(sides.well[is_side], return_inverse=True)[1] % 2
    halves = [_some(vectors, sides, half == number) for number in (0, 1)]
    if not all(own.is_treated.any() for _, own in halves):
        return None
    found = []
    for (seen, taught), (judged, asked) in (halves, halves[::-1]):
        way = _mean_of_wells(seen, taught, taught.is_treated)
        found.append(separation(judged @ way, asked.is_treated))
    return float(np.mean(found))


def _some(
    vectors: Vectors, sides: Sides, chosen: Mask
) -> tuple[Float[np.ndarray, "some feature"], Sides]:
    """Cells of some wells, from the controls among these wells; those of plates that have any.

    An origin of all controls would hold those of the other half: treated cells that are no
    different would then lie on the far side of them, and less often further along than by chance.
    """
    held = chosen & np.isin(sides.plate, sides.plate[chosen & ~sides.is_treated])
    own = Sides(*(part[held] for part in sides))
    return vectors[held] - _origin(_origins(vectors[held], own), own.plate), own


def _origins(vectors: Vectors, sides: Sides) -> dict[str, Float[np.ndarray, " feature"]]:
    """Mean control vector of each plate, every well counting the same."""
    return {
        str(plate): _mean_of_wells(vectors, sides, ~sides.is_treated & (sides.plate == plate))
        for plate in np.unique(sides.plate[~sides.is_treated])
    }


def _mean_of_wells(vectors: Vectors, sides: Sides, chosen: Mask) -> Float[np.ndarray, " feature"]:
    wells = sides.well[chosen]
    return np.mean([vectors[chosen][wells == well].mean(0) for well in np.unique(wells)], axis=0)


def _origin(origins: Mapping[str, np.ndarray], plate: np.ndarray) -> Vectors:
    lacking = sorted({str(name) for name in plate} - set(origins))
    if lacking:
        raise NoControls(
            f"Plates without control cells: {', '.join(lacking[:5])}. A plate's controls are the "
            "origin of its cells; leave these plates out, or name their controls in the plate map."
        )
    if not len(plate):
        return np.zeros((0, 1))
    return np.stack([origins[str(name)] for name in plate])


def _check(sides: Sides) -> None:
    for side, is_side in (("treated", sides.is_treated), ("control", ~sides.is_treated)):
        if not is_side.any():
            raise NoControls(
                f"There are no {side} cells, so there is no direction. Both sides need cells."
            )
