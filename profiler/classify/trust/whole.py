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
from profiler.classify.trust.outliers import CLIP, Known
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
    from sklearn.covariance import LedoitWolf  # scikit-learn takes a second to import
    from sklearn.decomposition import PCA

    every = vectors if around is None else around
    centre, spread = every.mean(axis=0), every.std(axis=0)
    scale = np.where(spread > 1e-12 * np.maximum(1.0, np.abs(centre)), spread, 1.0)
    scaled = np.clip((every - centre) / scale, -CLIP, CLIP)
    main = PCA(min(axes, *every.shape), random_state=0).fit(scaled)
    variance = np.asarray(main.explained_variance_)
    is_real = variance > 1e-9 * max(variance[0], 1e-300)
    turned = np.asarray(main.components_)[is_real].T / np.sqrt(variance[is_real])
    points = (np.clip((vectors - centre) / scale, -CLIP, CLIP) - main.mean_) @ turned
    codes = np.unique(labels, return_inverse=True)[1]
    means = np.stack([points[codes == each].mean(axis=0) for each in range(codes.max() + 1)])
    covariance = LedoitWolf(assume_centered=True).fit(points - means[codes]).covariance_
    within = np.linalg.cholesky(np.linalg.inv(covariance))
    return Whole(centre, scale, turned @ within, main.mean_ @ turned @ within, means @ within)


def distance(vectors: Vectors, whole: Whole) -> PerCell:
    """Squared distance to the nearest class mean, in units of the spread within classes."""
    scaled = np.clip((vectors - whole.centre) / whole.scale, -CLIP, CLIP)
    gaps = (scaled @ whole.axes - whole.middle)[:, None] - whole.means[None]
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
