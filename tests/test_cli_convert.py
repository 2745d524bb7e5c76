"""`profiler convert`: what is said where, exit codes, a recipe's pattern, and signals."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from plates.readers import scan
from profiler import cli
from profiler.recipe import load_recipe

RECIPE = r"""
name = "mine"
[images]
pattern = '(?P<plate>exp)-(?P<well>[A-Z]\d\d)-f(?P<site>\d)-(?P<channel>\w+)\.tif'
channels = { DNA = "DNA" }
[segment]
nuclei = "DNA"
"""
CONVERT = (sys.executable, "-m", "profiler.cli", "convert")


def call(*words: str | Path):
    return CliRunner().invoke(cli.app, ["convert", *map(str, words)])


@pytest.fixture
def plate(tmp_path) -> Path:
    home = tmp_path / "plate"
    home.mkdir()
    rng = np.random.default_rng(3)
    for well in ("A01", "A02"):
        pixels = rng.integers(0, 60000, (16, 16), dtype=np.uint16)
        tifffile.imwrite(home / f"demo_{well}_s1_DNA.tif", pixels)
    return home


def test_a_whole_plate_is_exit_code_zero(plate, tmp_path):
    done = call(plate, "-o", tmp_path / "out", "--to", "hdf5")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == f"Written: {tmp_path / 'out/demo.h5'}.\n"


def test_lost_planes_are_listed_and_exit_code_three(plate, tmp_path):
    (plate / "demo_A02_s1_DNA.tif").write_bytes(b"")
    done = call(plate, "-o", tmp_path / "out", "--to", "hdf5")
    assert done.exit_code == 3
    (line,) = done.stdout.splitlines()
    assert line.startswith("A02 site 1 DNA: ")
    assert "is empty (0 bytes)" in line
    assert "Planes that could not be read and are not in it: 1." in done.stderr
    assert scan(tmp_path / "out")["well"].to_list() == ["A01"]


def test_lost_shading_profiles_are_listed_and_exit_code_three(plate, tmp_path):
    (name, *_) = sorted(path.name for path in plate.iterdir())
    (plate / "MeasurementData.mlf").write_text(
        '<a Version="1.0"><MeasurementRecord Type="IMG" Row="1" Column="1" FieldIndex="1" Ch="1" '
        f'ZIndex="1" TimePoint="1">{name}</MeasurementRecord></a>'
    )
    (plate / "MeasurementDetail.mrf").write_text(
        '<a><MeasurementChannel Ch="1" ShadingCorrectionSource="SC.tif"/></a>'
    )
    (plate / "SC.tif").touch()
    done = call(plate, "-o", tmp_path / "out", "--to", "hdf5")
    assert done.exit_code == 3
    (line,) = done.stdout.splitlines()
    assert line.startswith("C01: ")
    assert "SC.tif is empty (0 bytes)" in line
    said = "Shading profiles of the microscope that could not be read and are not in it: 1."
    assert said in done.stderr
    assert len(scan(tmp_path / "out")) == 1


def test_a_plate_of_which_nothing_can_be_read_is_an_error(plate, tmp_path):
    for path in plate.iterdir():
        path.write_bytes(b"")
    done = subprocess.run(
        [*CONVERT, plate, "-o", tmp_path / "out", "--to", "hdf5"], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 2
    assert "Written" not in done.stderr
    assert done.stderr.startswith("profiler: Not one plane of demo can be read")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("out", "message"),
    [("s3://bucket/y", "is an address"), ("plate/demo_A01_s1_DNA.tif", "a file")],
)
def test_a_wrong_place_is_refused(plate, tmp_path, monkeypatch, out, message):
    monkeypatch.chdir(tmp_path)
    done = call(plate, "-o", out, "--to", "hdf5")
    assert done.exit_code == 1
    assert message in str(done.exception)
    assert "Written" not in done.output
    assert [path.name for path in tmp_path.iterdir()] == ["plate"]


def test_a_plate_of_a_pattern_is_read_as_its_recipe_says(tmp_path):
    home = tmp_path / "odd"
    home.mkdir()
    pixels = np.full((8, 8), 9, np.uint16)
    tifffile.imwrite(home / "exp-B07-f2-DNA.tif", pixels)
    recipe = tmp_path / "mine.toml"
    recipe.write_text(RECIPE)
    refused = call(home, "-o", tmp_path / "out", "--to", "hdf5")
    assert "No reader fits" in str(refused.exception)
    done = call(home, "-o", tmp_path / "out", "--to", "hdf5", "--recipe", recipe)
    assert done.exit_code == 0, done.output
    (row,) = scan(tmp_path / "out").select("plate", "well", "site", "channel").rows()
    before = scan(home, pattern=load_recipe(str(recipe)).images.pattern)
    assert [row] == before.select("plate", "well", "site", "channel").rows()
    assert row == ("exp", "B07", 2, "DNA")


SLOW = """
import time
from plates import convert
from profiler.cli import main

read = convert.read_stack
def slow(*data, **how):
    time.sleep(0.2)
    return read(*data, **how)

convert.read_stack = slow
main()
"""


@pytest.mark.parametrize("to", ["hdf5", "ome-zarr"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_leaves_nothing_half_done(plate, tmp_path, to, number, code):
    if to == "ome-zarr":
        pytest.importorskip("zarr")
    for well in range(3, 49):
        (plate / f"demo_B{well:02d}_s1_DNA.tif").write_bytes(
            (plate / "demo_A01_s1_DNA.tif").read_bytes()
        )
    out = tmp_path / "out"
    command = [sys.executable, "-c", SLOW, "convert", plate, "-o", out, "--to", to]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not (out.is_dir() and list(out.glob(".*.part"))):
        time.sleep(0.01)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == code, stderr
    assert "Interrupted. Plates that were whole are kept" in stderr
    assert list(out.iterdir()) == []
