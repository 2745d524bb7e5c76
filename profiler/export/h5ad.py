"""AnnData, for scanpy, mantispy and the like."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from profiler.export.source import Exported, MissingPackage, Source
from profiler.profile.features import EMBEDDING

if TYPE_CHECKING:
    import pandas

_NAMED_BY = (  # what tells rows apart, as far as a table has it
    "Metadata_Run",
    "Metadata_Plate",
    "Metadata_Well",
    "Metadata_Site",
    "Metadata_Timepoint",
    "Metadata_ObjectNumber",
)
_TREATMENT = ("Metadata_Compound", "Metadata_Concentration", "Metadata_Unit")


def export_anndata(source: Source, path: Path) -> Exported:
    """Write a table as AnnData (.h5ad); it must fit in memory.

    Args:
        source: A table with features.
        path: The file.

    Returns:
        What was written. `X` is [row, feature], float32 where all features are, else float64,
        NaN where undefined. `obs` has every other column, text as categories. `var` has each
        feature's parts: object, feature_group, feature, channel. `uns["profiler"]` has the
        level and, as JSON, how each run was made. Columns of lists become their elements with
        a space between them.

    Raises:
        BadExport: The table has no features.
        MissingPackage: The package anndata is not installed.

    Source:
        The column names of mantispy's schema 2.0 draft; read back by anndata itself in
        tests/export/test_h5ad.py.
    """
    source.require_features(to="an AnnData file")
    try:
        from anndata import AnnData
    except ImportError as error:
        raise MissingPackage(
            "AnnData files need the package anndata, which is not installed. Install it with: "
            "pip install 'plate-profiler[export]'"
        ) from error
    table = source.frame.select(*source.others, *source.features).collect(engine="streaming")
    kind = pl.Float32 if _are_float32(source) else pl.Float64
    values = table.select(pl.col(source.features).cast(kind).fill_null(float("nan"))).to_numpy()
    AnnData(X=values, obs=_obs(table, source), var=_var(source), uns=_uns(source)).write_h5ad(path)
    return Exported(path, table.height, len(source.features))


def _are_float32(source: Source) -> bool:
    schema = source.frame.collect_schema()
    return all(schema[name] == pl.Float32 for name in source.features)


def _obs(table: pl.DataFrame, source: Source) -> "pandas.DataFrame":
    lists = [name for name in source.others if isinstance(table.schema[name], pl.List)]
    others = table.select(source.others).with_columns(
        pl.col(lists).cast(pl.List(pl.String)).list.join(" ")
    )
    obs = others.select(~pl.selectors.string()).to_pandas()
    for column in others.select(pl.selectors.string()):
        obs[column.name] = _categories(column)
    obs.index = _names(table)
    return obs.reindex(columns=list(source.others))


def _categories(column: pl.Series) -> "pandas.Categorical":
    """Make text categories, which may lack a value; not of Arrow text, which HDF5 does not know."""
    import pandas

    known = column.drop_nulls().unique().sort()
    code = {text: i for i, text in enumerate(known)}
    codes = [code.get(text, -1) for text in column]
    return pandas.Categorical.from_codes(codes, categories=pandas.Index(known, dtype=object))


def _names(table: pl.DataFrame) -> Any:
    """Name the rows for the keys they have; by number where those are not enough."""
    import pandas

    keys = [key for key in _NAMED_BY if key in table.columns]
    keys = keys or [key for key in _TREATMENT if key in table.columns]
    if keys:
        text = pl.col(keys).cast(pl.String).fill_null("")
        names = table.select(pl.concat_str(text, separator="_").alias("name"))["name"]
        if names.n_unique() == names.len():
            return pandas.Index(names.to_list(), dtype=object)
    return pandas.Index([str(i) for i in range(table.height)], dtype=object)


def _var(source: Source) -> "pandas.DataFrame":
    import pandas

    parts = zip(*(_parts(name, source.stains) for name in source.features), strict=True)
    columns = zip(("object", "feature_group", "feature", "channel"), parts, strict=True)
    var = {name: _categories(pl.Series(words)) for name, words in columns}
    return pandas.DataFrame(var, index=pandas.Index(source.features, dtype=object))


def _parts(name: str, stains: tuple[str, ...]) -> tuple[str, str, str, str]:
    """Take a feature's name apart; what it lacks is empty.

    >>> _parts("Cells_Texture_Entropy_DNA_3_00_256", ("DNA", "ER"))
    ('Cells', 'Texture', 'Entropy', 'DNA')
    >>> _parts("Embedding_0007", ("DNA", "ER"))
    ('', 'Embedding', '0007', '')
    """
    words = [*(name if not name.startswith(EMBEDDING) else f"_{name}").split("_"), "", ""]
    channels = [word for word in words[2:] if word in stains]
    feature = "" if words[2] in stains else words[2]
    return words[0], words[1], feature, " ".join(channels)


def _uns(source: Source) -> dict[str, Any]:
    made_by = json.dumps(source.made_by, sort_keys=True, default=str)
    return {"profiler": {"level": source.level, "runs": made_by}}
