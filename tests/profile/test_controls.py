"""Control wells: selecting them, and saying what is missing."""

import polars as pl
import pytest

from plates.errors import NoControls, UnknownName
from profiler.profile import is_role, require_controls

WELLS = pl.DataFrame(
    {
        "Metadata_Plate": ["P"] * 4 + ["Q"] * 3,
        "Metadata_Well": ["A01", "A02", "A03", "A04", "A01", "A02", "A03"],
        "Metadata_Role": [*["negative"] * 2, "positive", None, "negative", "positive", "treatment"],
        "Metadata_QC_Status": ["ok"] * 7,
    }
)


def require(wells: pl.DataFrame, *, role: str = "negative", at_least: int = 2) -> None:
    require_controls(wells, role=role, at_least=at_least, why="set the scale")


def test_a_well_without_role_is_of_none():
    assert WELLS.select(is_role("negative")).to_series().to_list()[:4] == [True, True, False, False]


def test_enough_controls_pass():
    require(WELLS, at_least=1)
    require(WELLS.filter(Metadata_Plate="P"))


def test_the_plate_that_lacks_them_is_named_with_its_roles():
    message = (
        r"Plate Q has 1 negative control well with cells, and 2 are needed to set the scale\. "
        r"Its roles are negative \(1\), positive \(1\), treatment \(1\); mark the wells as "
        r"negative in the plate map\."
    )
    with pytest.raises(NoControls, match=message):
        require(WELLS)


def test_controls_that_were_lost_are_named_with_the_reason():
    states = pl.Series("Metadata_QC_Status", ["ok", "failed", "not_imaged", *["ok"] * 4])
    message = r"P has 1 .*The plate map has 2, but of these A02 failed\. Leave the plate out, or"
    with pytest.raises(NoControls, match=message):
        require(WELLS.with_columns(states))
    with pytest.raises(NoControls, match=r"P has 0 positive control wells .*A03 not_imaged\."):
        require(WELLS.with_columns(states), role="positive", at_least=1)


def test_a_plate_map_without_roles():
    wells = WELLS.with_columns(Metadata_Role=pl.lit(None, dtype=pl.String))
    with pytest.raises(NoControls, match="Its roles are not given; mark"):
        require(wells)


def test_no_plate_map():
    with pytest.raises(NoControls, match="No plate map says which wells are negative controls"):
        require(WELLS.drop("Metadata_Role"))


def test_unknown_role():
    with pytest.raises(UnknownName, match=r"no role called 'negatve'\. Did you mean 'negative'"):
        is_role("negatve")
    with pytest.raises(UnknownName, match="no role called 'postive'"):
        require(WELLS, role="postive")
