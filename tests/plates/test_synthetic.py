"""Synthetic plates: labels that agree, truth that can be measured back, files as promised."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
import tifffile
from scipy import ndimage, stats
from scipy.optimize import curve_fit

from plates.errors import BadPlate, BadRecipe, UnknownName
from plates.synthetic import (
    CHANNELS,
    PHENOTYPES,
    Compound,
    Phenotype,
    PlateDesign,
    blend,
    discs,
    field,
    mean_ratio,
    plan,
    read_truth,
    write_plate,
)
from plates.synthetic.camera import MEDIUM, OFFSET, illumination
from plates.synthetic.geometry import capacity, in_one_piece
from plates.synthetic.noise import smooth_noise

SMALL = Phenotype(n_cells=16, nucleus_radius_px=8, cell_radius_px=20)
SIZE = 160
DARK = OFFSET + MEDIUM
MINI = PlateDesign(
    plate="mini",
    plate_format=24,
    size=SIZE,
    untreated=SMALL,
    concentrations=(0.1, 1, 10, 100),
    compounds=(
        Compound("mover", phenotype="translocation", ec50=1),
        Compound("killer", phenotype="toxicity", ec50=1),
        Compound("grower", phenotype="enlargement", ec50=1),
        Compound("nothing"),
    ),
    gradient=0.4,
)


@pytest.fixture(scope="module")
def drawn():
    """One field of every phenotype at full strength."""
    return {name: field(change(SMALL), size=SIZE, seed=5) for name, change in PHENOTYPES.items()}


@pytest.fixture(scope="module")
def mini(tmp_path_factory):
    """A 24-well plate on disk, with true labels."""
    folder = tmp_path_factory.mktemp("mini")
    return folder, write_plate(folder, MINI, save_labels=True)


# --- one field ---------------------------------------------------------------------------------


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
    counts = [field(SMALL, size=SIZE, seed=seed).nuclei.max() for seed in range(40)]
    assert np.mean(counts) == pytest.approx(SMALL.n_cells, abs=3 * np.std(counts) / np.sqrt(40))
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
        inside = ndimage.binary_erosion(f.nuclei > 0, iterations=2) if channel == 0 else f.cells > 0
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


# --- discs -------------------------------------------------------------------------------------


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


# --- a plate -----------------------------------------------------------------------------------


def test_default_design_has_controls_and_series():
    wells = plan(PlateDesign())
    roles = pl.Series([well.role for well in wells]).value_counts()
    assert dict(roles.iter_rows()) == {"negative": 8, "positive": 8, "treatment": 80}
    assert {w.well[1:] for w in wells if w.role != "treatment"} == {"01", "12"}
    series = [(w.compound.name, w.concentration) for w in wells if w.role == "treatment"]
    assert len(set(series)) == 80
    hits = {c.name for c in PlateDesign().compounds if c.is_hit}
    assert len(hits) == 7
    for w in wells:
        if w.role == "positive":
            assert w.phenotype.translocation > 0.88


def four_parameters(dose, bottom, top, log_ec50, hill):
    return bottom + (top - bottom) / (1 + np.exp(hill * (log_ec50 - np.log(dose))))


def fitted_ec50(doses, response):
    start = (response[0], response[-1], np.log(np.median(doses)), 1.0)
    fitted, _ = curve_fit(four_parameters, doses, response, p0=start, maxfev=20_000)
    return np.exp(fitted[2])


@pytest.mark.parametrize("compound", [c for c in PlateDesign().compounds if c.is_hit])
def test_planted_ec50_is_in_the_expected_values(compound):
    wells = [w for w in plan(PlateDesign(gradient=0)) if w.compound == compound]
    wells.sort(key=lambda w: w.concentration)
    moves = compound.phenotype == "translocation"
    response = [mean_ratio(w.phenotype) if moves else w.phenotype.n_cells for w in wells]
    doses = np.array([w.concentration for w in wells])
    assert fitted_ec50(doses, np.array(response)) == pytest.approx(compound.ec50, rel=0.01)


def test_planted_ec50_is_in_the_pictures():
    compound = Compound("mover", phenotype="translocation", ec50=0.5)
    doses = np.array([0.01, 0.05, 0.2, 0.5, 1.2, 5, 30])
    response = []
    for seed, dose in enumerate(doses):
        moved = blend(SMALL, PHENOTYPES["translocation"](SMALL), effect=compound.effect(dose))
        fields = [field(moved, size=SIZE, seed=100 * seed + site) for site in range(3)]
        response.append(np.median(np.concatenate([measured_ratio(f) for f in fields])))
    assert fitted_ec50(doses, np.array(response)) == pytest.approx(0.5, rel=0.2)


def test_files_and_plate_map(mini):
    folder, _ = mini
    images = sorted(path.name for path in folder.glob("*.tif"))
    assert len(images) == 24 * 3
    assert images[0] == "mini_A01_s1_DNA.tif"
    assert len(list((folder / "truth").glob("mini_*_s1_*.tif"))) == 24 * 2
    plate_map = pl.read_csv(folder / "platemap.csv")
    assert plate_map.columns == ["well_position", "compound", "role", "concentration", "unit"]
    assert plate_map["well_position"].to_list() == sorted(plate_map["well_position"])
    assert plate_map["role"].value_counts().sort("role").rows() == [
        ("negative", 4),
        ("positive", 4),
        ("treatment", 16),
    ]
    negative = plate_map.filter(pl.col("role") == "negative")
    assert set(negative.select("compound", "concentration").rows()) == {("DMSO", 0.0)}


def test_images_on_disk_belong_to_the_labels_on_disk(mini):
    folder, truth = mini
    for row in truth.wells.iter_rows(named=True):
        dna = tifffile.imread(folder / f"mini_{row['well']}_s1_DNA.tif")
        nuclei = tifffile.imread(folder / "truth" / f"mini_{row['well']}_s1_nuclei.tif")
        cells = tifffile.imread(folder / "truth" / f"mini_{row['well']}_s1_cells.tif")
        assert (dna.dtype, nuclei.dtype) == (np.uint16, np.int32)
        assert nuclei.max() == cells.max() == row["cells"]
        if row["cells"]:
            assert dna[nuclei > 0].mean() > 3 * dna[cells == 0].mean()


def test_truth_is_read_back(mini):
    folder, truth = mini
    again = read_truth(folder)
    assert again.plate == "mini"
    assert again.compounds.equals(truth.compounds)
    assert again.wells.equals(truth.wells)
    assert truth.compounds.select("compound", "is_hit", "phenotype", "ec50").rows() == [
        ("mover", True, "translocation", 1.0),
        ("killer", True, "toxicity", 1.0),
        ("grower", True, "enlargement", 1.0),
        ("nothing", False, "none", None),
    ]


def test_truth_without_hits_can_be_read_back(tmp_path):
    nothing = replace(MINI, plate_format=6, compounds=(Compound("a"),), concentrations=(1.0,))
    written = write_plate(tmp_path, nothing)
    assert len(written.wells) == 5  # four controls, one dose, one well left out
    assert read_truth(tmp_path).compounds.equals(written.compounds)


def test_counts_follow_the_expected_counts(mini):
    wells = mini[1].wells
    assert stats.pearsonr(wells["cells"], wells["cells_expected"]).statistic > 0.7
    assert wells["cells"].sum() == pytest.approx(wells["cells_expected"].sum(), rel=0.15)
    killed = wells.filter((pl.col("compound") == "killer") & (pl.col("concentration") == 100))
    assert killed["cells"].item() < 0.5 * MINI.untreated.n_cells


def test_plate_effect_is_there_and_can_be_taken_out(mini):
    folder, truth = mini
    quiet = truth.wells.filter(pl.col("phenotype").is_in(["none", "translocation"]))
    light = []
    for well in quiet["well"]:
        rna = tifffile.imread(folder / f"mini_{well}_s1_RNA.tif")
        cells = tifffile.imread(folder / "truth" / f"mini_{well}_s1_cells.tif")
        light.append(np.median(rna[cells > 0]) - DARK)
    raw, factor = np.log(light), np.log(quiet["brightness_factor"].to_numpy())
    assert stats.linregress(factor, raw).slope == pytest.approx(1, abs=0.3)
    assert np.std(raw - factor) < 0.6 * np.std(raw)
    counts = np.array([w.phenotype.n_cells / w.count_factor for w in plan(MINI) if w.effect == 0])
    np.testing.assert_allclose(counts, SMALL.n_cells)


def test_no_gradient_no_plate_effect():
    flat = plan(replace(MINI, gradient=0))
    assert {(w.count_factor, w.brightness_factor) for w in flat} == {(1.0, 1.0)}


def test_gradient_runs_down_in_count_and_across_in_brightness():
    wells = {w.well: w for w in plan(replace(MINI, gradient=0.4))}
    down = wells["D01"].count_factor / wells["A01"].count_factor
    across = wells["A06"].brightness_factor / wells["A01"].brightness_factor
    assert (down, across) == pytest.approx((np.exp(0.4), np.exp(0.4)))
    assert wells["A06"].count_factor / wells["A01"].count_factor == pytest.approx(np.exp(0.2))


def test_files_are_the_same_again_and_do_not_depend_on_other_fields(tmp_path):
    design = replace(MINI, plate_format=6, compounds=MINI.compounds[:1], concentrations=(1.0,))
    write_plate(tmp_path / "once", design)
    write_plate(tmp_path / "again", design)
    write_plate(tmp_path / "again", design)  # over itself
    write_plate(tmp_path / "sites", replace(design, sites=2))
    for path in (tmp_path / "once").iterdir():
        content = path.read_bytes()
        assert content == (tmp_path / "again" / path.name).read_bytes()
        if path.suffix == ".tif":
            assert content == (tmp_path / "sites" / path.name).read_bytes()
    one, two = (
        tifffile.imread(tmp_path / "sites" / f"mini_A01_s{site}_DNA.tif") for site in (1, 2)
    )
    assert (one != two).mean() > 0.5


# --- wrong arguments ---------------------------------------------------------------------------


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


def test_unknown_phenotype():
    with pytest.raises(UnknownName, match=r"no phenotype called 'toxic'. Did you mean 'toxicity'"):
        Compound("x", phenotype="toxic", ec50=1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ec50": 1}, r"phenotype 'none' and ec50 1\. Expected an ec50 for every"),
        ({"phenotype": "toxicity"}, r"phenotype 'toxicity' and ec50 None"),
        ({"phenotype": "toxicity", "ec50": 0}, r"ec50 0, .* Expected ec50 and hill above 0"),
        ({"phenotype": "toxicity", "ec50": 1, "efficacy": 1.2}, r"efficacy 1\.2\. Expected"),
        ({"phenotype": "toxicity", "ec50": 1, "hill": 0}, r"hill 0, .* Expected"),
    ],
)
def test_impossible_compounds(settings, message):
    with pytest.raises(BadRecipe, match=message):
        Compound("x", **settings)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"plate": "a/b"}, r"'a/b' cannot be a plate's name"),
        ({"plate_format": 95}, r"no plate of 95 wells\. Choose from 6, 12, 24"),
        ({"sites": 0}, r"sites is 0 and seed is 0; expected"),
        ({"seed": -2}, r"sites is 1 and seed is -2; expected"),
        ({"gradient": 0.9}, r"gradient is 0\.9; expected -0\.5 to 0\.5"),
        ({"concentrations": ()}, r"concentrations are \(\); expected at least one"),
        ({"concentrations": (1.0, 0.0)}, r"all above 0"),
        ({"compounds": (Compound("DMSO"),)}, r"More than one compound is called DMSO"),
        ({"plate_format": 12}, r"4 compounds at 4 concentrations need 16 wells, but .* has 6"),
    ],
)
def test_impossible_designs(change, message):
    with pytest.raises(BadRecipe, match=message):
        replace(MINI, **change)


def test_cells_too_large_for_a_design_leave_nothing_behind(tmp_path):
    with pytest.raises(BadRecipe, match=r"A field of 81 px is too small for cells of radius"):
        write_plate(tmp_path / "new", replace(MINI, size=81))
    assert not (tmp_path / "new").exists()


def test_folder_of_another_plate(tmp_path):
    (tmp_path / "other_A01_s1_DNA.tif").touch()
    with pytest.raises(BadPlate, match=r"1 image\(s\) that are not of plate 'mini'.*other_A01"):
        write_plate(tmp_path, MINI)
    assert len(list(tmp_path.iterdir())) == 1


def test_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BadPlate, match=r"'mini' cannot be written to .*file: .* no truth.json"):
        write_plate(tmp_path / "file", MINI)


def test_folder_without_truth(tmp_path):
    with pytest.raises(BadPlate, match=r"has no truth\.json: it is no synthetic plate"):
        read_truth(tmp_path)
