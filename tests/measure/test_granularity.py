"""Granular spectra against CellProfiler's table, scikit-image, scipy, cp_measure and the hand."""

from importlib import import_module
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
import tifffile
from cp_measure.core.measuregranularity import get_granularity
from scipy import ndimage
from skimage.morphology import dilation, disk, erosion, reconstruction

from plates.errors import BadRecipe
from profiler.measure import COMPARTMENTS, CellLabels, measure, plan_measurement
from profiler.measure.granularity.foreground import eroded
from profiler.measure.granularity.sieve import sieved_cpu, sieved_jax
from profiler.measure.granularity.spectrum import granularity as families

CROSS = disk(1, dtype=bool)
SHAPE, SMALL = (64, 80), (33, 41)
FULL = {"subsample": 1, "background_subsample": 1, "radius": 5, "length": 6}
CHANNELS = {"DNA": 5, "RNA": 2, "AGP": 3, "Mito": 4, "ER": 6}


class Spectra(NamedTuple):
    """[step, cell] of Cells in the first channel, and [step] of the Image."""

    cells: np.ndarray
    image: np.ndarray


@pytest.fixture(scope="module", params=["cpu", "jax"])
def backend(request):
    return request.param


def spectra(image, labels, *, backend, max_cells=12, **options):
    """Measure one channel, with one label image for all compartments."""
    plan = plan_measurement(
        families=("Granularity",),
        stains=("DNA",),
        max_cells=max_cells,
        backend=backend,
        options={"Granularity": options},
    )
    length = options.get("length", 16)
    assert plan.columns[:length] == tuple(f"Nuclei_Granularity_{i + 1}_DNA" for i in range(length))
    assert plan.image_columns == tuple(f"Image_Granularity_{i + 1}_DNA" for i in range(length))
    table = measure(image[..., None], CellLabels(labels, labels, labels), plan=plan)
    per_compartment = np.split(table.features.T, 3)
    np.testing.assert_allclose(per_compartment[0], per_compartment[2], rtol=1e-5, atol=1e-4)
    return Spectra(per_compartment[1], table.image)


def resampled(image, size, scale):
    rows, columns = (np.arange(np.ceil(n)) * by for n, by in zip(size, scale, strict=True))
    return ndimage.map_coordinates(image, np.meshgrid(rows, columns, indexing="ij"), order=1)


def mean_of(image, labels):
    with np.errstate(invalid="ignore"):  # absent labels
        return ndimage.mean(image, labels, np.arange(1, labels.max() + 1))


def by_scikit_image(
    image, labels, *, subsample=0.25, background_subsample=0.25, radius=10, length=16
):
    """CellProfiler's steps: the mask follows the last row or column where rounding drops it."""
    size = np.array(image.shape)
    small_size = size * subsample
    small = resampled(image, small_size, (1 / subsample,) * 2)
    last = (np.arange(n) / subsample <= full - 1 for n, full in zip(small.shape, size, strict=True))
    mask = np.logical_and.outer(*last)
    coarse_size = small_size * background_subsample
    at = [np.arange(np.ceil(n)) / background_subsample for n in coarse_size]
    cover = ndimage.map_coordinates(mask.astype(float), np.meshgrid(*at, indexing="ij")) > 0.9
    coarse = resampled(small, coarse_size, (1 / background_subsample,) * 2) * cover
    opened = dilation(erosion(coarse, disk(radius)) * cover, disk(radius))
    small = small - resampled(opened, small_size, (coarse_size - 1) / (small_size - 1))
    small = np.maximum(small, 0)

    means = [mean_of(image, labels)]
    of_image, marker = [small[mask].mean()], small
    for _ in range(length):
        marker = erosion(marker, CROSS)
        left = reconstruction(marker, small, footprint=CROSS).astype(float)
        of_image.append(left[mask].mean())
        full = resampled(left, size, (small_size - 1) / (size - 1))
        means.append(mean_of(full, labels))
    eps = np.finfo(float).eps
    return Spectra(
        -np.diff(means, axis=0) * 100 / np.maximum(means[0], eps),
        -np.diff(of_image) * 100 / max(of_image[0], eps),
    )


