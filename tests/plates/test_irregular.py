"""Missing or extra sites, planes and channels are told by name, and nothing of a regular plate."""

import shutil

import numpy as np
import polars as pl
import pytest
import tifffile

from plates.imageset import image_sets
from plates.irregular import copies, irregularities, lost_files
from plates.readers.reader import PlaneRow, table

CHANNELS = {"DNA": "w1", "ER": "w2"}


def planes(**changes) -> list[PlaneRow]:
    """Three wells of two sites, two channels and two planes, but for what is left out or added."""
    rows = [
        PlaneRow("P", well, site, channel, z, 1, f"{well}_{site}_{channel}_{z}.tif")
        for well in ("A01", "A02", "A03")
        for site in (1, 2)
        for channel in ("w1", "w2")
        for z in (1, 2)
    ]
    without = changes.get("without", lambda row: False)
    return [row for row in rows if not without(row)] + changes.get("more", [])


def told(rows: list[PlaneRow], **options) -> list[str]:
    listed = table(rows)
    return irregularities(
        image_sets(listed, channels=CHANNELS, **options), listed, channels=CHANNELS
    )


def test_a_regular_plate_is_not_talked_of():
    assert told(planes()) == []


def test_missing_and_extra_sites():
    extra = [PlaneRow("P", "A03", 3, "w1", z, 1, f"x{z}.tif") for z in (1, 2)]
    assert told(planes(without=lambda row: (row.well, row.site) == ("A02", 2))) == [
        "P: wells that have fewer or more fields than most (2): A02 (1)."
    ]
    (sentence,) = told(planes(more=extra))
    assert sentence.endswith("than most (2): A03 (3).")


def test_a_lost_plane_of_a_stack():
    lost = planes(without=lambda row: row.path == "A02_2_w2_1.tif")
    assert told(lost) == [
        "P: fields that have fewer or more z planes of ER than most (2): A02 site 2 (1). A "
        "projection takes those that are there."
    ]
    assert told(lost, z=2) == []
    none = planes(without=lambda row: (row.well, row.z) == ("A02", 2))
    sets = image_sets(table(none), channels=CHANNELS, z=2)
    assert sets.filter(well="A02")["path_ER"].to_list() == [None, None]  # rows with a code


def test_a_lost_time_point():
    rows = [row._replace(timepoint=t, path=f"{t}{row.path}") for row in planes() for t in (1, 2)]
    lost = [row for row in rows if (row.well, row.timepoint, row.site) != ("A01", 2, 1)]
    (sentence,) = told(lost, timepoint="each")
    assert sentence.endswith("fields than most (4): A01 (3).")
    one = [row for row in rows if row.path != "2A01_1_w1_1.tif"]
    assert "A01 site 1 time 2 (1)" in told(one, timepoint="each")[0]


def test_extra_channels():
    more = [row._replace(channel="w9", path=f"9{row.path}") for row in planes()[:3]]
    assert told(planes(more=more)) == ["P: channels that the recipe does not use: w9 (3 planes)."]
    named = [row._replace(channel_name="DAPI") for row in planes() if row.channel == "w1"]
    listed = table(named)
    channels = {"DNA": "DAPI"}
    sets = image_sets(listed, channels=channels)
    assert irregularities(sets, listed, channels=channels) == []


def test_many_are_counted_not_listed():
    rows = [
        PlaneRow("P", f"B{column:02d}", site, channel, 1, 1, f"{column}{site}{channel}")
        for column in range(1, 21)
        for site in range(1, 3 if column > 8 else 2)
        for channel in ("w1", "w2")
    ]
    (sentence,) = told(rows)
    assert sentence.endswith("B01 (1), B02 (1), B03 (1), B04 (1), B05 (1) and 3 more.")


def test_sites_without_the_time_point_that_is_taken():
    rows = [row._replace(timepoint=t, path=f"{t}{row.path}") for row in planes() for t in (1, 2)]
    lost = [row for row in rows if row.well != "A02" or row.timepoint == 1]
    assert told(rows, timepoint=2) == []
    assert told(lost, timepoint=2) == [
        "P: left out, as they have no time point 2: A02 site 1, A02 site 2."
    ]
    other = [row._replace(plate="Q") for row in rows if row.timepoint == 1]
    (sentence,) = told(rows + other, timepoint=2)
    assert sentence.startswith(
        "Q: left out, as they have no time point 2: A01 site 1, A01 site 2, A02"
    )
    assert sentence.endswith("A03 site 1 and 1 more.")


@pytest.fixture
def two(tmp_path):
    """Plate P in files of one size, and its copy."""
    rng = np.random.default_rng(0)
    for row in planes():
        path = tmp_path / "P" / row.path
        path.parent.mkdir(exist_ok=True)
        tifffile.imwrite(path, rng.integers(0, 999, (4, 6), dtype=np.uint16), metadata=None)
    shutil.copytree(tmp_path / "P", tmp_path / "P (copy)")
    return tmp_path


def listed(home, *names: str):
    every = [(name, row) for name in names for row in planes()]
    return table(r._replace(plate=name, path=str(home / name / r.path)) for name, r in every)


def test_a_copy_of_a_plate_is_told_once_whatever_the_files_are_called(two):
    (sentence,) = copies(listed(two, "P", "P (copy)"))
    path = two / "P (copy)" / "A01_1_w1_1.tif"
    assert sentence.startswith(f"P (copy) and P hold the same images, such as {path} and {two}")
    assert sentence.endswith("move it out of the folder: its wells count twice.")
    shutil.copytree(two / "P", two / "Q")
    assert len(copies(listed(two, "P", "P (copy)", "Q"))) == 2
    part = listed(two, "Q").filter(well="A03")  # a copy that was not finished
    paths = [str(shutil.copy(path, two / f"{i}.tif")) for i, path in enumerate(part["path"])]
    part = part.with_columns(pl.Series("path", paths))
    assert len(copies(pl.concat([listed(two, "P"), part]))) == 1


def test_plates_of_one_microscope_are_no_copies_for_their_names(two):
    for i, path in enumerate(sorted((two / "P (copy)").iterdir())):
        if i >= 8:  # the first images may well be alike, as those of an empty well
            tifffile.imwrite(path, np.full((4, 6), i, np.uint16), metadata=None)
    assert copies(listed(two, "P", "P (copy)")) == []
    assert copies(listed(two, "P")) == []
    shutil.rmtree(two / "P (copy)")
    assert copies(listed(two, "P", "P (copy)")) == []


def test_files_that_are_not_there_are_listed_once(two):
    (two / "P" / "A02_1_w1_2.tif").unlink()
    lost = lost_files(listed(two, "P"))
    assert lost == [str(two / "P" / "A02_1_w1_2.tif")]
    pages = [row._replace(path=f"{two}/gone.tif#page={i}") for i, row in enumerate(planes())]
    assert lost_files(table(pages)) == [f"{two}/gone.tif"]
    remote = [row._replace(path=f"s3://bucket/{row.path}") for row in planes()]
    assert lost_files(table(remote)) == []
