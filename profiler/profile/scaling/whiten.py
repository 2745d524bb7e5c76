"""Spherize: make the reference wells uncorrelated with unit variance, in four variants."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Float

from plates.errors import BadRecipe, lookup
from profiler.profile.groups import (
    ALL,
    PLATE,
    Matrix,
    columns_within,
    group_rows,
    mask_of,
)
from profiler.profile.matrix import place, usable_part
from profiler.profile.options import NotNegative, named
from profiler.profile.outcome import Normalised, lost_table

EPSILON = 1e-6  # pycytominer's, added to singular values


class Variant(NamedTuple):
    """How whitened axes lie: along the principal components, or turned back to the features."""

    is_turned_back: bool
    is_standardised: bool


VARIANTS = {  # Kessy, Lewin & Strimmer 2018
    "PCA": Variant(is_turned_back=False, is_standardised=False),
    "ZCA": Variant(is_turned_back=True, is_standardised=False),
    "PCA-cor": Variant(is_turned_back=False, is_standardised=True),
    "ZCA-cor": Variant(is_turned_back=True, is_standardised=True),
}


class Whitening(NamedTuple):
    """An affine map: `(x - centre) / scale @ matrix`."""

    centre: Float[np.ndarray, " feature"]
    scale: Float[np.ndarray, " feature"]
    matrix: Float[np.ndarray, "feature component"]

    def __call__(self, values: Matrix) -> Float[np.ndarray, "row component"]:
        """Whiten rows."""
        return (values - self.centre) / self.scale @ self.matrix


def spherize(
    table: pl.DataFrame,
    *,
    features: Sequence[str],
    reference: pl.Expr = ALL,
    within: str | Sequence[str] = PLATE,
    variant: Annotated[str, named(VARIANTS, kind="whitening")] = "ZCA-cor",
    ridge: NotNegative = 0.0,
) -> Normalised:
    """Whiten profiles, so that the reference rows' covariance is the identity.

    Args:
        table: Wells, with features of comparable scale.
        features: Columns to whiten together.
        reference: Which rows' covariance counts, at least two with all features.
        within: Columns whose values name a group; each has its own whitening.
        variant: A name in `VARIANTS`. "ZCA" stays nearest to the features, "-cor" nearest
            to the standardised ones; "PCA" and "PCA-cor" give components.
        ridge: Added to the variances of the reference along its axes, so that directions in
            which it hardly varies are not blown up; 1, the mean
            variance of a "-cor" variant, suits few wells of many features.

    Returns:
        The table with `features` whitened, in float64, or for "PCA" replaced by
        components `PC1`, `PC2`, ... Directions in which the reference has no spread
        (fewer rows than features, or features that depend on one another) take the
        scale of its least spread one, or of the ridge; components leave them out. Null
        where a group has fewer components than another, and as `lost` says: joint steps
        need every feature of a row, so select by missing values first.

    Raises:
        UnknownName: `variant` is none.

    Source:
        Kessy, Lewin & Strimmer 2018, "Optimal Whitening and Decorrelation"; pycytominer
        1.7.1's `Spherize` (1.3 to 1.7.0 do not whiten). tests/profile/scaling/test_whiten.py.
    """
    within = columns_within(within)
    how = lookup(VARIANTS, kind="whitening", name=variant)
    groups, is_reference = group_rows(table, within), mask_of(table, reference)
    parts = [
        usable_part(table, features, rows=group.rows, is_reference=is_reference, group=i)
        for i, group in enumerate(groups)
    ]
    fit = partial(fit_whitening, variant=variant, ridge=ridge)
    maps = [fit(part.reference) if len(part.columns) else None for part in parts]
    n_components = max((each.matrix.shape[1] for each in maps if each), default=0)
    names = list(features) if how.is_turned_back else component_names(n_components)
    result = np.full((table.height, len(names)), np.nan)
    for part, whiten in zip(parts, maps, strict=True):
        if whiten:
            white = whiten(part.values)
            columns = part.columns if how.is_turned_back else np.arange(white.shape[1])
            result[np.ix_(part.rows, columns)] = white
    lost = [line for part in parts for line in part.lost]
    return Normalised(
        place(table, drop=features, names=names, values=result),
        names,
        lost_table(lost, groups, table=table, within=within),
    )


def fit_whitening(
    reference: Matrix,
    *,
    variant: str = "ZCA-cor",
    epsilon: float = EPSILON,
    ridge: float = 0.0,
    is_centred: bool = True,
) -> Whitening:
    """Find the map that makes the covariance of these rows the identity.

    Args:
        reference: Finite values; at least two rows, and no feature without spread.
        variant: As for `spherize`.
        epsilon: Added to the singular values of the reference.
        ridge: As for `spherize`.
        is_centred: Whether their mean becomes 0.

    Raises:
        UnknownName: `variant` is none.
        BadRecipe: A "-cor" variant is not to be centred.
    """
    how = lookup(VARIANTS, kind="whitening", name=variant)
    if how.is_standardised and not is_centred:
        raise BadRecipe(f"{variant} whitens correlations, so is_centred must be true.")
    n_rows, n_features = reference.shape
    centre = reference.mean(axis=0) if is_centred else np.zeros(n_features)
    scale = reference.std(axis=0) if how.is_standardised else np.ones(n_features)
    _, spread, axes = np.linalg.svd((reference - centre) / scale, full_matrices=False)
    rank = int((spread > spread[0] * max(reference.shape) * np.finfo(float).eps).sum())
    axes, added = axes[:rank], ridge * (n_rows - 1)
    spread = np.sqrt(spread[:rank] ** 2 + added) + epsilon
    matrix = axes.T / spread
    if how.is_turned_back:
        least = np.sqrt(added) + epsilon if ridge else spread[-1]  # of what has no spread
        matrix = matrix @ axes + (np.eye(n_features) - axes.T @ axes) / least
    else:
        largest = np.abs(axes).argmax(axis=1)  # an axis has no sign of its own: make this positive
        matrix *= np.sign(axes[np.arange(rank), largest])
    return Whitening(centre, scale, matrix * np.sqrt(n_rows - 1))


def component_names(n: int) -> list[str]:
    """Name components as pycytominer does: PC1, PC2, ..."""
    return [f"PC{i}" for i in range(1, n + 1)]
