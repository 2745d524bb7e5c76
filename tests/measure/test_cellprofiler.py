"""CellProfiler 4.2.8's own table of a real Cell Painting field, on its own masks."""

import numpy as np
import polars as pl
import pytest
import tifffile

from profiler.measure import COMPARTMENTS, FAMILIES, CellLabels, measure, plan_measurement

CHANNELS = {"DNA": 5, "RNA": 2, "AGP": 3, "Mito": 4, "ER": 6}
# Of several brightest pixels, CellProfiler's choice depends on how the image happens to sort.
TIES = ("Location_MaxIntensity_X", "Location_MaxIntensity_Y")


@pytest.fixture(scope="module")
def real(data_folder, reference_folder):
    folder = data_folder / "cell_painting" / "br00143976_phenix_naming"
    planes = [next(folder.glob(f"*-ch{number}sk*.tiff")) for number in CHANNELS.values()]
    image = np.stack([tifffile.imread(path) for path in planes], axis=-1)
    masks = reference_folder / "cellprofiler"
    labels = (tifffile.imread(masks / f"{name}_labels.tif") for name in COMPARTMENTS)
    return image.astype(np.float32) / 65535, CellLabels(*labels)


@pytest.fixture(scope="module")
def theirs(reference_folder):
    return {
        name: pl.read_csv(reference_folder / "cellprofiler" / f"{name}.csv").sort("ObjectNumber")
        for name in COMPARTMENTS
    }


def their_name(feature, table):
    """CellProfiler orders the stains of a pair as its pipeline does, we by name."""
    if feature in table.columns:
        return feature
    *parts, first, second = feature.split("_")
    return "_".join((*parts, second, first))


@pytest.mark.parametrize("compartment", COMPARTMENTS)
def test_every_feature_of_every_cell(real, theirs, compartment):
    families = tuple(name for name in FAMILIES if name != "Translocation")
    plan = plan_measurement(families=families, stains=tuple(CHANNELS), max_cells=37, backend="cpu")
    table, expected = measure(*real, plan=plan), theirs[compartment]
    assert table.present.all()
    compared = 0
    for at, column in enumerate(plan.columns):
        owner, feature = column.split("_", 1)
        if owner != compartment:
            continue
        values = expected[their_name(feature, expected)].cast(pl.Float64).to_numpy()
        off = np.abs(table.features[:, at] - values) > 1e-3 * np.abs(values) + 1e-7
        assert off.sum() <= (4 if feature.startswith(TIES) else 0), (column, off.nonzero())
        compared += 1
    assert compared == {"Nuclei": 142, "Cells": 109, "Cytoplasm": 109}[compartment]


def test_backends_agree_on_real_pixels(real):
    """A crop: on a CPU, the accelerator's kernels are slow."""
    image, labels = real[0][:200, 200:400], CellLabels(*(part[:200, 200:400] for part in real[1]))
    assert len(np.unique(labels.nuclei)) >= 3
    tables = [
        measure(
            image[..., :2],
            labels,
            plan=plan_measurement(
                families=tuple(FAMILIES), stains=("DNA", "RNA"), max_cells=37, backend=backend
            ),
        )
        for backend in ("cpu", "jax")
    ]
    np.testing.assert_allclose(*(table.features for table in tables), rtol=1e-3, atol=1e-5)
