"""A run as one page that opens offline, and the pictures on it. Never JAX."""

from profiler.report.page import write_report
from profiler.report.thumbnail import (
    display_limits,
    stain_colours,
    thumbnail,
    write_thumbnail,
)

__all__ = ["display_limits", "stain_colours", "thumbnail", "write_report", "write_thumbnail"]
