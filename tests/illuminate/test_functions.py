"""Functions of a run: fitted once, kept whole, fitted again when their fields change."""

import json
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
import tifffile

from plates.errors import BadPlate
from plates.imageset import FieldKey
from plates.loader import Batch, PixelFormat
from plates.pixels import FileStamp
from profiler.illuminate import kept
from profiler.illuminate.exposure import Light, correct
from profiler.illuminate.fit import FitSettings, choose, fit, gather, stretch
from profiler.illuminate.plate import Wanted, make_functions

FORMAT = PixelFormat(40, 60, np.dtype(np.uint16))
MEAN = FitSettings("mean", degree=2, smoothness=1.0, has_dark=True, dark_level=0.0)
WANTED = Wanted("mean", ("DNA", "GFP"), "max", sample=10, seed=0, fit=MEAN, vendor={})


def light() -> np.ndarray:
    y, x = (np.mgrid[:40, :60] + 0.5) / [[[40]], [[60]]]
    found = 1 - 0.5 * ((x - 0.5) ** 2 + (y - 0.4) ** 2)
    return found / found.mean()


def written(tmp_path: Path, *, spread: float) -> pl.DataFrame:
    """Twelve fields of one plate, two stains, in uneven light, each as bright as 1 -+ spread."""
    rng, rows = np.random.default_rng(0), []
    for i in range(12):
        paths = {}
        for stain in WANTED.stains:
            path = tmp_path / f"{i}_{stain}.tif"
            bright = 1000 * rng.uniform(1 - spread, 1 + spread)
            plane = bright * light() + rng.normal(0, 5, light().shape)
            tifffile.imwrite(path, plane.round().astype(np.uint16))
            paths[f"path_{stain}"] = [str(path)]
        rows.append({"plate": "P1", "well": f"A{i + 1:02}", "site": 1, "timepoint": 1} | paths)
    return pl.DataFrame(rows)


@pytest.fixture
def sets(tmp_path) -> pl.DataFrame:
    return written(tmp_path, spread=0.5)


def told(out: Path, sets: pl.DataFrame, wanted: Wanted = WANTED) -> list[str]:
    return list(make_functions(out, sets, wanted=wanted))


def loaded(out: Path):
    return kept.load(out, "P1", stains=WANTED.stains, pixel_format=FORMAT)


@pytest.mark.parametrize("method", ["mean", "basic"])
def test_the_planted_light_is_found_and_opens_as_cellprofilers(tmp_path, sets, method):
    told(tmp_path / "run", sets, replace(WANTED, fit=replace(MEAN, method=method)))
    found = loaded(tmp_path / "run")
    assert found.flat.shape == (40, 60, 2)
    np.testing.assert_allclose(found.flat[..., 0], light(), rtol=0.02)
    plain = np.load(tmp_path / "run" / "illumination" / "P1" / "GFP.npy")
    np.testing.assert_array_equal(plain, found.flat[..., 1])


def test_a_second_time_nothing_is_read_or_written(tmp_path, sets, monkeypatch):
    assert told(tmp_path, sets) == ["P1: illumination fitted to 10 fields (mean)."]
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "illumination").rglob("*.*")}
    monkeypatch.setattr("profiler.illuminate.plate.read_sample", None)
    assert told(tmp_path, sets) == []
    assert {path: path.stat().st_mtime_ns for path in files} == files


@pytest.mark.parametrize("harm", ["cut", "gone", "manifest"])
def test_what_a_kill_left_behind_is_made_again(tmp_path, sets, harm):
    told(tmp_path, sets)
    before = loaded(tmp_path)
    match harm:
        case "cut":
            path = kept.flat_path(tmp_path, "P1", "DNA")
            path.write_bytes(path.read_bytes()[:-8])
        case "gone":
            kept.flat_path(tmp_path, "P1", "GFP").unlink()
        case "manifest":
            kept.manifest_path(tmp_path, "P1").write_text("{")
    assert told(tmp_path, sets)
    for then, now in zip(before, loaded(tmp_path), strict=True):
        np.testing.assert_array_equal(then, now)


