"""Clusters: planted ones are found by each method, seed decides, order does not, edges."""

import numpy as np
import polars as pl
import pytest
from scipy import sparse
from sklearn.cluster import HDBSCAN, KMeans
from sklearn.metrics import adjusted_rand_score, silhouette_score

from plates.errors import UnknownName
from profiler.phenotype import Clustering, cluster
from profiler.phenotype.choice import by_size, choose, silhouettes
from profiler.phenotype.graph import leiden, shared_neighbours
from profiler.phenotype.methods import METHODS, Method
from profiler.phenotype.structure import structure_p_value
from tests.phenotype.conftest import FEATURES, KINDS, make_plate

BLOBS = np.repeat([0, 1, 2], 40)
CENTRES = np.array([[0, 0, 0], [9, 0, 0], [0, 9, 0]])
POINTS = CENTRES[BLOBS] + np.random.default_rng(2).normal(size=(120, 3))


ONE_NUMBER = Clustering("kmeans", (4,), n_resamples=5)


@pytest.mark.parametrize("method", METHODS)
def test_planted_clusters_are_found_by_every_method(plate, method):
    found = cluster(plate, features=FEATURES, how=Clustering(method, n_resamples=8))
    assert adjusted_rand_score(KINDS, found.labels.fill_null(0)) > 0.95
    assert found.choice.is_stable
    assert found.p_value == 0.02
    assert found.table["n_wells"].to_list() == [40, 24, 24, 8]
    assert found.table["Cluster"].to_list() == [1, 2, 3, 4]
    assert found.table["n_compounds"].to_list() == [7, 6, 6, 1]
    assert (found.table["stability"] > 0.7).all()


@pytest.mark.parametrize("method", METHODS)
def test_the_number_is_chosen_among_those_asked_for(method):
    numbers = {"leiden": (0.01,), "kmeans": (5,), "hdbscan": (30,)}[method]
    choice = choose(POINTS, METHODS[method], seed=0, numbers=numbers)
    assert choice.tried["number"].to_list() == [None, *numbers]


def test_kmeans_and_hdbscan_are_those_of_scikit_learn():
    ours = METHODS["kmeans"].prepare(POINTS, seed=3)(4)
    theirs = KMeans(4, n_init=3, random_state=3).fit_predict(POINTS)
    np.testing.assert_array_equal(ours, theirs)
    ours = METHODS["hdbscan"].prepare(POINTS, seed=3)(8)
    np.testing.assert_array_equal(ours, HDBSCAN(min_cluster_size=8, copy=True).fit_predict(POINTS))


def test_the_graph_weighs_edges_by_shared_neighbours():
    points = np.array([[0.0], [1.0], [2.1], [9.0], [10.0], [11.1]])
    edges, weights = shared_neighbours(points, n_neighbours=2)
    around = [set(np.argsort(np.abs(points - p)[:, 0])[:3]) for p in points]
    for (a, b), weight in zip(edges.tolist(), weights, strict=True):
        assert weight == pytest.approx(len(around[a] & around[b]) / len(around[a] | around[b]))
    graph = sparse.coo_array((weights, edges.T), shape=(6, 6))
    assert sparse.csgraph.connected_components(graph, directed=False)[0] == 2


def test_the_seed_decides():
    cloud = np.random.default_rng(0).normal(size=(200, 5))
    label = {seed: METHODS["kmeans"].prepare(cloud, seed=seed)(9).tolist() for seed in (1, 2)}
    assert METHODS["kmeans"].prepare(cloud, seed=1)(9).tolist() == label[1]
    assert label[1] != label[2]
    communities = {seed: leiden(cloud, seed=seed)(2.0).tolist() for seed in (1, 2, 3)}
    assert leiden(cloud, seed=1)(2.0).tolist() == communities[1]
    assert len({tuple(each) for each in communities.values()}) > 1


def test_one_cluster_where_no_number_is_stable():
    cloud = np.random.default_rng(4).normal(size=(150, 8))
    numbers = range(2, 9)
    choice = choose(cloud, METHODS["kmeans"], seed=0, numbers=numbers)
    assert choice.best.number is None
    assert choice.best.labels.tolist() == [0] * 150
    two_or_more = choose(cloud, METHODS["kmeans"], seed=0, numbers=numbers, least_clusters=2)
    assert not two_or_more.is_stable
    tried = two_or_more.tried.filter(pl.col("n_clusters") > 1)
    assert two_or_more.best.stability == tried["stability"].max()


def prepare_apart(points, *, seed):
    return lambda number: np.arange(len(points))


def test_rows_each_alone_are_no_clusters():
    cloud = np.random.default_rng(5).normal(size=(32, 4))
    every = Method("apart", "number", lambda n_rows: (1,), prepare_apart)
    choice = choose(cloud, every, seed=0)
    assert choice.tried.filter(n_clusters=32)["stability"].to_list() == [1.0]
    assert choice.best.number is None


