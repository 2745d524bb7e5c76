"""Textures against CellProfiler's table, mahotas, cp_measure, JUMP's columns and the hand."""

import pickle
from functools import cache

import jax.numpy as jnp
import mahotas
import numpy as np
import polars as pl
import pytest
import tifffile
from cp_measure.bulk import get_core_measurements
from skimage.exposure import rescale_intensity
from skimage.util import img_as_ubyte

from plates.errors import BadRecipe
from profiler.measure import COMPARTMENTS, CellLabels, cpu, device, measure, plan_measurement
from profiler.measure.texture.haralick import Haralick, grey_cpu, grey_jax, texture

CHANNELS = {"DNA": 5, "RNA": 2, "AGP": 3, "Mito": 4, "ER": 6}
SHAPE = (64, 80)
JUMPS = (3, 5, 10)
SCALES = (1, *JUMPS)  # one program for all tests: compiling is most of their time
FEATURES = len(Haralick._fields)


@pytest.fixture(scope="module", params=["cpu", "jax"])
def backend(request):
    return request.param


@cache
def plan_of(backend, stains, max_cells, scales, levels):
    options = {"Texture": {"scales": list(scales), "levels": levels}}
    return plan_measurement(
        families=("Texture",), stains=stains, max_cells=max_cells, backend=backend, options=options
    )


def textures(image, labels, *, backend, scales=SCALES, levels=256):
    """Of the Cells and of the Image, [scale, direction, feature, cell], in one channel."""
    plan = plan_of(backend, ("DNA",), 12, scales, levels)
    table = measure(image[..., None], CellLabels(labels, labels, labels), plan=plan)
    nuclei, cells, _ = np.split(table.features.T, 3)
    np.testing.assert_array_equal(nuclei, cells)
    shape = (len(scales), 4, FEATURES, -1)
    return cells.reshape(shape), table.image.reshape(shape)


def by_mahotas(grey, *, scale, skips_zeros):
    """[direction, feature]; NaN where CellProfiler catches an error."""
    try:
        return mahotas.features.haralick(grey, distance=scale, ignore_zeros=skips_zeros)
    except ValueError:
        return np.full((4, FEATURES), np.nan)


def grey_of(image, levels=256):
    grey = img_as_ubyte(image)
    if levels < 256:
        grey = rescale_intensity(grey, in_range=(0, 255), out_range=(0, levels - 1))
    return grey.astype(np.uint8)


def objects_by_mahotas(image, labels, *, scales=SCALES, levels=256, max_cells=12):
    found = np.full((len(scales), 4, FEATURES, max_cells), np.nan)
    for label in np.unique(labels[labels > 0]):
        rows, columns = (np.unique(at) for at in np.nonzero(labels == label))
        box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        own = np.where(labels[box] == label, grey_of(image, levels)[box], 0).astype(np.uint8)
        for i, scale in enumerate(scales):
            found[i, ..., label - 1] = by_mahotas(own, scale=scale, skips_zeros=True)
    return found


def agree(found, expected):
    for i, name in enumerate(Haralick._fields):
        # What two levels share is a small sum of larger terms: float32 has its limit there.
        digits = {"rtol": 1e-4, "atol": 2e-5 if name.startswith("InfoMeas") else 2e-6}
        np.testing.assert_allclose(found[:, :, i], expected[:, :, i], err_msg=name, **digits)


def stark(field):
    """The synthetic cells, some of their pixels black and some saturated."""
    return np.clip(field.image[..., 1] * 2 - 0.4, 0, 1)


def test_equals_mahotas(field, backend):
    image, labels = stark(field), field.labels.cells
    levels = grey_of(image)[labels > 0]
    assert (levels.min(), levels.max()) == (0, 255)
    cells, of_image = textures(image, labels, backend=backend)
    agree(cells, objects_by_mahotas(image, labels))
    # Cells of one pixel, a line, a small square, three joined by corners; two are absent.
    assert np.flatnonzero(np.isnan(cells[1, 0, 0])).tolist() == [5, 6, 7, 9, 10, 11]
    expected = [by_mahotas(grey_of(image), scale=scale, skips_zeros=False) for scale in SCALES]
    agree(of_image, np.stack(expected)[..., None])


