"""Plate maps: the spellings people use, what is refused, and the join with the wells imaged."""

import csv

import polars as pl
import pytest

from plates.errors import BadLayout
from plates.layout import LayoutMatch, join_layout, read_layout


@pytest.fixture
def write(tmp_path):
    def write(text: str | bytes, *, name: str = "map.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def imaged(*wells: str, plate: str = "P1") -> pl.DataFrame:
    return pl.DataFrame({"Metadata_Plate": plate, "Metadata_Well": list(wells)})


def test_columns_types_and_order(write):
    layout = read_layout(write("Dose,Well,drug,Role,units,barcode2\n1.5,a1,taxol,trt,uM,007\n"))
    assert dict(layout.schema) == {
        "Metadata_Well": pl.String,
        "Metadata_Compound": pl.String,
        "Metadata_Role": pl.String,
        "Metadata_Concentration": pl.Float64,
        "Metadata_Unit": pl.String,
        "Metadata_barcode2": pl.String,
    }
    assert layout.rows() == [("A01", "taxol", "treatment", 1.5, "uM", "007")]


@pytest.mark.parametrize(
    "name", ["well_position", "Well", "Metadata_Well", "well", "WELL", "Well Position"]
)
def test_well_columns(write, name):
    assert read_layout(write(f"{name},compound\nb3,x\n"))["Metadata_Well"].to_list() == ["B03"]


@pytest.mark.parametrize(
    "header", ["row,column", "Row,Col", "Metadata_Row,Metadata_Column", "well_row,well_col"]
)
@pytest.mark.parametrize("cells", ["B,3", "2,03"])
def test_row_and_column(write, header, cells):
    layout = read_layout(write(f"{header},compound\n{cells},x\n"))
    assert layout["Metadata_Well"].to_list() == ["B03"]
    assert "Metadata_Row" not in layout.columns


@pytest.mark.parametrize("name", ["Metadata_Plate", "plate", "Assay_Plate_Barcode"])
def test_plate_column_comes_first(write, name):
    layout = read_layout(write(f"well,{name}\nA1,P1\nA1,P2\n"))
    assert layout.columns[:2] == ["Metadata_Plate", "Metadata_Well"]
    assert layout.select("Metadata_Plate", "Metadata_Well").rows() == [("P1", "A01"), ("P2", "A01")]


def test_metadata_forms_are_not_doubled(write):
    layout = read_layout(
        write("Metadata_Well,Metadata_Compound,Metadata_dose,Metadata_batch\nA1,x,2,b\n")
    )
    assert layout.rows() == [("A01", "x", None, 2.0, None, "b")]
    assert layout.columns[-1] == "Metadata_batch"


@pytest.mark.parametrize(
    ("name", "delimiter"),
    [("m.csv", ","), ("m.tsv", "\t"), ("m.txt", "\t"), ("m.txt", ","), ("m.csv", ";")],
)
def test_delimiters(write, name, delimiter):
    lines = [["well", "compound"], ["A1", "x"]]
    text = "\r\n".join(delimiter.join(cells) for cells in lines)
    assert read_layout(write(text, name=name))["Metadata_Compound"].to_list() == ["x"]


def test_byte_order_mark_quotes_and_blank_lines(write):
    layout = read_layout(
        write(b'\xef\xbb\xbfwell,compound\r\nA1,"1,2-diol"\r\n\r\n,\r\nA2, x \r\n')
    )
    assert layout["Metadata_Well"].to_list() == ["A01", "A02"]
    assert layout["Metadata_Compound"].to_list() == ["1,2-diol", "x"]


@pytest.mark.parametrize("missing", ["", "NA", "N/A", "NaN", "nan", "null", " "])
def test_missing_is_null(write, missing):
    layout = read_layout(write(f"well,compound,role,dose\nA1,{missing},{missing},{missing}\n"))
    assert layout.select(pl.all().exclude("Metadata_Well")).row(0) == (None, None, None, None)


@pytest.mark.parametrize(
    ("word", "role"),
    [("negative", "negative"), ("negcon", "negative"), ("Negative Control", "negative"),
     ("neg_control", "negative"), ("DMSO", "negative"), ("vehicle", "negative"),
     ("poscon", "positive"), ("Positive-control", "positive"), ("poscon_diverse", "positive"),
     ("trt", "treatment"), ("Sample", "treatment"), ("blank", "empty"), ("no cells", "empty")],
)  # fmt: skip
def test_role_synonyms(write, word, role):
    assert read_layout(write(f"well,role\nA1,{word}\n"))["Metadata_Role"].to_list() == [role]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty. Expected a header line"),
        ("\n\n", "is empty"),
        ("well,role\n", "has a header but no rows"),
        (
            "compound,dose\nx,1\n",
            r"no well column\. Found: compound, dose\. Expected one of well_pos",
        ),
        ("row,compound\nA,x\n", "no well column"),
        ("well,Well\nA1,A1\n", "The columns 'well' and 'Well' mean the same"),
        ("well,dose,conc\nA1,1,1\n", "'dose' and 'conc' mean the same"),
        ("well,x,x\nA1,1,1\n", "several columns called x"),
        ("well,\nA1,1\n", "column 2 has no name"),
        ("well,x,Metadata_x\nA1,1,1\n", "gives Metadata_x twice"),
        ("well,dose\nA1,1,2\n", "line 2 has 3 cells, but the header has 2"),
        ("well,dose\nA1\n", "line 2 has 1 cells, but the header has 2"),
        (
            "well,dose\nA1,1\nZ99,1\n",
            "row 2 below the header: 'Z99' is not a well. Row 26, column 99 is on no plate",
        ),
        ("well,dose\nfoo,1\n", "row 1 below the header: 'foo' is not a well"),
        ("well,dose\n,1\n", "row 1 below the header: The cell is empty in well"),
        ("row,column,dose\nA,,1\n", "The cell is empty in row or column"),
        ("well,dose\nA1,1\nA01,2\nB2,1\n", r"names A01 more than once \(A1 and A01 are one well\)"),
        ("plate,well\nP,A1\nP,a1\nQ,A1\n", "names P A01 more than once"),
        ("plate,well\nP,A1\n,A2\n", "well A02 has no plate"),
        ("well,dose\nA1,10 uM\n", r"well A01 has the concentration '10 uM'\. Expected a number"),
        ("well;dose\nA1;0,5\n", "well A01 has the concentration '0,5'"),
        ("well,dose\nA1,-1\n", "well A01 has the concentration '-1'"),
        ("well,dose\nA1,inf\n", "well A01 has the concentration 'inf'"),
        ("well,role\nA1,negativ\n", "well A01 has the role 'negativ'.* Did you mean 'negative'"),
        ("well,role\nA1,control\n", "role 'control', which is unknown.* Use negative, positive"),
        ('well,x\nA1,"' + "y" * 200_000 + '"\n', "line 2 cannot be split: field larger"),
        ("well,compound\nA1,5 µM\n".encode("cp1252"), r"not UTF-8 text \(byte 20 is 0xb5\)"),
    ],
)
def test_refused(write, text, message):
    with pytest.raises(BadLayout, match=message):
        read_layout(write(text))


