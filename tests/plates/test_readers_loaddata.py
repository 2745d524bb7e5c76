"""CellProfiler's LoadData CSV: columns, paths, addresses, and what is refused."""

import re

import numpy as np
import polars as pl
import pytest
import tifffile
from PIL import Image

from plates.errors import BadPlate
from plates.pixels import read_plane
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
    assert planes.select("well", "channel").rows() == [
        ("A01", "DNA"), ("A01", "ER"), ("A02", "DNA"), ("A02", "ER")]  # fmt: skip
    dna = planes.filter(channel="DNA")["path"].to_list()
    assert dna == [str(home / "images/a.tif"), str(home / "images/b.tif")]


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
        (
            "Metadata_Plate",
            "",
            r"load_data\.csv, row 1 below the header: Metadata_Plate is empty\. Write the plate's",
        ),
        ("Frame_OrigA", "x", r"load_data\.csv: Frame_OrigA is 'x', expected a whole number"),
        (
            "Series_OrigA",
            "2",
            r"load_data\.csv: Series_OrigA of .*images/a\.tif is 2, and only the first series",
        ),
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


# As pe2loaddata writes it: broadinstitute/pe2loaddata, tests/data/Remote/loaddata_cpg.csv (of
# cpg0001), with two of its six channels.
PE2LOADDATA = (
    "FileName_OrigRNA,PathName_OrigRNA,FileName_OrigDNA,PathName_OrigDNA,Metadata_Plate,"
    "Metadata_Well,Metadata_Site,Metadata_AbsPositionZ,Metadata_AbsTime,Metadata_BinningX,"
    "Metadata_BinningY,Metadata_ChannelID,Metadata_ChannelName,Metadata_Col,Metadata_ExposureTime,"
    "Metadata_FieldID,Metadata_ImageResolutionX,Metadata_ImageResolutionY,Metadata_ImageSizeX,"
    "Metadata_ImageSizeY,Metadata_MainEmissionWavelength,Metadata_MainExcitationWavelength,"
    "Metadata_MaxIntensity,Metadata_ObjectiveMagnification,Metadata_ObjectiveNA,Metadata_PlaneID,"
    "Metadata_PositionX,Metadata_PositionY,Metadata_PositionZ,Metadata_Row\n"
)
LINE = (
    "{rna},images,{dna},images,BR00113255,A01,{site},0.134632304,2020-06-19T11:16:53.073-04:00,1,"
    "1,5,HOECHST 33342,1,0.01,{field},2.9898804047838085E-07,2.9898804047838085E-07,2160,2160,"
    "456,405,65535,20,1,1,0,0,-3E-06,1\n"
)


@pytest.mark.parametrize("field", ["2", "02", "2.0", ""])
def test_header_of_pe2loaddata(plate, field):
    home = plate(
        PE2LOADDATA
        + LINE.format(rna="a.tif", dna="b.tif", site="1", field="1")
        + LINE.format(rna="c.tif", dna="d.tif", site="2", field=field)
    )
    assert names(scan(home)) == [
        ("BR00113255", "A01", 1, "DNA", 1, 1, "b.tif"),
        ("BR00113255", "A01", 1, "RNA", 1, 1, "a.tif"),
        ("BR00113255", "A01", 2, "DNA", 1, 1, "d.tif"),
        ("BR00113255", "A01", 2, "RNA", 1, 1, "c.tif"),
    ]


def test_columns_that_contradict_each_other(plate):
    line = LINE.format(rna="a.tif", dna="b.tif", site="1", field="3")
    message = (
        r"load_data\.csv, row 1 below the header: Metadata_Site is '1', but Metadata_FieldID, "
        r"which means the same, is '3'\. Keep the column that is right"
    )
    with pytest.raises(BadPlate, match=message):
        scan(plate(PE2LOADDATA + line))


def test_two_names_of_a_plate(plate):
    head = f"{HEAD},Metadata_Assay_Plate_Barcode,Metadata_Plate\nimages/a.tif,A1"
    home = plate(f"{head},P7,P7\n", f"{head},P8,P7\n")
    assert scan(home / "load_data.csv")["plate"].to_list() == ["P7"]
    with pytest.raises(BadPlate, match=r"Metadata_Plate is 'P7', but Metadata_Assay_Plate_Barcode"):
        scan(home / "load_data1.csv")


