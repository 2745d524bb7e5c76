"""How unlike the known cells a cell is where the known classes are few.

`outliers` looks along the axes on which the known classes differ: two classes span one, and a new
phenotype that differs from both in anything else is not seen. Here distances are taken on the main
axes of all cells, whatever the classes. On MitoCheck's development movies, with two classes known
and a third in question, the mean AUROC is .87 by this distance and .54 by those; with three known
.88 and .79; with five .76 and .78, and .81 by all together; with eight .55 and .76.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from profiler.classify.trust.novelty import novelty_scores
from profiler.classify.trust.outliers import Known, main_axes, scaled, whitening
from profiler.classify.trust.shapes import Classes, Logits, PerCell, Vectors

AXES = 20  # main axes: 10 to 20 did as well, 40 worse
FEW, SOME = 3, 6  # classes: up to here this distance alone, up to there with the others


class Whole(NamedTuple):
    """Where known cells lie among all.

    Attributes:
        centre: Mean of every dimension over all cells at hand.
        scale: Its standard deviation; 1 for a constant one.
        axes: From scaled vectors to points on which the known classes vary by about one within,
            [dimension, axis].
        middle: What is taken from such points, so that all cells' mean is 0, [axis].
        means: Of each known class, [class, axis].
    """

    centre: Float[np.ndarray, " dimension"]
    scale: Float[np.ndarray, " dimension"]
    axes: Float[np.ndarray, "dimension axis"]
    middle: Float[np.ndarray, " axis"]
    means: Float[np.ndarray, "class axis"]


class Places(NamedTuple):
    """Where known cells lie: on the axes on which classes differ, and among all cells."""

    known: Known
    whole: Whole


def learn_whole(
    vectors: Vectors,
    labels: Classes,
    *,
    around: Float[np.ndarray, "other dimension"] | None = None,
    axes: int = AXES,
) -> Whole:
    """Learn where known classes lie among all cells.

    Args:
        vectors: Of cells with a known class, finite.
        labels: Their classes.
        around: Of all cells at hand, labelled or not, which say what the main axes are; None
            takes the known alone.
        axes: Main axes to keep.

    Source:
        Lee et al. 2018 (arXiv:1807.03888), on principal axes; both, and the shrinkage of Ledoit &
        Wolf 2004, are scikit-learn's.
    """
    main = main_axes(vectors if around is None else around, axes=axes)
    points = (main.scaled(vectors) - main.middle) @ main.axes
    codes = np.unique(labels, return_inverse=True)[1]
    means = np.stack([points[codes == each].mean(axis=0) for each in range(codes.max() + 1)])
    within = whitening(points - means[codes])
    turned = main.axes @ within
    return Whole(main.centre, main.scale, turned, main.middle @ turned, means @ within)


def distance(vectors: Vectors, whole: Whole) -> PerCell:
    """Squared distance to the nearest class mean, in units of the spread within classes."""
    own = scaled(vectors, whole.centre, whole.scale)
    gaps = (own @ whole.axes - whole.middle)[:, None] - whole.means[None]
    return (gaps**2).sum(axis=-1).min(axis=1)


def odd_scores(
    vectors: Vectors, logits: Logits, places: Places, *, classes: int
) -> dict[str, PerCell]:
    """The scores that `novelty` combines, by how many classes are known.

    Args:
        vectors: Of the cells in question.
        logits: What the classifier says of them.
        places: From `outliers.learn_known` and `learn_whole`, of the same cells.
        classes: How many are known.
    """
    scores = {"whole": distance(vectors, places.whole)} if classes <= SOME else {}
    return scores | (novelty_scores(vectors, logits, places.known) if classes > FEW else {})
