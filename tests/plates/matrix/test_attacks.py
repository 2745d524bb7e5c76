"""What an index could be made to do: entities, paths that climb out, duplicates, damage.

Every index is attacked in every plate of the matrix, so that a new reader cannot be forgotten.
"""

import re
import shutil

import pytest

from plates.errors import BadPlate
from plates.readers import scan

XML = {
    "cellvoyager": "MeasurementData.mlf",
    "harmony": "Images/Index.xml",
    "incell": "plate.xdce",
    "scanr": "experiment_descriptor.xml",
}
BOMB = (
    '<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">'
    '<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>'
)
EXTERNAL = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
NAMES = {  # a plane's name in each index that names files, as the grid has it
    "cellvoyager": ("MeasurementData.mlf", r"M_B03_T0001F001L01A01Z01C01\.tif"),
    "harmony": ("Images/Index.xml", r"r02c03f01p01-ch1sk1fk1fl1\.tiff"),
    "gallery": (
        "workspace/load_data_csv/b1/M/load_data.csv",
        "/bucket/cpg/images/b1/images/M/Images",
    ),
    "incell": ("plate.xdce", r"B - 03\(fld 1 wv 1 z 1 time 1\)\.tif"),
    "ome-zarr": (".zattrs", r"B/3(?=\")"),
    "ome-zarr, 0.5": ("zarr.json", r"B/3(?=\")"),
}


@pytest.fixture
def own(plate, tmp_path):
    """A function that copies a plate, to be damaged."""
    return lambda kind: shutil.copytree(plate(kind), tmp_path / "M")


@pytest.mark.parametrize("attack", [BOMB, EXTERNAL], ids=["bomb", "external"])
@pytest.mark.parametrize("kind", XML)
def test_entities_are_refused_unread(own, kind, attack):
    home = own(kind)
    index = home / XML[kind]
    text = re.sub(r"^<\?xml.*?\?>", "", index.read_text())
    index.write_text(attack + text.replace("</", "&c;</", 1))
    with pytest.raises(BadPlate, match=r"declares a document type .* It was not read"):
        scan(home)


@pytest.mark.parametrize("name", ["../../../../../secret.tif", "/etc/passwd", "C:x"])
@pytest.mark.parametrize("kind", NAMES)
def test_no_index_leads_out_of_its_folder(own, kind, name):
    home = own(kind)
    index, pattern = NAMES[kind]
    path = home / index
    text, n = re.subn(pattern, lambda _: name, path.read_text(), count=1)
    assert n == 1
    path.write_text(text)
    with pytest.raises(BadPlate, match=r"which is not below its folder\. It was not opened"):
        scan(home)


@pytest.mark.parametrize("kind", ["cellvoyager", "harmony", "incell"])
def test_a_plane_that_an_index_names_twice(own, kind):
    home = own(kind)
    path = home / NAMES[kind][0]
    text = path.read_text()
    tag = {"cellvoyager": "bts:MeasurementRecord", "harmony": "Image", "incell": "Image"}[kind]
    record = re.search(rf"<{tag}[ >](?:(?!<{tag}[ >]).)*?</{tag}>", text, re.DOTALL)
    assert record is not None
    path.write_text(text.replace(record[0], record[0] * 2))
    with pytest.raises(BadPlate, match=r"well B03, site 1, .* has two files: "):
        scan(home)


@pytest.mark.parametrize("kind", [*XML, "ome-zarr", "ome-zarr, 0.5", "hdf5", "cellh5"])
def test_an_index_cut_short_is_told(own, kind):
    home = own(kind)
    name = XML.get(kind) or {
        "ome-zarr": ".zattrs", "ome-zarr, 0.5": "zarr.json", "hdf5": "M.h5", "cellh5": "M.ch5",
    }[kind]  # fmt: skip
    path = home / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(
        BadPlate, match=rf"{re.escape(path.name)}.* (is not|cannot|damaged).* [Cc]opy it again"
    ):
        scan(home)
