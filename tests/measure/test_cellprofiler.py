"""CellProfiler 4.2.8's own table of a real Cell Painting field, on its own masks."""

import numpy as np
import polars as pl
import pytest
import tifffile

from profiler.measure import COMPARTMENTS, FAMILIES, CellLabels, measure, plan_measurement

CHANNELS = {"DNA": 5, "RNA": 2, "AGP": 3, "Mito": 4, "ER": 6}
# Of several brightest pixels, CellProfiler's choice depends on how the image happens to sort.
TIES = ("Location_MaxIntensity_X", "Location_MaxIntensity_Y")
# 0 by definition; CellProfiler has what rounding leaves.
NOISE = ("AreaShape_CentralMoment_0_1", "AreaShape_CentralMoment_1_0")
# Of several pixels farthest from the edge, likewise; an object's rings are about another centre.
RINGS = tuple(f"RadialDistribution_{name}" for name in ("FracAtD", "MeanFrac", "RadialCV"))
TIED = {"Nuclei": 5, "Cells": 2, "Cytoplasm": 3}
# Tested apart: their columns are in another file, or of neighbours that CellProfiler had dropped.
APART = ("Translocation", "RadialZernike", "Neighbors", "Relations")
WINDOW = ((33, 97), (200, 280))  # nucleus 3 and half of 4


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


def measured(real, families):
    plan = plan_measurement(families=families, stains=tuple(CHANNELS), max_cells=37, backend="cpu")
    return measure(*real, plan=plan), plan


@pytest.fixture(scope="module")
def ours(real):
    return measured(real, tuple(name for name in FAMILIES if name not in APART))


@pytest.fixture(scope="module")
def our_zernikes(real):
    return measured(real, ("RadialZernike",))


@pytest.mark.parametrize("compartment", COMPARTMENTS)
def test_every_feature_of_every_cell(ours, theirs, compartment):
    (table, plan), expected = ours, theirs[compartment]
    assert table.present.all()
    compared = 0
    for at, column in enumerate(plan.columns):
        owner, feature = column.split("_", 1)
        if owner != compartment or feature in NOISE:
            continue
        values = expected[their_name(feature, expected)].cast(pl.Float64).to_numpy()
        off = np.abs(table.features[:, at] - values) > 1e-3 * np.abs(values) + 1e-7
        ties = 4 if feature.startswith(TIES) else 0
        ties = TIED[compartment] if feature.startswith(RINGS) else ties
        assert off.sum() <= ties, (column, off.nonzero())
        compared += 1
    assert compared == {"Nuclei": 1234, "Cells": 1201, "Cytoplasm": 1201}[compartment]
    left = {name for name in expected.columns if "_" in name} - {
        their_name(name.split("_", 1)[1], expected) for name in plan.columns
    }
    elsewhere = ("Neighbors_", "Children_", "Parent_", "Number_", "Location_")
    assert not {name for name in left if not name.startswith(elsewhere)}


@pytest.mark.parametrize("compartment", COMPARTMENTS)
def test_intensity_zernikes_of_every_cell(our_zernikes, reference_folder, compartment):
    table, plan = our_zernikes
    path = reference_folder / "cellprofiler" / f"{compartment}_radial_zernike.csv"
    expected = pl.read_csv(path).sort("ObjectNumber")
    names = [name for name in expected.columns if name.startswith("RadialDistribution_Zernike")]
    assert len(names) == 5 * 2 * 30
    for name in names:
        found = table.features[:, plan.columns.index(f"{compartment}_{name}")]
        values = expected[name].cast(pl.Float64).to_numpy()
        if "Phase" in name:  # the circle closes
            found = values + (found - values + np.pi) % (2 * np.pi) - np.pi
        np.testing.assert_allclose(found, values, rtol=1e-5, atol=1e-6, err_msg=name)


def test_both_kernels_on_real_pixels(real, run):
    """A window of the size of the synthetic field, so that nothing is compiled again."""
    rows, columns = slice(*WINDOW[0]), slice(*WINDOW[1])
    labels = (np.where(part > 12, 0, part)[rows, columns] for part in real[1])
    image, found = real[0][rows, columns, :2], CellLabels(*labels)
    assert (found.nuclei == 3).sum() == (real[1].nuclei == 3).sum()
    measured = run(image, found)
    cpu = plan_measurement(
        families=tuple(FAMILIES), stains=measured.plan.stains, max_cells=12, backend="cpu"
    )
    expected = measure(image, found, plan=cpu).features
    np.testing.assert_allclose(measured.table.features, expected, rtol=1e-3, atol=1e-4)
