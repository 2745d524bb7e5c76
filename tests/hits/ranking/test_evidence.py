"""Evidence beside the rank: where every column comes from, and what is absent."""

import polars as pl
import pytest

from profiler.hits import call_hits, rank_uncertainty, strongest
from profiler.profile import feature_columns, is_role, robust_z

READOUT = "Nuclei_Intensity_MeanIntensity_GFP"
PER = ["Metadata_Compound", "Metadata_Role"]
DOSE = "Metadata_Concentration"


def called(wells: pl.DataFrame, **settings):
    features = feature_columns(wells)
    profiles = robust_z(wells, features=features, reference=is_role("negative"))
    return call_hits(wells, profiles, **settings)


@pytest.fixture(scope="module")
def found(make_plate):
    rises = (pl.col("Metadata_Compound") == "C001") & is_role("treatment")
    both = pl.concat([make_plate("P", doses=7), make_plate("Q", doses=7, seed=1)])
    shift = pl.when(rises).then(4 * pl.col(DOSE).log(2)).otherwise(0.0)
    shift = pl.when(is_role("positive")).then(30.0).otherwise(shift)
    return called(both.with_columns(pl.col("^(Nuclei|Cells)_.*$") + shift))


def row(table: pl.DataFrame, compound: str) -> dict:
    return table.row(by_predicate=pl.col("Metadata_Compound") == compound, named=True)


def test_one_row_per_compound_stays(found):
    assert found.compounds.select(PER).is_unique().all()
    assert found.compounds["Metadata_Compound"].to_list().count("C001") == 1
    assert found.compounds["rank"].to_list() == [*range(1, found.compounds.height + 1)]


def test_medians_over_the_wells_of_the_best_dose(found):
    mine = row(found.compounds, "C001")
    wells = found.hits.filter(
        pl.col("Metadata_Compound") == "C001", pl.col(DOSE) == mine["best_concentration"]
    )
    for name in ("b_score", "adjusted_z", "mahalanobis"):
        assert mine[name] == wells[name].median()
    assert mine["mahalanobis"] > 5


def test_ranks_are_those_of_the_bootstrap(found):
    ranks = rank_uncertainty(found.hits)
    names = ["rank", "rank_low", "rank_median", "rank_high", "top_share"]
    mine = found.compounds.select(*PER, *names).drop_nulls("rank")
    assert mine.equals(ranks.select(mine.columns))
    assert (mine["rank_low"] <= mine["rank_high"]).all()


def test_activity_is_that_of_the_most_active_dose(found):
    best = row(strongest(found.activity, per=PER), "C001")
    mine = row(found.compounds, "C001")
    assert mine["activity_p"] == best["p_value"]
    assert mine["activity_q"] == best["q_value"]
    assert mine["active_concentration"] == best[DOSE]
    assert mine["mean_average_precision"] == best["mean_average_precision"]
    control = row(found.compounds, "DMSO")
    assert control["activity_p"] is None


def test_replicates_at_the_best_dose(found):
    mine = row(found.compounds, "C001")
    theirs = found.replicates.filter(
        pl.col("Metadata_Compound") == "C001", pl.col(DOSE) == mine["best_concentration"]
    )
    assert mine["replicate_correlation"] == theirs["correlation"].item()
    assert mine["is_replicating"] == theirs["is_replicating"].item()


def test_the_dose_series_of_the_ranked_readout(found):
    mine = row(found.compounds, "C001")
    curve = row(found.curves.filter(readout=found.readout), "C001")
    for name in ("shape", "area_under_curve", "benchmark_concentration", "is_toxic_only"):
        assert mine[name] == curve[name]
    assert mine["shape"] == "trend"
    assert row(found.compounds, "DMSO")["shape"] is None


def test_top_features_carry_their_z(found):
    mine = row(found.compounds, "C001")
    assert len(mine["top_features"]) == len(mine["top_z"]) == 3
    assert all(z > 10 for z in mine["top_z"])
    assert mine["top_z"] == sorted(mine["top_z"], reverse=True)


def test_without_doses(make_plate):
    wells = make_plate(doses=1, replicates=3).drop(DOSE, "Metadata_Unit")
    found = called(wells)
    assert found.compounds["activity_p"].drop_nulls().len() == 5  # four compounds, one control
    assert found.compounds["active_concentration"].null_count() == found.compounds.height
    assert found.compounds["replicate_correlation"].null_count() == 0


def test_without_compounds(make_plate):
    wells = make_plate().drop("Metadata_Compound")
    found = called(wells)
    assert (found.activity, found.replicates, found.compounds.height) == (None, None, 0)
    assert found.hits.height == wells.height
