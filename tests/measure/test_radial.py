"""Radial distributions against CellProfiler, cp_measure, centrosome, scipy and the hand."""

import jax
import numpy as np
import polars as pl
import pytest
import tifffile
from centrosome.cpmorphology import distance_to_edge
from centrosome.propagate import propagate
from cp_measure.core.measureobjectintensitydistribution import get_radial_distribution
from scipy import ndimage

from plates.errors import BadRecipe
from profiler.measure import COMPARTMENTS, CellLabels, cpu, device, measure, plan_measurement
from profiler.measure.radial.paths import SIDE, UNREACHED, paths_cpu, paths_jax
from profiler.measure.radial.rings import radial_distribution
from profiler.measure.shape.radius import depths_cpu, depths_jax

STAINS, MAX_CELLS, SHAPE = ("GFP", "DNA"), 12, (64, 80)
CHANNELS = {"DNA": 5, "RNA": 2, "AGP": 3, "Mito": 4, "ER": 6}
UNSCALED = {"bins": 5, "scaled": False, "maximum_radius_px": 9}
# Objects of several centres, of which CellProfiler's sort of all the field's pixels takes another.
TIES = {"Nuclei": {13, 14, 15, 20, 32}, "Cells": {21, 27}, "Cytoplasm": {9, 10, 11}}


@pytest.fixture(params=["cpu", "jax"])
def backend(request):
    return request.param


@pytest.fixture
def radial(backend):
    """Measure one field's rings, as {column: [cell]}."""

    def run(labels, image, **options):
        plan = plan_measurement(
            families=("RadialDistribution",),
            stains=STAINS,
            max_cells=MAX_CELLS,
            backend=backend,
            options={"RadialDistribution": options},
        )
        given = labels if isinstance(labels, CellLabels) else CellLabels(labels, labels, labels)
        table = measure(image, given, plan=plan)
        return dict(zip(plan.columns, table.features.T, strict=True))

    return run


def rings(found, kind, *, cell=0, of="1234", stain="GFP"):
    return np.array(
        [found[f"Cells_RadialDistribution_{kind}_{stain}_{k}of4"][cell] for k in of], float
    )


def both(plane):
    return np.stack([plane, np.full_like(plane, 0.3)], axis=-1).astype(np.float32)


