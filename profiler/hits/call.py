"""Everything that is asked of a screen's wells, in one call."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import polars as pl

from plates.errors import lookup
from profiler.hits.doses.curves import fit_curves
from profiler.hits.doses.shape import describe_curves
from profiler.hits.precision.activity import activity
from profiler.hits.precision.labels import label_consistency
from profiler.hits.precision.replicates import replicate_correlation
from profiler.hits.quality.drift import position_effects
from profiler.hits.quality.levels import position_levels, position_reference
from profiler.hits.quality.statistics import best_readout, plate_statistics
from profiler.hits.ranking.compounds import rank_compounds
from profiler.hits.ranking.evidence import Evidence, add_evidence
from profiler.hits.ranking.rank import DEFAULT, SCORES, HitRule, rank_wells
from profiler.hits.ranking.stability import rank_uncertainty
from profiler.hits.scores.distance import mahalanobis, n_left_out
from profiler.hits.scores.readout import second_scores
from profiler.hits.scores.score import LEAST_NEGATIVE, score_wells
from profiler.profile.controls import has_controls, is_role, require_controls
from profiler.profile.features import EMBEDDING, feature_columns, phenotype_features
from profiler.profile.labels import COMPOUND as OF_COMPOUND
from profiler.profile.labels import find_labels
from profiler.profile.wells.compounds import check_compounds, check_wells

PLATE, WELL, COMPOUND = "Metadata_Plate", "Metadata_Well", "Metadata_Compound"


class Hits(NamedTuple):
    """What `call_hits` found.

    Attributes:
        statistics: One row per plate and readout, from `plate_statistics` and
            `position_effects`; `position_reference` is the role of the wells whose
            positions were compared, `n_positions` how many of them have a value.
        curves: One row per compound and readout, from `fit_curves` and `describe_curves`, with
            `scale`: "raw", or "robust_z" of the plate, on which curves over several plates are
            fitted.
        hits: One row per well, from `rank_wells`, with `second_scores` and `mahalanobis`.
        compounds: One row per compound and role, from `rank_compounds` and `add_evidence`.
        positions: One row per plate, readout, axis and position, from `position_levels`; of the
            readouts with curves, `profile_score` and `viability`.
        activity: One row per compound and dose, from `activity`; none where no compound is
            named or no feature tells of a phenotype.
        replicates: The same rows, from `replicate_correlation`; none likewise.
        consistency: One row per kind of label and label, from `label_consistency`; none where
            no column labels compounds, or likewise.
        readout: The ranked one: named, or else the best found; none without either.
        best: The best readout found; none without positive controls.
        ranked_by: "readout" or "profile"; the latter also where there is no readout.
        n_left_out: Features without a say in the Mahalanobis distance, as some negative
            control lacks them.
    """

    statistics: pl.DataFrame
    curves: pl.DataFrame
    hits: pl.DataFrame
    compounds: pl.DataFrame
    positions: pl.DataFrame
    activity: pl.DataFrame | None
    replicates: pl.DataFrame | None
    consistency: pl.DataFrame | None
    readout: str | None
    best: str | None
    ranked_by: str
    n_left_out: int = 0


def call_hits(
    wells: pl.DataFrame,
    profiles: pl.DataFrame,
    *,
    selected: pl.DataFrame | None = None,
    readout: str | Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
    rule: HitRule = DEFAULT,
) -> Hits:
    """Rank the wells and compounds of a run.

    What is drawn at random is drawn with seed 0: the same tables give the same answer.

    Args:
        wells: Annotated wells, with features in their own units.
        profiles: The same wells with features as robust z of the negative controls.
        selected: The same with fewer features, for what takes the profile as a whole:
            activity, replicates and Mahalanobis distance; of `profiles` those features tell
            what drives a hit. `profiles` if not given.
        readout: Feature to rank by, or several: the first ranks, and all get curves, as
            does the one with the best Z', which ranks if none is named. Without
            positive controls, or with embeddings alone, there is no best, and wells are ranked
            by profile.
        labels: Kind of label -> its column, as `{"MOA": "Metadata_Mechanism"}`, for
            consistency; by default the usual names of mechanisms and targets.
        rule: What to rank by, and when a well is a hit or toxic.

    Wells of a plate with fewer than two negative controls with cells keep their rows, with
    null scores and the status "no_controls"; the other plates are ranked.

    Returns:
        All tables; `Hits.readout` and `Hits.ranked_by` say what was chosen.

    Raises:
        NoControls: No plate has two negative controls with cells.
        UnknownName: A readout is no feature of `wells`, `rule.rank_by` no ranking, or a column
            of `labels` is not there.
        BadLayout: One compound under two names or units, or a well twice on a plate.
        ProfilingError: The ranked readout is infinite in some well.
    """
    named = [readout] if isinstance(readout, str) else list(readout or [])
    _check(wells, named, rank_by=rule.rank_by)
    kinds = find_labels(wells, labels)
    whole = profiles if selected is None else selected
    statistics = _statistics(wells, named)
    best = best_readout(statistics)
    chosen = [*named, best][0]
    rule = rule if chosen else replace(rule, rank_by="profile")
    readouts = [name for name in dict.fromkeys([*named, best]) if name]

    for name in readouts:
        lookup(dict.fromkeys(profiles.columns), kind="feature of the profiles", name=name)
    scores = score_wells(wells, profiles, readout=chosen)
    curves = _curves(wells, profiles, scores, readouts=readouts, toxic_below=rule.toxic_below)
    positions = _positions(wells, scores, readouts)
    more = second_scores(wells, readout=chosen).hstack([_distance(wells, whole)])
    hits = rank_wells(scores.hstack(more), rule=rule)
    active, replicates, consistent = _replication(whole, kinds)
    drivers = _shared(profiles, whole)
    compounds = rank_compounds(hits, curves=curves, profiles=drivers, rule=rule)
    evidence = Evidence(hits, curves, rank_uncertainty(hits, rule=rule), active, replicates)
    compounds = add_evidence(compounds, evidence=evidence)
    tables = (statistics, curves, hits, compounds, positions, active, replicates, consistent)
    return Hits(*tables, chosen, best, rule.rank_by, n_left_out(whole))


def _check(wells: pl.DataFrame, readouts: list[str], *, rank_by: str) -> None:
    enough = {"role": "negative", "at_least": LEAST_NEGATIVE}
    if (
        "Metadata_Role" not in wells.columns
        or wells.filter(has_controls(wells, **enough)).is_empty()
    ):
        require_controls(wells, **enough, why="know what no effect looks like")
    check_wells(wells)
    check_compounds(wells)
    lookup(SCORES, kind="ranking", name=rank_by)
    features = dict.fromkeys(feature_columns(wells))
    for name in readouts:
        lookup(features, kind="readout", name=name)


def _statistics(wells: pl.DataFrame, readouts: list[str]) -> pl.DataFrame:
    """How well controls are told apart, and what position does, for every possible readout.

    A number of an embedding is none, unless someone names it.
    """
    role, every = position_reference(wells), feature_columns(wells)
    features = [name for name in every if not name.startswith(EMBEDDING) or name in readouts]
    statistics = plate_statistics(wells, readouts=features)
    effects = position_effects(wells, readouts=features, reference=is_role(role))
    effects = effects.rename({"n_wells": "n_positions"})
    statistics = statistics.join(effects, on=[PLATE, "readout"], how="left", maintain_order="left")
    return statistics.with_columns(position_reference=pl.lit(role))


def _curves(
    wells: pl.DataFrame,
    profiles: pl.DataFrame,
    scores: pl.DataFrame,
    *,
    readouts: list[str],
    toxic_below: float,
) -> pl.DataFrame:
    """Fit in raw units on one plate, and on several on the scale that they share."""
    is_one = wells[PLATE].n_unique() == 1
    table = wells if is_one else profiles
    curves = fit_curves(table, readouts=readouts)
    table = table.join(scores.select(PLATE, WELL, "viability"), on=[PLATE, WELL], how="left")
    shapes = describe_curves(table, readouts=readouts, toxic_below=toxic_below)
    shapes = shapes.select(pl.exclude("Metadata_Unit", "n_wells", "n_doses"))
    curves = curves.join(shapes, on=[COMPOUND, "readout"], how="left", maintain_order="left")
    return curves.with_columns(scale=pl.lit("raw" if is_one else "robust_z"))


def _positions(wells: pl.DataFrame, scores: pl.DataFrame, readouts: list[str]) -> pl.DataFrame:
    table = wells.select(pl.col("^Metadata_.*$"), *readouts)
    table = table.with_columns(scores["profile_score"], scores["viability"])
    return position_levels(
        table,
        readouts=[*readouts, "profile_score", "viability"],
        reference=is_role(position_reference(wells)),
    )


def _distance(wells: pl.DataFrame, profiles: pl.DataFrame) -> pl.Series:
    """Mahalanobis distance of every well, in the order of `wells`."""
    distance = profiles.select(PLATE, WELL, mahalanobis(profiles))
    return wells.select(PLATE, WELL).join(
        distance, on=[PLATE, WELL], how="left", maintain_order="left"
    )["mahalanobis"]


def _shared(profiles: pl.DataFrame, selected: pl.DataFrame) -> pl.DataFrame:
    """The features of `selected`, on the scale of `profiles`; all of these if none is there."""
    every, left = feature_columns(profiles), set(feature_columns(selected))
    dropped = [name for name in every if name not in left]
    return profiles if len(dropped) == len(every) else profiles.drop(dropped)


class _Replication(NamedTuple):
    """What comes of comparing profiles; none of it where there is nothing to compare."""

    activity: pl.DataFrame | None
    replicates: pl.DataFrame | None
    consistency: pl.DataFrame | None


def _replication(profiles: pl.DataFrame, kinds: Mapping[str, str]) -> _Replication:
    if COMPOUND not in profiles.columns or not phenotype_features(feature_columns(profiles)):
        return _Replication(None, None, None)
    active, replicates = activity(profiles), replicate_correlation(profiles)
    if not kinds.keys() - {OF_COMPOUND}:
        return _Replication(active, replicates, None)
    consistent = label_consistency(profiles, kinds=kinds, activity=active)
    return _Replication(active, replicates, consistent)
