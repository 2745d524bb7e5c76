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


def scanr_plate(home, *labels: tuple[str, int], **said: int) -> list[str]:
    """The wells that are read of labels and numbers, with what the descriptor says."""
    home.mkdir(exist_ok=True)
    for label, number in labels:
        (home / f"{label}--W{number:05d}--P00001--Z00000--T00000--DAPI.tif").touch()
    values = "".join(f"<U16><Name>{n}</Name><Val>{v}</Val></U16>" for n, v in said.items())
    text = f"<LVData><Cluster><Name>format typedef</Name>{values}</Cluster></LVData>"
    (home / "experiment_descriptor.xml").write_text(text)
    return scan(home)["well"].to_list()


@pytest.mark.parametrize(
    ("labels", "said", "wells"),
    [
        # Treatments and a control: C1 alone could be a well, and T1 lies on no plate of 8 x 12.
        ([("T1", 1), ("T2", 2), ("C1", 13)], {"Rows": 8, "Columns": 12}, ["A01", "A02", "B01"]),
        ([("T1", 1), ("C1", 13)], {"Number of wells": 96}, ["A01", "B01"]),
        ([("A13", 1), ("B1", 2)], {"Columns": 12}, ["A01", "A02"]),
        # On the plate, whatever the numbers count.
        ([("C1", 1), ("H12", 2)], {"Rows": 8, "Columns": 12}, ["C01", "H12"]),
        ([("T1", 1)], {"Rows": 32, "Columns": 48}, ["T01"]),
        # The numbers are those of 384 wells, so it is the descriptor that is of another plate.
        ([("B1", 25), ("P24", 384)], {"Rows": 8, "Columns": 12}, ["B01", "P24"]),
        ([("T1", 7)], {}, ["T01"]),
    ],
)
def test_scanr_labels_that_are_no_wells(tmp_path, labels, said, wells):
    assert scanr_plate(tmp_path / "p", *labels, **said) == wells


def test_scanr_without_images(trees, tmp_path):
    home = trees["scanr"](tmp_path / "SR1")
    for path in (home / "data").iterdir():
        path.unlink()
    with pytest.raises(BadPlate, match=r"No image beside .* has a ScanR name .* 0 have another"):
        scan(home)