def test_many_duplicates_are_shortened(write):
    lines = "".join(f"{row}{column}\n" * 2 for row in "AB" for column in range(1, 13))
    with pytest.raises(BadLayout, match=r"names A01, .*A08, \.\.\. more than once"):
        read_layout(write(f"well\n{lines}"))


def test_missing_file(tmp_path):
    with pytest.raises(BadLayout, match=r"map\.csv cannot be read: No such file"):
        read_layout(tmp_path / "map.csv")


def test_join_keeps_both_sides(write):
    layout = read_layout(write("well,compound\nA1,x\nA2,y\nAA1,z\n"))
    wells = imaged("A02", "B01", "Z01").with_columns(count=pl.lit(5))
    joined, match = join_layout(wells, layout)
    assert joined.select("Metadata_Well", "count", "Metadata_Compound").rows() == [
        ("A01", None, "x"),
        ("A02", 5, "y"),
        ("B01", 5, None),
        ("Z01", 5, None),
        ("AA01", None, "z"),
    ]
    assert joined["Metadata_Plate"].unique().to_list() == ["P1"]
    assert match.only_on_disk == (("P1", "B01"), ("P1", "Z01"))
    assert match.only_in_layout == (("P1", "A01"), ("P1", "AA01"))
    assert match.sentence() == (
        "Plate map and images differ: 2 wells are imaged but not in the plate map (B01, Z01); "
        "2 wells are in the plate map but not imaged (A01, AA01)."
    )


