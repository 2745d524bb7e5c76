"""How far a network on disk can be trusted, learnt from images that it was not taught by."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from profiler.segment.confidence.calibration import Calibration
from profiler.segment.confidence.fit import FEWEST, fit_calibration
from profiler.segment.confidence.reliability import is_right
from profiler.segment.score import SPECK_PX, drop_specks, where_known
from profiler.segment.segmenter import Examined
from profiler.segment.training.judge import looked_at
from profiler.segment.training.labelled import Labelled


class Verdicts(NamedTuple):
    """Nuclei that were found in labelled images, image after image.

    Attributes:
        evidence: What spoke for each, [object, evidence].
        confidence: How likely the network's own calibration held it to be right, [object].
        is_right: Whether it is: more than half of its union with a true one is shared, [object].
        image: Which image it is of, [object].
    """

    evidence: np.ndarray
    confidence: np.ndarray
    is_right: np.ndarray
    image: np.ndarray


def verdicts(
    examine: Callable[[Labelled], Examined],
    images: Sequence[Labelled],
    *,
    ignore: int | None = None,
) -> Verdicts:
    """Find the nuclei of labelled images and judge each by the truth.

    Args:
        examine: From an image to its nuclei, and what speaks for each.
        images: With their truth; true objects under `SPECK_PX` are specks.
        ignore: Value of the labels where nobody has looked; nuclei that lie there for the larger
            part are left out.
    """
    each = [_of_image(examine(one), one, ignore) for one in images]
    image = np.repeat(np.arange(len(each)), [len(right) for *_, right in each])
    evidence, confidence, right = (np.concatenate(parts) for parts in zip(*each, strict=True))
    return Verdicts(evidence, confidence, right, image)


def _of_image(
    found: Examined, one: Labelled, ignore: int | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    labels, known = looked_at(one, ignore)
    truth = drop_specks(labels, below=SPECK_PX)
    seen = where_known(np.asarray(found.nuclei.labels), known, truth=truth)
    rows = np.unique(seen[seen > 0]) - 1
    evidence = np.stack([np.asarray(part)[rows] for part in found.evidence], axis=1)
    return evidence, np.asarray(found.confidence)[rows], is_right(truth, seen)


def calibrate(seen: Verdicts, *, where: str) -> tuple[Calibration | None, str]:
    """Fit a calibration, and say what it rests on, or why there is none.

    Args:
        seen: Objects found by the network to be calibrated.
        where: What their images are, for the sentence.
    """
    wrong = int((~seen.is_right).sum())
    counted = f"{len(seen.is_right)} objects found in {where}, {wrong} of them wrong"
    fitted = fit_calibration(seen.evidence, seen.is_right, seen.image)
    if fitted is None:
        return None, f"not calibrated: {counted}; {FEWEST} right and {FEWEST} wrong are needed"
    return fitted, f"fitted on {counted}"