def grains(shape, seed=0):
    """Smooth noise on black, as float32."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).random(shape), 1.5)
    return ((noise - noise.min()) ** 2).astype(np.float32)


def tiles(shape):
    """Three by three cells that fill the image, but for the middle one."""
    rows, columns = np.indices(shape)
    labels = 1 + rows * 3 // shape[0] * 3 + columns * 3 // shape[1]
    return np.choose(np.minimum(labels, 9), (0, 1, 2, 3, 4, 0, 5, 6, 7, 8)).astype(np.int32)


def agree(found, expected):
    cells = expected.cells.shape[1]
    np.testing.assert_allclose(found.cells[:, :cells], expected.cells, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(found.image, expected.image, rtol=1e-5, atol=1e-4)
    assert np.isnan(found.cells[:, cells:]).all()


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        (SHAPE, {}),
        ((63, 81), {}),  # sizes that keep a fraction
        ((61, 50), {"subsample": 0.3, "background_subsample": 0.4}),  # the last row is outside
        ((64, 77), {"subsample": 0.7, "background_subsample": 0.6, "radius": 4, "length": 20}),
        ((160, 160), {"subsample": 0.4}),  # the last row is outside by rounding
        (SMALL, FULL),
        ((40, 50), {"background_subsample": 0.05}),  # a background of one pixel
        ((5, 6), {}),  # the smallest field
    ],
)
def test_equals_scikit_image(shape, options):
    image, labels = grains(shape), tiles(shape)
    agree(
        spectra(image, labels, backend="cpu", **options), by_scikit_image(image, labels, **options)
    )


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((61, 50), {"subsample": 0.3, "background_subsample": 0.4}),
        (SMALL, FULL),
    ],
)
def test_equals_scikit_image_on_a_device(shape, options):
    image, labels = grains(shape), tiles(shape)
    agree(
        spectra(image, labels, backend="jax", **options), by_scikit_image(image, labels, **options)
    )


def test_every_kind_of_cell(field, backend):
    """Of one pixel, on the border, with holes; label 6 is absent."""
    image, labels = field.image[..., 1] - field.image.min(), field.labels.cells
    found, expected = spectra(image, labels, backend=backend), by_scikit_image(image, labels)
    agree(found, expected)
    assert np.flatnonzero(np.isnan(found.cells[0])).tolist() == [5, 11]


def test_equals_cp_measure(backend):
    image, labels = grains(SHAPE, seed=3), tiles(SHAPE)
    found = spectra(image, labels, backend=backend).cells[:, :8]
    expected = np.stack(list(get_granularity(labels, image).values()))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


@pytest.fixture(scope="module")
def real(data_folder, reference_folder):
    folder = data_folder / "cell_painting" / "br00143976_phenix_naming"
    planes = [next(folder.glob(f"*-ch{number}sk*.tiff")) for number in CHANNELS.values()]
    image = np.stack([tifffile.imread(path) for path in planes], axis=-1)
    masks = reference_folder / "cellprofiler"
    labels = (tifffile.imread(masks / f"{name}_labels.tif") for name in COMPARTMENTS)
    return image.astype(np.float32) / 65535, CellLabels(*labels)


def test_equals_cellprofiler_on_real_cells(real, reference_folder):
    plan = plan_measurement(
        families=("Granularity",), stains=tuple(CHANNELS), max_cells=37, backend="cpu"
    )
    found = measure(*real, plan=plan)
    folder = reference_folder / "cellprofiler"
    theirs = {
        name: pl.read_csv(folder / f"{name}.csv").sort("ObjectNumber") for name in COMPARTMENTS
    }
    assert len(plan.columns) == 240
    for at, column in enumerate(plan.columns):
        owner, feature = column.split("_", 1)
        expected = theirs[owner][feature].cast(pl.Float64).to_numpy()
        np.testing.assert_allclose(found.features[:, at], expected, rtol=1e-5, err_msg=column)


def test_both_kernels_on_real_pixels(real):
    window = np.s_[100:292, 100:340]
    image, labels = real[0][window][..., 4], real[1].cells[window].astype(np.int32)
    by_cpu, by_jax = (spectra(image, labels, backend=each, max_cells=37) for each in ("cpu", "jax"))
    agree(by_jax, by_cpu)


@pytest.mark.parametrize("length", [1, 16, 17])
@pytest.mark.parametrize("levels", [3, 50, 10**6])
def test_sieve_equals_reconstruction(levels, length):
    """Few levels are plateaus; no two of a million are equal."""
    image = np.random.default_rng(levels).integers(0, levels, (23, 31)).astype(np.float32)
    image = ndimage.grey_closing(image, 3)  # areas that survive a few steps
    marker, expected = image, []
    for _ in range(length):
        marker = erosion(marker, CROSS)
        expected.append(reconstruction(marker, image, footprint=CROSS))
    found = sieved_cpu(image, length=length)[..., :length]
    np.testing.assert_array_equal(np.moveaxis(found, -1, 0), expected)
    np.testing.assert_array_equal(sieved_jax(jnp.asarray(image), length=length), expected)


def test_sieve_finds_its_way_through_a_spiral():
    """Farther than the steps that a device takes between two looks, and in every direction."""
    spiral = np.zeros((40, 40), np.float32)
    for turn in range(0, 18, 4):
        near, far = turn, 39 - turn
        spiral[near, near:far] = spiral[near:far, far] = spiral[far, near : far + 1] = 0.5
        spiral[near + 4 : far, near] = spiral[near + 4, near : near + 5] = 0.5
    spiral[16:24, 16:24] = 1
    expected = reconstruction(erosion(spiral, CROSS), spiral, footprint=CROSS)
    assert expected[0, 0] == 0.5  # the block in the middle holds the whole arm
    np.testing.assert_array_equal(sieved_cpu(spiral, length=1)[..., 0], expected)
    np.testing.assert_array_equal(sieved_jax(jnp.asarray(spiral), length=1)[0], expected)


@pytest.mark.parametrize("radius", [1, 3, 10])
@pytest.mark.parametrize("xp", [np, jnp])
def test_erosion_equals_scikit_image(xp, radius):
    image = np.random.default_rng(radius).random((9, 14)).astype(np.float32)
    np.testing.assert_array_equal(eroded(xp.asarray(image), radius), erosion(image, disk(radius)))


def discs(radius, places):
    rows, columns = np.indices(SMALL)
    return sum((rows - y) ** 2 + (columns - x) ** 2 <= radius**2 for y, x in places).astype(
        np.int32
    )


def test_spectrum_of_discs_by_hand(backend):
    """A disc of radius r withstands r erosions, and goes in the next: light by size."""
    narrow, wide = discs(2, [(6, 6), (6, 20), (20, 6)]), discs(4, [(20, 28)])
    image, labels = 0.5 * (narrow + wide).astype(np.float32), narrow + 2 * wide
    found = spectra(image, labels, backend=backend, **FULL)
    share = 100 * wide.sum() / (narrow + wide).sum()
    by_hand = {3: (100, 0, 100 - share), 5: (0, 100, share)}
    expected = np.array([by_hand.get(step, (0, 0, 0)) for step in range(1, 7)])
    np.testing.assert_allclose(found.cells[:, :2], expected[:, :2], atol=1e-4)
    np.testing.assert_allclose(found.image, expected[:, 2], atol=1e-4)


def test_constant_and_black_fields(backend):
    labels = tiles(SHAPE)
    constant = spectra(np.full(SHAPE, 0.3, np.float32), labels, backend=backend)
    assert constant.cells[0, :8] == pytest.approx(100)  # of a cell, all of it is background
    assert (constant.cells[1:, :8] == 0).all()
    assert np.isnan(constant.image).all()  # all of it is background
    black = spectra(np.zeros(SHAPE, np.float32), labels, backend=backend)
    assert np.isnan(black.cells).all()
    assert np.isnan(black.image).all()


def test_a_black_cell_has_no_spectrum(backend):
    """CellProfiler divides what interpolation carries into it from outside by 2.2e-16."""
    image, labels = np.zeros(SHAPE, np.float32), np.zeros(SHAPE, np.int32)
    image[20:31, 20:31] = 0.5
    labels[31, 20:30] = 1
    labels[50, 50:55] = 2
    assert by_scikit_image(image, labels).cells[0, 0] < -1e15
    assert np.isnan(spectra(image, labels, backend=backend).cells[:, :2]).all()


def test_labels_and_brightness_do_not_matter(backend):
    image, labels = grains(SHAPE, seed=5), tiles(SHAPE)
    found = spectra(image, labels, backend=backend)
    renamed = np.array([0, 11, 3, 8, 1, 12, 2, 10, 5], np.int32)
    again = spectra(image / 4, renamed[labels], backend=backend)
    np.testing.assert_allclose(again.cells[:, renamed[1:] - 1], found.cells[:, :8], rtol=1e-5)
    np.testing.assert_allclose(again.image, found.image, rtol=1e-5)


def test_flips_do_not_matter_at_full_size():
    """Subsampling starts at the top left, so that a smaller image is not quite symmetric."""
    image, labels = grains((45, 45), seed=6), tiles((45, 45))
    full = {"backend": "cpu", "subsample": 1, "background_subsample": 1, "radius": 6}
    found = spectra(image, labels, **full)
    for flip in (np.flipud, np.fliplr, np.transpose):
        again = spectra(flip(image), flip(labels), **full)
        np.testing.assert_allclose(again.cells, found.cells, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(again.image, found.image, rtol=1e-5, atol=1e-6)


def test_each_channel_is_sieved_once(field, monkeypatch):
    sieved = []

    def counted(image, *, length):
        sieved.append(length)
        return sieved_cpu(image, length=length)

    # The package's attribute of that name is the function.
    module = import_module("profiler.measure.granularity.spectrum")
    monkeypatch.setattr(module, "sieved_cpu", counted)
    plan = plan_measurement(
        families=("Granularity",), stains=("GFP", "DNA"), max_cells=12, backend="cpu", threads=2
    )
    table = measure(*field, plan=plan)
    assert table.features.shape == (12, 96)
    assert table.image.shape == (32,)
    assert sieved == [16, 16]


def test_equal_options_make_equal_plans():
    assert families() is families(subsample=0.25, length=16)
    assert families() != families(length=15)
    of_objects, of_image = families(length=3)
    assert of_objects.features == of_image.features == ("1_{}", "2_{}", "3_{}")
    assert of_image.compartments == ("Image",)
    assert "CellProfiler 4.2.8" in of_objects.about


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"subsample": 0}, "Granularity's subsample is 0; expected a number above 0 and at most 1"),
        ({"subsample": "0.25"}, "subsample is '0.25'; expected a number"),
        ({"subsample": True}, "subsample is True; expected a number"),
        ({"background_subsample": 1.5}, "background_subsample is 1.5; expected a number above 0"),
        ({"background_subsample": float("nan")}, "background_subsample is nan; expected"),
        ({"radius": 0}, "Granularity's radius is 0; expected a whole number from 1"),
        ({"radius": 2.5}, "radius is 2.5; expected a whole number from 1"),
        ({"length": [16]}, r"length is \[16\]; expected a whole number from 1"),
        ({"steps": 16}, "'Granularity' refused its options"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(BadRecipe, match=message):
        plan_measurement(
            families=("Granularity",),
            stains=("DNA",),
            max_cells=1,
            options={"Granularity": options},
        )


def test_a_field_too_small_to_subsample():
    with pytest.raises(BadRecipe, match="Granularity needs a field of at least 5 pixels a side"):
        spectra(np.zeros((4, 9), np.float32), np.ones((4, 9), np.int32), backend="cpu")
