"""Cells in, well profiles out: aggregate, annotate, normalise, select, correct, agree."""

from profiler.profile.aggregate import aggregate
from profiler.profile.align import coral, tvn
from profiler.profile.annotate import Coverage, annotate
from profiler.profile.barcodes import PlateMaps, read_plate_maps
from profiler.profile.combine import Combined, combine
from profiler.profile.compounds import check_compounds
from profiler.profile.compress import compress
from profiler.profile.consensus import consensus
from profiler.profile.controls import is_role, require_controls
from profiler.profile.correct import correct
from profiler.profile.describe import Described, describe, read_compounds
from profiler.profile.distribution import distances_to_reference
from profiler.profile.features import feature_columns, phenotype_features
from profiler.profile.harmony import harmony
from profiler.profile.normalise import lost_features, normalise, robust_z
from profiler.profile.outcome import Corrected, Normalised
from profiler.profile.position import median_polish, position_means
from profiler.profile.regress import regress_out
from profiler.profile.select import Selection, select
from profiler.profile.steps import Processed, process
from profiler.profile.stream import CellProfiles, profile_cells
from profiler.profile.whiten import spherize

__all__ = [
    "CellProfiles",
    "Combined",
    "Corrected",
    "Coverage",
    "Described",
    "Normalised",
    "PlateMaps",
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
    "read_plate_maps",
    "regress_out",
    "require_controls",
    "robust_z",
    "select",
    "spherize",
    "tvn",
]
