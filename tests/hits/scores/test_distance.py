"""Mahalanobis distance: the covariance against scikit-learn, the distance against its formula."""

import numpy as np
import polars as pl
import pytest
from sklearn.covariance import ledoit_wolf

from profiler.hits.scores.distance import mahalanobis, n_left_out, shrunk_covariance


def screen(*, plates=3, controls=12, treated=20, features=8, effect=0.0, seed=0) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    mix = random.normal(size=(features, features))
    frames = []
    for plate in range(plates):
        values = random.normal(size=(controls + treated, features)) @ mix + 5 * plate
        values[controls:] += effect
        roles = ["negative"] * controls + ["treatment"] * treated
        keys = pl.DataFrame({"Metadata_Plate": f"P{plate}", "Metadata_Role": roles})
        names = [f"Cells_F{i}" for i in range(features)]
        frames.append(keys.hstack(pl.DataFrame(values, schema=names)))
    return pl.concat(frames)


@pytest.mark.parametrize("shape", [(30, 5), (8, 40), (2, 3)])
def test_covariance_against_scikit_learn(shape):
    values = np.random.default_rng(0).normal(size=shape) @ np.diag(np.arange(1.0, shape[1] + 1))
    values -= values.mean(axis=0)
    theirs, share = ledoit_wolf(values, assume_centered=True)
    ours = shrunk_covariance(values)
    assert ours.share == pytest.approx(share)
    sample = ours.axes.T @ np.diag(ours.variance - ours.rest) @ ours.axes
    np.testing.assert_allclose(sample + ours.rest * np.eye(shape[1]), theirs, atol=1e-10)


def test_distance_against_its_formula():
    table = screen()
    values = table.select(pl.col("^Cells_.*$")).to_numpy()
    plate, is_control = np.repeat(np.arange(3), 32), np.tile(np.arange(32) < 12, 3)
    centre = np.stack([values[is_control & (plate == i)].mean(axis=0) for i in range(3)])
    about = (values - centre[plate])[is_control] * np.sqrt(36 / 33)
    covariance, _ = ledoit_wolf(about, assume_centered=True)
    away = (values - centre[plate])[~is_control]
    square = np.einsum("wf,fg,wg->w", away, np.linalg.inv(covariance), away)
    found = mahalanobis(table).to_numpy()[~is_control]
    np.testing.assert_allclose(found, np.sqrt(square / 8), rtol=1e-8)


@pytest.mark.parametrize("features", [8, 200])
def test_controls_and_inactive_wells_are_equally_far(features):
    table = screen(plates=6, features=features)
    table = table.with_columns(mahalanobis(table))
    middle = dict(
        table.group_by("Metadata_Role").agg(pl.col("mahalanobis").median()).iter_rows()
    )  # fmt: skip
    assert middle["negative"] == pytest.approx(middle["treatment"], rel=0.1)


def test_effects_are_far_and_scale_does_not_matter():
    table = screen(effect=8.0)
    table = table.with_columns(mahalanobis(table))
    middle = table.group_by("Metadata_Role").agg(pl.col("mahalanobis").median())
    far = dict(middle.iter_rows())
    assert far["treatment"] > 2 * far["negative"]
    grown = table.with_columns(pl.col("^Cells_.*$") * 1e3)
    np.testing.assert_allclose(mahalanobis(grown), table["mahalanobis"], rtol=1e-6)


def test_plates_without_enough_controls_have_no_distance():
    table = screen()
    few = table.filter(
        (pl.col("Metadata_Plate") != "P1") | (pl.col("Metadata_Role") == "treatment")
        | (pl.int_range(pl.len()).over("Metadata_Plate") < 2)
    )  # fmt: skip
    found = few.with_columns(mahalanobis(few))
    known = found.group_by("Metadata_Plate").agg(pl.col("mahalanobis").count())
    assert dict(known.iter_rows()) == {"P0": 32, "P1": 0, "P2": 32}
    none = table.filter(pl.col("Metadata_Role") == "treatment")
    assert mahalanobis(none).null_count() == none.height


def test_features_that_controls_lack_are_left_out():
    table = screen()
    first = pl.int_range(pl.len()) == 0
    gap = table.with_columns(pl.when(~first).then("Cells_F0").alias("Cells_F0"))
    names = [f"Cells_F{i}" for i in range(1, 8)]
    assert mahalanobis(gap).equals(mahalanobis(table, features=names))
    last = pl.int_range(pl.len()) == 20
    gap = table.with_columns(pl.when(~last).then("Cells_F0").otherwise(np.inf).alias("Cells_F0"))
    assert mahalanobis(gap).null_count() == 1


def test_controls_that_do_not_vary():
    table = screen().with_columns(pl.lit(1.0).alias(f"Cells_F{i}") for i in range(8))
    assert mahalanobis(table).null_count() == table.height
    assert mahalanobis(table.clear()).len() == 0


def test_a_gappy_control_costs_no_features():
    table = screen()
    first = pl.int_range(pl.len()) == 0
    lost = [f"Cells_F{i}" for i in range(5)]
    gap = table.with_columns(pl.when(~first).then(pl.col(name)).alias(name) for name in lost)
    without = table.filter(~first)
    found = mahalanobis(gap)
    assert found[0] is None
    assert found[1:].equals(mahalanobis(without))
    assert n_left_out(gap) == 0
    one = table.with_columns(pl.when(~first).then("Cells_F0").alias("Cells_F0"))
    assert n_left_out(one) == 1


def test_the_order_of_the_wells_does_not_matter():
    number = pl.int_range(pl.len()).over("Metadata_Plate")
    named = screen().with_columns(Metadata_Well=pl.format("A{}", number + 10))
    expected = named.with_columns(mahalanobis(named))
    mixed = named.sample(fraction=1, shuffle=True, seed=1)
    found = mixed.with_columns(mahalanobis(mixed))
    keys = ["Metadata_Plate", "Metadata_Well"]
    assert found.sort(keys).equals(expected.sort(keys))
