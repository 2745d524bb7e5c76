"""Embeddings downstream: they make profiles as features do, and explain nothing by their names."""

import numpy as np
import polars as pl
import pytest

from plates.errors import BadModel, BadRecipe, UnknownName
from profiler.amend import amend
from profiler.hits import call_hits
from profiler.hits.scores.score import profile_score
from profiler.phenotype.cell_space import fit_cell_space
from profiler.phenotype.cluster import most_deviating
from profiler.profile import aggregate, consensus, feature_columns, process, robust_z
from profiler.profile.controls import is_role
from profiler.profile.streaming.stream import profile_cells
from profiler.recipe import load_recipe, parse_recipe
from profiler.request import check_columns, check_recipe

RANDOM = np.random.default_rng(1)
EMBEDDING = [f"Embedding_{i:04d}" for i in range(6)]
NAMED = ["Cells_Texture_A", "Nuclei_Intensity_B"]
N = 40


def wells(*, shift=8.0) -> pl.DataFrame:
    """Controls and one active compound that moves only the embedding, and one that does nothing."""
    kinds = ["DMSO"] * 16 + ["active"] * 8 + ["inert"] * 8 + ["known"] * 8
    roles = ["negative"] * 16 + ["treatment"] * 16 + ["positive"] * 8
    values = RANDOM.normal(size=(N, len(NAMED) + len(EMBEDDING)))
    values[16:24, 2:] += shift
    values[32:, 0] += 0.5 * shift  # what positive controls do is seen in a feature, too,
    values[32:, 2:] += 3 * shift  # and far better in the embedding
    keys = {
        "Metadata_Plate": ["P"] * N,
        "Metadata_Well": [f"{'ABCDE'[i // 8]}{i % 8 + 1:02d}" for i in range(N)],
        "Metadata_Compound": kinds,
        "Metadata_Role": roles,
        "Metadata_Object_Count": [100] * N,
    }
    return pl.DataFrame(keys).hstack(pl.DataFrame(values, schema=[*NAMED, *EMBEDDING]))


def scaled(table: pl.DataFrame) -> pl.DataFrame:
    return robust_z(table, features=feature_columns(table), reference=is_role("negative"))


@pytest.fixture(scope="module")
def hits():
    table = wells()
    return call_hits(table, scaled(table))


def test_a_number_of_a_network_is_no_readout(hits):
    assert hits.best == hits.readout == "Cells_Texture_A"
    assert set(hits.statistics["readout"]) == set(NAMED)
    assert set(hits.curves["readout"]) <= set(NAMED)


def test_it_explains_no_hit(hits):
    named = hits.compounds["top_features"].explode(empty_as_null=True).drop_nulls()
    assert set(named) <= set(NAMED)


def test_it_is_told_from_the_controls_by_it_all_the_same(hits):
    active = hits.activity.filter(pl.col("Metadata_Compound") == "active")
    inert = hits.activity.filter(pl.col("Metadata_Compound") == "inert")
    assert active["mean_average_precision"].item() == pytest.approx(1.0)
    assert inert["mean_average_precision"].item() < 0.8
    score = dict(
        hits.hits.group_by("Metadata_Compound").agg(pl.median("profile_score")).iter_rows()
    )
    assert score["active"] > 5 > score["inert"]


def test_embeddings_alone_rank_by_profile():
    table = wells().drop(NAMED)
    found = call_hits(table, scaled(table))
    assert (found.best, found.readout, found.ranked_by) == (None, None, "profile")
    first = found.compounds.filter(pl.col("Metadata_Role") == "treatment").row(0, named=True)
    assert first["Metadata_Compound"] == "active"
    assert first["is_hit"]
    assert first["top_features"] == []


def test_one_that_is_named_as_the_readout_is_taken():
    table = wells()
    found = call_hits(table, scaled(table), readout="Embedding_0003")
    assert found.readout == "Embedding_0003"
    assert found.best == "Cells_Texture_A"


def test_clusters_are_described_by_what_has_a_name():
    table = scaled(wells())
    names = [*NAMED, *EMBEDDING]
    found, medians = most_deviating(
        table[16:24].select(names).to_numpy(), names, spread=np.ones(len(names))
    )
    assert sorted(found) == sorted(NAMED)
    assert len(medians) == 2
    numbers = table.select(EMBEDDING).to_numpy()
    assert most_deviating(numbers, EMBEDDING, spread=np.ones(len(EMBEDDING))) == ([], [])


