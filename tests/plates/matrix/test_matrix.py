"""Every reader on the same plate, plane by plane; the documentation's table is held to it."""

from pathlib import Path

import numpy as np
import pytest

from plates.pixels import read_plane
from plates.readers import READERS, scan

DOCS = Path(__file__).parents[3] / "docs/formats.md"
PIXEL_UM, STEP_UM, LAPSE_S, POWER = 0.325, 2.0, 60.0, 20.0  # of every plate that says so
SIZE, LENS, Z, TIME, DYES = "pixel size", "objective", "z in um", "time in s", "channel names"
SAYS = {  # what each format tells besides the planes
    "loaddata": (),
    "samplesheet": (),
    "gallery": (),
    "cellvoyager": (SIZE, LENS, DYES, Z, TIME),
    "harmony": (SIZE, LENS, DYES, Z, TIME),
    "incell": (SIZE, LENS, Z, TIME),
    "scanr": (SIZE,),
    "ome-zarr": (SIZE, Z, TIME),
    "ome-zarr, 0.5": (SIZE, Z, TIME),
    "hdf5": (SIZE, LENS, DYES, Z, TIME),
    "cellh5": (),
    "ome-tiff": (SIZE, Z, TIME),
    "imagexpress": (SIZE, LENS),
    "imagexpress, exported": (DYES,),
    "pattern": (),
}


def test_every_reader_is_there(grid):
    assert set(SAYS) == set(grid.kinds)
    assert {kind.partition(",")[0] for kind in SAYS} == set(READERS)


@pytest.mark.parametrize("kind", SAYS)
def test_every_plane_is_where_it_was_put(plate, grid, kind):
    planes = scan(plate(kind))
    assert len(planes) == len(grid.places) == 32
    assert planes["plate"].unique().to_list() == ["M"]
    channels = planes["channel"].unique().sort().to_list()  # C01 C02, DAPI GFP, ch1 ch2, w1 w2
    assert len(channels) == 2
    for row in planes.iter_rows(named=True):
        channel = channels.index(row["channel"]) + 1
        place = grid.place(row["well"], row["site"], channel, row["z"], row["timepoint"])
        np.testing.assert_array_equal(
            read_plane(row["path"]).pixels, grid.pixels(place), str(place)
        )


@pytest.mark.parametrize("kind", [kind for kind, facts in SAYS.items() if facts])
def test_what_a_format_says_besides(plate, kind):
    planes, says = scan(plate(kind)), SAYS[kind]
    if SIZE in says:
        assert planes["pixel_size_um"].to_list() == pytest.approx([PIXEL_UM] * 32)
    if LENS in says:
        assert planes["magnification"].unique().to_list() == [POWER]
        assert planes["objective"].null_count() == 0
    if DYES in says:
        assert planes["channel_name"].unique().sort().to_list() == ["DAPI", "GFP"]
    if Z in says:
        expected = [(z - 1) * STEP_UM for z in planes["z"]]
        assert planes["z_um"].to_list() == pytest.approx(expected)
    if TIME in says:
        expected = [(time - 1) * LAPSE_S for time in planes["timepoint"]]
        assert planes["time_s"].to_list() == pytest.approx(expected)


def test_what_a_format_does_not_say_is_null(plate):
    for kind, says in SAYS.items():
        planes = scan(plate(kind))
        said = {SIZE: "pixel_size_um", LENS: "magnification", Z: "z_um", TIME: "time_s"}
        for fact, column in said.items():
            lacks = planes[column].null_count() == len(planes)
            assert lacks == (fact not in says), (kind, fact)


def test_the_documentation_promises_no_more_than_is_tested():
    lines = [line for line in DOCS.read_text().splitlines() if line.startswith("| `")]
    header = next(line for line in DOCS.read_text().splitlines() if line.startswith("| reader"))
    names = [cell.strip() for cell in header.strip("|").split("|")]
    tested: dict[str, set[str]] = {}
    for kind, says in SAYS.items():
        tested.setdefault(kind.partition(",")[0], set()).update(says)
    for line in lines[: len(tested)]:
        cells = dict(zip(names, (c.strip() for c in line.strip("|").split("|")), strict=True))
        reader = cells["reader"].strip("`")
        for fact in (SIZE, Z, TIME):
            assert (cells[fact] != "-") == (fact in tested[reader]), (reader, fact)
