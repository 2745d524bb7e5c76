"""Weights of a logistic function, fitted on rows whose answer is known. Host side."""

import numpy as np
from jaxtyping import Float
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler


def fit_line(
    evidence: Float[np.ndarray, "row evidence"], is_so: np.ndarray, *, strength: float
) -> tuple[tuple[float, ...], float]:
    """Fit weights and intercept.

    Args:
        evidence: [row, evidence].
        is_so: Of each row.
        strength: Inverse of the ridge, evidence scaled.

    Source:
        Platt scaling with a ridge; scikit-learn's LogisticRegression.
    """
    scaler = StandardScaler().fit(evidence)
    scaled = scaler.transform(evidence)
    regression = LogisticRegression(C=strength, max_iter=1_000).fit(scaled, is_so)
    weights = regression.coef_[0] / scaler.scale_
    intercept = regression.intercept_[0] - weights @ scaler.mean_
    return tuple(float(f"{weight:.6g}") for weight in weights), float(f"{intercept:.6g}")
