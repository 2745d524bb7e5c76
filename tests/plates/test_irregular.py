"""Missing or extra sites, planes and channels are told by name, and nothing of a regular plate."""

from plates.imageset import image_sets
from plates.irregular import irregularities
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