def test_equals_mahotas_with_fewer_levels(field, backend):
    image, labels = stark(field), field.labels.cytoplasm
    options = {"scales": (4, 2), "levels": 11}
    cells, of_image = textures(image, labels, backend=backend, **options)
    agree(cells, objects_by_mahotas(image, labels, **options))
    grey = grey_of(image, levels=11)
    assert set(grey.ravel()) == set(range(11))
    expected = [by_mahotas(grey, scale=scale, skips_zeros=False) for scale in (4, 2)]
    agree(of_image, np.stack(expected)[..., None])


@pytest.mark.parametrize("levels", [2, 5, 52, 86, 128, 255])
def test_levels_are_cellprofilers(levels):
    """Of all finest levels, and of what is out of range."""
    image = np.arange(256, dtype=np.float32).reshape(16, 16) / 255
    np.testing.assert_array_equal(grey_cpu(image, levels=levels), grey_of(image, levels))
    np.testing.assert_array_equal(
        grey_jax(jnp.asarray(image), levels=levels), grey_of(image, levels)
    )
    odd = np.array([[-0.5, 0.5 / 255, 1.5 / 255, 7, np.nan]], np.float32)  # rounded to even
    for grey in (grey_cpu(odd, levels=256), grey_jax(jnp.asarray(odd), levels=256)):
        assert grey.tolist() == [[0, 0, 2, 255, 0]]


def test_equals_cp_measure(field, backend):
    image, labels = stark(field), field.labels.nuclei
    cells, _ = textures(image, labels, backend=backend)
    present = np.unique(labels[labels > 0]) - 1
    for i, scale in enumerate(SCALES):
        theirs = get_core_measurements(legacy=True)["texture"](labels, image, scale=scale)
        for way in range(4):
            for j, name in enumerate(Haralick._fields):
                np.testing.assert_allclose(
                    cells[i, way, j, present],
                    theirs[f"{name}_{scale}_{way:02d}_256"],
                    rtol=1e-4,
                    atol=2e-6,
                    err_msg=name,
                )


def steps_of(*rows):
    """An image of the one shape: these levels in its corner, a black rest; and their object."""
    levels = np.array(rows)
    image, labels = np.zeros(SHAPE, np.float32), np.zeros(SHAPE, np.int32)
    corner = np.s_[: levels.shape[0], : levels.shape[1]]
    image[corner], labels[corner] = levels / 255, levels > 0
    return image, labels


def test_four_pixels_by_hand(backend):
    cells, _ = textures(*steps_of([1, 2], [2, 2]), backend=backend)
    in_rows, down_right, _, down_left = (Haralick(*values) for values in cells[0, ..., 0])
    # Levels 1, 2 and 2, 2: counted both ways, 12, 21 and twice 22.
    entropy_of_level = 0.25 * np.log2(4) + 0.75 * np.log2(4 / 3)
    shared = 2 * entropy_of_level - 1.5
    expected = Haralick(
        AngularSecondMoment=6 / 16,
        Contrast=1 / 2,
        Correlation=-1 / 3,
        Variance=3 / 16,
        InverseDifferenceMoment=3 / 4,
        SumAverage=7 / 2,
        SumVariance=1 / 4,
        SumEntropy=1,
        Entropy=3 / 2,
        DifferenceVariance=np.var([1 / 2, 1 / 2, 0]),  # differences 0 to 2
        DifferenceEntropy=1,
        InfoMeas1=-shared / entropy_of_level,
        InfoMeas2=np.sqrt(1 - np.exp(-2 * shared)),
    )
    np.testing.assert_allclose(in_rows, expected, rtol=1e-6)
    assert down_right.Correlation == pytest.approx(-1, abs=1e-6)
    assert down_right.InfoMeas1 == pytest.approx(-1)
    assert down_right.SumVariance == pytest.approx(0, abs=1e-6)
    alone = Haralick(1, 0, 1, 0, 1, 4, 0, 0, 0, np.var([1, 0, 0]), 0, 0, 0)
    np.testing.assert_allclose(down_left, alone, atol=1e-7)


def test_directions_by_hand(backend):
    """Contrast only where a step changes the level."""
    stripes = np.indices((4, 4))[0] % 2 + 1
    for levels, contrasts in ((stripes, [0, 1, 1, 1]), (stripes.T, [1, 1, 0, 1])):
        cells, _ = textures(*steps_of(*levels.tolist()), backend=backend)
        np.testing.assert_allclose(cells[0, :, 1, 0], contrasts, atol=1e-6)
    diagonal = np.subtract.outer(range(4), range(4)) + 4
    cells, _ = textures(*steps_of(*diagonal.tolist()), backend=backend)
    np.testing.assert_allclose(cells[0, :, 1, 0], [1, 0, 1, 4], atol=1e-6)