@pytest.mark.parametrize("method", ["leiden", "hdbscan"])
def test_the_most_clusters_of_which_each_is_stable_are_chosen(method):
    choice = choose(POINTS, METHODS[method], seed=0, n_resamples=8)
    stable = choice.tried.filter(pl.col("stability") >= 0.75)
    assert choice.best.n_clusters == stable["n_clusters"].max() == 3
    assert choice.tried.filter("is_chosen")["n_clusters"].to_list() == [3]
    assert choice.best.agreement == 1.0


def test_stability_is_that_of_the_cluster_that_is_found_again_least():
    choice = choose(POINTS, METHODS["kmeans"], seed=0, numbers=(3, 6))
    three, six = (choice.tried.filter(pl.col("number") == n).row(0, named=True) for n in (3, 6))
    assert three["stability"] == 1.0
    assert six["stability"] < 0.75
    assert six["stability"] < six["agreement"]


def test_silhouettes_are_those_of_scikit_learn_without_noise():
    labels = BLOBS.copy()
    labels[:5] = -1
    found = silhouettes(POINTS, labels, seed=0)
    assert np.isnan(found[:5]).all()
    assert np.nanmean(found) == pytest.approx(silhouette_score(POINTS[5:], BLOBS[5:]))


def test_clusters_are_numbered_by_size_then_by_first_row():
    assert by_size(np.array([7, 7, -1, 3, 3, 5, 5, 5])).tolist() == [1, 1, -1, 2, 2, 0, 0, 0]


def test_one_cloud_is_not_clearer_than_one_cloud():
    random_clouds = np.random.default_rng(6)
    p_values = []
    for seed in range(6):
        cloud = random_clouds.normal(size=(60, 4)) * [3, 2, 1, 1]
        labels = METHODS["kmeans"].prepare(cloud, seed=0)(3)
        p_values.append(
            structure_p_value(cloud, labels, method=METHODS["kmeans"], number=3, seed=seed)
        )
    assert min(p_values) > 0.02
    assert 0.2 < np.mean(p_values) < 0.8


def test_clusters_are_described_in_the_units_of_the_profiles(plate):
    """Where a plate's controls lie, far from 0 in two features, does not count as their spread."""
    is_other = pl.int_range(pl.len()) % 2 == 1
    plate = plate.with_columns(
        pl.col(FEATURES[:2]) + pl.when(is_other).then(12.0).otherwise(30.0),
        Metadata_Plate=pl.when(is_other).then(pl.lit("P2")).otherwise("Metadata_Plate"),
    )
    found = cluster(plate, features=FEATURES, how=ONE_NUMBER)
    own = plate.filter(found.labels == 2)
    first = found.table.row(1, named=True)
    medians = own.select(FEATURES).median()
    controls = plate.filter(pl.col("Metadata_Role") == "negative")
    off = pl.col(FEATURES) - pl.col(FEATURES).median().over("Metadata_Plate")
    square = controls.select(((off / 5).arcsinh() * 5) ** 2).mean()

    def size(name: str) -> float:
        return 5 * abs(np.arcsinh(medians[name].item() / 5)) / max(square[name].item(), 1) ** 0.5

    largest = sorted(FEATURES, key=size, reverse=True)[:10]
    assert FEATURES[0] in largest
    assert first["features"] == largest
    assert first["z"] == pytest.approx([medians[name].item() for name in largest])


def test_more_wells_than_are_clustered_join_their_nearest():
    wells = pl.concat([make_plate(seed=i, plate=f"P{i}") for i in range(4)])
    found = cluster(wells, features=FEATURES, how=Clustering(most_rows=300, n_resamples=5))
    assert adjusted_rand_score(np.tile(KINDS, 4), found.labels) > 0.95
    assert found.table["n_wells"].sum() == 4 * 96


def test_wells_without_profile_are_in_no_cluster(plate):
    holes = plate.with_columns(
        pl.when(pl.int_range(pl.len()) < 3).then(None).otherwise(pl.col(FEATURES)).name.keep()
    )
    found = cluster(holes, features=FEATURES, how=ONE_NUMBER)
    assert found.labels.is_null().to_list() == [True] * 3 + [False] * 93
    assert found.table["n_wells"].sum() == 93


@pytest.mark.parametrize("n_wells", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("method", METHODS)
def test_few_wells_are_no_error(plate, method, n_wells):
    found = cluster(plate.head(n_wells), features=FEATURES, how=Clustering(method))
    assert len(found.labels) == n_wells


def test_wells_that_are_all_the_same_are_one_cluster(plate):
    same = plate.with_columns(pl.lit(2.5).alias(name) for name in FEATURES)
    found = cluster(same, features=FEATURES)
    assert found.labels.to_list() == [1] * 96
    assert found.p_value is None
    assert found.table["silhouette"].to_list() == [None]


def test_an_unknown_method_is_refused(plate):
    with pytest.raises(UnknownName, match=r"no clustering called 'lieden'. Did you mean 'leiden'"):
        cluster(plate, features=FEATURES, how=Clustering("lieden"))