def test_a_large_block_does_not_drown_a_small_one_in_the_profile_score():
    """One feature that moves counts as much as all numbers of a network that moved as far."""
    moved = scaled(wells(shift=0.0)).with_columns(
        pl.when(pl.col("Metadata_Compound") == "inert")
        .then(9.0)
        .otherwise(pl.col(name))
        .alias(name)
        for name in NAMED
    )
    alone = profile_score(moved.drop(EMBEDDING[1:]))[24:32].median()
    among = profile_score(moved)[24:32].median()
    # Two features of eight would count a quarter if every column counted the same.
    assert among > 0.5 * alone


def test_cells_are_placed_by_both_blocks():
    n = 3000
    keys = {
        "Metadata_Plate": ["P"] * n,
        "Metadata_Well": ["A01", "A02"] * (n // 2),
        "Metadata_Site": [1] * n,
        "Metadata_ObjectNumber": range(n),
    }
    names = ["Cells_Texture_A", *(f"Embedding_{i:04d}" for i in range(99))]
    values = RANDOM.normal(size=(n, 100))
    cells = pl.DataFrame(keys).hstack(pl.DataFrame(values, schema=names))
    wells = cells.group_by("Metadata_Plate", "Metadata_Well").agg(n_cells=pl.len())
    wells = wells.with_columns(is_control=pl.lit(value=True))
    space = fit_cell_space(cells.lazy(), wells, features=names, n_cells=2000, seed=0)
    first = np.abs(space.axes.matrix[:, 0])
    assert first.argmax() == 0  # 1 against 99 of a hundredth each: the feature is the first axis
    assert first[0] > 5 * first[1:].max()


def test_steps_consensus_and_streaming_take_them_as_features():
    table = wells()
    steps = [
        {"step": "normalise", "reference": "negative"},
        {"step": "select", "steps": ["drop_na_columns"]},
    ]
    made = process(table, features=feature_columns(table), steps=steps)
    assert made.features == [*NAMED, *EMBEDDING]
    agreed = consensus(made.selected, features=made.features, by=["Metadata_Compound"])
    assert agreed.columns[-6:] == EMBEDDING
    cells = pl.concat([table, table.with_columns(pl.col(EMBEDDING) + 1)]).lazy()
    streamed = profile_cells(cells, scaling={"method": "standardize"}, steps=["drop_na_columns"])
    assert streamed.wells.columns[-6:] == EMBEDDING
    assert aggregate(cells)["Embedding_0002"][0] == pytest.approx(table["Embedding_0002"][0] + 0.5)


def profile_of(**settings):
    recipe = load_recipe("demo").model_dump()
    return parse_recipe(recipe | {"profile": settings, "hits": {}})


def test_patterns_that_can_match_no_feature_are_refused():
    check_recipe(profile_of(features=["Embedding_*", "*_DNA"]))
    with pytest.raises(
        BadRecipe, match=r"\[profile\] features has 'Embeddings'.*such as Embedding_\*"
    ):
        check_recipe(profile_of(features=["Embeddings"]))


@pytest.mark.parametrize("pattern", ["Embedding*", "Nuc*", "*_Area", "Cells_Tex*"])
def test_patterns_that_can_match_are_taken(pattern):
    check_recipe(profile_of(features=[pattern]))


def test_patterns_that_the_cells_do_not_have_are_refused_before_a_night():
    asked = profile_of(features=["Embedding_*"])
    with pytest.raises(UnknownName, match=r"'Embedding_\*', and no column of the cells matches"):
        check_columns(asked, ["Cells_AreaShape_Area"], embedder=None)
    check_columns(asked, ["Embedding_0000"], embedder="a")


def test_a_readout_that_is_left_out_is_told():
    recipe = profile_of(features=["Embedding_*"])
    recipe = amend(recipe, changes={"hits": {"readout": "Cells_AreaShape_Area"}})
    with pytest.raises(
        BadRecipe, match="'Cells_AreaShape_Area' is not among \\[profile\\] features"
    ):
        check_recipe(recipe)
    recipe = amend(profile_of(aggregate="a.safetensors"), changes={"hits": {"readout": "Cells_A"}})
    with pytest.raises((BadRecipe, BadModel), match="aggregator alone|Cannot read"):
        check_recipe(recipe)


@pytest.mark.parametrize(
    ("aggregate", "kind", "message"),
    [
        (["a.safetensors", "b.safetensors"], BadRecipe, "names 2 learned aggregators"),
        (["median", "none.safetensors"], BadModel, "Cannot read none.safetensors"),
    ],
)
def test_aggregators_that_cannot_be_are_refused(aggregate, kind, message):
    with pytest.raises(kind, match=message):
        check_recipe(profile_of(aggregate=aggregate))


def test_an_aggregator_is_looked_for_beside_its_recipe(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('[profile]\naggregate = ["median", "mine.safetensors"]\n')
    found = amend(profile_of(), path).profile
    assert found.aggregate == ("median", str(tmp_path / "mine.safetensors"))
