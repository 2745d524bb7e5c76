"""Plate maps in which a compound goes by two names or units."""

import polars as pl
import pytest

from plates.errors import BadLayout
from profiler.profile import check_compounds

LAYOUT = pl.DataFrame(
    {
        "Metadata_Well": ["A01", "A02", "A03", "A04", "A05"],
        "Metadata_Compound": ["taxol", "taxol", "DMSO", "DMSO", None],
        "Metadata_Role": ["treatment", "treatment", "negative", "negative", "empty"],
        "Metadata_Concentration": [1.0, 2.0, 0.0, 0.0, None],
        "Metadata_Unit": ["nM", "nM", "nM", "uM", None],
    }
)


def test_a_good_map_passes_though_its_vehicle_has_two_units():
    check_compounds(LAYOUT)
    check_compounds(LAYOUT.select("Metadata_Well"))
    check_compounds(LAYOUT.select("Metadata_Well", "Metadata_Compound"))


@pytest.mark.parametrize("other", ["Taxol", "taxol "])
def test_names_that_differ_in_case_or_spaces(other):
    names = pl.Series("Metadata_Compound", ["taxol", other, "DMSO", "DMSO", None])
    with pytest.raises(BadLayout, match=rf"'{other}'.* differ only in case or spaces\. Spell"):
        check_compounds(LAYOUT.with_columns(names))


def test_one_compound_in_two_units():
    units = pl.Series("Metadata_Unit", ["nM", "uM", "nM", "nM", None])
    message = r"'taxol' are in nM and in uM \(wells A01, A02, among others\)\. Give them all"
    with pytest.raises(BadLayout, match=message):
        check_compounds(LAYOUT.with_columns(units))


def test_a_unit_of_one_plate_names_the_plate():
    plates = [LAYOUT.with_columns(Metadata_Plate=pl.lit(name)) for name in "PQ"]
    both = pl.concat([plates[0], plates[1].with_columns(Metadata_Unit=pl.lit("uM"))])
    with pytest.raises(BadLayout, match=r"wells P/A01, Q/A01, among"):
        check_compounds(both)


def test_a_negative_concentration():
    doses = pl.Series("Metadata_Concentration", [1.0, -2.0, 0.0, 0.0, None])
    with pytest.raises(BadLayout, match="concentration in well A02 is -2; it must be 0 or more"):
        check_compounds(LAYOUT.with_columns(doses))
    with pytest.raises(BadLayout, match="The concentration is -2; it must be 0 or more"):
        check_compounds(LAYOUT.with_columns(doses).drop("Metadata_Well"))
