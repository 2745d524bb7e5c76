"""Fields that nobody planned for, by all families on both kernels, against cp_measure."""

import warnings
from functools import cache

import numpy as np
import pytest
from cp_measure.bulk import get_core_measurements

from profiler.measure import COMPARTMENTS, CellLabels
from profiler.measure.differences import is_named

SHAPE = (64, 80)
Y, X = np.mgrid[: SHAPE[0], : SHAPE[1]]
PLANE = 1  # of the stains GFP and DNA, the one that is compared


def noise(levels=65535):
    """Waves and noise, on the grid of an integer image."""
    random = np.random.default_rng(3)
    waves = 0.3 + 0.2 * np.sin(Y / 5)[..., None] * np.cos(X[..., None] / np.array([4.0, 6.0]))
    light = np.clip(waves + 0.1 * random.gamma(1.5, 0.5, (*SHAPE, 2)), 0, 1)
    return (np.round(light * levels) / levels).astype(np.float32)


def disc(y, x, radius):
    return (Y - y) ** 2 + (X - x) ** 2 <= radius**2


def whole(nuclei, cells):
    nuclei, cells = nuclei.astype(np.int32), cells.astype(np.int32)
    return CellLabels(nuclei, cells, np.where(nuclei > 0, 0, cells))


def tiles():
    """Eleven cells that leave no background, and how far their pixels are from the middle."""
    centres = np.random.default_rng(1).uniform(0, SHAPE, (11, 2))
    away = np.hypot(Y[..., None] - centres[:, 0], X[..., None] - centres[:, 1])
    return away.argmin(axis=-1) + 1, away.min(axis=-1)


def pieces():
    """In parts, with holes and islands, within others, thin, of a pixel or two; 3 is absent."""
    cells = np.zeros(SHAPE, np.int32)
    cells[disc(14, 14, 10) & ~disc(14, 14, 4) | disc(14, 14, 2)] = 1
    cells[disc(14, 38, 7) | disc(14, 58, 5)] = 2
    cells[5, 70] = 4
    cells[10, 66:79] = 5
    cells[13:30, 70] = 6
    for step in range(9):
        cells[34 + step, 60 + step] = 7
    cells[30:50, 20:24], cells[30:50, 24:28] = 8, 9  # side by side
    cells[disc(63, 0, 12)] = 10
    cells[50:62, 40:60], cells[54:57, 44:47], cells[58:60, 50:56] = 11, 0, 12
    inside = disc(14, 14, 2) | disc(14, 38, 3) | (cells == 5) | disc(40, 22, 2) | disc(55, 55, 2)
    return whole(np.where(inside | (cells == 4), cells, 0), cells)


def fields():
    tile, away = tiles()
    nuclei, cells = np.where(away < 5, tile, 0), np.where(away < 11, tile, 0)
    usual = whole(nuclei, cells)
    one = np.ones(SHAPE, np.int32)
    saturated, constant, black, dim = noise(), noise(), noise(), noise(255)
    saturated[saturated > 0.35] = 1
    constant[..., PLANE] = 0.25
    black[..., PLANE] = np.where(tile == 4, 0, black[..., PLANE])
    dim = np.round(dim * 255 * 0.1) / 255
    return {
        "no background": (noise(), whole(nuclei, tile)),
        "pieces": (noise(), pieces()),
        "one cell is the field": (noise(), whole(disc(30, 40, 13), one)),
        "one cell alone": (noise(), whole(5 * disc(30, 40, 9), 5 * disc(30, 41, 25))),
        "saturated": (saturated, usual),
        "a constant stain": (constant, usual),
        "a cell without stain": (black, usual),
        "8 dim bits": (dim.astype(np.float32), usual),
        "no nucleus, no cytoplasm": (
            noise(), whole(np.where(tile == 6, 0, nuclei), np.where(tile == 5, nuclei, cells)),
        ),
    }  # fmt: skip


FIELDS = fields()


@cache
def theirs(case, compartment):
    """cp_measure's values of one stain, named as ours."""
    image, labels = FIELDS[case]
    labels = getattr(labels, compartment.lower())
    plane, core = image[..., PLANE].astype(float), get_core_measurements(legacy=True)
    found = {}
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of dots and lines, which have no hull
        for module in ("sizeshape", "zernike", "feret"):
            found |= {f"AreaShape_{k}": v for k, v in core[module](labels, None).items()}
        for module in ("intensity", "granularity"):
            found |= {f"{k}_DNA": v for k, v in core[module](labels, plane).items()}
        for module in ("radial_distribution", "radial_zernikes"):
            for name, values in core[module](labels, plane).items():
                group, feature, rest = name.split("_", 2)
                found[f"{group}_{feature}_DNA_{rest}"] = values
        for scale in (3, 10):
            for name, values in core["texture"](labels, plane, scale=scale).items():
                feature, rest = name.split("_", 1)
                found[f"Texture_{feature}_DNA_{rest}"] = values
    return {f"{compartment}_{name}": np.asarray(values) for name, values in found.items()}


