"""A run folder with profiles of 24 wells: two compounds that replicate, one that does not."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from profiler.store.run import RunFacts, claim
from profiler.store.tables import write_table

FEATURES = [f"{part}_Intensity_F{i}_{stain}" for part in ("Cells", "Nuclei")
            for stain in ("DNA", "ER") for i in range(5)]  # fmt: skip
GAP, EMPTY = FEATURES[3], "B12"


def profiles() -> pl.DataFrame:
    """8 controls, 3 compounds x 5 wells, and one well without a compound or any value."""
    random = np.random.default_rng(0)
    names = ["DMSO"] * 8 + ["Loud"] * 5 + ["Clear"] * 5 + ["Idle"] * 5 + [None]
    centres = {name: 4 * random.normal(size=len(FEATURES)) for name in ("Loud", "Clear")}
    values = np.stack([centres.get(name, 0) + random.normal(size=len(FEATURES)) for name in names])
    values[3, FEATURES.index(GAP)] = np.nan
    values[-1] = np.nan
    role = ["negative" if name == "DMSO" else "treatment" if name else "empty" for name in names]
    wells = [f"{row}{column:02}" for row in "AB" for column in range(1, 13)]
    return pl.DataFrame(
        {
            **dict(zip(FEATURES, values.T, strict=True)),
            "Metadata_Plate": ["P1"] * 24,
            "Metadata_Well": wells,
            "Metadata_Role": role,
            "Metadata_Compound": names,
            "Metadata_Concentration": [None if r != "treatment" else 0.5 for r in role],
            "Metadata_Unit": [None if r != "treatment" else "uM" for r in role],
            "Metadata_Object_Count": list(range(24)),
            "score": [float(i) for i in range(24)],
        },
        nan_to_null=True,
    )


@pytest.fixture
def run(tmp_path) -> Path:
    out = tmp_path / "run"
    facts = RunFacts(
        recipe="painting",
        settings={"images": {"channels": {"DNA": "w1", "ER": "w2"}}, "measure": {"families": []}},
        packages={"numpy": "2.0"},
        device="cpu",
        weights=None,
        layout="abc",
        plates=("P1",),
    )
    claim(out, facts=facts)
    write_table(out / "profiles.parquet", profiles(), level="profiles", parameters={})
    ranked = pl.DataFrame({"Metadata_Compound": ["Loud"], "rank": [1], "wells": [["A01", "A02"]]})
    write_table(out / "compounds.parquet", ranked, level="compounds", parameters={})
    return out
