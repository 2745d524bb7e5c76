"""A plate whose phenotypes are known: 16 DMSO, 8 positive and 72 treated wells of 4 kinds."""

import numpy as np
import polars as pl
import pytest

FEATURES = [f"Cells_Test_F{i}" for i in range(20)]
KINDS = np.repeat([0, 1, 2, 3, 0], [16, 8, 24, 24, 24])  # 0: as DMSO
WELLS = [f"{row}{column:02d}" for row in "ABCDEFGH" for column in range(1, 13)]


def make_plate(*, seed: int = 0, plate: str = "P1", effect: float = 4.0) -> pl.DataFrame:
    """Lay out the plate: compounds c0 to c17 in four wells each, six to a kind."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(4, len(FEATURES)))
    centres[0] = 0
    values = effect * centres[KINDS] + random.normal(size=(96, len(FEATURES)))
    mechanism = [None] * 16 + ["poison"] * 8 + [f"kind {kind}" for kind in KINDS[24:]]
    return pl.DataFrame(
        {
            "Metadata_Plate": plate,
            "Metadata_Well": WELLS,
            "Metadata_Role": ["negative"] * 16 + ["positive"] * 8 + ["treatment"] * 72,
            "Metadata_Compound": ["DMSO"] * 16 + ["toxin"] * 8 + [f"c{i // 4}" for i in range(72)],
            "Metadata_Concentration": 1.0,
            "Metadata_MOA": mechanism,
            "Metadata_Object_Count": random.integers(80, 120, 96),
        }
    ).hstack(pl.DataFrame(values, schema=FEATURES))


@pytest.fixture
def plate() -> pl.DataFrame:
    return make_plate()
