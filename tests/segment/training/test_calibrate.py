"""What a network's nuclei are worth on labelled images: which are right, what is left out."""

import jax.numpy as jnp
import numpy as np
import pytest

from profiler.segment.confidence.evidence import Evidence
from profiler.segment.decoding.nuclei import Nuclei
from profiler.segment.segmenter import Examined
from profiler.segment.training.calibrate import Verdicts, calibrate, verdicts
from profiler.segment.training.labelled import Labelled


def finds(labels: np.ndarray):
    """Find these nuclei everywhere; nucleus n has evidence and confidence n."""

    def examine(one: Labelled) -> Examined:
        numbers = jnp.arange(1.0, 7.0)
        found = Nuclei(jnp.asarray(labels), jnp.int32(labels.max()), jnp.int32(0))
        return Examined(found, Evidence(*(numbers * 10**i for i in range(4))), numbers / 10)

    return examine


def squares(*corners: tuple[int, int]) -> np.ndarray:
    labels = np.zeros((40, 60), np.int32)
    for number, (y, x) in enumerate(corners, 1):
        labels[y : y + 8, x : x + 8] = number
    return labels


PLANE = np.zeros((40, 60), np.float32)
FOUND = squares((0, 0), (0, 20), (20, 0))


def test_every_nucleus_found_is_judged_with_its_own_evidence():
    truth = squares((1, 0), (5, 20), (30, 40))  # 7/9 shared; 3/13; another
    seen = verdicts(finds(FOUND), [Labelled("a", PLANE, truth), Labelled("b", PLANE, FOUND)])
    assert seen.is_right.tolist() == [True, False, False, True, True, True]
    assert seen.image.tolist() == [0, 0, 0, 1, 1, 1]
    assert seen.evidence[:3].tolist() == [[n, 10 * n, 100 * n, 1000 * n] for n in (1, 2, 3)]
    np.testing.assert_allclose(seen.confidence, [0.1, 0.2, 0.3] * 2)


def test_specks_of_the_truth_make_nothing_right():
    truth = np.zeros_like(FOUND)
    truth[:4, :6] = 1  # 24 px
    found = truth * 1
    seen = verdicts(finds(found), [Labelled("a", PLANE, truth)])
    assert seen.is_right.tolist() == [False]


def test_what_lies_where_nobody_looked_is_not_judged():
    truth = FOUND.copy()
    truth[:, 18:] = 255
    seen = verdicts(finds(FOUND), [Labelled("a", PLANE, truth)], ignore=255)
    assert seen.is_right.tolist() == [True, True]
    np.testing.assert_allclose(seen.confidence, [0.1, 0.3])  # number 2 is left out


def drawn(n: int = 400) -> Verdicts:
    rng = np.random.default_rng(0)
    evidence = rng.normal(size=(n, 4))
    right = rng.random(n) < 1 / (1 + np.exp(-2 - 2 * evidence[:, 0]))
    return Verdicts(evidence, np.full(n, np.nan), right, np.arange(n) % 8)


def test_a_calibration_says_what_it_rests_on():
    seen = drawn()
    fitted, note = calibrate(seen, where="eight images")
    assert fitted is not None
    wrong = int((~seen.is_right).sum())
    assert note == f"fitted on 400 objects found in eight images, {wrong} of them wrong"
    assert fitted.error == pytest.approx(0.0, abs=0.06)


def test_too_few_errors_are_told_instead():
    seen = drawn()._replace(is_right=np.ones(400, bool))
    fitted, note = calibrate(seen, where="eight images")
    assert fitted is None
    assert note == (
        "not calibrated: 400 objects found in eight images, 0 of them wrong; 10 right and 10 wrong "
        "are needed"
    )