def test_whole_floats_are_whole_numbers(plate):
    home = plate(
        "FileName_OrigA,Metadata_Row,Metadata_Col,Metadata_Site,Metadata_PlaneID\n"
        "images/a.tif,2.0,3.0,4.0,1.\n"
    )
    assert names(scan(home)) == [("BR1", "B03", 4, "A", 1, 1, "a.tif")]
    home = home.parent / "other.csv"
    home.write_text(f"{HEAD},Metadata_Site\nBR1/images/a.tif,A1,1.5\n")
    with pytest.raises(BadPlate, match=r"Metadata_Site is '1\.5', expected a whole number"):
        scan(home)


def test_channels_called_orig_and_others(plate):
    """Brightfield has no twin called Orig; what is called DNA is made of OrigDNA."""
    home = plate(
        "FileName_OrigDNA,FileName_DNA,FileName_Brightfield,FileName_IllumDNA,Metadata_Well\n"
        "images/a.tif,images/b.tif,images/c.tif,images/d.tif,A1\n"
    )
    assert names(scan(home)) == [
        ("BR1", "A01", 1, "Brightfield", 1, 1, "c.tif"), ("BR1", "A01", 1, "DNA", 1, 1, "a.tif")
    ]  # fmt: skip


@pytest.mark.parametrize(
    "made",
    ["CellOutlines", "DNAMask", "DNAIllum", "NucleiObjects", "CellMasks", "MaskDNA", "MasksDNA",
     "OutlinesCells", "ObjectsCells", "IllumDNA", "OrigDNAMask", "OrigIllumDNA",
     "DNA_IllumOld"],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["FileName", "URL"])
def test_what_is_made_of_images_is_no_channel(plate, made, kind):
    home = plate(
        f"{kind}_OrigDNA,{kind}_{made},{kind}_Brightfield,{kind}_UnmaskedER,Metadata_Well\n"
        "images/a.tif,images/b.tif,images/c.tif,images/d.tif,A1\n"
    )
    assert scan(home)["channel"].to_list() == ["Brightfield", "DNA", "UnmaskedER"]


def test_frames_are_pages(tmp_path):
    """As CellProfiler lists an image set: every channel has Series and Frame, counted from 0."""
    stack = np.random.default_rng(1).integers(0, 60_000, (3, 4, 6), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "st.tif", stack, photometric="minisblack")
    tifffile.imwrite(tmp_path / "one.tif", stack[0])
    Image.fromarray(stack[1]).save(tmp_path / "one.png")
    csv = tmp_path / "ld.csv"
    csv.write_text(
        "URL_A,Series_A,Frame_A,FileName_OrigB,Frame_OrigB,URL_C,Series_C,Frame_C,Metadata_Well\n"
        "st.tif,0,0,st.tif,2,one.png,0,0,A1\none.tif,0,0,st.tif,1.0,one.tif,,,A2\n"
    )
    planes = scan(tmp_path)
    expected = {
        ("A01", "A"): stack[0], ("A01", "B"): stack[2], ("A01", "C"): stack[1],
        ("A02", "A"): stack[0], ("A02", "B"): stack[1], ("A02", "C"): stack[0],
    }  # fmt: skip
    assert set(planes.select("well", "channel").rows()) == set(expected)
    for well, channel, path in planes.select("well", "channel", "path").iter_rows():
        np.testing.assert_array_equal(read_plane(path).pixels, expected[well, channel])
    csv.write_text("URL_A,Frame_A,Metadata_Well\nst.tif,1,A1\n")
    assert scan(tmp_path)["path"].to_list() == [f"{tmp_path}/st.tif#page=1"]
    csv.write_text("URL_A,Frame_A,Metadata_Well\none.png,1,A1\n")
    with pytest.raises(BadPlate, match=r"Frame_A of .*one\.png is 1, and only TIFFs have several"):
        scan(tmp_path)


def test_the_csv_with_illumination_lists_the_same_images(plate):
    home = plate(f"{HEAD}\nimages/a.tif,A1\n")
    other = home / "load_data_with_illum.csv"
    other.write_text(f"{HEAD},FileName_IllumA\nimages/a.tif,A1,x.npy\n")
    assert scan(home)["well"].to_list() == ["A01"]
    (home / "load_data.csv").unlink()
    assert scan(home)["well"].to_list() == ["A01"]


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
