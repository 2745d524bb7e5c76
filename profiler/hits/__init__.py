"""Well profiles in, ranked hits out: statistics, scores, activity, dose-response, ranks."""

from profiler.hits.call import Hits, call_hits
from profiler.hits.doses.curves import fit_curves
from profiler.hits.doses.shape import describe_curves
from profiler.hits.exemplars import typical_cells
from profiler.hits.precision.activity import activity, strongest
from profiler.hits.precision.average import average_precision, mean_average_precision
from profiler.hits.precision.consistency import consistency
from profiler.hits.precision.matching import Matching
from profiler.hits.precision.replicates import (
    fraction_retrieved,
    percent_replicating,
    replicate_correlation,
)
from profiler.hits.quality.drift import position_effects, run_drift
from profiler.hits.quality.levels import position_levels
from profiler.hits.quality.statistics import best_readout, plate_statistics
from profiler.hits.ranking.compounds import rank_compounds
from profiler.hits.ranking.rank import HitRule, rank_wells
from profiler.hits.ranking.stability import rank_uncertainty
from profiler.hits.scores.adjust import count_adjusted, percent_inhibition
from profiler.hits.scores.b_score import b_score
from profiler.hits.scores.distance import mahalanobis
from profiler.hits.scores.score import score_wells

__all__ = [
    "HitRule",
    "Hits",
    "Matching",
    "activity",
    "average_precision",
    "b_score",
    "best_readout",
    "call_hits",
    "consistency",
    "count_adjusted",
    "describe_curves",
    "fit_curves",
    "fraction_retrieved",
    "mahalanobis",
    "mean_average_precision",
    "percent_inhibition",
    "percent_replicating",
    "plate_statistics",
    "position_effects",
    "position_levels",
    "rank_compounds",
    "rank_uncertainty",
    "rank_wells",
    "replicate_correlation",
    "run_drift",
    "score_wells",
    "strongest",
    "typical_cells",
]
