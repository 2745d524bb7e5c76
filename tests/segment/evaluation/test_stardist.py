"""Against an independent implementation: stardist's `matching`, as recorded and where installed."""

import numpy as np
import pytest

from profiler.segment.evaluation.field import count, of_fields
from profiler.segment.evaluation.summary import METRICS
from profiler.segment.score import THRESHOLDS, match, overlaps

SIDE = 96
MORE_THAN_HALF = 0.5 + 1e-6  # stardist counts a half too, we do not; it reckons in float32
NAMES: tuple[str, ...] = (
    "tp", "fp", "fn", "precision", "recall", "f1", "accuracy", "panoptic_quality",
    "mean_true_score", "mean_matched_score",
)  # fmt: skip

LIKE: dict[str, str] = {
    "precision@.50": "precision",
    "recall@.50": "recall",
    "F1@.50": "f1",
    "PQ": "panoptic_quality",
    "matched IoU": "mean_matched_score",
}


def discs(rows) -> np.ndarray:
    """Draw rows of (y, x, radius, id), the later ones over the earlier."""
    labels = np.zeros((SIDE, SIDE), np.int32)
    y, x = np.mgrid[:SIDE, :SIDE]
    for cy, cx, radius, name in rows:
        labels[np.hypot(y - cy, x - cx) < radius] = int(name)
    return labels


def pair(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """True discs, and found ones: moved, of another size, lacking, merged, spurious."""
    rng = np.random.default_rng(seed)
    rows = rng.random((20, 3)) * (SIDE, SIDE, 6) + (0, 0, 5)
    truth = np.column_stack([rows, np.arange(1, 21)])
    drift = (rng.random((20, 3)) - 0.5) * (5, 5, 4)
    ids = np.arange(21, 41) - (rng.random(20) < 0.15)  # some are one with their neighbour
    found = np.column_stack([rows + drift, ids])[rng.random(20) < 0.85]
    extra = np.column_stack([rng.random((3, 3)) * (SIDE, SIDE, 6) + (0, 0, 4), [50, 51, 52]])
    return discs(truth), discs(np.concatenate([found, extra]))


# What stardist 0.9.2 says: [getattr(matching(*pair(seed), thresh=t), name) for name in NAMES].
RECORDED = {
    (0, 0.5): (11, 7, 9, 0.611111, 0.55, 0.578947, 0.407407, 0.369308, 0.350843, 0.637896),
    (1, 0.5): (17, 4, 3, 0.809524, 0.85, 0.829268, 0.708333, 0.589089, 0.603817, 0.710373),
    (2, 0.5): (13, 6, 7, 0.684211, 0.65, 0.666667, 0.5, 0.428953, 0.418229, 0.64343),
    (3, 0.5): (9, 8, 11, 0.529412, 0.45, 0.486486, 0.321429, 0.34423, 0.318413, 0.707584),
    (4, 0.5): (13, 4, 7, 0.764706, 0.65, 0.702703, 0.541667, 0.465747, 0.430816, 0.662794),
    (5, 0.5): (12, 7, 7, 0.631579, 0.631579, 0.631579, 0.461538, 0.438104, 0.438104, 0.693665),
    (0, 0.75): (2, 16, 18, 0.111111, 0.1, 0.105263, 0.055556, 0.086403, 0.082082, 0.820824),
    (1, 0.75): (6, 15, 14, 0.285714, 0.3, 0.292683, 0.171429, 0.235199, 0.241079, 0.803598),
    (2, 0.75): (3, 16, 17, 0.157895, 0.15, 0.153846, 0.083333, 0.117895, 0.114948, 0.766319),
    (3, 0.75): (3, 14, 17, 0.176471, 0.15, 0.162162, 0.088235, 0.135459, 0.125299, 0.835328),
    (4, 0.75): (2, 15, 18, 0.117647, 0.1, 0.108108, 0.057143, 0.090837, 0.084024, 0.840242),
    (5, 0.75): (4, 15, 15, 0.210526, 0.210526, 0.210526, 0.117647, 0.172085, 0.172085, 0.817402),
}


def agrees(truth: np.ndarray, found: np.ndarray, threshold: float, recorded) -> None:
    """Everything we say of a field at a threshold is what stardist says of it."""
    said = dict(zip(NAMES, recorded, strict=True))
    counts, iou = count(truth, found), overlaps(truth, found)
    matches = match(iou, threshold=threshold)
    assert matches == (said["tp"], said["fp"], said["fn"])
    assert counts.matched[THRESHOLDS.index(threshold)] == said["tp"]
    assert matches.f1 == pytest.approx(said["f1"], abs=1e-6)
    assert matches.average_precision == pytest.approx(said["accuracy"], abs=1e-6)
    field = of_fields([counts])
    ours = {name: metric(field).item() for name, metric in METRICS.items()}
    assert ours[f"AP@.{threshold * 100:.0f}"] == pytest.approx(said["accuracy"], abs=1e-6)
    if threshold > 0.5:  # the others are told at one half alone
        return
    assert counts.overlap / counts.true == pytest.approx(said["mean_true_score"], abs=1e-6)
    for name, theirs in LIKE.items():
        assert ours[name] == pytest.approx(said[theirs], abs=1e-6), name


@pytest.mark.parametrize(("seed", "threshold"), RECORDED)
def test_a_field_is_scored_as_stardist_recorded(seed, threshold):
    agrees(*pair(seed), threshold, RECORDED[seed, threshold])


def test_an_overlap_of_exactly_a_half_is_no_match_here_unlike_there():
    truth, found = np.zeros((2, 4, 4), np.int32)
    truth[:2], found[0] = 1, 1
    assert overlaps(truth, found).item() == 0.5  # stardist: tp=1, fp=0, fn=0
    assert match(overlaps(truth, found), threshold=0.5) == (0, 1, 1)
    assert count(truth, found).matched[0] == 0


@pytest.mark.parametrize("threshold", [0.5, 0.75])
def test_fields_are_scored_as_stardist_does_where_it_is_installed(threshold):
    matching = pytest.importorskip("stardist.matching").matching
    for seed in range(100):
        said = matching(*pair(seed), thresh=max(threshold, MORE_THAN_HALF))
        numbers = [getattr(said, name) for name in NAMES]
        agrees(*pair(seed), threshold, numbers)
        if (seed, threshold) in RECORDED:
            assert numbers == pytest.approx(RECORDED[seed, threshold], abs=1e-6)
