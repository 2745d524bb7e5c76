"""nf-core samplesheets and the Cell Painting Gallery's folders."""

import pytest

from plates.errors import BadPlate
from plates.readers import scan

HEAD = "channel,path,source,batch,plate,well,site,col,field_id,plane_id,row\n"


def test_samplesheet(trees, tmp_path):
    home = trees["samplesheet"](tmp_path / "s")
    planes = scan(home)
    assert planes.equals(scan(home / "samplesheet.csv"))
    assert planes.select("plate", "well", "site", "channel", "z", "timepoint").rows() == [
        ("BR1", "B03", 2, "DNA", 1, 1), ("BR1", "B03", 2, "ER", 1, 1)]  # fmt: skip
    assert planes["path"].to_list() == [str(home / "i1.tif"), str(home / "i2.tif")]


def test_samplesheet_of_nf_core(tmp_path):
    """The first lines of nf-core/cellpainting's own example."""
    home = "s3://cellpainting-gallery/cpg0016-jump/source_4/images/2021_04_26_Batch1/images/BR/Im"
    (tmp_path / "s.csv").write_text(
        HEAD
        + f"DNA,{home}/r01c01f02p01-ch5sk1fk1fl1.tiff,source_4,B1,BR00117035,A01,2,1,2,1,1\n"
        + f"RNA,{home}/r01c01f02p01-ch3sk1fk1fl1.tiff,source_4,B1,BR00117035,A01,2,1,2,1,1\n"
    )
    planes = scan(tmp_path)
    assert planes.select("plate", "well", "site", "channel").rows() == [
        ("BR00117035", "A01", 2, "DNA"), ("BR00117035", "A01", 2, "RNA")]  # fmt: skip
    assert planes["path"][0] == f"{home}/r01c01f02p01-ch5sk1fk1fl1.tiff"


def test_samplesheet_with_few_columns(tmp_path):
    (tmp_path / "a.tif").touch()
    (tmp_path / "s.csv").write_text("path,channel,row,col\na.tif,DNA,2,3\n")
    planes = scan(tmp_path)
    assert planes.select("plate", "well", "site", "z").rows() == [(tmp_path.name, "B03", 1, 1)]


def test_samplesheet_columns_in_any_case(tmp_path):
    (tmp_path / "a.tif").touch()
    (tmp_path / "s.csv").write_text("path,channel,well,Site,Timepoint,Z\na.tif,DNA,A2,7,3,2\n")
    planes = scan(tmp_path)
    assert planes.select("well", "site", "timepoint", "z").rows() == [("A02", 7, 3, 2)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (",a.tif,s,b,P,A01,1,1,1,1,1", "row 1 below the header has no channel"),
        ("DNA,,s,b,P,A01,1,1,1,1,1", "row 1 below the header has no path"),
        ("DNA,a.tif,s,b,P,A01,x,1,x,1,1", "site is 'x', expected a whole number"),
        ("DNA,a.tif,s,b,P,A01,1,1,2,1,1", "site is '1', but field_id, .* is '2'. Keep the column"),
        ("DNA,a.tif,s,b,P,Z99,1,1,1,1,1", "'Z99' is not a well"),
        (
            "DNA,a.tif,s,b,P,B03,1,3,1,1,2\nER,a.tif,s,b,P,B03,1,4,1,1,2",
            "s.csv, row 2 below the header: the well is B03, but row '2' and col '4' are B04. Keep",
        ),
        ("DNA,a.tif,s,b,P,B03,1,3,1,1,0", "the well is B03, but row '0' and col '3' are no well"),
        ("DNA,b.tif,s,b,P,A01,1,1,1,1,1", r"None of the 1 files that .* names is there"),
        ("DNA,ftp://x/a.tif,s,b,P,A01,1,1,1,1,1", "ftp://x/a.tif, which cannot be read"),
    ],
)
def test_samplesheet_refused(tmp_path, line, message):
    (tmp_path / "a.tif").touch()
    (tmp_path / "s.csv").write_text(f"{HEAD}{line}\n")
    with pytest.raises(BadPlate, match=message):
        scan(tmp_path)


@pytest.mark.parametrize(("row", "col"), [("2", "03"), ("B", "3"), ("2.0", "3.0"), ("", "9")])
def test_a_row_and_column_that_say_the_same_as_the_well(tmp_path, row, col):
    (tmp_path / "a.tif").touch()
    (tmp_path / "s.csv").write_text(f"{HEAD}DNA,a.tif,s,b,P,b3,1,{col},1,1,{row}\n")
    assert scan(tmp_path)["well"].to_list() == ["B03"]


def test_two_samplesheets(trees, tmp_path):
    home = trees["samplesheet"](tmp_path / "s")
    (home / "again.csv").write_bytes((home / "samplesheet.csv").read_bytes())
    with pytest.raises(BadPlate, match=r"found: again\.csv, samplesheet\.csv\. Give the file"):
        scan(home)


def test_gallery(trees, tmp_path):
    home = trees["gallery"](tmp_path / "source_4")
    planes = scan(home)
    # BR2 has a CSV, but its images were not copied.
    assert planes.select("plate", "well", "channel").rows() == [("BR1", "B03", "DNA")]
    (path,) = home.rglob("*.tiff")
    assert planes["path"].to_list() == [str(path)]


def test_gallery_with_columns_of_pe2loaddata_and_frames(trees, tmp_path):
    home = trees["gallery"](tmp_path / "source_4")
    for table in home.rglob("load_data.csv"):
        head, line = table.read_text().splitlines()
        table.write_text(f"{head},Metadata_FieldID,Frame_OrigDNA\n{line},1,0\n")
    planes = scan(home)
    (path,) = home.rglob("*.tiff")
    assert planes.select("plate", "site", "path").rows() == [("BR1", 1, f"{path}#page=0")]


def test_gallery_without_images(trees, tmp_path):
    home = trees["gallery"](tmp_path / "source_4")
    (path,) = home.rglob("*.tiff")
    path.unlink()
    with pytest.raises(BadPlate, match=r"has 2 LoadData CSVs, but none of the images they name"):
        scan(home)


def test_gallery_that_leads_elsewhere(trees, tmp_path):
    home = trees["gallery"](tmp_path / "source_4")
    for table in home.rglob("load_data.csv"):
        table.write_text(table.read_text().replace("/images/BR", "/images/../../../BR"))
    with pytest.raises(BadPlate, match="which is not below its folder"):
        scan(home)
