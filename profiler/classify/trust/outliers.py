"""How unlike the known cells a cell is, by several measures; large is unlike.

Distances are taken where the known classes differ: vectors are scaled, reduced to their main
axes, and turned to the discriminant axes, on which every class varies by about one. On MitoCheck's
development movies, with each class unknown in turn, nearest neighbours among the vectors reached a
mean AUROC of .59; the three scores that `novelty` combines, on these axes, .67; and .76 where the
unlabelled cells at hand set scales and main axes.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import logsumexp

from profiler.classify.trust.shapes import Classes, Logits, PerCell, Vectors

MOST_AXES = 80  # main axes that are kept: more hold noise, fewer lose phenotypes
CLIP = 5.0  # standard deviations: one absurd feature must not make a cell new
LEAST_SPREAD = 1e-12  # of a covariance's largest: below it a direction has none

Places = Float[np.ndarray, "cell axis"]


class NoSpread(ValueError):
    """Cells within classes vary in too few directions to say how they vary in all."""


class MainAxes(NamedTuple):
    """The directions in which cells vary most, each scaled to a variance of 1.

    Attributes:
        centre: Mean of every dimension of the vectors.
        scale: Its standard deviation; 1 for a constant one.
        axes: From scaled vectors to the main axes, [dimension, axis].
        middle: Mean of the scaled vectors, which clipping moves off 0.
    """

    centre: Float[np.ndarray, " dimension"]
    scale: Float[np.ndarray, " dimension"]
    axes: Float[np.ndarray, "dimension axis"]
    middle: Float[np.ndarray, " dimension"]

    def scaled(self, vectors: Vectors) -> Vectors:
        """Vectors in standard deviations, none absurd."""
        return scaled(vectors, self.centre, self.scale)


class Known(NamedTuple):
    """Where the known classes lie.

    Attributes:
        centre: Mean of every dimension of the vectors.
        scale: Its standard deviation; 1 for a constant one.
        axes: From scaled vectors to discriminant axes, [dimension, axis].
        means: Of each class, [class, axis].
        within: Inverse square root of the shared covariance within classes, [axis, axis].
        overall: Mean of all known places, [axis].
        apart: Inverse square root of the covariance of all known places, [axis, axis].
        middle: Mean place of all cells at hand, [axis].
        places: Of every known cell.
    """

    centre: Float[np.ndarray, " dimension"]
    scale: Float[np.ndarray, " dimension"]
    axes: Float[np.ndarray, "dimension axis"]
    means: Float[np.ndarray, "class axis"]
    within: Float[np.ndarray, "axis axis"]
    overall: Float[np.ndarray, " axis"]
    apart: Float[np.ndarray, "axis axis"]
    middle: Float[np.ndarray, " axis"]
    places: Float[np.ndarray, "known axis"]


def learn_known(
    vectors: Vectors,
    labels: Classes,
    *,
    around: Float[np.ndarray, "other dimension"] | None = None,
    axes: int = MOST_AXES,
) -> Known:
    """Learn where known classes lie.

    Args:
        vectors: Of cells with a known class, finite.
        labels: Their classes. Those of a single cell have a place, but no say in the axes.
        around: Vectors of all cells at hand, such as those of the run in question, labelled or
            not. Scales and main axes are theirs: what only a new phenotype varies in is no axis
            of the known ones. None takes the known cells alone.
        axes: Main axes to keep before the discriminant ones are sought.

    Raises:
        ValueError: Fewer than two classes of two cells, or vectors that are not finite.
        NoSpread: The covariance within classes has no inverse: of two cells each, nothing is
            shrunk, and of equal ones, nothing is left.

    Source:
        Shared covariance: Lee et al. 2018 (arXiv:1807.03888); its shrinkage: Ledoit & Wolf 2004.
        Both, and the discriminant axes, are scikit-learn's.
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis  # takes a second to import

    everything = vectors if around is None else around
    _check_finite(vectors)
    _check_finite(everything)
    codes = np.unique(labels, return_inverse=True)[1]
    is_shared = np.bincount(codes)[codes] > 1  # a single cell says nothing of the spread
    spanned = len(np.unique(codes[is_shared]))
    if spanned < 2:
        raise ValueError(
            f"Found {spanned} classes of at least two cells; expected two or more, to see how "
            "they differ."
        )
    main = main_axes(everything, axes=axes)
    own = main.scaled(vectors)
    turned = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto")
    try:
        turned.fit(own[is_shared] @ main.axes, codes[is_shared])
    except np.linalg.LinAlgError:  # without any spread; next to none is found below
        raise _no_spread(own[is_shared]) from None
    _check_spread(turned.covariance_, own[is_shared])
    projection = main.axes @ turned.scalings_[:, : spanned - 1]
    places = own @ projection
    means = np.stack([places[codes == each].mean(axis=0) for each in range(codes.max() + 1)])
    return Known(
        main.centre,
        main.scale,
        projection,
        means,
        whitening(places - means[codes]),
        places.mean(axis=0),
        whitening(places - places.mean(axis=0)),
        main.middle @ projection,
        places,
    )


