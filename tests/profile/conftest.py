"""The incumbent, quiet, and real profiles to hold us against it."""

import warnings
from collections.abc import Callable
from functools import wraps
from importlib.metadata import version
from types import SimpleNamespace

import polars as pl
import pytest


def _quiet(function: Callable) -> Callable:
    @wraps(function)
    def call(*args, **options):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function(*args, **options)

    return call


@pytest.fixture(scope="session")
def pycytominer() -> SimpleNamespace:
    """Its four functions without their warnings; 1.3 to 1.7.0 whiten wrongly."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package = pytest.importorskip("pycytominer")
    if tuple(map(int, version("pycytominer").split(".")[:3])) < (1, 7, 1):
        pytest.skip("needs pycytominer 1.7.1")
    names = ("aggregate", "consensus", "feature_select", "normalize")
    return SimpleNamespace(**{name: _quiet(getattr(package, name)) for name in names})


@pytest.fixture(scope="session")
def real_profiles(data_folder) -> pl.DataFrame:
    """BBBC021's per-well means of 516 features, 632 wells of 55 plates, with compounds."""
    folder = data_folder / "bbbc021_profiles"
    names = {f"Image_Metadata_{name}": f"Metadata_{name}" for name in ("Plate", "Well")}
    wells = pl.read_csv(
        folder / "ljosa_jbiomolscreen_2013_per_well_mean.csv.gz", infer_schema_length=None
    ).rename(names)
    images = pl.read_csv(folder / "BBBC021_v1_image.csv.gz", infer_schema_length=None).select(
        pl.col("Image_Metadata_Plate_DAPI").alias("Metadata_Plate"),
        pl.col("Image_Metadata_Well_DAPI").alias("Metadata_Well"),
        pl.col("Image_Metadata_Compound").alias("Metadata_Compound"),
        pl.col("Image_Metadata_Concentration").alias("Metadata_Concentration"),
    )
    return wells.join(
        images.unique(["Metadata_Plate", "Metadata_Well"]),
        on=["Metadata_Plate", "Metadata_Well"],
        how="left",
        maintain_order="left",
    )
