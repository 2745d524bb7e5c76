"""Plates of wells, made up."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

READOUT = "Nuclei_Intensity_MeanIntensity_GFP"


def layout(
    plate: str, *, negatives: int, positives: int, compounds: int, doses: int, replicates: int
):
    """Rows of a plate map: controls, then every compound at every dose."""
    controls = [("DMSO", "negative", 0.0)] * negatives + [("full", "positive", 1.0)] * positives
    treated = [
        (f"C{compound:03d}", "treatment", 2.0**dose)
        for compound in range(compounds)
        for dose in range(doses)
        for _ in range(replicates)
    ]
    rows = [
        (plate, f"{chr(65 + i // 48)}{i % 48 + 1:02d}", *row)
        for i, row in enumerate([*controls, *treated])
    ]
    names = ["Plate", "Well", "Compound", "Role", "Concentration"]
    return pl.DataFrame(rows, schema=[f"Metadata_{name}" for name in names], orient="row")


@pytest.fixture(scope="session")
def make_plate() -> Callable[..., pl.DataFrame]:
    """Wells of one plate, whose features are standard normal noise."""

    def make(
        plate: str = "P",
        *,
        negatives: int = 16,
        positives: int = 4,
        compounds: int = 4,
        doses: int = 5,
        replicates: int = 2,
        features: int = 3,
        seed: int = 0,
    ) -> pl.DataFrame:
        wells = layout(
            plate,
            negatives=negatives,
            positives=positives,
            compounds=compounds,
            doses=doses,
            replicates=replicates,
        )
        random = np.random.default_rng(seed)
        names = [READOUT, *(f"Cells_Texture_F{i}" for i in range(1, features))]
        values = random.normal(size=(wells.height, len(names)))
        quality = {
            "Metadata_Unit": pl.lit("nM"),
            "Metadata_QC_FieldsOk": pl.lit(4),
            "Metadata_QC_Status": pl.lit("ok"),
            "Metadata_Object_Count": pl.Series(random.poisson(400, wells.height)),
        }
        return wells.with_columns(**quality).hstack(pl.DataFrame(values, schema=names))

    return make
