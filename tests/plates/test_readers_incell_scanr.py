"""IN Cell and ScanR: small plates as their software lays them out, and what is damaged."""

import pytest

from plates.errors import BadPlate
from plates.readers import scan


def test_incell(trees, tmp_path):
    planes = scan(trees["incell"](tmp_path / "IC1"))
    assert planes.select("plate", "well", "site", "channel", "z", "timepoint").rows() == [
        ("IC1", "B03", 1, "w1", 1, 1), ("IC1", "B03", 1, "w2", 1, 1)]  # fmt: skip
    assert planes.select("channel_name", "wavelength_nm", "time_s").rows() == [
        ("DAPI", 455.0, 0.0), ("535_50", 535.0, 1.5)]  # fmt: skip
    said = planes.select("pixel_size_um", "magnification", "objective", "z_um").unique()
    assert said.rows() == [(0.325, 20.0, "Nikon_20X_Plan Apo", 12.5)]
    assert planes["path"][0].endswith("IC1/B - 03(fld 1 wv DAPI - DAPI).tif")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('filename="B', 'filename="..\\B', r"which is not below its folder"),
        ('<Row number="2"/>', "", "has no Row and Column"),
        ('field_index="0"', 'field_index="-1"', "field_index is '-1', expected a whole number"),
        ("Identifier", "Other", "has no Identifier"),
        ("ImageStack", "Other", r"is no index of an IN Cell Analyzer: it starts with Other"),
        ("</ImageStack>", "", "is not the XML it should be"),
    ],
)
def test_incell_damaged(trees, tmp_path, old, new, message):
    index = trees["incell"](tmp_path / "IC1") / "plate.xdce"
    index.write_text(index.read_text().replace(old, new))
    with pytest.raises(BadPlate, match=message):
        scan(tmp_path / "IC1")


def test_scanr(trees, tmp_path):
    planes = scan(trees["scanr"](tmp_path / "SR1"))
    assert planes.select("plate", "well", "site", "channel", "z").rows() == [
        ("S1 µ", "A02", 3, "DAPI", 1), ("S1 µ", "A02", 3, "DAPI", 2),
        # No label: the 14th well of 12 columns is in row B, column 2.
        ("S1 µ", "B02", 1, "DAPI", 1), ("S1 µ", "B02", 1, "DAPI", 2),
    ]  # fmt: skip
    assert planes["pixel_size_um"].unique().to_list() == [0.645]


def test_scanr_without_labels_or_columns(trees, tmp_path):
    index = trees["scanr"](tmp_path / "SR1") / "experiment_descriptor.xml"
    index.write_bytes(index.read_bytes().replace(b"Columns", b"Other"))
    with pytest.raises(BadPlate, match=r"starts with no well, .* so W00014 could be any"):
        scan(tmp_path / "SR1")


def test_scanr_without_images(trees, tmp_path):
    home = trees["scanr"](tmp_path / "SR1")
    for path in (home / "data").iterdir():
        path.unlink()
    with pytest.raises(BadPlate, match=r"No image beside .* has a ScanR name .* 0 have another"):
        scan(home)
