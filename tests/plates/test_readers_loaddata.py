"""CellProfiler's LoadData CSV: columns, paths, addresses, and what is refused."""

import re

import polars as pl
import pytest

from plates.errors import BadPlate
from plates.readers import scan
from plates.readers.reader import PLANES


@pytest.fixture
def plate(tmp_path):
    """A folder with images/{a,b,c,d}.tif and one or more index files."""

    def plate(*texts: str):
        (tmp_path / "BR1/images").mkdir(parents=True)
        for name in "abcd":
            (tmp_path / f"BR1/images/{name}.tif").touch()
        for number, text in enumerate(texts):
            text = text.replace("$HOME", str(tmp_path / "BR1"))
            (tmp_path / f"BR1/load_data{number or ''}.csv").write_text(text)
        return tmp_path / "BR1"

    return plate


def names(planes: pl.DataFrame) -> list[tuple]:
    rows = planes.select(PLANES.names()).iter_rows()
    return [(*row[:-1], row[-1].rpartition("/")[2]) for row in rows]


def test_cellprofiler_columns(plate):
    home = plate(
        "FileName_OrigDNA,PathName_OrigDNA,FileName_OrigER,PathName_OrigER,FileName_IllumDNA,"
        "PathName_IllumDNA,Metadata_Plate,Metadata_Well,Metadata_Site\n"
        "a.tif,$HOME/images,b.tif,$HOME/images,x.npy,/illum,P9,b3,2\n"
        "c.tif,images,d.tif,images/,x.npy,/illum,P9,A02,1\n"
    )
    planes = scan(home / "load_data.csv")
    assert names(planes) == [
        ("P9", "A02", 1, "DNA", 1, 1, "c.tif"),
        ("P9", "A02", 1, "ER", 1, 1, "d.tif"),
        ("P9", "B03", 2, "DNA", 1, 1, "a.tif"),
        ("P9", "B03", 2, "ER", 1, 1, "b.tif"),
    ]
    assert planes["path"][0] == str(home / "images/c.tif")
    assert scan(home).equals(planes)  # found in its folder, and trusted before file names


def test_without_orig_plate_or_site(plate):
    home = plate("FileName_DNA,FileName_IllumDNA,Metadata_Well\nimages/a.tif,x.npy,A1\n")
    assert names(scan(home)) == [("BR1", "A01", 1, "DNA", 1, 1, "a.tif")]


def test_addresses(plate):
    home = plate(
        "URL_OrigDNA,URL_ER,Metadata_Well\nfile://$HOME/images/a.tif,x,A1\nimages/b.tif,x,A2\n"
    )
    planes = scan(home)
    assert planes["path"].to_list() == [str(home / "images/a.tif"), str(home / "images/b.tif")]


def test_address_with_escapes(plate):
    home = plate("URL_OrigDNA,Metadata_Well\nfile://$HOME/images/a%20b.tif,A1\nimages/b.tif,A2\n")
    assert scan(home)["path"][0] == str(home / "images/a b.tif")


def test_file_name_is_preferred_to_address(plate):
    home = plate(
        "URL_OrigDNA,FileName_OrigDNA,PathName_OrigDNA,Metadata_Well\ns3://x/a.tif,b.tif,images,A1\n"
    )
    assert scan(home)["path"].to_list() == [str(home / "images/b.tif")]


def test_row_column_z_and_time(plate):
    home = plate(
        "FileName_OrigDNA,PathName_OrigDNA,Metadata_Row,Metadata_Col,Metadata_PlaneID,Metadata_T\n"
        "a.tif,images,2,3,1,0\nb.tif,images,2,3,2,0\nc.tif,images,2,3,1,1\n"
    )
    planes = scan(home)
    assert planes.select("well", "z", "timepoint").rows() == [
        ("B03", 1, 1),
        ("B03", 1, 2),
        ("B03", 2, 1),
    ]


def test_empty_cell_is_a_channel_that_the_field_lacks(plate):
    home = plate(
        "FileName_OrigA,FileName_OrigB,Metadata_Well\nimages/a.tif,,A1\nimages/b.tif,images/c.tif,A2\n"
    )
    assert scan(home).select("well", "channel").rows() == [("A01", "A"), ("A02", "A"), ("A02", "B")]


def test_missing_files_stay_in_the_table(plate):
    home = plate("FileName_OrigA,Metadata_Well\nimages/a.tif,A1\nimages/gone.tif,A2\n")
    assert scan(home)["well"].to_list() == ["A01", "A02"]


def test_other_tables_are_no_index(plate):
    home = plate("well,compound\nA1,x\n")
    (home / "images/p_A01_s1_DNA.tif").touch()
    assert scan(home)["plate"].to_list() == ["p"]


HEAD = "FileName_OrigA,Metadata_Well"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            "images/gone.tif,A1\n/gone2.tif,A2",
            r"None of the 2 files .*; the first is .*BR1/images/gone",
        ),
        (
            "images/a.tif,A99",
            "load_data.csv, row 1 below the header: 'A99' is not a well. Row 1, column 99 is on no",
        ),
        ("images/a.tif,A1\n,A2", "row 2 below the header names no file at all"),
        ("images/a.tif,A1\nimages/b.tif,A1", r"well A01, .* has two files: .*a.tif and .*b.tif"),
        ("", "has a header but no rows"),
    ],
)
def test_lines_refused(plate, lines, message):
    with pytest.raises(BadPlate, match=message):
        scan(plate(f"{HEAD}\n{lines}\n"))


@pytest.mark.parametrize("address", ["s3://bucket/a.tif", "https://x.org/a.tif"])
def test_addresses_in_stores_stay(plate, address):
    planes = scan(plate(f"URL_OrigA,Metadata_Well\n{address},A1\n"))
    assert planes["path"].to_list() == [address]


@pytest.mark.parametrize("address", ["ftp://x.org/a.tif", "omero:iid=1", "s3:a.tif"])
def test_addresses_of_unknown_kinds(plate, address):
    message = f"names {address}, which cannot be read. Expected a path, or an address that starts"
    with pytest.raises(BadPlate, match=re.escape(message)):
        scan(plate(f"URL_OrigA,Metadata_Well\n{address},A1\n"))


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [
        ("Metadata_Site", "x", "row 1 below the header: Metadata_Site is 'x', expected a whole"),
        (
            "Metadata_Plate",
            "../../x",
            r"called '\.\./\.\./x', which cannot be the name of a folder",
        ),
        ("Metadata_Plate", "", "called '', which cannot be"),
    ],
)
def test_cells_refused(plate, column, cell, message):
    with pytest.raises(BadPlate, match=message):
        scan(plate(f"{HEAD},{column}\nimages/a.tif,A1,{cell}\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("FileName_OrigA\nimages/a.tif\n", "has no well column. Found: FileName_OrigA"),
        (
            "FileName_IllumDNA,Metadata_Well\nx.npy,A1\n",
            "names no image. Found the columns FileName_IllumDNA, Metadata_Well",
        ),
    ],
)
def test_refused(plate, text, message):
    with pytest.raises(BadPlate, match=message):
        scan(plate(text))


def test_several_indices(plate):
    home = plate(f"{HEAD}\nimages/a.tif,A1\n", f"{HEAD}\nimages/b.tif,A1\n")
    with pytest.raises(
        BadPlate, match=r"found: load_data.csv, load_data1.csv\. Give the file itself"
    ):
        scan(home)
    assert len(scan(home / "load_data1.csv")) == 1


def test_asked_for_but_not_there(plate):
    with pytest.raises(BadPlate, match=r"Expected one LoadData CSV .* found: none"):
        scan(plate(), reader="loaddata")