def main_axes(vectors: Vectors, *, axes: int) -> MainAxes:
    """Find the directions in which cells vary most.

    Args:
        vectors: Of all cells at hand, finite.
        axes: How many to keep; fewer where there are no more.
    """
    from sklearn.decomposition import PCA  # scikit-learn takes a second to import

    centre, spread = vectors.mean(axis=0), vectors.std(axis=0)
    scale = np.where(spread > 1e-12 * np.maximum(1.0, np.abs(centre)), spread, 1.0)
    every = scaled(vectors, centre, scale)
    main = PCA(min(axes, *every.shape), random_state=0).fit(every)
    variance = np.asarray(main.explained_variance_)
    is_real = variance > 1e-9 * max(variance[0], 1e-300)  # doubled columns leave axes without any
    turned = np.asarray(main.components_)[is_real].T / np.sqrt(variance[is_real])
    return MainAxes(centre, scale, turned, every.mean(axis=0))


def place(vectors: Vectors, known: Known) -> Places:
    """Project cells on the discriminant axes.

    Raises:
        ValueError: Vectors that are not finite.
    """
    _check_finite(vectors)
    return scaled(vectors, known.centre, known.scale) @ known.axes


def mahalanobis(places: Places, known: Known) -> PerCell:
    """Squared distance to the nearest class mean, in units of the spread within classes.

    Source:
        Lee et al. 2018; checked against sklearn.covariance in
        tests/classify/trust/test_outliers.py.
    """
    gaps = (places @ known.within)[:, None] - (known.means @ known.within)[None]
    return (gaps**2).sum(axis=-1).min(axis=1)


def relative_mahalanobis(places: Places, known: Known) -> PerCell:
    """The same, less the squared distance to all known cells together.

    Source:
        Ren et al. 2021 (arXiv:2106.09022).
    """
    return mahalanobis(places, known) - (((places - known.overall) @ known.apart) ** 2).sum(axis=1)


def angle(places: Places, known: Known) -> PerCell:
    """One less the largest cosine with a class mean, both seen from the middle: 0 to 2.

    The middle is that of all cells at hand. A weak form of a known phenotype points to it, though
    it is near none; a new one points away from all.
    """
    means = _directions(known.means - known.middle)
    return 1 - (_directions(places - known.middle) @ means.T).max(axis=1)


def nearest(places: Places, known: Known, *, neighbours: int = 10) -> PerCell:
    """Mean distance to the nearest known cells.

    Source:
        Sun et al. 2022 (arXiv:2204.06507), here with the mean instead of the last of them.
    """
    from sklearn.neighbors import NearestNeighbors  # scikit-learn takes a second to import

    asked = min(neighbours, len(known.places))
    return NearestNeighbors(n_neighbors=asked).fit(known.places).kneighbors(places)[0].mean(axis=1)


def energy(logits: Logits) -> PerCell:
    """Minus the logarithm of the summed exponentials of a classifier's logits.

    Source:
        Liu et al. 2020 (arXiv:2010.03759), equation 4, at temperature 1.
    """
    return -logsumexp(logits, axis=1)


def scaled(vectors: Vectors, centre: np.ndarray, scale: np.ndarray) -> Vectors:
    """Vectors in standard deviations from the centre, clipped."""
    return np.clip((vectors - centre) / scale, -CLIP, CLIP)


def whitening(gaps: Places) -> Float[np.ndarray, "axis axis"]:
    """What brings gaps around a mean to a variance of 1 in every direction.

    Raises:
        NoSpread: They have none in some direction.

    Source:
        The shrunk covariance of Ledoit & Wolf 2004, as scikit-learn has it.
    """
    from sklearn.covariance import LedoitWolf  # scikit-learn takes a second to import

    covariance = LedoitWolf(assume_centered=True).fit(gaps).covariance_
    _check_spread(covariance, gaps)
    return np.linalg.cholesky(np.linalg.inv(covariance))


def _directions(places: Places) -> Places:
    return places / np.maximum(np.linalg.norm(places, axis=1, keepdims=True), 1e-12)


def _check_spread(covariance: Float[np.ndarray, "axis axis"], cells: np.ndarray) -> None:
    spread = np.linalg.eigvalsh(covariance)
    if not spread[0] > LEAST_SPREAD * spread[-1]:
        raise _no_spread(cells)


def _no_spread(cells: np.ndarray) -> NoSpread:
    return NoSpread(
        f"Found {len(cells)} known cells whose spread within their classes leaves directions "
        "without any; expected more cells a class, not all equal. Label more, three a class at "
        "least."
    )


def _check_finite(vectors: Vectors) -> None:
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise ValueError(
            f"Found {len(bad)} cells with undefined numbers in their vectors, the first in row "
            f"{bad[0]}; expected finite ones. Leave such cells or columns out."
        )