@pytest.mark.parametrize(
    "rows",
    [
        [[9]],
        [[1, 2, 3, 4, 5, 6, 7, 8]],  # pairs in one direction only
        [[5, 0], [0, 5]],
        [[5, 6], [0, 7]],  # three directions
    ],
)
def test_undefined_without_pairs_in_every_direction(backend, rows):
    cells, _ = textures(*steps_of(*rows), backend=backend)
    assert np.isnan(cells).all()


def test_black_object_is_undefined(backend):
    image, labels = steps_of(*np.full((12, 12), 7).tolist())
    cells, of_image = textures(np.zeros_like(image), labels, backend=backend)
    assert np.isnan(cells).all()
    assert (of_image[:, :, 0] == 1).all()  # the Image counts pixels of level 0


@pytest.mark.parametrize("level", [1, 100, 255])
@pytest.mark.parametrize("shape", [(12, 13), (31, 37), (55, 62)])
def test_constant_object(backend, level, shape):
    """All features are exact: nothing is left of a rounding error for a ratio to blow up.

    Some of these numbers of pairs, times their rounded reciprocals, are not 1.
    """
    image, labels = steps_of(*np.full(shape, level).tolist())
    cells, _ = textures(image, labels, backend=backend)
    span = level + 1
    expected = Haralick(1, 0, 1, 0, 1, 2 * level, 0, 0, 0, (1 - 1 / span) / span, 0, 0, 0)
    np.testing.assert_allclose(cells[..., 0], np.broadcast_to(expected, (4, 4, 13)), rtol=1e-6)


def test_black_pixels_are_as_holes(field, backend):
    image, labels = stark(field), field.labels.cells
    holed = np.where(grey_of(image) > 0, labels, 0)
    assert (holed != labels).any()
    found, expected = (textures(image, each, backend=backend)[0] for each in (labels, holed))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_translation_and_relabelling(field, backend):
    image, labels = stark(field), field.labels.cells
    expected, _ = textures(image, labels, backend=backend)
    inner = [0, 1, 3, 4, 9]  # those that the seam of the torus does not cut
    shifted = (np.roll(each, (3, 2), (0, 1)) for each in (image, labels))
    found, _ = textures(*shifted, backend=backend)
    np.testing.assert_allclose(found[..., inner], expected[..., inner], rtol=1e-5, atol=1e-6)
    new = np.random.default_rng(0).permutation(12) + 1
    found, _ = textures(image, np.append(0, new)[labels], backend=backend)
    np.testing.assert_allclose(found[..., new - 1], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("axis", [0, 1])
def test_flips_swap_the_diagonals(field, backend, axis):
    image, labels = stark(field), field.labels.cells
    flipped = (np.flip(each, axis).copy() for each in (image, labels))
    found = textures(*flipped, backend=backend)
    for flat, expected in zip(found, textures(image, labels, backend=backend), strict=True):
        np.testing.assert_allclose(flat[:, [0, 3, 2, 1]], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(400, 300), (12, 9000)])
def test_large_objects(shape):
    """More pairs than the table of logarithms, wider than a block; counted by mahotas, too."""
    rng = np.random.default_rng(4)
    image = np.where(rng.random(shape) < 0.9, 0.5, rng.random(shape)).astype(np.float32)
    labels = (rng.random(shape) < 0.95).astype(np.int32)
    objects = cpu.pack(labels, max_cells=1)
    found = texture(scales=(7,))[0].cpu(cpu.Signal(objects, image)).reshape(4, FEATURES)
    expected = by_mahotas(np.where(labels, grey_of(image), 0), scale=7, skips_zeros=True)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.fixture(scope="module")
def real(data_folder, reference_folder):
    folder = data_folder / "cell_painting" / "br00143976_phenix_naming"
    planes = [next(folder.glob(f"*-ch{number}sk*.tiff")) for number in CHANNELS.values()]
    image = np.stack([tifffile.imread(path) for path in planes], axis=-1)
    masks = reference_folder / "cellprofiler"
    labels = (tifffile.imread(masks / f"{name}_labels.tif") for name in COMPARTMENTS)
    return image.astype(np.float32) / 65535, CellLabels(*labels)


