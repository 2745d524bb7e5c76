"""Hits do not depend on the scale that a recipe's steps leave the profiles on."""

import numpy as np
import polars as pl
import pytest

from profiler.hits import call_hits
from profiler.hits.scores.scale import on_scale
from profiler.profile import feature_columns, process
from profiler.recipe import Profile

READOUT = "Nuclei_Intensity_MeanIntensity_GFP"
DEFAULT = Profile().steps
NORMALISE, SELECT = DEFAULT
STANDARDISE = {"step": "normalise", "method": "standardize"}
CENTRE = {**STANDARDISE, "reference": "negative"}
SPHERIZE = {"step": "normalise", "method": "spherize", "reference": "negative"}


@pytest.fixture
def wells(make_plate):
    """C001 acts, in units far from those of noise; two plates that differ."""
    both = pl.concat([make_plate("P", features=6), make_plate("Q", features=6, seed=1)])
    features = pl.col(feature_columns(both))
    change = pl.when(pl.col("Metadata_Compound") == "C001").then(20.0).otherwise(0.0)
    moved = both.with_columns(pl.col(READOUT) + change)
    plate = pl.when(pl.col("Metadata_Plate") == "P").then(1.0).otherwise(3.0)
    return moved.with_columns(features * 100 * plate + 5000 * plate)


def called(wells, steps):
    made = process(wells, features=feature_columns(wells), steps=steps)
    scaled = on_scale(wells, made.profiles, steps=steps)
    return call_hits(wells, scaled.profiles, selected=made.selected, readout=READOUT), scaled.notes


def test_the_default_is_left_as_it_is(wells):
    made = process(wells, features=feature_columns(wells), steps=DEFAULT)
    scaled = on_scale(wells, made.profiles, steps=DEFAULT)
    assert scaled.profiles is made.profiles
    assert scaled.notes == ()
    in_time = [{**NORMALISE, "within": ["Metadata_Plate", "Metadata_Timepoint"]}, SELECT]
    assert on_scale(wells, made.profiles, steps=in_time).profiles is made.profiles


@pytest.mark.parametrize(
    "steps",
    [[], [SELECT, NORMALISE], [STANDARDISE], [CENTRE, SELECT], [SPHERIZE]],
    ids=["none", "select first", "all wells", "mean and sd", "whitened"],
)
def test_the_same_wells_and_compounds_are_hits_whatever_the_steps(wells, steps):
    expected, _ = called(wells, DEFAULT)
    found, notes = called(wells, steps)
    assert len(notes) == 1
    assert "hits are scored by that of" in notes[0]
    for table, keys in (("hits", ["Metadata_Plate", "Metadata_Well"]),
                        ("compounds", ["Metadata_Compound", "Metadata_Role"])):  # fmt: skip
        mine, theirs = (getattr(each, table).sort(keys) for each in (found, expected))
        assert mine["is_hit"].equals(theirs["is_hit"]), table
    assert found.compounds.filter(Metadata_Compound="C001")["is_hit"].to_list() == [True]
    mine, theirs = (each.hits.sort("Metadata_Plate", "Metadata_Well") for each in (found, expected))
    for name in ("readout_z", "profile_score"):
        np.testing.assert_allclose(mine[name], theirs[name], rtol=1e-6, atol=1e-6)


def test_what_drives_a_hit_is_told_in_robust_z(wells):
    found, _ = called(wells, [])
    row = found.compounds.row(by_predicate=pl.col("Metadata_Compound") == "C001", named=True)
    assert row["top_features"][0] == READOUT
    assert 10 < row["top_z"][0] < 60
    assert abs(row["top_z"][1]) < 5  # and not thousands of units


def test_a_correction_is_not_undone(wells):
    steps = [NORMALISE, {**NORMALISE, "reference": "all"}]
    made = process(wells, features=feature_columns(wells), steps=steps)
    shifted = made.profiles.with_columns(
        pl.when(pl.col("Metadata_Well") == "A25").then(99.0).otherwise(READOUT).alias(READOUT)
    )
    scaled = on_scale(wells, shifted, steps=steps).profiles
    assert (scaled.filter(Metadata_Well="A25")[READOUT] > 50).all()
