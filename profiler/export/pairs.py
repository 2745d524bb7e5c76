"""A table that copairs takes as it is, to find which replicates resemble one another."""

from pathlib import Path

import polars as pl

from profiler.export.source import BadExport, Exported, Source

_MOST_NAMES = 3
TIMEPOINT = "Metadata_Timepoint"
NAMELESS = "negative"  # what controls that the plate map gives no compound are called


def export_copairs(source: Source, path: Path) -> Exported:
    """Write well profiles as Parquet without gaps in features or in what pairs them.

    Two columns are added: `Metadata_Treatment` (compound, dose and unit in one text; over
    several time points the time point, too) and
    `Metadata_Reference_Index` (the row's number for negative controls, else -1), so that
    copairs finds each treatment's replicates against the controls with::

        average_precision(
            meta, feats,
            pos_sameby=["Metadata_Treatment", "Metadata_Reference_Index"], pos_diffby=[],
            neg_sameby=[], neg_diffby=["Metadata_Treatment", "Metadata_Reference_Index"],
        )

    where `meta` are the columns that start with `Metadata_` and `feats` the values of the others.

    Args:
        source: A table of wells with features and a plate map.
        path: The file.

    Returns:
        What was written. Negative controls without a compound are called "negative", and the
        notes tell it. Left out, and told: other wells without a compound, wells without a
        value in any feature, then features without a value in some well left; and results
        that are neither metadata nor features.

    Raises:
        BadExport: There is no plate map, there are no features, or none without gaps.

    Source:
        copairs' `assign_reference_index` and its own walk-through; run on the file in
        tests/export/test_pairs.py.
    """
    source.require_features(to="a table for copairs")
    if "Metadata_Compound" not in source.others or "Metadata_Role" not in source.others:
        raise BadExport(
            f"The table {source.level} has no Metadata_Compound and Metadata_Role, which say what "
            "is a replicate of what. Export a table of wells of a run with a plate map."
        )
    metadata = [name for name in source.others if name.startswith("Metadata_")]
    table = source.frame.select(*metadata, *source.features).collect(engine="streaming")
    wells, notes = _usable_wells(table, source.features)
    features = _whole(wells, source.features)
    if not features:
        raise BadExport(
            f"No feature of {source.level} has a value in all of its {wells.height} wells with a "
            "compound. Export the table selected, or drop the wells that lack most features."
        )
    marked = wells.select(*metadata, _treatment(metadata), _reference_index(), *features)
    marked.write_parquet(path)
    gaps = [name for name in source.features if name not in set(features)]
    results = [name for name in source.others if name not in set(metadata)]
    notes += [
        *_told(gaps, "features were left out, as they have no value in some well"),
        *_told(results, "columns were left out, as they are neither metadata nor features"),
    ]
    return Exported(path, marked.height, len(features), tuple(notes))


def _usable_wells(table: pl.DataFrame, features: tuple[str, ...]) -> tuple[pl.DataFrame, list[str]]:
    lacks_name = pl.col("Metadata_Compound").is_null()
    nameless = lacks_name & pl.col("Metadata_Role").eq_missing("negative")
    n_nameless = table.filter(nameless).height
    name = pl.when(nameless).then(pl.lit(NAMELESS)).otherwise("Metadata_Compound")
    named = table.with_columns(name.alias("Metadata_Compound")).filter(~lacks_name)
    has_any = pl.any_horizontal(_values(features).is_finite())
    wells = named.filter(has_any)
    counts = (
        (table.height - named.height, "they have no compound"),
        (named.height - wells.height, "they have no value in any feature"),
    )
    told = [f"{n} wells were left out, as {why}." for n, why in counts if n]
    if n_nameless:
        told.append(f"{n_nameless} negative controls without a compound are called {NAMELESS!r}.")
    return wells, told


def _whole(wells: pl.DataFrame, features: tuple[str, ...]) -> list[str]:
    is_whole = wells.select(_values(features).is_finite().fill_null(value=False).all())
    return [name for name, yes in zip(is_whole.columns, is_whole.row(0), strict=True) if yes]


def _values(features: tuple[str, ...]) -> pl.Expr:
    return pl.col(features).cast(pl.Float64)


def _treatment(metadata: list[str]) -> pl.Expr:
    """Compound, dose, unit and time, as far as they are known: "taxol 0.5 uM time point 2"."""
    names = ("Metadata_Compound", "Metadata_Concentration", "Metadata_Unit")
    known = [pl.col(name).cast(pl.String) for name in names if name in metadata]
    if TIMEPOINT in metadata:
        known.append("time point " + pl.col(TIMEPOINT).cast(pl.String))
    return pl.concat_str(known, separator=" ", ignore_nulls=True).alias("Metadata_Treatment")


def _reference_index() -> pl.Expr:
    is_control = pl.col("Metadata_Role") == "negative"
    row = pl.int_range(pl.len(), dtype=pl.Int64)
    index = pl.when(is_control).then(row).otherwise(-1)
    return index.alias("Metadata_Reference_Index")


def _told(names: list[str], what: str) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return [f"{len(names)} {what}: {', '.join(names[:_MOST_NAMES])}{more}."]
