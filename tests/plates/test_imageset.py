"""Image sets: one row per field, files in z order, and what cannot be chosen."""

import polars as pl
import pytest

from plates.errors import BadPlate, BadRecipe, UnknownName
from plates.imageset import FIELD, FieldKey, image_sets
from plates.readers.reader import PLANES


def planes(*rows: tuple) -> pl.DataFrame:
    """Rows of (well, site, channel, z, timepoint), on plate P, with a path that says it all."""
    full = [("P", *row, "_".join(map(str, row))) for row in rows]
    return pl.DataFrame(full, schema=PLANES, orient="row")


def test_one_row_per_field_with_files_in_z_order():
    table = planes(
        ("A01", 1, "w1", 10, 1), ("A01", 1, "w1", 2, 1), ("A01", 1, "w2", 1, 1),
        ("A01", 2, "w1", 1, 1), ("A01", 2, "w2", 1, 1),
    )  # fmt: skip
    sets = image_sets(table, channels={"DNA": "w1", "ER": "w2"})
    assert sets.columns == ["plate", "well", "site", "timepoint", "path_DNA", "path_ER"]
    assert sets.rows() == [
        ("P", "A01", 1, 1, ["A01_1_w1_2_1", "A01_1_w1_10_1"], ["A01_1_w2_1_1"]),
        ("P", "A01", 2, 1, ["A01_2_w1_1_1"], ["A01_2_w2_1_1"]),
    ]


def test_columns_follow_the_recipe():
    table = planes(("A01", 1, "w1", 1, 1), ("A01", 1, "w2", 1, 1))
    sets = image_sets(table, channels={"ER": "w2", "DNA": "w1"})
    assert sets.columns[4:] == ["path_ER", "path_DNA"]


def test_missing_channel_is_null_and_its_field_stays():
    table = planes(("A01", 1, "w1", 1, 1), ("A02", 1, "w2", 1, 1), ("A03", 1, "w3", 1, 1))
    sets = image_sets(table, channels={"DNA": "w1", "ER": "w2"})
    assert sets["well"].to_list() == ["A01", "A02", "A03"]
    assert sets["path_DNA"].to_list() == [["A01_1_w1_1_1"], None, None]
    assert sets["path_ER"].to_list() == [None, ["A02_1_w2_1_1"], None]


def test_sorted_by_row_then_column_then_site():
    wells = [("AA01", 1), ("B01", 10), ("B01", 2), ("A12", 1), ("A02", 1), ("Z48", 1)]
    table = planes(*[(well, site, "w1", 1, 1) for well, site in wells])
    sets = image_sets(table, channels={"DNA": "w1"})
    keys = [FieldKey(*row) for row in sets.select(FIELD).iter_rows()]
    assert [(key.well, key.site) for key in keys] == [
        ("A02", 1), ("A12", 1), ("B01", 2), ("B01", 10), ("Z48", 1), ("AA01", 1)]  # fmt: skip


def test_one_stain_may_serve_twice():
    sets = image_sets(planes(("A01", 1, "w1", 1, 1)), channels={"DNA": "w1", "Cells": "w1"})
    assert sets["path_DNA"].to_list() == sets["path_Cells"].to_list()


def test_time_point_must_be_chosen():
    table = planes(("A01", 1, "w1", 1, 1), ("A01", 1, "w1", 1, 3))
    with pytest.raises(BadPlate, match=r"2 time points \(1, 3\).* Choose one with timepoint"):
        image_sets(table, channels={"DNA": "w1"})
    with pytest.raises(BadPlate, match=r"no time point 2\. There is: 1, 3\."):
        image_sets(table, channels={"DNA": "w1"}, timepoint=2)
    chosen = image_sets(table, channels={"DNA": "w1"}, timepoint=3)
    assert chosen["path_DNA"].to_list() == [["A01_1_w1_1_3"]]
    assert chosen["timepoint"].to_list() == [3]


def test_unknown_channel():
    table = planes(("A01", 1, "Channel1", 1, 1), ("A01", 1, "Channel2", 1, 1))
    message = (
        r"no channel 'Chanel2' \(for DNA\)\. Did you mean 'Channel2'\? "
        r"The plate's channels: Channel1, Channel2\."
    )
    with pytest.raises(UnknownName, match=message):
        image_sets(table, channels={"GFP": "Channel1", "DNA": "Chanel2"})


def test_no_channels():
    with pytest.raises(BadRecipe, match=r"names no channels.* the plate's channels: w1"):
        image_sets(planes(("A01", 1, "w1", 1, 1)), channels={})


def named(*rows: tuple) -> pl.DataFrame:
    """Planes of one field, (channel, channel_name)."""
    table = planes(*[("A01", 1, channel, 1, 1) for channel, _ in rows])
    return table.with_columns(channel_name=pl.Series([name for _, name in rows], dtype=pl.String))


def test_channels_go_by_their_names_too():
    table = named(("w1", "DAPI"), ("w2", "FITC"), ("w3", None))
    sets = image_sets(table, channels={"DNA": "DAPI", "ER": "w2", "Mito": "w3"})
    assert sets.columns[4:] == ["path_DNA", "path_ER", "path_Mito"]
    assert sets.row(0)[4:] == (["A01_1_w1_1_1"], ["A01_1_w2_1_1"], ["A01_1_w3_1_1"])


def test_a_channel_comes_before_a_name():
    table = named(("w1", "w2"), ("w2", "w1"))
    assert image_sets(table, channels={"DNA": "w1"})["path_DNA"].to_list() == [["A01_1_w1_1_1"]]


def test_a_name_that_two_channels_share():
    message = r"Several channels are called 'FITC' \(for ER\): w1, w2\. Use one of these"
    with pytest.raises(BadRecipe, match=message):
        image_sets(named(("w1", "FITC"), ("w2", "FITC")), channels={"ER": "FITC"})


def test_unknown_channel_lists_names():
    message = r"no channel 'DAPY' .*Did you mean 'DAPI'\? The plate's channels: w1, DAPI \(w1\)\."
    with pytest.raises(UnknownName, match=message):
        image_sets(named(("w1", "DAPI")), channels={"DNA": "DAPY"})


def test_each_time_point_is_a_field():
    table = planes(
        ("A01", 1, "w1", 1, 2), ("A01", 1, "w1", 1, 1), ("A01", 1, "w2", 1, 1),
        ("A01", 1, "w1", 2, 1),
    )  # fmt: skip
    sets = image_sets(table, channels={"DNA": "w1", "ER": "w2"}, timepoint="each")
    assert sets.columns == ["plate", "well", "site", "timepoint", "path_DNA", "path_ER"]
    assert sets.rows() == [
        ("P", "A01", 1, 1, ["A01_1_w1_1_1", "A01_1_w1_2_1"], ["A01_1_w2_1_1"]),
        ("P", "A01", 1, 2, ["A01_1_w1_1_2"], None),
    ]
    with pytest.raises(BadRecipe, match="timepoint is 'all': give a number, or \"each\""):
        image_sets(table, channels={"DNA": "w1"}, timepoint="all")


def test_one_z_plane():
    table = planes(("A01", 1, "w1", 1, 1), ("A01", 1, "w1", 3, 1), ("A01", 1, "w2", 3, 1))
    sets = image_sets(table, channels={"DNA": "w1", "ER": "w2"}, z=3)
    assert sets.row(0)[4:] == (["A01_1_w1_3_1"], ["A01_1_w2_3_1"])
    with pytest.raises(BadPlate, match=r"no z plane 2\. There is: 1, 3\."):
        image_sets(table, channels={"DNA": "w1"}, z=2)
