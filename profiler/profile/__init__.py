"""Cells in, well profiles out: aggregate, annotate, normalise."""

from profiler.profile.aggregate import aggregate
from profiler.profile.annotate import Coverage, annotate
from profiler.profile.compounds import check_compounds
from profiler.profile.controls import is_role, require_controls
from profiler.profile.features import feature_columns, phenotype_features
from profiler.profile.normalise import lost_features, robust_z

__all__ = [
    "Coverage",
    "aggregate",
    "annotate",
    "check_compounds",
    "feature_columns",
    "is_role",
    "lost_features",
    "phenotype_features",
    "require_controls",
    "robust_z",
]
