"""Features and embeddings in one profile: each block has its say, and nothing else changes."""

import numpy as np
import polars as pl
import pytest

from profiler.profile.blocks import block_of, block_weights, weigh_blocks

RANDOM = np.random.default_rng(0)
FEATURES = ["Cells_A", "Nuclei_B", *(f"Embedding_{i:04d}" for i in range(50))]
SETS = [f"Embedding_Set_{i:04d}" for i in range(8)]
TABLE = pl.DataFrame(RANDOM.normal(size=(400, 60)), schema=[*FEATURES, *SETS])


def shares(features, table=TABLE) -> dict[str, float]:
    """Of the squared distance between wells, by block."""
    squares = table.select(features).to_numpy().var(axis=0)
    names = np.array([block_of(name) for name in features])
    return {name: squares[names == name].sum() / squares.sum() for name in set(names)}


def test_blocks_have_the_same_say_whatever_their_size():
    assert shares(FEATURES)["features"] < 0.1
    found = weigh_blocks(TABLE, features=[*FEATURES, *SETS])
    for share in shares([*FEATURES, *SETS], found.table).values():
        assert share == pytest.approx(1 / 3, abs=0.05)
    assert found.table.select("Cells_A", "Nuclei_B").equals(TABLE.select("Cells_A", "Nuclei_B"))


def test_what_was_done_is_told():
    found = weigh_blocks(TABLE, features=FEATURES)
    assert found.factors == {"embeddings": pytest.approx(0.2)}
    assert found.sentences() == [
        "So that all blocks have the same say, multiplied embeddings by 0.2."
    ]
    assert found.table.select(SETS).equals(TABLE.select(SETS))  # not of the profile


@pytest.mark.parametrize("features", [FEATURES[:2], FEATURES[2:], SETS, []])
def test_one_block_stays_as_it_is(features):
    found = weigh_blocks(TABLE, features=features)
    assert found.table is TABLE
    assert found.sentences() == []
    assert (block_weights(features) == 1).all()


def test_as_is_leaves_all():
    assert weigh_blocks(TABLE, features=FEATURES, blocks="as_is").table is TABLE


def test_without_measured_features_the_first_block_keeps_its_unit():
    weights = block_weights([*FEATURES[2:], *SETS])
    assert weights[:50].tolist() == [1.0] * 50
    assert weights[50:].tolist() == [50 / 8] * 8
