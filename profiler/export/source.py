"""What is exported: a table, which of its columns are features, and how it was made."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from plates.errors import ProfilingError
from profiler.profile.features import feature_columns
from profiler.store.screen import Screen


class BadExport(ProfilingError, ValueError):
    """A table that the format asked for cannot hold."""


class MissingPackage(ProfilingError, ImportError):
    """A format that needs a package which is not installed."""


class Exported(NamedTuple):
    """What was written.

    Attributes:
        path: The file.
        rows: How many rows it has.
        features: How many of its columns are features.
        notes: What was left out, and why; sentences.
    """

    path: Path
    rows: int
    features: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """A table on its way out.

    Attributes:
        level: Its name: "profiles".
        frame: Its rows, not read yet.
        others: The columns that are no features, `Metadata_` first.
        features: The columns that are, in their order.
        stains: Names of the channels, to be found in the features' names.
        made_by: For each run its recipe, settings, versions and device.
    """

    level: str
    frame: pl.LazyFrame
    others: tuple[str, ...]
    features: tuple[str, ...]
    stains: tuple[str, ...]
    made_by: dict[str, dict[str, Any]]

    def require_features(self, *, to: str) -> None:
        """Check that there are features.

        Raises:
            BadExport: There are none.
        """
        if not self.features:
            raise BadExport(
                f"The table {self.level} has no features, so there is nothing to make {to} of. "
                "Export it as csv, or one of cells, wells, profiles, selected and consensus."
            )


def read_source(screen: Screen, table: str) -> Source:
    """Open a table for export; its rows are not read yet.

    Raises:
        UnknownName: There is no such table.
        BadRun: It was not made yet, or differs between the runs.
    """
    frame = screen.table(table)
    columns, features = frame.collect_schema().names(), feature_columns(frame)
    others = sorted(
        (name for name in columns if name not in set(features)),
        key=lambda name: not name.startswith("Metadata_"),  # a stable sort: else in their order
    )
    images = [run.facts.settings.get("images", {}) for run in screen.runs]
    stains = dict.fromkeys(stain for each in images for stain in each.get("channels", {}))
    return Source(table, frame, tuple(others), tuple(features), tuple(stains), _made_by(screen))


def _made_by(screen: Screen) -> dict[str, dict[str, Any]]:
    return {
        run.name: {
            "recipe": run.facts.recipe,
            "settings": dict(run.facts.settings),
            "packages": dict(run.facts.packages),
            "device": run.facts.device,
            "weights": run.facts.weights,
            "store_version": run.facts.store_version,
        }
        for run in screen.runs
    }
