"""Tables of fields whose numbers are made up around those of real plates."""

import numpy as np
import polars as pl

from profiler.illuminate.exposure import Exposure
from profiler.quality import Checks

USUAL = Exposure(
    FineDetail=-1.3, CoarseDetail=-1.2, PowerSlope=-2.7, PercentMaximal=0.01, Max=0.05,
    Background=0.002, Signal=0.03, Contrast=70.0, BrightTile=0.006, DarkTile=0.0, Peak=0.05,
)  # fmt: skip
CHECKS = Checks(
    ("empty", "saturation", "focus", "staining", "bubble", "debris"), "DNA", "GFP", ("DNA", "GFP")
)


def tables(n: int = 60, *, plate: str = "P1", seed: int = 0) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Numbers and fields of a good plate: 5% spread, or .05 of logarithms."""
    rng = np.random.default_rng(seed)
    keys = {
        "Metadata_Plate": [plate] * n,
        "Metadata_Well": [f"{'ABCDEFGH'[i // 12 % 8]}{i % 12 + 1:02}" for i in range(n)],
        "Metadata_Site": pl.Series([1] * n, dtype=pl.Int32),
        "Metadata_Timepoint": pl.Series([1] * n, dtype=pl.Int32),
    }
    values = {}
    for stain in CHECKS.stains:
        for name, usual in USUAL._asdict().items():
            away = 0.05 * rng.standard_normal(n)
            drawn = usual + away if usual <= 0 else usual * (1 + away)
            values[f"Image_QC_{name}_{stain}"] = drawn.astype(np.float32)
    numbers = pl.DataFrame(keys | values)
    fields = pl.DataFrame(
        keys
        | {
            "Metadata_QC_Status": ["ok"] * n,
            "Metadata_QC_Reason": pl.Series([None] * n, dtype=pl.String),
            "Metadata_Object_Count": pl.Series([100] * n, dtype=pl.Int32),
        }
    )
    return numbers, fields


def change(table: pl.DataFrame, row: int, **values) -> pl.DataFrame:
    """The table with other values in one row."""
    is_row = pl.int_range(pl.len()) == row
    return table.with_columns(
        pl.when(is_row).then(pl.lit(value).cast(table.schema[name])).otherwise(name).alias(name)
        for name, value in values.items()
    )
