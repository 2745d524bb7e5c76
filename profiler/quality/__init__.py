"""Which fields to believe: a verdict with a reason for each, from Parquet alone. Never JAX."""

from profiler.quality.judge import Checks, judge
from profiler.quality.mark import as_unusable, flag_few, marked
from profiler.quality.tell import tell_few, tell_quality

__all__ = [
    "Checks",
    "as_unusable",
    "flag_few",
    "judge",
    "marked",
    "tell_few",
    "tell_quality",
]
