"""The pattern reader: built-in names, a user's own, and what does not fit."""

from pathlib import Path

import polars as pl
import pytest

from plates.errors import BadPlate, BadRecipe, UnknownName
from plates.readers import scan, unused_images
from plates.readers.folder import plate_name
from plates.readers.pattern import PATTERNS, compiled
from plates.readers.reader import PLANE


@pytest.fixture
def folder(tmp_path):
    """Make a folder of empty files: readers open no image."""

    def folder(*names: str, name: str = "plate7"):
        for file in names:
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path / name

    return folder


def rows(planes: pl.DataFrame) -> list[tuple]:
    return planes.select(PLANE).rows()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Channel2-31-C-07.tif", ("plate7", "C07", 1, "Channel2", 1, 1)),
        ("r03c04f05p06-ch2sk7fk1fl1.tiff", ("plate7", "C04", 5, "ch2", 6, 7)),
        ("9987_B02_s2_w3.TIF", ("plate7", "B02", 2, "w3", 1, 1)),
        ("9987_B02_s12_w3.TIF", ("plate7", "B02", 12, "w3", 1, 1)),
        ("9987_B02_w3.TIF", ("plate7", "B02", 1, "w3", 1, 1)),
        ("9987_B02.TIF", ("plate7", "B02", 1, "1", 1, 1)),
        ("TimePoint_3/ZStep_2/my_plate_AF48_s2_w3.TIF", ("plate7", "AF48", 2, "w3", 2, 3)),
        ("ZStep_2/9987_B02_s2_w3.TIF", ("plate7", "B02", 2, "w3", 2, 1)),
        ("demo_B03_s1_DNA.tif", ("demo", "B03", 1, "DNA", 1, 1)),
        ("my_demo_B03_s12_z3_ER.png", ("my_demo", "B03", 12, "ER", 3, 1)),
    ],
)
def test_built_in_patterns(folder, name, expected):
    assert rows(scan(folder(name))) == [expected]


@pytest.mark.parametrize(
    "name",
    ["9987_B02_s1_w1_thumb.TIF", "a_E07_s1_w2607EE13F-AB5E.tif", "a_B02_s1_thumbA6B07.tif",
     "ZStep_0/a_B02_s1_w1.TIF", "Channel1-01-A-01.tif.bak", "._Channel1-01-A-01.tif", "x.ome.tif"],
)  # fmt: skip
def test_names_that_are_not_taken_are_reported(folder, name):
    home = folder("9987_B02_s1_w1.TIF", name)
    planes = scan(home)
    assert len(planes) == 1
    is_image = name.lower().endswith(".tif") and not name.startswith(".")
    assert unused_images(home, planes) == ([home / name] if is_image else [])


def test_subfolders_are_searched(folder):
    home = folder("a/Channel1-01-A-01.tif", "b/Channel1-02-A-02.tif")
    assert scan(home)["well"].to_list() == ["A01", "A02"]


def test_generic_folders_give_way_to_their_parent(folder):
    assert scan(folder("Channel1-01-A-01.tif", name="BR01/Images"))["plate"][0] == "BR01"
    assert plate_name(folder(name="BR02/TimePoint_1/ZStep_3")) == "BR02"
    assert plate_name(Path("/images")) == "images"
    assert plate_name(Path("/screen/2023-02-21")) == "2023-02-21"  # a plate may be called so
    assert plate_name(Path("/screen/2023-02-21/1334/TimePoint_1")) == "screen"
    assert plate_name(folder(name="BR03/Images2")) == "Images2"


def test_sorted_by_well_row_and_column(folder):
    names = [f"p_{well}_s{site}_DNA.tif" for well in ("AA01", "B01", "A12") for site in (10, 2)]
    planes = scan(folder(*names))
    assert planes["well"].to_list() == ["A12", "A12", "B01", "B01", "AA01", "AA01"]
    assert planes["site"].to_list() == [2, 10] * 3


def test_own_pattern(folder):
    pattern = r"(?P<plate>\w+?)-(?P<row>\d+)x(?P<column>\d+)-f(?P<site>\d)-(?P<channel>\w+)\.png"
    home = folder("p-2x3-f1-DNA.png", "notes.txt", "other.png")
    planes = scan(home, pattern=pattern)
    assert rows(planes) == [("p", "B03", 1, "DNA", 1, 1)]
    assert unused_images(home, planes) == [home / "other.png"]


def test_own_pattern_with_a_slash_sees_the_folders(folder):
    pattern = r"(?P<well>\w+)/field(?P<site>\d+)_(?P<channel>\w+)\.tif"
    planes = scan(folder("B3/field2_DNA.tif"), pattern=pattern, reader="pattern")
    assert rows(planes) == [("plate7", "B03", 2, "DNA", 1, 1)]


