"""A calibration of a network's own, fitted on images whose truth is known. Host side."""

import numpy as np
from jaxtyping import Bool, Float, Int
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from profiler.segment.confidence.calibration import Calibration
from profiler.segment.confidence.evidence import Evidence
from profiler.segment.confidence.reliability import calibration_error
from profiler.segment.logistic_fit import fit_line

FEWEST = 10  # objects of either kind that a fit needs
STRENGTH = 0.1  # inverse of the ridge, evidence scaled: images differ more than objects do
FOLDS = 5

Table = Float[np.ndarray, "object evidence"]


def fit_calibration(
    evidence: Table, is_right: Bool[np.ndarray, " object"], image: Int[np.ndarray, " object"]
) -> Calibration | None:
    """Fit a calibration on objects that were judged by the truth.

    Args:
        evidence: Columns as in `Evidence`, [object, evidence].
        is_right: Of each object.
        image: Which image each is of: those of one image are left out together.

    Returns:
        None where fewer than `FEWEST` objects are right, or wrong: nothing can be told then.

    Source:
        Platt scaling with a ridge; scikit-learn's LogisticRegression.
    """
    wrong = int((~is_right).sum())
    if min(wrong, len(is_right) - wrong) < FEWEST:
        return None
    weights, intercept = fit_line(evidence, is_right, strength=STRENGTH)
    return Calibration(
        Evidence._fields,
        weights,
        intercept,
        len(is_right),
        wrong,
        _error(evidence, is_right, image),
    )


def _regression() -> LogisticRegression:
    return LogisticRegression(C=STRENGTH, max_iter=1_000)


def left_out(evidence: Table, is_right: np.ndarray, image: np.ndarray) -> np.ndarray:
    """What fits say of objects of images that they have not seen, `FOLDS` of them.

    Args:
        evidence: As for `fit_calibration`.
        is_right: As there.
        image: As there.

    Returns:
        Probability of each object, [object]; NaN where there is one image only, or where those of
        the others are all right or all wrong.
    """
    predicted = np.full(len(is_right), np.nan)
    folds = min(FOLDS, len(np.unique(image)))
    if folds < 2:
        return predicted
    for taught, others in GroupKFold(folds).split(evidence, is_right, image):
        if len(np.unique(is_right[taught])) == 2:
            model = make_pipeline(StandardScaler(), _regression())
            fitted = model.fit(evidence[taught], is_right[taught])
            predicted[others] = fitted.predict_proba(evidence[others])[:, 1]
    return predicted


def _error(evidence: Table, is_right: np.ndarray, image: np.ndarray) -> float | None:
    predicted = left_out(evidence, is_right, image)
    known = np.isfinite(predicted)
    return round(calibration_error(predicted[known], is_right[known]), 4) if known.any() else None