def test_equals_cellprofiler_on_real_cells(real, reference_folder):
    plan = plan_of("cpu", tuple(CHANNELS), 37, JUMPS, 256)
    found = measure(*real, plan=plan)
    folder = reference_folder / "cellprofiler"
    theirs = {
        name: pl.read_csv(folder / f"{name}.csv").sort("ObjectNumber") for name in COMPARTMENTS
    }
    assert len(plan.columns) == 3 * 780
    for at, column in enumerate(plan.columns):
        owner, feature = column.split("_", 1)
        expected = theirs[owner][feature].cast(pl.Float64).to_numpy()
        np.testing.assert_allclose(
            found.features[:, at], expected, rtol=1e-6, atol=1e-9, err_msg=column
        )


def test_real_image_equals_mahotas(real):
    plane = real[0][..., 3]
    objects = cpu.pack(np.ones(plane.shape, np.int32), max_cells=1)
    found = texture(scales=JUMPS)[1].cpu(cpu.Signal(objects, plane)).reshape(3, 4, FEATURES)
    for i, scale in enumerate(JUMPS):
        expected = by_mahotas(grey_of(plane), scale=scale, skips_zeros=False)
        np.testing.assert_allclose(found[i], expected, rtol=1e-8)


def test_both_kernels_on_real_pixels(real):
    """A window of the size of the synthetic field: nucleus 3 and half of 4."""
    rows, columns = slice(33, 97), slice(200, 280)
    labels = real[1].cells[rows, columns].astype(np.int32)
    for channel in range(len(CHANNELS)):
        image = real[0][rows, columns, channel]
        window = np.where(labels > 12, 0, labels)
        by_cpu, by_jax = (textures(image, window, backend=each) for each in ("cpu", "jax"))
        for found, expected in zip(by_jax, by_cpu, strict=True):
            agree(found, expected)


def test_columns_are_jumps(reference_folder):
    theirs = (reference_folder / "jump_feature_columns.txt").read_text().split()
    plan = plan_of("cpu", tuple(CHANNELS), 37, JUMPS, 256)
    for owner in (*COMPARTMENTS, "Image"):
        expected = {name for name in theirs if name.startswith(f"{owner}_Texture_")}
        columns = plan.image_columns if owner == "Image" else plan.columns
        found = {name for name in columns if name.startswith(f"{owner}_")}
        assert expected <= found, owner
        assert len(found) == 780


def test_equal_options_make_equal_families():
    assert texture() == texture(scales=[3, 5, 10], levels=256)
    assert hash(texture()) == hash(texture())
    assert pickle.loads(pickle.dumps(texture())) == texture()  # as another process gets it
    assert texture() != texture(levels=8)
    of_objects, of_image = texture(scales=[7])
    assert of_objects.cpu != of_image.cpu
    assert of_image.compartments == ("Image",)
    assert of_objects.needs_px == of_image.needs_px == 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scales": 3}, r"scales are 3; expected a list of distances in pixels"),
        ({"scales": []}, r"scales are \[\]; expected a list"),
        ({"scales": [3, 0]}, r"scales are \[3, 0\]; .* whole numbers from 1"),
        ({"scales": [3, -5]}, r"scales are \[3, -5\]"),
        ({"scales": [2.5]}, r"scales are \[2.5\]"),
        ({"scales": [True]}, r"scales are \[True\]"),
        ({"scales": "35"}, r"scales are '35'"),
        ({"scales": [3, 5, 3]}, r"scales are \[3, 5, 3\]; expected each of them once"),
        ({"levels": 1}, r"levels are 1; expected a whole number from 2 to 256"),
        ({"levels": 257}, r"levels are 257"),
        ({"levels": 8.0}, r"levels are 8.0"),
        ({"levels": True}, r"levels are True"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(BadRecipe, match=message):
        texture(**options)


def test_too_small_a_field():
    labels = np.ones((10, 40), np.int32)
    plan = plan_of("cpu", ("DNA",), 12, SCALES, 256)
    with pytest.raises(BadRecipe, match="Texture needs a field of at least 11 pixels a side"):
        measure(labels[..., None] / 2, CellLabels(labels, labels, labels), plan=plan)


def test_too_many_cells_for_a_device():
    labels = jnp.ones((12, 12), jnp.int32)
    signal = device.Signal(device.pack(labels, max_cells=65536), jnp.ones((12, 12)))
    with pytest.raises(BadRecipe, match="at most 65535 cells .* found max_cells 65536"):
        texture()[0].jax(signal)