def test_pattern_must_fit_the_whole_name(folder):
    home = folder("B03_DNA.tif.tif")
    with pytest.raises(BadPlate, match=r"No image in .* fits the pattern"):
        scan(home, pattern=r"(?P<well>B03)_(?P<channel>DNA)\.tif")


def test_built_in_by_name(folder):
    home = folder("9987_B02_s1_w1.TIF", "demo_B03_s1_DNA.tif")
    assert scan(home)["well"].to_list() == ["B02"]
    assert scan(home, pattern="synthetic")["well"].to_list() == ["B03"]


def test_numbers_from_zero_are_moved_up(folder):
    pattern = r"(?P<well>\w+)_f(?P<site>\d+)_z(?P<z>\d+)_t(?P<timepoint>\d+)_(?P<channel>\w)\.tif"
    home = folder("A1_f0_z1_t0_a.tif", "A1_f1_z2_t0_a.tif", "A1_f10_z3_t0_a.tif")
    planes = scan(home, pattern=pattern)
    assert planes["site"].to_list() == [1, 2, 11]
    assert planes["z"].to_list() == [1, 2, 3]
    assert planes["timepoint"].to_list() == [1, 1, 1]


@pytest.mark.parametrize(
    ("pattern", "error", "message"),
    [
        ("(?P<well>[A-Z", BadRecipe, "is not a regular expression: unterminated character set"),
        (r"(?P<well>\w+)\.tif", BadRecipe, r"has the groups well\. It needs \(\?P<channel>"),
        (r"(?P<channel>\w+)(?P<row>\w)\.tif", BadRecipe, "groups channel, row. It needs"),
        (r"(?P<wel>\w+)(?P<channel>x)", BadRecipe, "a group 'wel'. Did you mean 'well'"),
        (
            "metaxpres",
            UnknownName,
            "no built-in file name pattern called 'metaxpres'. Did you mean",
        ),
        (r".*\.tif", UnknownName, "no built-in file name pattern"),
    ],
)
def test_patterns_that_are_none(folder, pattern, error, message):
    with pytest.raises(error, match=message):
        scan(folder("A1.tif"), pattern=pattern)


@pytest.mark.parametrize(
    ("name", "pattern", "message"),
    [
        (
            "Z99_1.tif",
            r"(?P<well>\w+)_(?P<channel>\d)\.tif",
            "Z99_1.tif: 'Z99' is not a well. Row 26, column 99 is on no",
        ),
        (
            "A1_sx_1.tif",
            r"(?P<well>\w+)_s(?P<site>.)_(?P<channel>\d)\.tif",
            "site found 'x', expected",
        ),
        ("A1_s9999999_1.tif", r"(?P<well>\w+)_s(?P<site>\d+)_(?P<channel>\d)\.tif", "up to 999999"),
    ],
)
def test_names_that_cannot_be(folder, name, pattern, message):
    with pytest.raises(BadPlate, match=message):
        scan(folder(name), pattern=pattern)


def test_two_files_for_one_plane(folder):
    home = folder("a/9987_B02_s1_w1.TIF", "b/9987_B02_s1_w1.TIF", "a/9987_B02_s1_w2.TIF")
    message = (
        "well B02, site 1, channel w1, z 1, timepoint 1 has two files: .*a/9987_B02_s1_w1.TIF and "
        r".*b/9987_B02_s1_w1.TIF \(2 files are such copies\)"
    )
    with pytest.raises(BadPlate, match=message):
        scan(home)


def test_built_ins_compile():
    assert all(compiled(name).groupindex for name in PATTERNS)


def test_bbbc013(data_folder):
    planes = scan(data_folder / "bbbc013/images")
    assert len(planes) == 192
    assert planes["plate"].unique().to_list() == ["bbbc013"]
    assert planes["well"].n_unique() == 96
    assert planes.group_by("well").agg(pl.col("channel").sort())["channel"].to_list() == [
        ["Channel1", "Channel2"]] * 96  # fmt: skip
    first = planes.row(0, named=True)
    assert first["path"].endswith("Channel1-01-A-01.tif")


def test_phenix(data_folder):
    planes = scan(data_folder / "cell_painting/br00143976_phenix_naming")
    assert planes["channel"].to_list() == [f"ch{i}" for i in range(1, 7)]
    assert planes.select("well", "site", "z", "timepoint").unique().rows() == [("C03", 3, 1, 1)]


@pytest.mark.parametrize(
    ("plate", "count", "unused"), [("3420", 1, 0), ("3434", 2 * 2 * 3 * 2, 12), ("3435", 16, 0)]
)
def test_metaxpress_export(data_folder, plate, count, unused):
    home = data_folder / f"vendor/ImageXpress_exported/9987_Plate_{plate}"
    planes = scan(home)
    assert len(planes) == count
    assert planes["plate"].unique().to_list() == [f"9987_Plate_{plate}"]
    left = unused_images(home, planes)
    assert len(left) == unused
    assert all("ZStep_0" in str(path) for path in left)
