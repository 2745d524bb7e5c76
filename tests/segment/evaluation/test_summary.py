"""Scores of many fields: by hand, against stardist's definitions, intervals that cover."""

import numpy as np
import polars as pl
import pytest

from profiler.segment.evaluation.field import Counts, count, of_fields
from profiler.segment.evaluation.summary import METRICS, summarise
from profiler.segment.score import THRESHOLDS


def counts(true, found, hits, *, overlap=0.0, split=0) -> Counts:
    matched = np.full(len(THRESHOLDS), hits)
    true, found, overlap, split, none = map(np.array, (true, found, overlap, split, 0))
    return Counts(true, found, matched, overlap, split, none, none, none)


def value(table: pl.DataFrame, metric: str, column: str = "pooled") -> float:
    return table.filter(pl.col("metric") == metric)[column].item()


def test_two_fields_by_hand():
    table = summarise(
        of_fields([counts(4, 5, 3, overlap=2.4, split=1), counts(1, 1, 1, overlap=0.9)])
    )
    assert value(table, "precision@.50") == pytest.approx(4 / 6)
    assert value(table, "recall@.50") == pytest.approx(4 / 5)
    assert value(table, "F1@.50") == pytest.approx(8 / 11)
    assert value(table, "AP@.75") == pytest.approx(4 / 7)
    assert value(table, "AP@[.50:.95]") == pytest.approx(4 / 7)
    assert value(table, "AP@.50", "image_mean") == pytest.approx((3 / 6 + 1) / 2)
    assert value(table, "PQ") == pytest.approx(3.3 / (4 + 2 / 2 + 1 / 2))
    assert value(table, "matched IoU") == pytest.approx(3.3 / 4)
    assert value(table, "splits per 100") == pytest.approx(20)
    assert value(table, "count bias") == pytest.approx(1 / 5)


def test_nothing_there_and_nothing_found_scores_one_and_has_no_rates():
    table = summarise(of_fields([counts(0, 0, 0)]))
    assert value(table, "AP@.50") == value(table, "PQ") == 1.0
    assert value(table, "precision@.50") == value(table, "recall@.50") == 1.0
    assert value(table, "splits per 100") is value(table, "matched IoU", "image_mean") is None


def test_a_field_where_a_metric_is_undefined_does_not_weigh_on_the_mean():
    table = summarise(of_fields([counts(0, 3, 0), counts(10, 5, 5)]))
    assert value(table, "count bias", "image_mean") == pytest.approx(-0.5)


def test_nothing_found_has_no_precision_and_nothing_there_no_recall():
    table = summarise(of_fields([counts(5, 0, 0)]))
    assert value(table, "precision@.50") is value(table, "precision@.50", "image_mean") is None
    assert value(table, "precision@.50", "low") is None
    for metric in ("recall@.50", "F1@.50", "AP@.50", "AP@[.50:.95]", "PQ"):
        assert value(table, metric) == value(table, metric, "image_mean") == 0.0
    table = summarise(of_fields([counts(0, 5, 0)]))
    assert value(table, "recall@.50") is value(table, "recall@.50", "image_mean") is None
    for metric in ("precision@.50", "F1@.50", "AP@.50", "AP@[.50:.95]", "PQ"):
        assert value(table, metric) == value(table, metric, "image_mean") == 0.0


def test_a_field_where_nothing_was_found_is_left_out_of_the_mean_precision():
    table = summarise(of_fields([counts(5, 0, 0), counts(4, 4, 2), counts(0, 0, 0)]))
    assert value(table, "precision@.50", "image_mean") == pytest.approx((0.5 + 1) / 2)
    assert value(table, "precision@.50") == pytest.approx(2 / 4)
    assert value(table, "recall@.50", "image_mean") == pytest.approx((0 + 0.5 + 1) / 3)
    assert value(table, "F1@.50", "image_mean") == pytest.approx((0 + 0.5 + 1) / 3)


def test_panoptic_quality_is_recognition_times_segmentation():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 9, (12, 12)).repeat(5, 0).repeat(5, 1)
    found = np.where(rng.random(truth.shape) < 0.9, truth, 0)
    table = summarise(of_fields([count(truth, found)]))
    expected = value(table, "F1@.50") * value(table, "matched IoU")
    assert value(table, "PQ") == pytest.approx(expected)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(1)
    covered = 0
    for trial in range(200):
        fields = [counts(20, 20, hits) for hits in rng.binomial(20, 0.8, size=40)]
        table = summarise(of_fields(fields), seed=trial)
        low, high = value(table, "recall@.50", "low"), value(table, "recall@.50", "high")
        covered += low <= 0.8 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_the_same_seed_gives_the_same_interval_and_one_field_gives_none():
    fields = [counts(4, 5, 3), counts(9, 9, 7), counts(3, 2, 2)]
    assert summarise(of_fields(fields), seed=3).equals(summarise(of_fields(fields), seed=3))
    alone = summarise(of_fields(fields[:1]))
    assert value(alone, "F1@.50", "pooled") == pytest.approx(6 / 9)
    assert alone.select("low", "high", "image_low", "image_high").null_count().row(0) == (
        (len(METRICS),) * 4
    )


def test_every_metric_has_a_row():
    assert summarise(of_fields([counts(4, 5, 3)]))["metric"].to_list() == list(METRICS)