def blobs(seed=5, cut=0.1):
    """Objects of any shape: winding, holed, touching, in pieces, on the border."""
    rng = np.random.default_rng(seed)
    rough = ndimage.gaussian_filter(rng.normal(size=SHAPE), 3)
    regions = 1 + (np.arange(SHAPE[1]) // 27)[None] + 3 * (np.arange(SHAPE[0]) // 22)[:, None]
    return np.where(rough > cut * rough.std(), regions, 0).astype(np.int32)


@pytest.mark.parametrize("options", [{}, UNSCALED])
@pytest.mark.parametrize("compartment", COMPARTMENTS)
def test_equals_cp_measure(radial, field, compartment, options):
    labels = getattr(field.labels, compartment.lower())
    present = np.unique(labels[labels > 0])
    relabelled = np.searchsorted(present, labels, side="right") * (labels > 0)
    found = radial(field.labels, field.image, **options)
    own = [name for name in found if name.startswith(compartment)]
    compared = 0
    for channel, stain in enumerate(STAINS):
        with np.errstate(all="ignore"):
            expected = get_radial_distribution(
                relabelled,
                field.image[..., channel].astype(np.float64),
                options.get("scaled", True),
                options.get("bins", 4),
                options.get("maximum_radius_px", 100),
            )
        for name, values in expected.items():
            group, kind, ring = name.split("_")
            column = found[f"{compartment}_{group}_{kind}_{stain}_{ring}"]
            np.testing.assert_allclose(column[present - 1], values, rtol=1e-4, atol=1e-6)
            assert np.isnan(np.delete(column, present - 1)).all()
            compared += 1
    assert compared == len(own) == (36 if options else 24)


@pytest.mark.parametrize("compartment", COMPARTMENTS)
def test_equals_cellprofiler(data_folder, reference_folder, compartment):
    folder = data_folder / "cell_painting" / "br00143976_phenix_naming"
    planes = [next(folder.glob(f"*-ch{number}sk*.tiff")) for number in CHANNELS.values()]
    image = np.stack([tifffile.imread(path) for path in planes], axis=-1)
    labels = tifffile.imread(reference_folder / "cellprofiler" / f"{compartment}_labels.tif")
    table = reference_folder / "cellprofiler" / f"{compartment}.csv"
    expected = pl.read_csv(table).sort("ObjectNumber")
    plan = plan_measurement(
        families=("RadialDistribution",), stains=tuple(CHANNELS), max_cells=37, backend="cpu"
    )
    found = measure(image.astype(np.float32) / 65535, CellLabels(*[labels] * 3), plan=plan)
    differ, compared = set(), 0
    for column, values in zip(plan.columns, found.features.T, strict=True):
        if column.startswith("Cells"):
            theirs = expected[column.removeprefix("Cells_")].to_numpy()
            # CellProfiler adds up in float32, thousands of pixels at a time.
            off = np.abs(values - theirs) > 1e-4 * np.abs(theirs)
            differ |= {int(label) for label in off.nonzero()[0] + 1}
            compared += 1
    assert compared == 60
    assert differ == TIES[compartment]
    assert differ < tied(labels)  # 12, 7 and 8 of the 37


def tied(labels):
    """Labels whose greatest distance from the edge is found at several pixels."""
    depth, ids = distance_to_edge(labels), np.unique(labels)[1:]
    greatest = np.zeros(labels.max() + 1)
    greatest[ids] = ndimage.maximum(depth, labels, ids)
    times = np.bincount(labels[depth == greatest[labels]], minlength=len(greatest))
    return set(ids[times[ids] > 1].tolist())


@pytest.mark.parametrize("labels", [blobs(), np.ones(SHAPE, np.int32)], ids=["blobs", "full"])
def test_depths_equal_scipy(labels, backend):
    if backend == "cpu":
        packed = cpu.pack(labels, max_cells=MAX_CELLS)
        found = np.zeros(labels.size, np.float32)
        found[packed.order] = depths_cpu(packed)
    else:
        packed = device.pack(jax.numpy.asarray(labels), max_cells=MAX_CELLS)
        found = np.asarray(jax.jit(depths_jax)(packed))
    if (labels == 1).all():
        assert np.isinf(found).all()
        return
    expected = sum(ndimage.distance_transform_edt(labels == k) ** 2 for k in range(1, MAX_CELLS))
    np.testing.assert_allclose(found.reshape(SHAPE), expected, atol=1e-3)


def spiral():
    labels = np.zeros(SHAPE, np.int32)
    turn = np.linspace(0, 7 * np.pi, 4000)
    y, x = 32 + 1.3 * turn * np.sin(turn), 40 + 1.6 * turn * np.cos(turn)
    labels[y.round().astype(int), x.round().astype(int)] = 3
    labels[29:36, 37:44] = 3
    return labels


@pytest.mark.parametrize(
    "labels", [blobs(), blobs(6, -0.6), spiral()], ids=["blobs", "nets", "spiral"]
)
def test_paths_equal_centrosome(labels, backend):
    if backend == "cpu":
        packed = cpu.pack(labels, max_cells=MAX_CELLS)
        centre, lengths = paths_cpu(packed)
        length = np.full(labels.size, UNREACHED)
        length[packed.order] = lengths
    else:
        packed = device.pack(jax.numpy.asarray(labels), max_cells=MAX_CELLS)
        centre, length = (np.asarray(part) for part in jax.jit(paths_jax)(packed))
    length = length.reshape(SHAPE)
    for label in np.unique(labels)[1:]:
        own = labels == label
        depth = np.where(own, ndimage.distance_transform_edt(own), 0)
        start = np.zeros(SHAPE, int)
        start.flat[depth.argmax()] = 1
        reached, expected = propagate(np.zeros(SHAPE), start, own, 1)
        assert centre[label - 1] == depth.argmax()
        assert (length[own] < UNREACHED).tolist() == (reached[own] > 0).tolist()
        inside = own & (reached > 0)
        np.testing.assert_allclose(length[inside] / SIDE, expected[inside], atol=1e-5)
    assert (length[labels == 0] == UNREACHED).all()


def test_a_line_by_hand(radial):
    """All pixels are 1 from the edge: the first is the centre, others d / (d + 1.001) out."""
    labels, plane = np.zeros(SHAPE, np.int32), np.zeros(SHAPE)
    labels[20, 10:15] = 1
    plane[20, 10:15] = 1, 2, 3, 4, 6
    found = radial(labels, both(plane))
    # Four times 0, .4998, .6664, .7498, .7998.
    np.testing.assert_allclose(rings(found, "FracAtD"), np.array([1, 2, 7, 6]) / 16, rtol=1e-6)
    np.testing.assert_allclose(
        rings(found, "MeanFrac"), np.array([1, 2, 3.5, 6]) / 16 * 5, rtol=1e-6
    )
    np.testing.assert_allclose(rings(found, "RadialCV"), 0)


def test_a_square_by_hand(radial):
    """Sides are 1 / 2.001 out, corners √2 / (1 + √2); each is alone in its wedge."""
    labels, plane = np.zeros(SHAPE, np.int32), np.zeros(SHAPE)
    labels[20:23, 10:13] = 2
    plane[20:23, 10:13] = [[1, 4, 1], [5, 9, 7], [2, 4, 4]]
    plane /= 37
    found = radial(labels, both(plane))
    sides, corners = [4, 5, 7, 4], [1, 1, 2, 4]
    np.testing.assert_allclose(
        rings(found, "FracAtD", cell=1), np.array([9, 20, 8, 0]) / 37, rtol=1e-5
    )
    np.testing.assert_allclose(
        rings(found, "RadialCV", cell=1),
        [0, np.std(sides) / 5, np.std(corners) / 2, 0],
        rtol=1e-5,
    )
    assert rings(found, "MeanFrac", cell=1)[3] == 0  # no pixels in the outermost ring


def test_one_pixel_constant_black_and_full(radial, field):
    labels, plane = field.labels.cells, field.image[..., 0].copy()
    plane[labels == 4] = 0
    found = radial(labels, both(plane))
    np.testing.assert_allclose(rings(found, "FracAtD", cell=6), [1, 0, 0, 0])  # one pixel
    np.testing.assert_allclose(rings(found, "MeanFrac", cell=6), [1, 0, 0, 0])
    np.testing.assert_allclose(rings(found, "RadialCV", cell=6), 0)
    for cell in (0, 1, 3, 4):
        np.testing.assert_allclose(rings(found, "MeanFrac", cell=cell, stain="DNA"), 1, rtol=1e-5)
        assert (rings(found, "RadialCV", cell=cell, stain="DNA") == 0).all()
        assert rings(found, "FracAtD", cell=cell, stain="DNA").sum() == pytest.approx(1)
    assert np.isnan(rings(found, "FracAtD", cell=3)).all()  # black
    assert np.isnan(rings(found, "MeanFrac", cell=3)).all()
    assert (rings(found, "RadialCV", cell=3) == 0).all()
    full = radial(np.ones_like(labels), field.image)
    assert all(np.isnan(values).all() for values in full.values())
    empty = radial(np.zeros_like(labels), field.image)
    assert all(np.isnan(values).all() for values in empty.values())


def test_the_ring_of_even_light_is_its_area(radial):
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    away = np.hypot(y - 30, x - 40)
    found = radial((away <= 20).astype(np.int32), both(np.zeros(SHAPE)))
    shares = np.array([1, 3, 5, 7]) / 16
    np.testing.assert_allclose(rings(found, "FracAtD", stain="DNA"), shares, atol=0.03)


def test_the_image_does_not_end_an_object(radial):
    """A disc cut in half by the border keeps its centre, as in CellProfiler."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    away = np.hypot(y, x - 40.0)
    plane = np.where(away < 2, 1.0, 0.0)
    found = radial((away <= 20).astype(np.int32), both(plane))
    np.testing.assert_allclose(rings(found, "FracAtD"), [1, 0, 0, 0])


def test_a_piece_without_the_centre_is_left_out(radial):
    labels, plane = np.zeros(SHAPE, np.int32), np.full(SHAPE, 0.2)
    labels[10:21, 10:21] = 1
    alone = radial(labels, both(plane))
    labels[30:33, 10:13] = 1
    plane[30:33, 10:13] = 0.9
    for name, values in radial(labels, both(plane)).items():
        np.testing.assert_array_equal(values, alone[name], err_msg=name)


def test_ways_go_round_a_hole(radial):
    """In a C, the far end is outermost however near the centre it lies."""
    labels, plane = np.zeros(SHAPE, np.int32), np.zeros(SHAPE)
    labels[10:31, 10:31] = 1
    labels[17:31, 17:24] = 0  # open below
    labels[8:18, 8:18] = np.where(labels[8:18, 8:18] > 0, 1, 0)
    labels[10:19, 8:18] = 1  # the deepest place is above on the left
    plane[30, 24:31] = 1  # the foot on the right
    found = radial(labels, both(plane))
    np.testing.assert_allclose(rings(found, "FracAtD"), [0, 0, 0, 1])


def test_invariances(radial, field):
    found = radial(field.labels.cells, field.image)
    dimmer = radial(field.labels.cells, field.image / 4)
    alone = np.where(np.isin(field.labels.cells, (4, 5)), field.labels.cells, 0)
    moved = radial(np.roll(alone, (-9, 4), (0, 1)), np.roll(field.image, (-9, 4), (0, 1)))
    swapped = radial(np.where(alone > 0, 9 - alone, 0), field.image)
    assert not tied(alone)
    for name, values in found.items():
        np.testing.assert_allclose(dimmer[name], values, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(moved[name][3:5], values[3:5], rtol=1e-5, err_msg=name)
        np.testing.assert_allclose(swapped[name][[4, 3]], values[3:5], rtol=1e-5, err_msg=name)
    # Wedges are not symmetric: a pixel in the centre's row or column is left of it and above.
    for axes in ((0,), (1,), (0, 1)):
        flipped = radial(np.flip(alone, axes), np.flip(field.image, axes))
        for name, values in found.items():
            if "RadialCV" not in name:
                np.testing.assert_allclose(flipped[name][3:5], values[3:5], rtol=1e-5)


def test_unscaled_rings_round_as_cellprofiler_does(radial):
    """A line's pixels are whole numbers away: 15 / 22 * 22 is below 15 in floats."""
    labels, plane = np.zeros(SHAPE, np.int32), np.zeros(SHAPE)
    labels[20, 10:40] = 1
    plane[20, 10:40] = 1 + np.arange(30)
    found = radial(labels, both(plane), bins=22, scaled=False, maximum_radius_px=22)
    ring = np.minimum((np.arange(30) / 22 * 22).astype(int), 22)
    assert ring[15] == 14
    expected = np.bincount(ring, weights=1 + np.arange(30)) / plane.sum()
    places = (*(f"{k + 1}of22" for k in range(22)), "Overflow")
    columns = [f"Cells_RadialDistribution_FracAtD_GFP_{place}" for place in places]
    np.testing.assert_allclose([found[name][0] for name in columns], expected, rtol=1e-5)


def test_columns_and_equal_options():
    family = radial_distribution()
    assert family is radial_distribution(bins=4, maximum_radius_px=7)
    assert family != radial_distribution(bins=5)
    names = [family.column(name, ("DNA",)) for name in family.features]
    assert names[0] == "RadialDistribution_FracAtD_DNA_1of4"
    assert names[-1] == "RadialDistribution_RadialCV_DNA_4of4"
    assert len(names) == 12
    unscaled = radial_distribution(**UNSCALED)
    assert unscaled.features[5] == "FracAtD_{}_Overflow"
    assert len(unscaled.features) == 18


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bins": 1}, "bins is 1; expected a whole number from 2 to 100"),
        ({"bins": 4.0}, "bins is 4.0; expected"),
        ({"bins": True}, "bins is True; expected"),
        ({"bins": 101}, "bins is 101; expected"),
        ({"scaled": "no"}, "scaled is 'no'; expected true or false"),
        ({"maximum_radius_px": 0}, "maximum_radius_px is 0; expected a whole number from 1 to"),
        ({"maximum_radius_px": 2.5}, "maximum_radius_px is 2.5; expected"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(BadRecipe, match=message):
        plan_measurement(
            families=("RadialDistribution",),
            stains=STAINS,
            max_cells=MAX_CELLS,
            options={"RadialDistribution": options},
        )
