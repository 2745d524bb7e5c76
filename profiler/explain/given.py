"""A line that something else tells cells by, such as a classifier's class, as a direction."""

from typing import Protocol, runtime_checkable

import numpy as np
import polars as pl
from jaxtyping import Float

from plates.errors import BadModel
from profiler.explain.candidates import Candidates
from profiler.explain.network import Network
from profiler.explain.sides import CELL, TwoSides, cell_sides
from profiler.phenotype.directions import Direction, separation
from profiler.store.screen import Screen


@runtime_checkable
class Given(Protocol):
    """A line among a network's vectors, and the cells to ask about it."""

    @property
    def name(self) -> str:
        """What is explained."""
        ...

    @property
    def cells(self) -> pl.DataFrame:
        """Keys of the cells that the line leads to."""
        ...

    @property
    def timepoint(self) -> int | None:
        """Theirs; None where the run has one."""
        ...

    @property
    def weights(self) -> Float[np.ndarray, " feature"]:
        """Of each number of the vector; the line's unit does not matter."""
        ...

    @property
    def embedder(self) -> str:
        """SHA-256 of the network."""
        ...

    @property
    def told(self) -> tuple[str, ...]:
        """What a person should know of it, in sentences."""
        ...


def given_sides(screen: Screen, given: Given) -> TwoSides:
    """Take the cells that a line leads to, and the controls on their plates; as `cell_sides`."""
    name = f"class {given.name}"
    return cell_sides(screen, given.cells.select(CELL), name=name, timepoint=given.timepoint)


def check_network(given: Given, network: Network) -> None:
    """Check that a line is among a network's vectors.

    Raises:
        BadModel: It is among another's.
    """
    if given.embedder != network.card.sha256:
        raise BadModel(
            f"The classifier goes by embeddings of network {given.embedder[:12]}, and "
            f"{network.card.name!r} is {network.card.sha256[:12]}. Give that one: --model "
            "NAME.safetensors."
        )


def given_direction(given: Given, cells: Candidates) -> Direction:
    """Put a line on the scale of the control cells: 0 is their mean, 1 their sd along it.

    Raises:
        BadModel: The control cells do not vary along it.
    """
    vectors, is_treated, plate = cells.vectors, cells.is_treated, cells.plate
    unit = given.weights / np.linalg.norm(given.weights)
    names = np.unique(plate[~is_treated])
    origins = {str(name): vectors[~is_treated & (plate == name)].mean(axis=0) for name in names}
    place = (vectors - np.stack([origins[str(name)] for name in plate])) @ unit
    spread = float(place[~is_treated].std())
    if not spread:
        raise BadModel(
            f"The control cells do not vary along {given.name!r}, so there is no scale for it: is "
            "there but one of another class?"
        )
    length = float(place[is_treated].mean()) / spread
    return Direction(unit, spread, origins, length, separation(place, is_treated))
