"""What is known of compounds: joined to every well, and told where one side has more."""

import polars as pl
import pytest

from plates.errors import BadLayout
from plates.layout import read_layout
from profiler.profile import describe, read_compounds

TABLE = "compound,MOA,Role\ntaxol,tubulin,trt\nnoc,tubulin,\nDMSO,,neg_con\nextra,none,\n"
WELLS = pl.DataFrame(
    {
        "Metadata_Well": ["A01", "A02", "A03", "A04", "A05"],
        "Metadata_Compound": ["DMSO", "taxol", "mystery", None, "taxol"],
        "Metadata_Role": [None, "positive", None, None, None],
    }
)


@pytest.fixture
def file(tmp_path):
    def write(text: str):
        path = tmp_path / "compounds.csv"
        path.write_text(text)
        return path

    return write


def test_every_well_stays_and_gets_what_is_known(file):
    found = describe(WELLS, read_compounds(file(TABLE)))
    assert found.wells["Metadata_Well"].to_list() == WELLS["Metadata_Well"].to_list()
    assert found.wells["Metadata_MOA"].to_list() == [None, "tubulin", None, None, "tubulin"]
    roles = ["negative", "positive", None, None, "treatment"]
    assert found.wells["Metadata_Role"].to_list() == roles
    assert found.sentences() == [
        "1 compound of the plates not in the table of compounds: mystery.",
        "2 compounds of the table of compounds on no plate: extra, noc.",
    ]


def test_a_line_without_a_compound_describes_wells_without_one(file):
    compounds = read_compounds(file("compound,Role\ntaxol,trt\n,negcon\n"))
    assert describe(WELLS, compounds).wells["Metadata_Role"][3] == "negative"


def test_where_all_is_described_there_is_nothing_to_say(file):
    wells = WELLS.filter(Metadata_Compound="taxol")
    assert describe(wells, read_compounds(file("drug,MOA\ntaxol,tubulin\n"))).sentences() == []


def test_real_tables(data_folder):
    folder = data_folder / "platemaps" / "jump_target"
    columns = {"broad_sample": "Metadata_Compound", "control_type": "Metadata_Role"}
    compounds = read_compounds(folder / "JUMP-Target-1_compound_metadata.tsv", columns=columns)
    layout = read_layout(folder / "JUMP-Target-1_compound_platemap.tsv")
    wells = layout.with_columns(Metadata_Compound="Metadata_broad_sample")
    found = describe(wells, compounds)
    assert found.wells.height == 384
    assert found.sentences() == []
    roles = dict(found.wells["Metadata_Role"].value_counts().iter_rows())
    assert roles == {"negative": 64, "positive": 60, None: 260}


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("name,MOA\ntaxol,x\n", {}, "has no column 'compound'; it has name, MOA"),
        ("compound,MOA\na,x\n", {"columns": {"moa": "Metadata_MOA"}}, "has no column 'moa'"),
        ("compound,MOA\na,x\na,y\n", {}, "names a more than once. Keep one line per compound"),
        ("compound,role\na,what\n", {}, "the role 'what'"),
    ],
)
def test_messages_of_files(file, text, options, message):
    with pytest.raises(BadLayout, match=message):
        read_compounds(file(text), **options)


def test_messages(file):
    compounds = read_compounds(file(TABLE))
    with pytest.raises(BadLayout, match="No well has a compound"):
        describe(WELLS.drop("Metadata_Compound"), compounds)
    with pytest.raises(BadLayout, match=r"of the plates \(other\) .* have none in common"):
        describe(WELLS.with_columns(Metadata_Compound=pl.lit("other")), compounds)
    with pytest.raises(BadLayout, match="both have Metadata_MOA. Rename or delete"):
        describe(WELLS.with_columns(Metadata_MOA=pl.lit("x")), compounds)
