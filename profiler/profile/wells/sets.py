"""A well's profile as a network makes it of all its cells: a learned set aggregator, in NumPy.

Every cell passes `phi`, the cells' mean passes `rho`: neither their order nor their number is seen
(Deep Sets). `profiler train aggregator` makes the weights; nothing here needs JAX.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import polars as pl
from jaxtyping import Float

from plates.errors import BadModel
from profiler.nets.cards import read_weights
from profiler.profile.blocks import SET
from profiler.profile.features import EMBEDDING
from profiler.profile.stains import check_stains
from profiler.profile.wells.aggregate import WELL
from profiler.profile.wells.cell_scale import Scales, standardised

PARTS = ("phi", "rho")
AT_ONCE = 1 << 14  # cells that pass the network together

CellVectors: TypeAlias = Float[np.ndarray, "cell feature"]


@dataclass(frozen=True)
class SetCard:
    """What an aggregator is, and what it was taught on.

    Attributes:
        name: Of its file.
        features: The columns of cells that it takes, in its order.
        phi: Widths of the layers that each cell passes; none leave cells as they are.
        rho: Widths of the layers that the cells' mean passes; the last is the profile's length.
        embedder: Hash of the encoder that made the `Embedding_` columns among `features`.
        sha256: Of the weights file, which must match.
        about: Runs, split, schedule and scores, for people.
        stains: Those of the vectors, in the order of their blocks; None without vectors, and where
            the runs do not tell, or a card is from before this was noted.
    """

    name: str
    features: tuple[str, ...]
    phi: tuple[int, ...]
    rho: tuple[int, ...]
    embedder: str | None
    sha256: str
    about: Mapping[str, Any] = field(default_factory=dict)
    stains: tuple[str, ...] | None = None

    @property
    def columns(self) -> list[str]:
        """Names of the profile's numbers, "Embedding_Set_0000" first."""
        size = [len(self.features), *self.phi, *self.rho][-1]
        return [f"{SET}{number:04d}" for number in range(size)]


class Layer(NamedTuple):
    """`x @ kernel + bias`; after every layer of a part but its last, negative values become 0."""

    kernel: Float[np.ndarray, "inputs outputs"]
    bias: Float[np.ndarray, " outputs"]


class SetAggregator(NamedTuple):
    """A learned aggregator, ready for use."""

    card: SetCard
    phi: tuple[Layer, ...]
    rho: tuple[Layer, ...]

    def __call__(self, cells: CellVectors) -> Float[np.ndarray, " number"]:
        """Make one profile of standardised cells, of which there is at least one."""
        starts = range(0, len(cells), AT_ONCE)
        total = sum(
            _pass(cells[i : i + AT_ONCE], self.phi).sum(axis=0, dtype=float) for i in starts
        )
        return _pass(np.atleast_2d(total / len(cells)), self.rho)[0]


def _pass(values: Float[np.ndarray, "row number"], layers: Sequence[Layer]) -> np.ndarray:
    for number, layer in enumerate(layers):
        values = values @ layer.kernel + layer.bias
        if number < len(layers) - 1:
            values = np.maximum(values, 0)
    return values


def load_aggregator(path: str | Path) -> SetAggregator:
    """Read an aggregator.

    Args:
        path: Weights, .safetensors, with their card beside them.

    Raises:
        BadModel: A file is missing, cut short or edited, or is of another kind of network.
    """
    path = Path(path)
    card, tensors = read_weights(path, _card, what="the card of a set aggregator")
    wanted = _shapes(card)
    if wanted != {name: value.shape for name, value in tensors.items()}:
        odd = sorted(set(wanted) ^ set(tensors)) or ["shapes differ"]
        raise BadModel(f"{path} does not fit the aggregator on its card ({odd[0]}).")
    phi, rho = (
        tuple(
            Layer(tensors[f"{part}/{i}/kernel"], tensors[f"{part}/{i}/bias"])
            for i in range(len(getattr(card, part)))
        )
        for part in PARTS
    )
    return SetAggregator(card, phi, rho)


def _shapes(card: SetCard) -> dict[str, tuple[int, ...]]:
    found, inputs = {}, len(card.features)
    for part in PARTS:
        for i, outputs in enumerate(getattr(card, part)):
            found[f"{part}/{i}/kernel"], found[f"{part}/{i}/bias"] = (inputs, outputs), (outputs,)
            inputs = outputs
    return found


def _card(**fields: Any) -> SetCard:
    for name in ("features", *PARTS):
        fields[name] = tuple(fields.get(name, ()))
    fields["stains"] = tuple(fields.get("stains") or ()) or None
    return SetCard(**fields)


def check_cells(
    card: SetCard,
    columns: Sequence[str],
    *,
    embedder: str | None,
    stains: Sequence[str] | None = None,
) -> None:
    """Refuse cells that an aggregator was not taught on.

    Args:
        card: The aggregator's.
        columns: Of the cells.
        embedder: Hash of the encoder that made their vectors, None without any.
        stains: Those of the vectors, in their order; None where nobody tells.

    Raises:
        BadModel: They lack columns, or their vectors are another encoder's, or of other stains or
            the same in another order.
    """
    known = set(columns)
    lacking = [name for name in card.features if name not in known]
    if lacking:
        raise BadModel(
            f"The cells lack {len(lacking)} of the {len(card.features)} features that the "
            f"aggregator {card.name!r} takes, {lacking[0]} first. Measure and embed them as the "
            "runs it was taught on, or train one on these: profiler train aggregator RUN."
        )
    if not any(name.startswith(EMBEDDING) for name in card.features):
        return
    if card.embedder != embedder:
        raise BadModel(
            f"The aggregator {card.name!r} was taught on vectors of the encoder "
            f"{str(card.embedder)[:12]}, and the cells' are of {str(embedder)[:12]}: their numbers "
            "mean other things. Embed with that encoder, or train an aggregator on these cells."
        )
    check_stains(card.stains, stains, what=f"the aggregator {card.name!r}", where="This run")


def aggregate_sets(
    cells: pl.DataFrame | pl.LazyFrame,
    *,
    aggregator: SetAggregator,
    scales: Scales,
    by: Sequence[str] = WELL,
) -> pl.DataFrame:
    """Make the learned profile of every well.

    Args:
        cells: One row per cell, with `Metadata_Plate`; held in memory with a copy or two.
        aggregator: From `load_aggregator`.
        scales: From `cell_scales`: cells are expressed on the scale of their plate.
        by: Columns whose values together name a well.

    Returns:
        One row per well that has cells, sorted by `by`: those columns and the numbers of
        `SetCard.columns`, float64. Null where no cell has half of the aggregator's features, or
        the plate has no scale.

    Source:
        Zaheer et al. 2017, "Deep Sets"; by hand, and as the plain mean where there are no
        layers, in tests/profile/wells/test_sets.py.
    """
    card = aggregator.card
    wanted = dict.fromkeys(["Metadata_Plate", *by, *card.features])
    table = cells.lazy().select(list(wanted)).collect()
    values, is_usable = standardised(table, features=card.features, scales=scales)
    groups = table.select(by).with_row_index("row").group_by(by).agg("row").sort(by)
    found = np.full((groups.height, len(card.columns)), np.nan)
    for line, rows in zip(found, groups["row"], strict=True):
        own = rows.to_numpy()
        own = own[is_usable[own]]
        if len(own):
            line[:] = aggregator(values[own])
    return groups.drop("row").hstack(
        pl.DataFrame(found, schema=dict.fromkeys(card.columns, pl.Float64)).fill_nan(None)
    )
