"""Label tables are read as spreadsheets write them, and refused by the names of their cells."""

import numpy as np
import polars as pl
import pytest

from plates.errors import UnknownName
from profiler.classify.labels import BadLabelTable, read_labelled, read_labels, rows_of

HEADER = "Metadata_Plate,Metadata_Well,Metadata_Site,Metadata_ObjectNumber,Phenotype\n"
ROWS = "P1,A01,1,1,round\nP1,A01,1,2,flat\nP1,B02,2,1,round\nP1,B02,2,3,flat\n"


@pytest.fixture
def write(tmp_path):
    def write_text(text, name="labels.csv"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write_text


@pytest.fixture
def run_cells():
    """Two wells of two sites with three cells each, as a run keeps them."""
    rows = [
        ("P1", well, site, 1, cell, 1.5)
        for well in ("A01", "B02")
        for site in (1, 2)
        for cell in (1, 2, 3)
    ]
    return pl.DataFrame(
        rows,
        orient="row",
        schema={
            "Metadata_Plate": pl.String,
            "Metadata_Well": pl.String,
            "Metadata_Site": pl.Int32,
            "Metadata_Timepoint": pl.Int32,
            "Metadata_ObjectNumber": pl.Int32,
            "Nuclei_AreaShape_Area": pl.Float32,
        },
    )


def test_labels_of_a_csv(write, run_cells):
    labels = read_labels(write(HEADER + ROWS))
    assert labels.classes == ("flat", "round")
    assert labels.codes.tolist() == [1, 0, 1, 0]
    assert labels.unlabelled == 0
    assert rows_of(labels, run_cells).tolist() == [0, 1, 9, 11]
    assert rows_of(labels, run_cells.lazy()).tolist() == [0, 1, 9, 11]


def test_parquet_and_csv_agree(write, tmp_path):
    path = write(HEADER + ROWS)
    pl.read_csv(path).write_parquet(tmp_path / "labels.parquet")
    one, other = read_labels(path), read_labels(tmp_path / "labels.parquet")
    assert one.cells.equals(other.cells)
    assert one.codes.tolist() == other.codes.tolist()


def test_wells_and_numbers_as_spreadsheets_write_them(write):
    untidy = "P1,a1, 1.0,1,round\nP1,A01,1,2.0,flat\n P1 ,b2,2,1, round\nP1,B-02,2,3,flat\n"
    assert read_labels(write(HEADER + untidy)).cells.equals(
        read_labels(write(HEADER + ROWS, "tidy.csv")).cells
    )


def test_names_of_digits_stay_names(write):
    text = HEADER + "007,A01,1,1,1\n007,A01,1,2,2\n007,A01,1,3,1\n007,A01,1,4,2\n"
    labels = read_labels(write(text))
    assert labels.classes == ("1", "2")
    assert labels.cells["Metadata_Plate"].unique().to_list() == ["007"]


def test_cells_without_a_label_are_counted(write):
    labels = read_labels(write(HEADER + ROWS + "P1,B02,2,2,\nP1,B02,1,2,  \n"))
    assert labels.unlabelled == 2
    assert len(labels.codes) == 4


@pytest.mark.parametrize("name", ["NA", "n/a", "NaN", "NULL", "none", "#N/A", "<NA>"])
def test_a_missing_value_is_no_class(write, name):
    odd = f"P1,A01,2,1,{name}\nP1,A01,2,2,{name}\n"
    message = rf"labels 2 cells as a missing value .*: P1 A01 site 2 cell 1 \({name}\); .* empty"
    with pytest.raises(BadLabelTable, match=message):
        read_labels(write(HEADER + ROWS + odd))
    fine = odd.replace(name, f"{name}-like")
    assert f"{name}-like" in read_labels(write(HEADER + ROWS + fine)).classes


def test_spellings_by_case_are_refused_with_their_counts(write):
    more = "P1,A01,2,1,Round\nP1,A01,2,2,Round\nP1,A01,2,3,Round\n"
    with pytest.raises(BadLabelTable, match=r"alone: 'Round' \(3\) and 'round' \(2\)\. Spell"):
        read_labels(write(HEADER + ROWS + more))
    rare = "P1,A01,2,1,Round\nP1,A01,2,2,FLAT\n"  # not as classes of one example
    with pytest.raises(BadLabelTable, match=r"'FLAT' \(1\) and 'flat' \(2\), and 1 more so"):
        read_labels(write(HEADER + ROWS + rare))


def test_the_same_label_twice_is_one(write):
    labels = read_labels(write(HEADER + ROWS + "P1,a1,1,1,round\n"))
    assert len(labels.codes) == labels.cells.height == 4


def test_one_of_several_label_columns(write):
    text = HEADER.replace("Phenotype", "Phenotype,Rater") + ROWS.replace("\n", ",x\n")
    with pytest.raises(
        BadLabelTable,
        match="2 columns besides the keys of cells: Phenotype, Rater; .*it is with --column",
    ):
        read_labels(write(text))
    assert read_labels(write(text), column="Phenotype").classes == ("flat", "round")
    with pytest.raises(UnknownName, match="Did you mean 'Phenotype'"):
        read_labels(write(text), column="Phenotyp")


def test_columns_of_lists_are_refused_where_they_are_asked(write, tmp_path):
    table = pl.read_csv(write(HEADER + ROWS)).with_columns(Sets=pl.concat_list("Phenotype"))
    table.write_parquet(tmp_path / "labels.parquet")
    message = r"column Sets of .* holds List\(String\); expected a name or a number in each row"
    with pytest.raises(BadLabelTable, match=message):
        read_labels(tmp_path / "labels.parquet", column="Sets")
    assert read_labels(tmp_path / "labels.parquet", column="Phenotype").classes == ("flat", "round")
    listed = table.with_columns(pl.concat_list("Metadata_Site"), Metadata_Plate=pl.lit(b"\xff"))
    listed.write_parquet(tmp_path / "keys.parquet")
    with pytest.raises(BadLabelTable, match="column Metadata_Plate of .* holds Binary"):
        read_labels(tmp_path / "keys.parquet", column="Phenotype")
    listed.drop("Metadata_Plate").with_columns(Metadata_Plate=pl.lit("P1")).write_parquet(
        tmp_path / "keys.parquet"
    )
    with pytest.raises(BadLabelTable, match=r"column Metadata_Site of .* holds List\(Int64\)"):
        read_labelled(tmp_path / "keys.parquet")


def test_any_table_with_the_keys_says_which_cells_are_labelled(write):
    def numbers(header: str, *said: str) -> list[int]:
        rows = [f"P1,A01,1,{i},{each}".rstrip(",") for i, each in enumerate(said, start=1)]
        path = write("\n".join([HEADER.strip().rpartition(",")[0] + header, *rows]))
        return read_labelled(path).cells["Metadata_ObjectNumber"].to_list()

    assert numbers("", "", "") == [1, 2]  # the keys alone: a list of labelled cells
    assert numbers(",Phenotype,Rater", "a,me", " ,me", "b,", ",") == [1, 2, 3]
    assert numbers(",Rater,Label", "me,a", "me, ", "me,b", ",") == [1, 3]


def test_what_lists_of_cells_say_of_them_is_no_label(write):
    """Where the nucleus is, and what the well's content was, stand in the lists to be labelled."""
    own = "Nuclei_Location_Center_X,Nuclei_Location_Center_Y,Metadata_CellFile"
    header = HEADER.replace("Phenotype", f"{own},Phenotype")
    keys = [line.rpartition(",")[::2] for line in ROWS.splitlines()]
    said = zip(keys, ("c1", " c1 ", "", "c2"), strict=True)
    rows = "".join(f"{key},10.5,7.0,{each},{label}\n" for (key, label), each in said)
    path = write(header + rows + "P1,B02,2,9,10.5,7.0,c3,\n")
    labels = read_labels(path)
    assert labels.cells.equals(read_labels(write(HEADER + ROWS, "plain.csv")).cells)
    assert labels.unlabelled == 1
    noted = [
        ("P1", "A01", 1, 1, "c1", 10.5, 7.0),
        ("P1", "A01", 1, 2, "c1", 10.5, 7.0),
        ("P1", "B02", 2, 3, "c2", 10.5, 7.0),
    ]
    assert labels.noted.rows() == read_labelled(path).noted.rows() == noted
    assert not read_labels(tmp := path.with_name("plain.csv")).noted.height, tmp
    with pytest.raises(UnknownName, match="no label column 'Metadata_CellFile'"):
        read_labels(path, column="Metadata_CellFile")
    twice = write(header + rows + "P1,A01,1,1,10.5,7.0,c9,round\n", "twice.csv")
    assert len(read_labels(twice).codes) == 4  # one cell, of which two tables said the same
    assert read_labels(twice).noted.height == 4
    unsaid = write(
        header.replace(",Phenotype", "") + rows.replace(",round", "").replace(",flat", "")
    )
    assert read_labelled(unsaid).cells.height == 4  # the keys alone: a list of labelled cells


def test_time_points_are_matched(write, run_cells):
    later = run_cells.with_columns(Metadata_Timepoint=pl.lit(2, pl.Int32))
    both = pl.concat([run_cells, later])
    with pytest.raises(
        BadLabelTable, match="2 time points, and the label table has no Metadata_Time"
    ):
        rows_of(read_labels(write(HEADER + ROWS)), both)
    rows = [line.split(",") for line in ROWS.splitlines()]
    timed = HEADER.replace("Metadata_Object", "Metadata_Timepoint,Metadata_Object") + "".join(
        ",".join([*row[:3], str(1 + i % 2), *row[3:]]) + "\n" for i, row in enumerate(rows)
    )
    assert rows_of(read_labels(write(timed)), both).tolist() == [0, 13, 9, 23]
    assert rows_of(read_labels(write(HEADER + ROWS)), later).tolist() == [0, 1, 9, 11]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            ROWS + "P1,A01,1,2,round\n",
            r"1 cells two labels: P1 A01 site 1 cell 2 \(flat and round\)",
        ),
        (ROWS.replace("flat", "round"), "All 4 cells of .* are labelled 'round'"),
        (
            ROWS + "P1,A01,2,3,odd\n",
            r"1 classes with one example: P1 A01 site 2 cell 3 \(odd\)\. A class takes at least 2",
        ),
        (ROWS + "P1,A01,x,3,flat\n", "1 labelled cells whose Metadata_Site .* 'x' in row 5"),
        (ROWS + "P1,A01,1.5,3,flat\n", "whose Metadata_Site is not a whole number: '1.5' in row 5"),
        (ROWS + ",A01,1,3,flat\n", "whose Metadata_Plate is not a name: None in row 5"),
        ("P1,A01,1,,\n" + ROWS + "P1,A01,1,,flat\n", "Metadata_ObjectNumber .* None in row 6"),
        (
            ROWS + "P1,A01,3000000000,3,flat\n",
            "whose Metadata_Site is not a whole number: '3000000000' in row 5",
        ),
        (ROWS + "P1,A01,1,inf,flat\n", "Metadata_ObjectNumber is not a whole .* 'inf' in row 5"),
        (ROWS + "P1,A01,1,nan,flat\n", "Metadata_ObjectNumber is not a whole .* 'nan' in row 5"),
        (
            ROWS + "P1,A01,1,3,(novel)\n",
            r"labels 1 cells '\(novel\)': P1 A01 site 1 cell 3\. That is what tables call",
        ),
        (ROWS + "P1,what,1,3,flat\n", "names a well that is none: .*what"),
        ("", "labels no cell"),
    ],
)
def test_bad_tables_are_refused_by_the_names_of_cells(write, text, message):
    with pytest.raises(BadLabelTable, match=message):
        read_labels(write(HEADER + text))


