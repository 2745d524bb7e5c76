"""Plate maps by barcode: a small tree by hand, real ones, and every mismatch."""

import polars as pl
import pytest

from plates.barcodes import read_plate_maps
from plates.errors import BadLayout, UnknownName

BARCODES = "Assay_Plate_Barcode,Plate_Map_Name,Batch_Number\nP1,map_a,7\nP2,map_a,7\nP3,map_b,8\n"
MAP_A = "plate_map_name\twell_position\tcompound\tdose\nmap_a\tA01\ttaxol\t1.5\nmap_a\tB2\t\t\n"
MAP_B = "well_position\tcompound\tsolvent\nA01\tnoc\tDMSO\n"
COLUMNS = {"broad_sample": "Metadata_Compound", "mmoles_per_liter": "Metadata_Concentration"}


@pytest.fixture
def batch(tmp_path):
    def write(barcodes: str = BARCODES, **maps: str):
        (tmp_path / "platemap").mkdir()
        (tmp_path / "barcode_platemap.csv").write_text(barcodes)
        for name, text in maps.items():
            (tmp_path / "platemap" / f"{name}.txt").write_text(text)
        return tmp_path

    return write


def test_every_plate_gets_its_map(batch):
    found = read_plate_maps(batch(map_a=MAP_A, map_b=MAP_B))
    keys = ["Metadata_Plate", "Metadata_Well", "Metadata_Compound", "Metadata_Concentration"]
    assert found.layout.select(keys).rows() == [
        ("P1", "A01", "taxol", 1.5),
        ("P1", "B02", None, None),
        ("P2", "A01", "taxol", 1.5),
        ("P2", "B02", None, None),
        ("P3", "A01", "noc", None),
    ]
    assert found.layout["Metadata_Batch_Number"].to_list() == ["7"] * 4 + ["8"]
    assert found.layout["Metadata_solvent"].to_list() == [None] * 4 + ["DMSO"]
    assert found.layout["Metadata_Plate_Map_Name"].to_list() == ["map_a"] * 4 + ["map_b"]
    assert "Metadata_plate_map_name" not in found.layout.columns
    assert found.sentences() == []


def test_missing_and_unused_maps_are_told(batch):
    found = read_plate_maps(batch(map_a=MAP_A, map_c=MAP_B))
    assert found.layout["Metadata_Plate"].unique().sort().to_list() == ["P1", "P2"]
    assert found.sentences() == [
        "The plate map map_b is not in platemap/: the wells of P3 have none.",
        "Plate maps that no barcode refers to: map_c.",
    ]


def test_columns_by_other_names(batch):
    text = "well_position\tbroad_sample\tmmoles_per_liter\nA01\tBRD-1\t3.3\nA02\t\t\n"
    found = read_plate_maps(batch(map_a=text, map_b=text), columns=COLUMNS).layout
    assert found["Metadata_Compound"].to_list() == ["BRD-1", None] * 3
    assert found["Metadata_Concentration"].to_list() == [3.3, None] * 3


def test_a_real_batch(data_folder):
    batch = data_folder / "platemaps" / "lincs" / "platemaps" / "2016_04_01_a549_48hr_batch1"
    found = read_plate_maps(batch, columns=COLUMNS)
    barcodes = pl.read_csv(batch / "barcode_platemap.csv")
    assert found.layout.height == barcodes.height * 384
    assert found.layout["Metadata_Plate"].unique(maintain_order=True).to_list() == (
        barcodes["Assay_Plate_Barcode"].to_list()
    )
    plate, name = barcodes.row(3)[:2]
    truth = pl.read_csv(batch / "platemap" / f"{name}.txt", separator="\t")
    ours = found.layout.filter(Metadata_Plate=plate)
    assert ours["Metadata_Compound"].to_list() == truth["broad_sample"].to_list()
    assert ours["Metadata_Concentration"].to_list() == truth["mmoles_per_liter"].to_list()


@pytest.mark.parametrize(
    ("barcodes", "maps", "message"),
    [
        ("plate_code,map\nP,map_a\n", {}, "has the columns plate_code, map. Expected Assay_Plate"),
        (BARCODES + "P1,map_b,9\n", {}, "names the barcode P1 more than once"),
        (BARCODES, {"map_z": MAP_A}, "refers to the plate maps map_a, map_b, and none of them is"),
        (BARCODES, {"map_b": MAP_A}, "is the plate map map_b, but its lines name map_a"),
    ],
)
def test_messages(batch, barcodes, maps, message):
    with pytest.raises(BadLayout, match=message):
        read_plate_maps(batch(barcodes, **maps))


def test_messages_of_columns(batch):
    folder = batch(map_a=MAP_B, map_b=MAP_B)
    with pytest.raises(UnknownName, match=r"no column in map_a\.txt called 'Metadata_dosis'"):
        read_plate_maps(folder, columns={"dosis": "Metadata_Concentration"})
    with pytest.raises(BadLayout, match=r"map_a\.txt has the concentration 'DMSO'"):
        read_plate_maps(folder, columns={"solvent": "Metadata_Concentration"})
