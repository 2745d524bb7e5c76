"""A joining of a network's own, fitted on images whose truth is known. Host side."""

import numpy as np
from jaxtyping import Bool, Float

from profiler.segment.joining.join import Joining
from profiler.segment.joining.joints import Evidence, Joints
from profiler.segment.logistic_fit import fit_line

FEWEST = 30  # joints of either kind that a fit needs


def evidence_of(joints: Joints) -> Float[np.ndarray, "joint evidence"]:
    """The rows that are joints."""
    rows = np.asarray(joints.is_there)
    return np.stack([np.asarray(part)[rows] for part in joints.evidence], axis=1)


def is_within(labels: np.ndarray, joints: Joints, truth: np.ndarray) -> Bool[np.ndarray, " joint"]:
    """Whether each joint lies within one true nucleus: that with which both sides share most.

    Args:
        labels: Found, [height, width], 0 background.
        joints: Of these.
        truth: Likewise.
    """
    pairs, shared = np.unique(
        np.stack([labels[labels > 0], truth[labels > 0]]), axis=1, return_counts=True
    )
    best = np.zeros(labels.max(initial=0) + 1, int)
    order = np.argsort(shared, kind="stable")  # the largest share is written last
    best[pairs[0, order]] = pairs[1, order]
    rows = np.asarray(joints.is_there)
    low, high = (best[np.asarray(each)[rows]] for each in (joints.low, joints.high))
    return (low == high) & (low > 0)


def fit_joining(
    evidence: Float[np.ndarray, "joint evidence"],
    within: Bool[np.ndarray, " joint"],
    *,
    threshold: float,
) -> Joining | None:
    """Fit a joining on joints that were judged by the truth.

    Args:
        evidence: Columns as in `Evidence`, [joint, evidence].
        within: Whether each lies within one nucleus.
        threshold: Probability above which two nuclei are to become one.

    Returns:
        None where fewer than `FEWEST` joints lie within nuclei, or between them.
    """
    count = int(within.sum())
    if min(count, len(within) - count) < FEWEST:
        return None
    weights, intercept = fit_line(evidence, within, strength=1.0)
    return Joining(Evidence._fields, weights, intercept, threshold, len(within), count)
