"""Plate-reader screens: a small one by hand, the real one, and what is refused."""

from pathlib import Path

import polars as pl
import pytest

from plates.errors import BadLayout, BadPlate
from plates.plate_reader import read_plate_reader


@pytest.fixture
def screen(tmp_path) -> Path:
    """Two plates of six wells, one of them twice."""
    write(tmp_path, "list.txt", "Filename\tPlate\tReplicate", "a.txt\t1\t1", "b.txt\t1\t2",
          "c.txt\t2\t1")  # fmt: skip
    for name in "abc":
        write(tmp_path, f"{name}.txt", *(f"{name}\t{well}\t{i}.5" for i, well in enumerate(WELLS)))
    write(tmp_path, "conf.txt", "Wells: 6", "Plates: 2", "Plate\tWell\tContent", "*\t*\tsample",
          "*\tA0[1-2]\tother", "*\tB01\tneg", "2\tB01\tpos")  # fmt: skip
    write(tmp_path, "log.txt", "Plate\tSample\tWell\tFlag\tComment", "1\t2\tA3\tNA\tDropped")
    write(tmp_path, "genes.txt", "Plate\tWell\tGene", "1\tA03\tth", '2\tA03\t"NA"\t')
    return tmp_path


WELLS = ("A01", "A02", "A03", "B01", "B02", "B03")


def write(folder: Path, name: str, *lines: str) -> None:
    (folder / name).write_text("\n".join(lines) + "\n")


def read(folder: Path) -> pl.DataFrame:
    return read_plate_reader(
        folder / "list.txt",
        configuration=folder / "conf.txt",
        log=folder / "log.txt",
        annotation=folder / "genes.txt",
    )


def test_by_hand(screen):
    wells = read(screen)
    assert wells.height == 18
    assert wells["Metadata_Plate"].to_list() == [*"a" * 6, *"b" * 6, *"c" * 6]
    third = wells.filter(Metadata_Well="A03").drop("Metadata_Well").rows(named=True)
    alike = {"Value": 2.5, "Metadata_Content": "sample", "Metadata_Role": "treatment"}
    first = {"Metadata_Plate": "a", "Metadata_Library": 1, "Metadata_Replicate": 1}
    fine = {"Metadata_QC_Reason": None, "Metadata_QC_Status": "ok"}
    assert third[0] == {**first, **alike, **fine, "Metadata_Gene": "th"}
    flagged = {"Metadata_QC_Reason": "Dropped", "Metadata_QC_Status": "flagged"}
    second = {"Metadata_Plate": "b", "Metadata_Library": 1, "Metadata_Replicate": 2}
    assert third[1] == {**second, **alike, **flagged, "Metadata_Gene": "th"}
    assert third[2]["Metadata_Gene"] is None
    roles = wells.filter(Metadata_Library=1, Metadata_Replicate=1)["Metadata_Role"].to_list()
    assert roles == [None, None, "treatment", "negative", "treatment", "treatment"]
    assert (
        wells.filter(Metadata_Library=2, Metadata_Well="B01")["Metadata_Role"].item() == "positive"
    )


def test_the_list_is_enough(screen):
    wells = read_plate_reader(screen / "list.txt")
    assert wells.columns == ["Metadata_Plate", "Metadata_Well", "Metadata_Library",
                             "Metadata_Replicate", "Value"]  # fmt: skip


def test_a_value_that_was_not_read_is_null(screen):
    write(screen, "a.txt", "a\tA01\tNA", "a\tA2\t7")
    wells = read_plate_reader(screen / "list.txt").filter(Metadata_Plate="a")
    assert wells.select("Metadata_Well", "Value").rows() == [("A01", None), ("A02", 7.0)]


def test_a_list_of_nothing(screen):
    write(screen, "list.txt", "Filename\tPlate\tReplicate")
    assert read_plate_reader(screen / "list.txt").height == 0


@pytest.mark.parametrize(
    ("file", "lines", "error", "message"),
    [
        ("a.txt", ["a\tA01\tlots"], BadPlate, "line 1 is 'a A01 lots'"),
        ("a.txt", ["a\tA01"], BadPlate, "Expected a name, a well and a number"),
        ("a.txt", ["a\tZ99\t1"], BadPlate, "line 1 is 'a Z99 1'"),
        ("a.txt", ["a\tA01\t1", "a\tA1\t2"], BadPlate, "Plate a has well A01 more than once"),
        ("list.txt", ["File\tPlate"], BadPlate, "no header with Filename, Plate, Replicate"),
        ("list.txt", ["Filename\tPlate\tReplicate", "a.txt\tone\t1"], BadPlate, "has 'one'"),
        ("list.txt", ["Filename\tPlate\tReplicate", "x.txt\t1\t1"], BadPlate, "cannot be read"),
        ("conf.txt", ["Plate\tWell\tContent"], BadLayout, "Expected a line 'Wells: 384'"),
        ("conf.txt", ["Wells: 7", "Plate\tWell\tContent"], BadLayout, "starts with {'wells': 7}"),
        ("conf.txt", ["Wells: 6", "Plate\tWell\tContent", "*\tC01\tneg"], BadLayout, "'C01'"),
        ("conf.txt", ["Wells: 6", "Plate\tWell\tContent", "*\tA[\tneg"], BadLayout, "'A\\['"),
        ("log.txt", ["Plate\tSample\tWell\tFlag\tComment", "9\t1\tA01\tNA\tx"], BadLayout,
         "well A01 of plate 9, replicate 1"),
        ("log.txt", ["Plate\tSample\tWell\tFlag\tComment", "1\t1\tA\tNA\tx"], BadLayout, "line 2"),
        ("genes.txt", ["Plate\tWell\tGene", "1\tA01"], BadLayout, "has 2 cells, the header 3"),
        ("genes.txt", ["Plate\tWell\tGene", "1\tA01\tx\ty"], BadLayout, "has 4 cells"),
        ("genes.txt", ["Plate\tWell\tGene", "1\tA1\tx", "1\tA01\ty"], BadLayout,
         "well A01 of plate 1 more than once"),
    ],
)  # fmt: skip
def test_what_is_not_of_this_form_is_refused(screen, file, lines, error, message):
    write(screen, file, *lines)
    with pytest.raises(error, match=message):
        read(screen)


def test_text_of_another_encoding(screen):
    (screen / "log.txt").write_bytes(b"Plate\tSample\tWell\tFlag\tComment\n1\t1\tA01\tNA\t\xe9\n")
    with pytest.raises(BadLayout, match="not UTF-8"):
        read(screen)


def test_the_genome_wide_screen(data_folder):
    folder = data_folder / "rnai_kcviab"
    wells = read_plate_reader(
        folder / "Platelist.txt",
        configuration=folder / "Plateconf.txt",
        log=folder / "Screenlog.txt",
        annotation=folder / "GeneIDs_Dm_HFA_1.1.txt",
    )
    assert wells.height == 57 * 2 * 384
    assert wells["Metadata_Plate"].n_unique() == 114
    assert (wells["Metadata_QC_Status"] == "flagged").sum() == 48
    assert (wells["Metadata_Role"] == "negative").sum() == 114
    assert wells["Value"].null_count() == 0
    row = wells.row(by_predicate=(pl.col("Metadata_Plate") == "FT01-G02") & (
        pl.col("Metadata_Well") == "A03"), named=True)  # fmt: skip
    assert (row["Metadata_HFAID"], row["Metadata_GeneID"]) == ("HFA00274", "CG11371")