def test_a_changed_field_of_the_sample_is_noticed(tmp_path, sets):
    told(tmp_path, sets)
    sampled = choose(sets, fields=10, seed=0)
    path = sampled["path_DNA"][0][0]
    tifffile.imwrite(path, tifffile.imread(path) // 2)
    assert told(tmp_path, sets) == ["P1: illumination fitted to 10 fields (mean)."]
    others = sets.join(sampled, on="well", how="anti")
    tifffile.imwrite(others["path_DNA"][0][0], np.zeros((40, 60), np.uint16))
    assert told(tmp_path, sets) == []


@pytest.mark.parametrize("change", [{"seed": 1}, {"sample": 12}, {"fit": replace(MEAN, degree=3)}])
def test_other_settings_fit_again(tmp_path, sets, change):
    told(tmp_path, sets)
    assert told(tmp_path, sets, replace(WANTED, **change))


def test_a_field_that_cannot_be_read_is_left_out_until_it_can(tmp_path, sets):
    path = Path(choose(sets, fields=10, seed=0)["path_GFP"][3][0])
    data = path.read_bytes()
    path.unlink()
    assert told(tmp_path, sets) == ["P1: illumination fitted to 9 fields (mean)."]
    assert told(tmp_path, sets) == []
    path.write_bytes(data)
    assert told(tmp_path, sets) == ["P1: illumination fitted to 10 fields (mean)."]


def test_too_few_fields_are_said_and_remembered(tmp_path, sets):
    (problem,) = told(tmp_path, sets.head(5))
    assert "5 of 5 sampled fields can be read, and an illumination function needs 8" in problem
    assert told(tmp_path, sets.head(5)) == [problem]
    with pytest.raises(BadPlate, match="needs 8"):
        loaded(tmp_path)


def test_a_dark_level_above_what_a_stain_shows_is_told_each_time(tmp_path, sets):
    high = replace(WANTED, fit=replace(MEAN, dark_level=5000.0))
    fitted, *notes = told(tmp_path, sets, high)
    assert "fitted to 10 fields" in fitted
    seen = [tifffile.imread(p[0]).mean() for p in choose(sets, fields=10, seed=0)["path_DNA"]]
    assert notes[0].startswith(f"P1: DNA has {np.mean(seen):.4g} grey levels on average")
    assert "dark_level takes 5000 off: hardly anything is left" in notes[0]
    assert "P1: GFP has" in notes[1]
    assert told(tmp_path, sets, high) == notes


@pytest.mark.parametrize("method", ["mean", "basic"])
def test_light_that_falls_below_zero_is_told_by_its_cause(tmp_path, method):
    sets = written(tmp_path, spread=0.05)  # so that corners alone, of all images, are below
    dimmed = replace(MEAN, dark_level=900.0, has_dark=False, method=method)
    (problem,) = told(tmp_path, sets, replace(WANTED, fit=dimmed))
    assert "falls to -" in problem
    assert "dark_level, now 900, above what the darkest corners show? Lower it" in problem
    with pytest.raises(BadPlate, match="Is .illumination. dark_level"):
        loaded(tmp_path)


def test_a_plate_that_cannot_be_read_stops_no_other(tmp_path, sets):
    (tmp_path / "damaged.tif").write_bytes(b"II*")
    lost = [[str(tmp_path / "damaged.tif")]] * sets.height
    other = sets.with_columns(
        pl.lit("P0").alias("plate"), *(pl.Series(f"path_{s}", lost) for s in WANTED.stains)
    )
    for stain in WANTED.stains:
        np.save(tmp_path / f"{stain}.npy", light())
    given = replace(WANTED, method=str(tmp_path))
    both = pl.concat([other, sets])
    problem = "Plate P0: not one image can be read, so no illumination function is used."
    assert told(tmp_path / "run", both, given) == [problem]
    np.testing.assert_allclose(loaded(tmp_path / "run").flat[..., 0], light(), rtol=1e-6)
    with pytest.raises(BadPlate, match="Plate P0: not one image can be read"):
        kept.load(tmp_path / "run", "P0", stains=WANTED.stains, pixel_format=FORMAT)


def test_a_function_in_grey_levels_is_told(tmp_path, sets):
    for stain, scale in zip(WANTED.stains, (1, 0.01), strict=True):
        np.save(tmp_path / f"{stain}.npy", light() * scale)
    (note,) = told(tmp_path / "run", sets, replace(WANTED, method=str(tmp_path)))
    assert note.startswith("P1: the illumination function of GFP is 0.01 on average")


def test_functions_of_a_folder_are_copied_into_the_run(tmp_path, sets):
    folder = tmp_path / "illum"
    folder.mkdir()
    for stain in WANTED.stains:
        np.save(folder / f"P1_Illum{stain}.npy", light() * 2)
    given = replace(WANTED, method=str(folder))
    assert told(tmp_path / "run", sets, given) == []
    np.testing.assert_allclose(loaded(tmp_path / "run").flat[..., 1], light() * 2, rtol=1e-6)
    np.save(folder / "P1_IllumDNA.npy", light() * 3)
    told(tmp_path / "run", sets, given)
    np.testing.assert_allclose(loaded(tmp_path / "run").flat[..., 0], light() * 3, rtol=1e-6)


def test_a_function_of_binned_images_is_refused_before_anything_is_computed(tmp_path, sets):
    for stain in WANTED.stains:
        np.save(tmp_path / f"{stain}.npy", light()[::2, ::2])
    with pytest.raises(BadPlate, match="a function of binned"):
        told(tmp_path / "run", sets, replace(WANTED, method=str(tmp_path)))


def test_vendor_profiles_that_are_not_there_are_an_error(tmp_path, sets):
    with pytest.raises(BadPlate, match="come without flat-field profiles"):
        told(tmp_path, sets, replace(WANTED, method="vendor"))


def test_a_channel_without_a_vendor_profile_stays_as_it_is(tmp_path, sets):
    tifffile.imwrite(tmp_path / "shading.tif", (light() * 500).round().astype(np.uint16))
    said = {("P1", "GFP"): str(tmp_path / "shading.tif")}
    notes = told(tmp_path / "run", sets, replace(WANTED, method="vendor", vendor=said))
    assert notes == [
        "P1: the microscope gives no flat-field profile of DNA, which stay as they are."
    ]
    found = loaded(tmp_path / "run")
    np.testing.assert_array_equal(found.flat[..., 0], 1)
    np.testing.assert_allclose(found.flat[..., 1], light(), rtol=2e-3)


def harmony(tmp_path, *parts: str) -> dict[tuple[str, str], str]:
    """Address of a profile of DNA; x goes from -0.5 to 0.5 over the image."""
    text = f"<a><Entry ChannelID='1'><FlatfieldProfile>{{{', '.join(parts)}}}</FlatfieldProfile>"
    (tmp_path / "Index.xml").write_text(text + "</Entry></a>")
    return {("P1", "DNA"): f"{tmp_path / 'Index.xml'}#channel=1"}


def part(name: str, slope: float, *, mean: str = "") -> str:
    return (
        f"{name}: {{Character: NonFlat, {mean}Profile: {{Coefficients: [[1.0], [{slope}, 0.0]], "
        "Dims: [60, 40], Origin: [29.5, 19.5], Scale: [0.016666666667, 0.025], Type: Polynomial}}"
    )


def test_a_background_alone_is_made_level_and_the_run_says_so(tmp_path, sets):
    said = harmony(tmp_path, part("Background", 0.5, mean="Mean: 655.35, "))
    wanted = replace(WANTED, method="vendor", vendor=said)
    for _ in range(2):  # said again where a run goes on
        _, note = told(tmp_path / "run", sets, wanted)
        assert note == (
            "P1: the microscope's profile of DNA is of the background alone, which is made level "
            "(its unevenness is subtracted); cells stay as uneven as they were lit. [illumination] "
            'method = "mean" or "basic" evens cells too.'
        )
    found = loaded(tmp_path / "run")
    np.testing.assert_array_equal(found.flat[..., 0], 1)
    x = (np.arange(60) - 29.5) / 60
    dark = np.broadcast_to(0.01 * 0.5 * x, (40, 60))  # a share of 65535
    np.testing.assert_allclose(found.dark[..., 0], dark, rtol=1e-5)
    said_of = json.loads(kept.manifest_path(tmp_path / "run", "P1").read_text())["functions"]
    assert said_of["DNA"]["dark_mean"] == 0  # it is no darkness


def test_an_empty_field_in_noise_loses_nothing_of_it(tmp_path, sets):
    parts = part("Background", 0.5, mean="Mean: 100, "), part("Foreground", -0.8)
    wanted = replace(WANTED, method="vendor", vendor=harmony(tmp_path, *parts))
    (note,) = told(tmp_path / "run", sets, wanted)
    assert "no flat-field profile of GFP" in note
    found = loaded(tmp_path / "run")
    x = (np.arange(60) - 29.5) / 60
    noise = np.random.default_rng(0).normal(0, 10, (40, 60))
    raw = np.stack([100 * (1 + 0.5 * x) + noise, noise * 0], axis=-1).astype(np.float32)[None]
    lit = correct(jnp.asarray(raw / 65535), light=Light(found.flat, found.dark), has_levels=True)
    got = np.asarray(lit)[0, ..., 0] * 65535
    np.testing.assert_allclose(got, 100 + noise / (1 - 0.8 * x), rtol=1e-3)
    assert (got > 0).all()


def test_the_sample_is_drawn_by_its_seed_alone():
    table = pl.DataFrame({"plate": "P", "site": range(100)})
    one, same, other = (choose(table, fields=10, seed=s)["site"].to_list() for s in (0, 0, 1))
    assert one == same != other
    assert len(set(one)) == 10
    assert choose(table, fields=500, seed=0).height == 100


def batch(i: int, image: np.ndarray) -> Batch:
    key = FieldKey("P", "A01", i)
    return Batch((key,), image[None], (), {key: (FileStamp(str(i), 1, 1, ""),)})


def test_a_stream_is_reduced_to_its_mean():
    images = np.random.default_rng(0).integers(0, 4000, (9, 40, 60, 2)).astype(np.uint16)
    found = gather(map(batch, range(9), images), pixel_format=FORMAT, channels=2)
    np.testing.assert_allclose(found.mean, images.mean(axis=0) / 65_535, rtol=1e-5)
    assert found.fields == len(found.inputs) == 9
    assert found.small.shape == (9, 40, 60, 2)


def test_a_dark_level_is_taken_off():
    images = np.full((8, 40, 60, 1), 100) + 400 * light()[None, ..., None]
    stream = map(batch, range(8), images.round().astype(np.uint16))
    sample = gather(stream, pixel_format=FORMAT, channels=1)
    for method in ("mean", "basic"):
        settings = replace(MEAN, method=method, dark_level=100.0, has_dark=False)
        (found,) = fit(sample, settings=settings, pixel_format=FORMAT)
        np.testing.assert_allclose(found.flat, light(), rtol=0.01)
        np.testing.assert_allclose(found.dark, 100 / 65_535, rtol=1e-5)


def test_stretching_keeps_straight_lines_and_its_own_size():
    small = np.tile(np.arange(8.0), (8, 1))
    np.testing.assert_allclose(stretch(small, (8, 8)), small, atol=1e-6)
    large = stretch(small, (16, 32))
    np.testing.assert_allclose(np.diff(large[0])[2:-2], 0.25, atol=1e-5)
