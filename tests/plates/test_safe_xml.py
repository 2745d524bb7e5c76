"""Attacks hidden in indexes: entity bombs, files of this machine, and addresses elsewhere."""

import time
from pathlib import Path

import pytest

from plates.errors import BadPlate
from plates.readers import scan
from plates.readers.folder import inside
from plates.readers.safe_xml import parse_xml

LAUGHS = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 12))
BOMB = f'<?xml version="1.0"?><!DOCTYPE r [<!ENTITY l0 "ha">{LAUGHS}]><r>&l11;</r>'
QUADRATIC = f'<!DOCTYPE r [<!ENTITY a "{"x" * 50_000}">]><r>{"&a;" * 50_000}</r>'
EXTERNAL = '<!DOCTYPE r [<!ENTITY f SYSTEM "file:///etc/hostname">]><r>&f;</r>'
PARAMETER = '<!DOCTYPE r [<!ENTITY % p SYSTEM "file:///etc/hostname"> %p;]><r/>'
REMOTE = '<!DOCTYPE r SYSTEM "http://127.0.0.1:1/x.dtd"><r/>'
DECLARED = "<!DOCTYPE r><r/>"
ATTACKS = {
    "bomb": BOMB, "quadratic": QUADRATIC, "external": EXTERNAL, "parameter": PARAMETER,
    "remote": REMOTE, "declared": DECLARED,
}  # fmt: skip
REFUSED = (
    r"^[^:]* declares a document type \(DOCTYPE\), .* It was not read\. Export the index again"
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-8-sig"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_documents_with_a_type_are_refused_at_once(attack, encoding):
    start = time.perf_counter()
    text = ATTACKS[attack].removeprefix('<?xml version="1.0"?>')
    with pytest.raises(BadPlate, match=REFUSED):
        parse_xml(text.encode(encoding), path="index.xml")
    assert time.perf_counter() - start < 10


@pytest.mark.parametrize(
    ("name", "attack"),
    [(name, attack) for name in ("MeasurementData.mlf", "plate.xdce", "p.companion.ome",
                                 "experiment_descriptor.xml", "Index.xml")
     for attack in ("bomb", "external")],
)  # fmt: skip
def test_every_index_in_xml(tmp_path, name, attack):
    text = ATTACKS[attack]
    if name == "Index.xml":  # its version is looked at first
        text = text.replace("<r>", '<r xmlns="http://www.perkinelmer.com/PEHH/HarmonyV5">')
    (tmp_path / name).write_text(text)
    with pytest.raises(BadPlate, match=REFUSED):
        scan(tmp_path)


def test_header_of_an_ome_tiff(tmp_path, trees):
    import tifffile

    home = trees["ome-tiff"](tmp_path / "p")
    path = home / "screen_b03.ome.tif"
    tifffile.imwrite(path, tifffile.imread(path)[0, 0], description=EXTERNAL, metadata=None)
    with pytest.raises(BadPlate, match=REFUSED):
        scan(home)


def test_namespaces_are_taken_off():
    root = parse_xml('<a:x xmlns:a="u" a:b="1" c="2"><a:y/></a:x>', path="x")
    assert (root.tag, root.attrib, root[0].tag) == ("x", {"b": "1", "c": "2"}, "y")


@pytest.mark.parametrize("text", ["", "no", "<a>", b"\xff\xfe\x00", '<?xml encoding="x"?><a/>'])
def test_what_is_no_xml(text):
    with pytest.raises(BadPlate, match=r"index\.xml is not the XML it should be: .* Copy it again"):
        parse_xml(text, path="index.xml")


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "a/../../x",
        "..",
        "/etc/passwd",
        r"..\x",
        r"\\server\x",
        r"C:\x",
        "C:x",
        "",
        " ",
        "a\0",
    ],
)
def test_names_that_lead_elsewhere(name):
    with pytest.raises(BadPlate, match=r"which is not below its folder\. It was not opened"):
        inside(Path("/plate"), name, index=Path("/plate/index"))


@pytest.mark.parametrize(
    ("name", "path"),
    [("a.tif", "a.tif"), ("./a.tif", "a.tif"), (r"b\a.tif", "b/a.tif"), ("b/..a.tif", "b/..a.tif"),
     (" a b.tif ", "a b.tif"), ("a#1.tif", "a#1.tif")],
)  # fmt: skip
def test_names_that_stay(name, path):
    assert inside(Path("/plate"), name, index=Path("i")) == Path("/plate") / path