def test_files_that_are_no_label_table(write, tmp_path):
    with pytest.raises(BadLabelTable, match="There is no label table"):
        read_labels(tmp_path / "absent.csv")
    with pytest.raises(BadLabelTable, match=r"ends in '.xlsx'; expected .csv or .parquet"):
        read_labels(write("x", "labels.xlsx"))
    with pytest.raises(BadLabelTable, match="cannot be read"):
        read_labels(write("not parquet", "labels.parquet"))
    with pytest.raises(BadLabelTable, match="cannot be read"):
        read_labels(write("", "empty.csv"))
    with pytest.raises(
        BadLabelTable, match="no column Metadata_Site, Metadata_ObjectNumber; found"
    ):
        read_labels(write("Metadata_Plate,Metadata_Well,Phenotype\nP1,A01,x\n", "short.csv"))
    keys_alone = HEADER.replace(",Phenotype", "") + "P1,A01,1,1\n"
    with pytest.raises(
        BadLabelTable, match="0 columns besides the keys of cells; expected one, the label. Add it"
    ):
        read_labels(write(keys_alone, "keys.csv"))


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (
            "P1,A01,1,9",
            "1 of 5 labels .* does not have: P1 A01 site 1 cell 9. Object numbers are of",
        ),
        ("P1,C03,1,1", "P1 C03 site 1 cell 1. Its well C03 has no cells at all"),
        ("P2,A01,1,1", "P2 A01 site 1 cell 1. It has no plate 'P2'. Known: P1"),
    ],
)
def test_labels_for_cells_that_do_not_exist(write, run_cells, cells, message):
    labels = read_labels(write(f"{HEADER}{ROWS}{cells},flat\n"))
    with pytest.raises(BadLabelTable, match=message):
        rows_of(labels, run_cells)


def test_many_absent_cells_are_counted_not_listed(write, run_cells):
    absent = "".join(f"P1,A01,1,{i},flat\n" for i in range(100, 120))
    labels = read_labels(write(HEADER + ROWS + absent))
    with pytest.raises(BadLabelTable, match=r"20 of 24 .* cell 104 and 15 more"):
        rows_of(labels, run_cells)


def test_rows_stay_with_labels_in_any_order(write, run_cells):
    shuffled = run_cells.sample(fraction=1, shuffle=True, seed=1)
    labels = read_labels(write(HEADER + ROWS))
    found = shuffled[rows_of(labels, shuffled)]
    assert found.select(labels.cells.columns).equals(labels.cells)
    assert np.issubdtype(rows_of(labels, run_cells).dtype, np.integer)
