"""Which columns are features, and which of them may speak for a phenotype."""

import re
from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl
from jaxtyping import Float

EMBEDDING = "Embedding_"
PREFIXES = ("Cells_", "Nuclei_", "Cytoplasm_", EMBEDDING)

# Where an object lies and what it is called say nothing of how it looks. The box's area does.
POSITION = re.compile(
    r"_(Location|Parent|Children|Number)_|_BoundingBoxM(in|ax)imum_|_AreaShape_Center_|ObjectNumber"
)

# Boxes are upright, and so differ for a long cell that lies level and one that lies askew.
ROTATION_DEPENDENT = re.compile(
    r"_AreaShape_(Orientation|BoundingBoxArea|Extent|InertiaTensor_|"
    r"(Spatial|Central|Normalized)Moment_)|_ZernikePhase_"
)
TEXTURE_DIRECTION = re.compile(r"(_Texture_.+_\d+)_0[0-3](_\d+)$")  # scale, direction, levels


def feature_columns(frame: pl.DataFrame | pl.LazyFrame) -> list[str]:
    """Name the columns that hold features, in the order of the table.

    Args:
        frame: A table of cells or wells.

    Returns:
        Numeric columns that start with `Cells_`, `Nuclei_`, `Cytoplasm_` or `Embedding_`.

    Source:
        pycytominer's `infer_cp_features`, for these compartments.

    >>> feature_columns(pl.DataFrame({"Metadata_Site": [1], "Cells_AreaShape_Area": [9.0]}))
    ['Cells_AreaShape_Area']
    """
    schema = frame.collect_schema()
    return [
        name for name, kind in schema.items() if name.startswith(PREFIXES) and kind.is_numeric()
    ]


def phenotype_features(features: Iterable[str]) -> list[str]:
    """Leave out features that are positions, identities or links to other objects.

    Args:
        features: Feature names in CellProfiler's grammar.

    Returns:
        The names that do not match `POSITION`, in their order.

    >>> phenotype_features(["Nuclei_Location_Center_X", "Nuclei_AreaShape_BoundingBoxArea"])
    ['Nuclei_AreaShape_BoundingBoxArea']
    """
    return [name for name in features if not POSITION.search(name)]


def free_of_rotation(features: Iterable[str]) -> list[str]:
    """Leave out features that say how a cell lies in its field, which is chance.

    The mean of many cells says little of it; single cells would be told apart by it.

    Args:
        features: Feature names.

    Returns:
        The names that do not match `ROTATION_DEPENDENT`, in their order; in place of a texture
        in any of its four directions their mean, as `with_mean_textures` names it, once.

    >>> free_of_rotation(["Cells_AreaShape_Orientation", "Cells_Texture_Entropy_DNA_3_02_256"])
    ['Cells_Texture_Entropy_DNA_3_256']
    """
    kept = (name for name in features if not ROTATION_DEPENDENT.search(name))
    return list(dict.fromkeys(_without_direction(name) for name in kept))


def with_mean_textures(cells: pl.LazyFrame) -> pl.LazyFrame:
    """Add the mean over the four directions of every texture.

    Args:
        cells: One row per cell.

    Returns:
        The table with a column for each mean, named without a direction:
        `Cells_Texture_Entropy_DNA_3_256` for 3_00_256 to 3_03_256. Null where one is null.
    """
    directions: dict[str, list[str]] = {}
    for name in feature_columns(cells):
        if TEXTURE_DIRECTION.search(name):
            directions.setdefault(_without_direction(name), []).append(name)
    means = [
        (pl.sum_horizontal(names, ignore_nulls=False) / len(names)).alias(mean)
        for mean, names in directions.items()
    ]
    return cells.with_columns(means)


def _without_direction(feature: str) -> str:
    return TEXTURE_DIRECTION.sub(r"\1\2", feature)


def named_features(features: Iterable[str]) -> list[str]:
    """Leave out of `phenotype_features` what has no meaning by itself: a network's numbers.

    They make a profile as features do, but no readout, and nothing that a hit is explained by.

    Args:
        features: Feature names.

    >>> named_features(["Nuclei_AreaShape_Area", "Embedding_0000", "Nuclei_Location_Center_X"])
    ['Nuclei_AreaShape_Area']
    """
    return [name for name in phenotype_features(features) if not name.startswith(EMBEDDING)]


def finite(features: Iterable[str]) -> pl.Expr:
    """Read feature columns as float64, with null for NaN and for infinite values.

    Args:
        features: Numeric columns.

    Returns:
        An expression of the same columns, under their names.
    """
    value = pl.col(list(features)).cast(pl.Float64)
    return pl.when(value.is_finite()).then(value)


def has_profile(features: Iterable[str]) -> pl.Expr:
    """Select the rows that have a finite value of any feature; none has where none is given."""
    names = list(features)
    return pl.any_horizontal(finite(names).is_not_null()) if names else pl.lit(value=False)


def finite_in(frame: pl.DataFrame, features: Sequence[str]) -> dict[str, pl.Expr]:
    """Read features as `finite` does, those without gaps as they are, which is faster.

    Args:
        frame: The table they will be read from.
        features: Numeric columns.

    Returns:
        An expression for each feature.
    """
    columns = pl.col(list(features))
    has_all = frame.select(
        (columns.cast(pl.Float64).sum().is_finite()) & (columns.null_count() == 0)
    )
    whole = dict(zip(has_all.columns, has_all.row(0) if features else (), strict=True))
    return {
        name: pl.col(name).cast(pl.Float64) if whole[name] else finite([name]) for name in features
    }


def feature_matrix(
    frame: pl.DataFrame, features: Sequence[str]
) -> Float[np.ndarray, "row feature"]:
    """Take feature columns out as one float64 array.

    Args:
        frame: A table of cells or wells.
        features: Numeric columns, perhaps none.

    Returns:
        NaN where a value is null, NaN or infinite.
    """
    if not features:
        return np.empty((frame.height, 0))
    values = frame.select(pl.col(list(features)).cast(pl.Float64)).to_numpy(writable=True)
    is_finite = np.isfinite(values)
    if not is_finite.all():
        values[~is_finite] = np.nan
    return values
