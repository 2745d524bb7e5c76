"""Which fields of an OME-Zarr plate show one site: their numbers, and acquisitions in pairs."""

import shutil

import pytest

from plates.errors import BadPlate
from plates.readers import scan
from tests.plates.conftest import edit_ome


@pytest.fixture(params=["0.4", "0.5"])
def plate(request, trees, tmp_path):
    return trees["ome-zarr"](tmp_path / "z.zarr", version=request.param)


def with_fields(plate, wells):
    """List other wells and fields: all are copies of the one there is."""
    one = plate / "B/3/0"
    edit_ome(plate, lambda said: said["plate"].update(
        rows=[{"name": "B"}], columns=[{"name": str(i)} for i in wells],
        wells=[{"path": f"B/{i}", "rowIndex": 0, "columnIndex": k} for k, i in enumerate(wells)],
    ))  # fmt: skip
    for number, images in wells.items():
        well = plate / f"B/{number}"
        if not well.exists():
            shutil.copytree(plate / "B/3", well)
        for name, _ in images:
            if not (well / name).exists():
                shutil.copytree(one, well / name)
        listed = [
            {"path": name} | ({"acquisition": cycle} if cycle else {}) for name, cycle in images
        ]
        edit_ome(well, lambda said, listed=listed: said["well"].update(images=listed))


def sites(plate, channel="DNA"):
    """Well, site and name of the fields that have a channel, the first cycle's by default."""
    planes = scan(plate)
    first = min(name for name in planes["channel"].unique() if name.endswith(channel))
    rows = planes.filter(channel=first).select("well", "site", "path").iter_rows()
    return sorted({(well, site, path.split("/B/")[1].split("/")[1]) for well, site, path in rows})


def test_all_wells_are_numbered_alike(plate):
    with_fields(plate, {3: [("0", 1), ("1", 1)], 4: [("0", 1), ("1", 1), ("2", 2), ("3", 2)]})
    assert sites(plate) == [("B03", 1, "0"), ("B03", 2, "1"), ("B04", 1, "0"), ("B04", 2, "1")]
    assert sites(plate, "a2_DNA") == [("B04", 1, "2"), ("B04", 2, "3")]


def test_cycles_that_are_listed_in_turn(plate):
    with_fields(plate, {3: [("7", 1), ("9", 2), ("4", 1), ("1", 2)]})
    assert sites(plate) == [("B03", 1, "7"), ("B03", 2, "4")]
    assert sites(plate, "a2_DNA") == [("B03", 1, "9"), ("B03", 2, "1")]


def test_cycles_with_different_numbers_of_fields(plate):
    with_fields(plate, {3: [("0", 1), ("1", 1), ("3", 2)]})
    message = (
        r"z\.zarr: well B03 lists 2 of acquisition 1 and 1 of acquisition 2: as .* In its meta"
    )
    with pytest.raises(BadPlate, match=message):
        scan(plate)
    with_fields(plate, {3: [("1", 1), ("3", 2)]})  # as the message says
    assert sites(plate) == [("B03", 1, "1")]


@pytest.mark.parametrize(
    ("wells", "expected"),
    [
        ({3: [("0", 0), ("2", 0)], 4: [("2", 0)]}, [("B03", 1), ("B03", 3), ("B04", 3)]),
        ({3: [("1", 0), ("2", 0)], 4: [("2", 0)]}, [("B03", 1), ("B03", 2), ("B04", 2)]),
        ({3: [("4", 1)], 4: [("5", 2)]}, [("B03", 4), ("B04", 5)]),  # a cycle each
        ({3: [("0", 0)], 4: [("f1", 0), ("f2", 0)]}, [("B03", 1), ("B04", 1), ("B04", 2)]),
    ],
)
def test_fields_count_from_1_over_the_whole_plate(plate, wells, expected):
    with_fields(plate, wells)
    found = scan(plate).select("well", "site").unique().sort("well", "site")
    assert found.rows() == expected