def test_layout_without_plates_holds_for_every_plate(write):
    layout = read_layout(write("well,compound\nA1,x\nA2,y\n"))
    wells = pl.concat([imaged("A01", "A02"), imaged("A01", plate="P2")])
    joined, match = join_layout(wells, layout)
    assert joined["Metadata_Compound"].to_list() == ["x", "y", "x", "y"]
    assert match == LayoutMatch((), (("P2", "A02"),))
    assert match.sentence() == (
        "Plate map and images differ: 1 well is in the plate map but not imaged (A02)."
    )


def test_layout_of_several_plates(write):
    layout = read_layout(write("plate,well,compound\nP1,A1,x\nP2,A1,y\nP3,A1,z\n"))
    wells = pl.concat([imaged("A01"), imaged("A01", "A02", plate="P2")])
    joined, match = join_layout(wells, layout)
    assert joined["Metadata_Compound"].to_list() == ["x", "y", None]
    assert match == LayoutMatch((("P2", "A02"),), (), ("P3",))
    assert match.sentence() == (
        "Plate map and images differ: 1 well is imaged but not in the plate map (A02); the plate "
        "map also names 1 plate(s) not run here."
    )


def test_sentence_names_plates_where_there_are_several_and_shortens():
    match = LayoutMatch((), tuple((f"P{i}", "A01") for i in range(10)))
    assert "10 wells are" in match.sentence()
    assert "(P0 A01, P1 A01, " in match.sentence()
    assert "P7 A01, ...)" in match.sentence()


def test_agreement_has_a_sentence_too(write):
    _, match = join_layout(imaged("A01"), read_layout(write("well\nA1\n")))
    assert match.sentence() == "Plate map and images name the same wells."


def test_no_plate_in_common(write):
    layout = read_layout(write("plate,well\nP7,A1\n"))
    with pytest.raises(BadLayout, match=r"is for P7, but the images are of P1\. Correct the plate"):
        join_layout(imaged("A01"), layout)


def test_columns_in_common(write):
    layout = read_layout(write("well,count\nA1,3\n"))
    wells = imaged("A01").with_columns(Metadata_count=pl.lit(1))
    with pytest.raises(BadLayout, match="plate map has Metadata_count, which the measured wells"):
        join_layout(wells, layout)


def test_bbbc013(data_folder):
    layout = read_layout(data_folder / "bbbc013/platemap.csv")
    assert len(layout) == 96
    assert layout["Metadata_Role"].value_counts().sort("count").rows() == [
        ("positive", 8), ("negative", 16), ("treatment", 72)]  # fmt: skip
    row = layout.row(by_predicate=pl.col("Metadata_Well") == "A03", named=True)
    assert row["Metadata_Concentration"] == 0.976562
    assert row["Metadata_Unit"] == "nM"


def test_every_real_plate_map(data_folder):
    paths = [
        *data_folder.glob("platemaps/*/*_platemap.tsv"),
        *data_folder.glob("platemaps/lincs/*/*/*/*"),
    ]
    assert len(paths) > 50
    for path in paths[::5]:
        layout = read_layout(path)
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="," if path.suffix == ".csv" else "\t"))
        assert layout["Metadata_Well"].to_list() == [row["well_position"] for row in rows]
        samples = [row["broad_sample"].replace("NA", "") or None for row in rows]
        assert layout["Metadata_broad_sample"].to_list() == samples
