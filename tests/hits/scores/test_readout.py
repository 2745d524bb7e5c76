"""Second scores of the ranked readout: those of the functions they come from, and gaps."""

import numpy as np
import polars as pl
import pytest

from profiler.hits import b_score
from profiler.hits.scores.readout import second_scores
from profiler.profile import is_role

READOUT = "Nuclei_Intensity_MeanIntensity_GFP"
COUNT = "Metadata_Object_Count"


def test_b_score_is_that_of_the_plate(make_plate):
    wells = make_plate()
    found = second_scores(wells, readout=READOUT)
    assert found["b_score"].to_list() == b_score(wells, features=[READOUT])[READOUT].to_list()
    assert found.height == wells.height


def test_what_follows_from_the_count_is_taken_out(make_plate):
    wells = make_plate(negatives=40, seed=2)
    is_few = pl.col("Metadata_Compound") == "C001"
    wells = wells.with_columns(pl.when(is_few).then(100).otherwise(COUNT).alias(COUNT))
    crowding = 5 * pl.col(COUNT).cast(pl.Float64).log(2)
    own = pl.when(pl.col("Metadata_Compound") == "C002").then(12.0).otherwise(0.0)
    noise = pl.Series(np.random.default_rng(0).normal(size=wells.height) / 50)
    wells = wells.with_columns((crowding + own + noise).alias(READOUT))
    z = wells.select("Metadata_Compound").hstack(second_scores(wells, readout=READOUT))
    sizes = dict(z.group_by("Metadata_Compound").agg(pl.col("adjusted_z").median()).iter_rows())
    assert abs(sizes["C001"]) < 10  # ten steps of crowding, in z of 0.02: about 500 before
    assert sizes["C002"] > 200


@pytest.mark.parametrize("readout", [None, READOUT])
def test_null_where_there_is_no_answer(make_plate, readout):
    wells = make_plate().with_columns(pl.when(~is_role("negative")).then(READOUT).alias(READOUT))
    found = second_scores(wells, readout=readout)
    assert found["adjusted_z"].null_count() == wells.height
    assert found.columns == ["b_score", "adjusted_z"]
