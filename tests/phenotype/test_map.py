"""The map: umap-learn's own, seeded, and null where there is none."""

import warnings

import numpy as np

from profiler.phenotype import umap_map

POINTS = np.random.default_rng(0).normal(size=(40, 4))


def test_is_that_of_umap_learn_on_the_exact_neighbours_centred():
    far = np.linalg.norm(POINTS[:, None] - POINTS, axis=-1)
    near = np.argsort(far, axis=1)[:, :15]
    given = (near, np.take_along_axis(far, near, axis=1).astype(np.float32))
    settings = {"n_neighbors": 15, "min_dist": 0.1, "init": "pca", "random_state": 3, "n_jobs": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from umap import UMAP

        own = UMAP(**settings).fit(POINTS)  # compares all pairs, as there are few
        model = UMAP(**settings, precomputed_knn=given, force_approximation_algorithm=True)
        theirs = model.fit_transform(POINTS)
    np.testing.assert_allclose(own.graph_.toarray(), model.graph_.toarray(), atol=1e-5)
    np.testing.assert_allclose(umap_map(POINTS, seed=3), theirs - theirs.mean(axis=0), atol=1e-5)


def test_the_seed_decides():
    one = umap_map(POINTS, seed=1)
    np.testing.assert_array_equal(umap_map(POINTS, seed=1), one)
    assert not np.allclose(umap_map(POINTS, seed=2), one)


def test_separate_blobs_stay_separate():
    blobs = np.vstack([POINTS, POINTS + 30])
    place = umap_map(blobs, seed=0)
    gap = np.linalg.norm(place[:, None] - place, axis=-1)
    np.fill_diagonal(gap, np.inf)
    nearest = gap.argmin(axis=1)
    assert ((nearest < 40) == (np.arange(80) < 40)).all()


def test_one_axis_is_enough():
    assert np.isfinite(umap_map(POINTS[:, :1], seed=0)).all()


def test_few_points_or_none_that_differ_make_no_map():
    assert np.isnan(umap_map(POINTS[:9], seed=0)).all()
    assert umap_map(np.zeros((0, 0)), seed=0).shape == (0, 2)
    assert np.isnan(umap_map(np.zeros((30, 0)), seed=0)).all()
