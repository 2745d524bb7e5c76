"""How far a segmenter can be trusted with a field: it is shown the field in several ways."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from profiler.segment.score import SPECK_PX, best_overlaps, drop_specks

GAMMAS = (0.7, 1.4)  # as far apart as stains and exposures make plates

Find = Callable[[np.ndarray], np.ndarray]
Change = Callable[[np.ndarray], np.ndarray]


class Doubt(NamedTuple):
    """What the views of one field disagree about.

    Attributes:
        labels: Objects of the field as it is, [height, width], 0 background.
        ids: Ids of the objects, ascending.
        objects: One less the mean overlap (IoU) of each with its like in the other views, 0 to 1.
        lacking: Objects, in the mean of the other views, that the field as it is has not.
    """

    labels: np.ndarray
    ids: np.ndarray
    objects: np.ndarray
    lacking: float

    @property
    def total(self) -> float:
        """Roughly how many objects a person would have to correct."""
        return float(self.objects.sum() + self.lacking)


def doubt(find: Find, plane: np.ndarray) -> Doubt:
    """Compare the objects of a field with those of the field mirrored, turned, paler and darker.

    Args:
        find: From a plane, [height, width], to its label image.
        plane: Grey levels in any unit.

    Source:
        Test-time augmentation as a measure of uncertainty (Moshkov et al. 2020, Sci Rep 10:5068).
        How well it tells wrong nuclei from right ones: `benchmarks/corrections.py`.
    """
    labels = drop_specks(find(plane), below=SPECK_PX)
    agreement, lacking = [], []
    for change, back in VIEWS:
        other = back(find(np.ascontiguousarray(change(plane))))
        own, theirs = best_overlaps(labels, drop_specks(other, below=SPECK_PX))
        agreement.append(own)
        lacking.append((theirs < 0.5).sum())
    ids = np.unique(labels[labels > 0])
    return Doubt(labels, ids, 1.0 - np.mean(agreement, axis=0), float(np.mean(lacking)))


def _turned(pixels: np.ndarray) -> np.ndarray:
    return pixels[::-1, ::-1]


def _as_it_is(pixels: np.ndarray) -> np.ndarray:
    return pixels


def _with_gamma(gamma: float) -> Change:
    def change(plane: np.ndarray) -> np.ndarray:
        grey = plane.astype(np.float32)
        low, high = grey.min(), grey.max()
        if high == low:
            return grey
        return ((grey - low) / (high - low)) ** np.float32(gamma) * (high - low) + low

    return change


VIEWS: tuple[tuple[Change, Change], ...] = (
    (np.fliplr, np.fliplr),
    (np.flipud, np.flipud),
    (_turned, _turned),
    *((_with_gamma(gamma), _as_it_is) for gamma in GAMMAS),
)
