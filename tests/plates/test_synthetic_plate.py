"""Synthetic plates: designs, files as promised, truth that comes back."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import tifffile
from scipy import stats
from scipy.optimize import curve_fit

from plates.errors import BadPlate, BadRecipe, UnknownName
from plates.readers import scan
from plates.synthetic import (
    CHANNELS,
    Compound,
    Phenotype,
    PlateDesign,
    mean_ratio,
    plan,
    read_truth,
    write_plate,
)
from plates.synthetic.camera import MEDIUM, OFFSET

SMALL = Phenotype(n_cells=16, nucleus_radius_px=8, cell_radius_px=20)
DARK = OFFSET + MEDIUM
MINI = PlateDesign(
    plate="mini",
    plate_format=24,
    size=160,
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
def mini(tmp_path_factory):
    """A 24-well plate on disk, with true labels."""
    folder = tmp_path_factory.mktemp("mini")
    return folder, write_plate(folder, MINI, save_labels=True)


def test_default_design_has_controls_and_series():
    wells = plan(PlateDesign())
    roles = pl.Series([well.role for well in wells]).value_counts()
    assert dict(roles.iter_rows()) == {"negative": 11, "positive": 5, "treatment": 80}
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
        ("negative", 5),
        ("positive", 3),
        ("treatment", 16),
    ]
    negative = plate_map.filter(pl.col("role") == "negative")
    assert set(negative.select("compound", "concentration").rows()) == {("DMSO", 0.0)}


def test_reader_finds_every_plane(mini):
    planes = scan(mini[0]).filter(pl.col("channel").is_in(CHANNELS))
    assert len(planes) == 24 * 3
    assert planes["plate"].unique().to_list() == ["mini"]
    assert planes["well"].unique().sort().to_list() == mini[1].wells["well"].to_list()


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
        rna, dna = (tifffile.imread(folder / f"mini_{well}_s1_{c}.tif") for c in ("RNA", "DNA"))
        nuclei = tifffile.imread(folder / "truth" / f"mini_{well}_s1_nuclei.tif")
        cells = tifffile.imread(folder / "truth" / f"mini_{well}_s1_cells.tif")
        medians = np.median(rna[cells > 0]), np.median(dna[nuclei > 0])
        light.append(np.sqrt(np.prod(np.subtract(medians, DARK))))
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
