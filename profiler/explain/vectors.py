"""What a network says of cells: the vectors that a run has, or those of some fields read again."""

from collections.abc import Callable, Generator
from typing import NamedTuple, TypeAlias

import numpy as np
import polars as pl

from plates.imageset import FieldKey
from profiler.compute.reread import Reader
from profiler.embed.predict import Look, make_look
from profiler.explain.cells import with_columns
from profiler.explain.events import Read
from profiler.explain.network import Network
from profiler.explain.sides import CELL, WELL
from profiler.profile.features import EMBEDDING
from profiler.store.screen import Screen

FIELD = [*WELL, "Metadata_Site", "Metadata_Timepoint"]
MOST_CELLS = 1500  # of either side or label: a direction and its features need no more
MOST_FIELDS = 6  # of either side or label that are read again where cells have no vectors yet


class Embedded(NamedTuple):
    """Cells that a network has looked at, one row each.

    Attributes:
        table: `CELL`, Metadata_Timepoint, and what else was known of them.
        vectors: [cell, feature] float64.
    """

    table: pl.DataFrame
    vectors: np.ndarray


# Of some cells, as many of each group of a column as can be had at once.
Embed: TypeAlias = Callable[[pl.DataFrame, str], Generator[Read, None, Embedded]]


def embedder(screen: Screen, network: Network, *, read: Reader, seed: int) -> Embed:
    """Make a function that gives cells their vectors.

    It takes the run's own where the network is the run's, or else reads some fields again and lets
    the network look. Where there are many cells of a group, it takes a sample; those without a
    vector, or whose crop is cut, are left out.
    """
    look = make_look(network.model, network.config, name=network.card.name)

    def embed(cells: pl.DataFrame, by: str) -> Generator[Read, None, Embedded]:
        if network.is_runs_own:
            return _stored_vectors(screen, _sampled(cells, by, seed))
        found = yield from _fresh_vectors(_some_fields(cells, by, seed), read=read, look=look)
        return found

    return embed


def _stored_vectors(screen: Screen, cells: pl.DataFrame) -> Embedded:
    names = screen.cells.collect_schema().names()
    columns = [name for name in names if name.startswith(EMBEDDING) and name[-4:].isdigit()]
    table = with_columns(screen, cells, columns)
    vectors = table.select(columns).to_numpy().astype(np.float64)
    is_known = np.asarray(np.isfinite(vectors).all(axis=1))
    return Embedded(table.filter(is_known).drop(columns), vectors[is_known])


def _fresh_vectors(
    cells: pl.DataFrame, *, read: Reader, look: Look
) -> Generator[Read, None, Embedded]:
    groups = list(cells.group_by(FIELD, maintain_order=True))
    parts, vectors = [], []
    for number, (key, part) in enumerate(groups, start=1):
        field = FieldKey(*key)
        seen = read(field)
        rows = part["Metadata_ObjectNumber"].to_numpy() - 1
        is_whole = seen.is_whole[rows]
        parts.append(part.filter(is_whole))
        vectors.append(look(seen.pixels[rows[is_whole]]).vectors)
        yield Read(field, number, len(groups), "to embed its cells")
    return Embedded(pl.concat(parts), np.concatenate(vectors).astype(np.float64))


def _sampled(cells: pl.DataFrame, by: str, seed: int) -> pl.DataFrame:
    """Many cells of each group."""
    return pl.concat(
        [
            group.sample(min(group.height, MOST_CELLS), seed=seed, shuffle=True).sort(CELL)
            for group in cells.partition_by(by, maintain_order=True)
        ]
    )


def _some_fields(cells: pl.DataFrame, by: str, seed: int) -> pl.DataFrame:
    """Cells of a few fields of each group, wells in turn."""
    every = (
        cells.select(*FIELD, by)
        .unique()
        .sort(*FIELD, by)
        .sample(fraction=1, shuffle=True, seed=seed)
    )
    turn = pl.int_range(pl.len()).over(list({*WELL, by}))
    ordered = every.with_columns(turn.alias("turn")).sort("turn", maintain_order=True)
    chosen = ordered.group_by(by, maintain_order=True).head(MOST_FIELDS)
    on = list(dict.fromkeys([*FIELD, by]))
    return cells.join(chosen.select(on), on=on, how="semi", maintain_order="left")
