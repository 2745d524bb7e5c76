"""Whether the compounds of each mechanism and target are alike, for every kind of label."""

from collections.abc import Mapping

import polars as pl

from profiler.hits.precision.activity import strongest
from profiler.hits.precision.average import features_of, in_order
from profiler.hits.precision.consistency import SEPARATOR, consistency
from profiler.profile.consensus import consensus
from profiler.profile.controls import is_role
from profiler.profile.labels import COMPOUND as OF_COMPOUND

COMPOUND, ROLE = "Metadata_Compound", "Metadata_Role"
ACTIVE = 0.05  # greatest q-value of an active compound
COLUMNS = {
    "kind": pl.String,
    "label": pl.String,
    "n_labelled": pl.Int64,
    "n_compounds": pl.Int64,
    "n_left_out": pl.Int64,
    "mean_average_precision": pl.Float64,
    "chance_precision": pl.Float64,
    "p_value": pl.Float64,
    "q_value": pl.Float64,
    "n_sets": pl.Int64,
    "status": pl.String,
    "compared": pl.String,
}


def label_consistency(
    profiles: pl.DataFrame, *, kinds: Mapping[str, str], activity: pl.DataFrame
) -> pl.DataFrame:
    """Test every mechanism and target for compounds that are more alike than chance.

    Only active compounds are compared (of `strongest`, q at most .05), each by the median of
    the wells of its most active dose: an inactive one resembles nothing, and among active
    ones to be alike is more than to be far from the controls. Where no compound could be
    tested for activity, all are compared, each by all of its wells.

    Args:
        profiles: Wells with features that are 0 where there is no effect.
        kinds: From a kind of label to its column, as `profile.labels.find_labels` gives; that
            of compounds is left out. A compound has every label that one of its wells names.
        activity: From `activity`, of the same wells.

    Returns:
        One row per kind and label, in this order and the best first: n_labelled (compounds that
        have the label), then as in `consistency` of those compared; `status` is
        "none_active" for a label of which none was; `compared` is "active" or "all". The
        q-value is over all labels of the kind.

    Source:
        Phenotypic consistency of Kalinin et al. 2025, Nature Communications 16:5181.
    """
    wells = profiles.filter(pl.col(COMPOUND).is_not_null())
    if ROLE in wells.columns:
        wells = wells.filter(~is_role("negative"), ~is_role("empty"))
    tested = activity["q_value"].count() > 0
    chosen = _at_most_active_dose(wells, activity) if tested else wells
    features = features_of(profiles, None)
    compounds = consensus(chosen, features=features, by=COMPOUND, how="median")
    compared = "active" if tested else "all"
    tables = [
        _of_kind(compounds, _labels(wells, column), kind=kind, compared=compared)
        for kind, column in kinds.items()
        if kind != OF_COMPOUND
    ]
    return pl.concat([pl.DataFrame(schema=COLUMNS), *tables])


def _at_most_active_dose(wells: pl.DataFrame, activity: pl.DataFrame) -> pl.DataFrame:
    active = strongest(activity, per=[COMPOUND]).filter(pl.col("q_value") <= ACTIVE)
    on = [name for name in wells.columns if name.startswith("Metadata_") and name in active]
    return wells.join(active, on=on, how="semi", nulls_equal=True)


def _labels(wells: pl.DataFrame, column: str) -> pl.DataFrame:
    """Compounds and labels, one row for each pair."""
    labels = pl.col(column)
    if not isinstance(wells.schema[column], pl.List):
        labels = labels.cast(pl.String).str.split(SEPARATOR)
    long = wells.select(COMPOUND, labels.alias("label")).explode("label")
    named = long.with_columns(pl.col("label").cast(pl.String).str.strip_chars())
    return named.filter(pl.col("label") != "").unique().sort("label", COMPOUND)


def _of_kind(
    compounds: pl.DataFrame, labels: pl.DataFrame, *, kind: str, compared: str
) -> pl.DataFrame:
    per_compound = labels.group_by(COMPOUND).agg("label")
    found = consistency(compounds.join(per_compound, on=COMPOUND), labels="label")
    every = labels.group_by("label").agg(pl.len().alias("n_labelled"))
    table = every.join(found, on="label", how="left").with_columns(
        pl.lit(kind).alias("kind"),
        pl.col("n_compounds", "n_left_out").fill_null(0),
        pl.col("status").fill_null("none_active"),
        pl.lit(compared).alias("compared"),
    )
    return in_order(table.select(pl.col(n).cast(kind) for n, kind in COLUMNS.items()), ["label"])