def is_apart(column, case, label):
    """Differences that docs/features.md names for some cells."""
    if case == "one cell is the field" and label == 1:
        return "Edge" in column or "RadialDistribution_" in column
    return "_Granularity_" in column and case == "a cell without stain" and label == 4


ODD_MASKS = ("pieces", "one cell is the field")
PAIRS = [
    (case, name) for case in FIELDS for name in COMPARTMENTS if case in ODD_MASKS or name == "Cells"
]


@pytest.mark.parametrize(("case", "compartment"), PAIRS)
def test_equals_cp_measure(run, case, compartment):
    image, labels = FIELDS[case]
    measured, labels = run(image, labels), getattr(labels, compartment.lower())
    present = np.unique(labels[labels > 0])
    magnitudes, compared = {}, 0
    for column, values in theirs(case, compartment).items():
        if column not in measured.plan.columns or is_named(column, reference="cp_measure"):
            continue
        found, expected = measured[column][present - 1], np.where(np.isinf(values), np.nan, values)
        if "Magnitude" in column:
            magnitudes[column] = expected
        for label, ours, other in zip(present, found, expected, strict=True):
            if is_apart(column, case, label):
                continue
            if "Orientation" in column or "Phase" in column:  # on a circle; of nothing, any
                round_axes = measured[f"{compartment}_AreaShape_Eccentricity"][label - 1] < 1e-3
                size = magnitudes.get(column.replace("Phase", "Magnitude"), expected + 1)
                if round_axes or size[present == label][0] < 1e-6:
                    continue
                full = 180 if "Orientation" in column else 2 * np.pi
                ours = other + (ours - other + full / 2) % full - full / 2
            close = pytest.approx(other, rel=1e-3, abs=tolerance(column), nan_ok=True)
            assert ours == close, (column, label)
            compared += 1
    assert compared > 200 * len(present)


def tolerance(column):
    if "InfoMeas" in column:
        return 2e-5  # a small sum of larger terms
    if "Moment" in column:
        return 1e-6  # of a sum that is 0, rounding leaves this
    return 2e-3 if "Granularity" in column else 2e-6  # percent


@pytest.mark.parametrize("case", FIELDS)
def test_undefined_is_null_and_never_infinite(run, case):
    image, labels = FIELDS[case]
    measured = run(image, labels)
    assert not np.isinf(measured.table.features).any()
    assert not np.isinf(measured.table.image).any()
    for name in COMPARTMENTS:
        present = np.setdiff1d(getattr(labels, name.lower()), [0])
        absent = np.setdiff1d(np.arange(1, 13), present)
        own = [column.startswith(f"{name}_AreaShape_") for column in measured.plan.columns]
        assert np.isnan(measured.table.features[absent - 1][:, own]).all()
        assert (measured[f"{name}_AreaShape_Area"][present - 1] > 0).all()


def test_what_one_pixel_does_not_have(run):
    measured = run(*FIELDS["pieces"])
    for feature in (
        "AreaShape_FormFactor",  # no perimeter
        "AreaShape_Zernike_0_0",  # no circle
        "Texture_Contrast_DNA_3_00_256",  # no pair
        "Correlation_Correlation_DNA_GFP",  # no variance
    ):
        assert np.isnan(measured[f"Cells_{feature}"][3]), feature
    assert measured["Cells_Intensity_StdIntensity_DNA"][3] == 0


def test_a_cell_alone_has_no_neighbours(run):
    measured = run(*FIELDS["one cell alone"])
    assert measured["Cells_Neighbors_NumberOfNeighbors_5"][4] == 0
    assert np.isnan(measured["Cells_Neighbors_FirstClosestDistance_5"][4])


def test_a_cell_without_nucleus_or_cytoplasm_has_the_rest(run):
    measured = run(*FIELDS["no nucleus, no cytoplasm"])
    assert np.isnan(measured["Nuclei_Intensity_MeanIntensity_DNA"][5])
    assert np.isnan(measured["Cytoplasm_Intensity_MeanIntensity_DNA"][4])
    assert np.isfinite(measured["Cells_Intensity_MeanIntensity_DNA"][[4, 5]]).all()
    assert measured["Cells_Children_Cytoplasm_Count"][4] == 0


def test_kernels_agree(full_set):
    """On all fields, one program for each kernel."""
    for case, (image, labels) in FIELDS.items():
        on_cpu, on_device = (full_set(backend)(image, labels) for backend in ("cpu", "jax"))
        for column in on_cpu.plan.columns:
            if "Phase" not in column:  # of what is 0, any
                np.testing.assert_allclose(
                    on_device[column], on_cpu[column], rtol=2e-3,
                    atol=max(2e-5, tolerance(column)), err_msg=f"{case}: {column}",
                )  # fmt: skip
