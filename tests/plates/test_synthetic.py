"""Synthetic fields: labels that agree, and truth that can be measured back."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage, stats
from scipy.optimize import curve_fit

from plates.errors import BadRecipe
from plates.synthetic import (
    CHANNELS,
    PHENOTYPES,
    Compound,
    Phenotype,
    blend,
    discs,
    field,
    mean_ratio,
)
from plates.synthetic.camera import MEDIUM, OFFSET, illumination
from plates.synthetic.geometry import capacity, in_one_piece
from plates.synthetic.noise import smooth_noise

SMALL = Phenotype(n_cells=16, nucleus_radius_px=8, cell_radius_px=20)
SIZE = 160
DARK = OFFSET + MEDIUM


@pytest.fixture(scope="module")
def drawn():
    """One field of every phenotype at full strength."""
    return {name: field(change(SMALL), size=SIZE, seed=5) for name, change in PHENOTYPES.items()}


def test_same_seed_same_field_and_other_seed_other_field():
    first, again, other = (field(SMALL, size=SIZE, seed=seed) for seed in (1, 1, 2))
    for a, b in zip((*first[:3], *first.truth), (*again[:3], *again.truth), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (first.images != other.images).mean() > 0.5


def test_field_types_and_shapes(drawn):
    for f in drawn.values():
        assert f.images.shape == (SIZE, SIZE, len(CHANNELS))
        assert (f.images.dtype, f.nuclei.dtype, f.cells.dtype) == (np.uint16, np.int32, np.int32)
        assert all(len(column) == f.cells.max() for column in f.truth)


def test_every_cell_has_one_nucleus_of_the_same_id_strictly_inside(drawn):
    for f in drawn.values():
        ids = np.arange(1, f.cells.max() + 1)
        np.testing.assert_array_equal(np.unique(f.nuclei[f.nuclei > 0]), ids)
        np.testing.assert_array_equal(np.unique(f.cells[f.cells > 0]), ids)
        np.testing.assert_array_equal(f.cells[f.nuclei > 0], f.nuclei[f.nuclei > 0])
        padded = np.pad(f.cells, 1, mode="edge")
        for dy, dx in ((0, 1), (2, 1), (1, 0), (1, 2)):
            neighbour = padded[dy : dy + SIZE, dx : dx + SIZE]
            assert (neighbour[f.nuclei > 0] == f.nuclei[f.nuclei > 0]).all()


def test_nuclei_and_cells_are_in_one_piece_with_cytoplasm(drawn):
    for f in drawn.values():
        for labels in (f.nuclei, f.cells):
            for label in range(1, labels.max() + 1):
                assert ndimage.label(labels == label)[1] == 1
        areas = [np.bincount(x.ravel())[1:] for x in (f.cells, f.nuclei)]
        assert (areas[0] > areas[1]).all()


def test_sizes_are_those_asked_for():
    areas = []
    for seed in range(4):
        f = field(replace(SMALL, n_cells=6), size=SIZE, seed=seed)
        border = np.concatenate([f.cells[0], f.cells[-1], f.cells[:, 0], f.cells[:, -1]])
        whole = np.setdiff1d(np.arange(1, f.cells.max() + 1), border)
        areas += list(np.bincount(f.nuclei.ravel())[whole])
    radius = np.sqrt(np.median(areas) / np.pi)
    assert radius == pytest.approx(SMALL.nucleus_radius_px, rel=0.12)


def test_images_use_twelve_bits_without_saturation():
    for name, change in PHENOTYPES.items():
        brightest = change(Phenotype(brightness=float(np.exp(0.15))))  # the demo's brightest well
        images = field(brightest, size=320, seed=3).images
        assert images.max() < 4095, name
        assert images.min() > 50
        assert (images.max(axis=(0, 1)) > 800).all()


def test_stains_are_where_they_belong(drawn):
    f = drawn["none"]
    dna, _, rna = np.moveaxis(f.images - DARK, -1, 0)
    nucleus, cytoplasm = f.nuclei > 0, (f.cells > 0) & (f.nuclei == 0)
    assert dna[nucleus].mean() > 8 * dna[cytoplasm].mean()
    assert rna[cytoplasm].mean() > 5 * rna[f.cells == 0].mean()


def test_expected_number_of_cells():
    counts = [field(SMALL, size=SIZE, seed=seed).nuclei.max() for seed in range(16)]
    assert np.mean(counts) == pytest.approx(SMALL.n_cells, abs=3 * np.std(counts) / 4)
    assert np.std(counts) < 0.5 * SMALL.n_cells


def test_no_cells():
    empty = field(replace(SMALL, n_cells=0), size=SIZE, seed=0)
    assert empty.cells.max() == empty.nuclei.max() == 0
    assert empty.truth.ratio.shape == (0,)
    middle = illumination(SIZE).mean() * MEDIUM + OFFSET
    np.testing.assert_allclose(empty.images.mean(axis=(0, 1)), middle, atol=0.2)


def test_as_many_cells_as_fit():
    most = capacity(SIZE**2, nucleus_radius_px=8)
    crowded = field(replace(SMALL, n_cells=most), size=SIZE, seed=0)
    assert crowded.nuclei.max() > 0.8 * most


def measured_ratio(f):
    """Nuclear over cytoplasmic GFP of every cell, with the true labels."""
    light = (f.images[..., 1] - OFFSET) / illumination(len(f.images)) - MEDIUM
    ids = np.arange(1, f.cells.max() + 1)
    cytoplasm = np.where(f.nuclei > 0, 0, f.cells)
    return ndimage.mean(light, f.nuclei, ids) / ndimage.mean(light, cytoplasm, ids)


def test_measured_ratio_follows_the_truth():
    medians = []
    for translocation in (0.0, 0.3, 0.6, 1.0):
        f = field(Phenotype(translocation=translocation), size=320, seed=2)
        error = measured_ratio(f) / f.truth.ratio
        assert np.median(error) == pytest.approx(1, abs=0.35 if translocation == 0 else 0.15)
        assert stats.spearmanr(measured_ratio(f), f.truth.ratio).statistic > 0.6
        assert np.mean(f.truth.ratio) == pytest.approx(
            mean_ratio(Phenotype(translocation=translocation)), rel=0.08
        )
        medians.append(np.median(measured_ratio(f)))
    assert all(high > 1.3 * low for low, high in pairwise(medians))


def test_translocation_makes_no_reporter():
    still, moved = (
        field(Phenotype(translocation=t), size=320, seed=2).images[..., 1] - DARK for t in (0, 1)
    )
    assert moved.sum() == pytest.approx(still.sum(), rel=0.03)


def test_phenotypes_do_what_their_names_say(drawn):
    area = {
        name: np.median(np.bincount(f.nuclei.ravel())[1:])
        for name, f in drawn.items()
        if f.nuclei.max()
    }
    assert area["enlargement"] > 1.3 * area["none"]
    assert area["toxicity"] < 0.75 * area["none"]
    assert drawn["toxicity"].cells.max() < 0.5 * drawn["none"].cells.max()
    dna = {name: np.median(f.truth.dna) for name, f in drawn.items()}
    assert dna["toxicity"] > 1.3 * dna["none"]
    assert np.median(drawn["translocation"].truth.ratio) > 3


@pytest.mark.parametrize(("name", "channel"), [("granularity", 2), ("chromatin", 0)])
def test_textures_roughen(name, channel):
    def roughness(value):
        f = field(replace(SMALL, **{name: value}), size=SIZE, seed=2)
        plane = f.images[..., channel] - DARK
        region = f.nuclei > 0 if channel == 0 else (f.cells > 0) & (f.nuclei == 0)
        inside = ndimage.binary_erosion(region, iterations=3)
        fine = plane - ndimage.gaussian_filter(plane, 2.0)
        return fine[inside].std() / plane[inside].mean()

    assert roughness(0.5) > 1.25 * roughness(0.05)


def test_noise_has_unit_variance_and_the_scale_asked_for():
    noise = smooth_noise(np.random.default_rng(0), (255, 256), scale_px=3.0)
    assert noise.dtype == np.float32
    assert noise.mean() == pytest.approx(0, abs=1e-5)
    assert noise.std() == pytest.approx(1, abs=0.1)
    # White noise blurred by a Gaussian has autocorrelation exp(-d²/4s²).
    apart = (noise * np.roll(noise, 6, axis=1)).mean() / noise.var()
    assert apart == pytest.approx(np.exp(-1), abs=0.08)


def test_pieces_without_most_seeds_are_dropped():
    labels = np.int32([[1, 1, 0, 1, 1, 1], [2, 0, 0, 0, 0, 0]])
    seeds = np.int32([[1, 1, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0]])
    kept = in_one_piece(labels, seeds=seeds)
    np.testing.assert_array_equal(kept, [[1, 1, 0, 0, 0, 0], [0] * 6])


def four_parameters(dose, bottom, top, log_ec50, hill):
    return bottom + (top - bottom) / (1 + np.exp(hill * (log_ec50 - np.log(dose))))


def fitted_ec50(doses, response):
    start = (response[0], response[-1], np.log(np.median(doses)), 1.0)
    fitted, _ = curve_fit(four_parameters, doses, response, p0=start, maxfev=20_000)
    return np.exp(fitted[2])


def test_planted_ec50_is_in_the_pictures():
    compound = Compound("mover", phenotype="translocation", ec50=0.5)
    doses = np.array([0.01, 0.05, 0.2, 0.5, 1.2, 5, 30])
    response = []
    for seed, dose in enumerate(doses):
        moved = blend(SMALL, PHENOTYPES["translocation"](SMALL), effect=compound.effect(dose))
        fields = [field(moved, size=SIZE, seed=100 * seed + site) for site in range(3)]
        response.append(np.median(np.concatenate([measured_ratio(f) for f in fields])))
    assert fitted_ec50(doses, np.array(response)) == pytest.approx(0.5, rel=0.2)


def test_discs_are_whole_and_counted_in_reading_order():
    labels = discs(64, radius=5, spacing=16)
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(np.bincount(labels.ravel())[1:], [81] * 16)  # Gauss circle, r=5
    middles = ndimage.center_of_mass(labels > 0, labels, np.arange(1, 17))
    grid = [(8 + 16 * row, 8 + 16 * column) for row in range(4) for column in range(4)]
    np.testing.assert_allclose(middles, grid)


@pytest.mark.parametrize(("size", "radius", "spacing"), [(64, 5, 11), (10, 5, 16), (64, -1, 16)])
def test_discs_that_cannot_be(size, radius, spacing):
    with pytest.raises(BadRecipe, match=f"Discs of radius {radius}, {spacing} px apart in {size}"):
        discs(size, radius=radius, spacing=spacing)


def test_field_too_small_for_its_cells():
    with pytest.raises(BadRecipe, match=r"A field of 60 px is too small .* Make it 80 px or more"):
        field(SMALL, size=60, seed=0)


def test_too_many_nuclei_for_the_field():
    with pytest.raises(BadRecipe, match=r"900 nuclei of radius 8 px do not fit .* at most 74 do"):
        field(replace(SMALL, n_cells=900), size=SIZE, seed=0)


def test_negative_seed():
    with pytest.raises(BadRecipe, match=r"The seed is -1; expected 0 or more"):
        field(SMALL, size=SIZE, seed=-1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"translocation": 1.5}, r"translocation is 1\.5; expected 0 to 1"),
        ({"n_cells": -1}, r"n_cells is -1; expected 0 to 10000"),
        ({"chromatin": float("nan")}, r"chromatin is nan; expected 0 to 0\.6"),
        ({"cell_radius_px": 9}, r"radius 9 px leave no cytoplasm .* at least 1\.25 times"),
    ],
)
def test_impossible_phenotypes(change, message):
    with pytest.raises(BadRecipe, match=message):
        replace(SMALL, **change)
