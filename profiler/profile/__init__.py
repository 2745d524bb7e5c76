"""Cells in, well profiles out: aggregate, annotate, normalise, select, correct, agree."""

from profiler.profile.consensus import consensus
from profiler.profile.controls import is_role, require_controls
from profiler.profile.correction.align import coral, tvn
from profiler.profile.correction.compress import compress
from profiler.profile.correction.correct import correct
from profiler.profile.correction.harmony import harmony
from profiler.profile.correction.position import median_polish, position_means
from profiler.profile.correction.regress import regress_out
from profiler.profile.features import feature_columns, phenotype_features
from profiler.profile.outcome import Corrected, Normalised
from profiler.profile.scaling.normalise import lost_features, normalise, robust_z
from profiler.profile.scaling.whiten import spherize
from profiler.profile.selection.select import Selection, select
from profiler.profile.steps import Processed, process
from profiler.profile.streaming.stream import CellProfiles, profile_cells
from profiler.profile.wells.aggregate import aggregate
from profiler.profile.wells.annotate import Coverage, annotate
from profiler.profile.wells.combine import Combined, combine
from profiler.profile.wells.compounds import check_compounds
from profiler.profile.wells.describe import Described, describe, read_compounds
from profiler.profile.wells.distribution import distances_to_reference

__all__ = [
    "CellProfiles",
    "Combined",
    "Corrected",
    "Coverage",
    "Described",
    "Normalised",
    "Processed",
    "Selection",
    "aggregate",
    "annotate",
    "check_compounds",
    "combine",
    "compress",
    "consensus",
    "coral",
    "correct",
    "describe",
    "distances_to_reference",
    "feature_columns",
    "harmony",
    "is_role",
    "lost_features",
    "median_polish",
    "normalise",
    "phenotype_features",
    "position_means",
    "process",
    "profile_cells",
    "read_compounds",
    "regress_out",
    "require_controls",
    "robust_z",
    "select",
    "spherize",
    "tvn",
]
