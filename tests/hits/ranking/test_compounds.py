"""Ranks of compounds: planted hits, null screens, controls, ties."""

import numpy as np
import polars as pl
import pytest
from scipy import stats

from profiler.hits import HitRule, fit_curves, rank_compounds, rank_wells, score_wells
from profiler.hits.ranking.compounds import dose_threshold
from profiler.hits.ranking.rank import DEFAULT
from profiler.profile import feature_columns, is_role, robust_z

READOUT = "Nuclei_Intensity_MeanIntensity_GFP"
TREATED = pl.col("Metadata_Role") == "treatment"


def ranked(
    wells: pl.DataFrame, *, rule: HitRule = DEFAULT, readouts: tuple[str, ...] = (READOUT,)
) -> pl.DataFrame:
    profiles = robust_z(wells, features=feature_columns(wells), reference=is_role("negative"))
    hits = rank_wells(score_wells(wells, profiles, readout=READOUT), rule=rule)
    curves = fit_curves(wells, readouts=readouts)
    return rank_compounds(hits, curves=curves, profiles=profiles, rule=rule)


def planted(wells: pl.DataFrame, *, above: float = 4.0, change: float = 30.0) -> pl.DataFrame:
    """C001 acts from a dose up."""
    active = (pl.col("Metadata_Compound") == "C001") & (pl.col("Metadata_Concentration") >= above)
    return wells.with_columns(pl.col(READOUT) + pl.when(active).then(change).otherwise(0.0))


def row(compounds: pl.DataFrame, name: str) -> dict:
    return compounds.row(by_predicate=pl.col("Metadata_Compound") == name, named=True)


@pytest.mark.parametrize("change", [30.0, -30.0])
def test_a_planted_compound_is_found(make_plate, change):
    compounds = ranked(planted(make_plate(doses=6), change=change))
    best = compounds.row(0, named=True)
    assert (best["Metadata_Compound"], best["rank"], best["is_hit"]) == ("C001", 1, True)
    assert best["direction"] == ("up" if change > 0 else "down")
    assert best["best_concentration"] >= 4
    assert best["top_features"][0] == READOUT
    assert best["n_hits"] >= 8
    assert (best["curve_status"], best["n_wells"], best["n_doses"]) == ("ok", 12, 6)
    assert 1 < best["ec50"] < 8
    assert compounds["is_hit"].sum() == 1


def test_score_is_the_median_at_the_best_dose(make_plate):
    wells = planted(make_plate(doses=3, replicates=3))
    controls = wells.filter(is_role("negative"))[READOUT].to_numpy()
    mad = np.median(np.abs(controls - np.median(controls)))
    at_best = wells.filter(Metadata_Compound="C001", Metadata_Concentration=4.0)[READOUT]
    expected = (np.median(at_best.to_numpy()) - np.median(controls)) / (1.4826 * mad)
    found = row(ranked(wells), "C001")
    assert (found["score"], found["best_concentration"]) == (pytest.approx(expected), 4.0)


def test_controls_are_ranked_with_their_role(make_plate):
    wells = make_plate().with_columns(
        pl.col(READOUT) + pl.when(is_role("positive")).then(50.0).otherwise(0.0)
    )
    compounds = ranked(wells)
    assert compounds.row(0, named=True)["Metadata_Role"] == "positive"
    assert row(compounds, "full")["curve_status"] is None
    assert row(compounds, "full")["percent_effect"] == pytest.approx(100)
    assert row(compounds, "DMSO")["is_hit"] is False


def test_one_lucky_replicate_of_many_is_no_hit(make_plate):
    wells = make_plate(doses=1, replicates=5, compounds=2)
    lucky = pl.int_range(pl.len()) == pl.len() - 1
    wells = wells.with_columns(pl.when(lucky).then(99.0).otherwise(READOUT).alias(READOUT))
    assert row(ranked(wells), "C001")["n_hits"] >= 1
    assert row(ranked(wells), "C001")["is_hit"] is False


def test_of_two_replicates_both_must_pass(make_plate):
    wells = make_plate(doses=1, replicates=2, compounds=2)
    value = pl.when(pl.int_range(pl.len()) == pl.len() - 1).then(2.0).otherwise(50.0)
    mine = pl.when(pl.col("Metadata_Compound") == "C001").then(value).otherwise(READOUT)
    found = row(ranked(wells.with_columns(mine.alias(READOUT))), "C001")
    assert (found["score"] > found["threshold"], found["is_hit"]) == (True, False)


def test_one_well_of_a_dose_series_is_not_enough(make_plate):
    one = planted(make_plate(doses=5, replicates=1), above=16.0)
    two = planted(make_plate(doses=5, replicates=1), above=8.0)
    assert [row(ranked(wells), "C001")["is_hit"] for wells in (one, two)] == [False, True]


def test_replicates_that_disagree_in_direction_are_no_hit(make_plate):
    wells = make_plate(doses=1, replicates=2, compounds=2)
    swing = pl.when(pl.int_range(pl.len()) == pl.len() - 1).then(-40.0).otherwise(50.0)
    mine = pl.when(pl.col("Metadata_Compound") == "C001").then(swing).otherwise(READOUT)
    assert row(ranked(wells.with_columns(mine.alias(READOUT))), "C001")["is_hit"] is False


def test_a_compound_with_one_well_stands_on_it(make_plate):
    wells = planted(make_plate(doses=1, replicates=1), above=1.0)
    found = row(ranked(wells), "C001")
    assert (found["is_hit"], found["n_wells"]) == (True, 1)


def null_screen(make_plate, *, on: int, **settings) -> pl.DataFrame:
    """60 plates in groups of `on` that hold the same compounds; their controls are few."""
    plates = []
    for seed in range(60):
        name = pl.when(TREATED).then(pl.format("{} {}", pl.lit(seed // on), "Metadata_Compound"))
        wells = make_plate(f"P{seed}", compounds=8 * on, seed=seed, **settings)
        plates.append(wells.with_columns(Metadata_Compound=name.otherwise("Metadata_Compound")))
    return pl.concat(plates)


@pytest.mark.parametrize("rank_by", ["readout", "profile"])
@pytest.mark.parametrize(
    "settings",
    [
        {"negatives": 4, "doses": 8, "replicates": 1, "on": 1},
        {"negatives": 16, "doses": 9, "replicates": 1, "on": 1},
        {"negatives": 16, "doses": 3, "replicates": 3, "on": 1},
        {"negatives": 8, "doses": 1, "replicates": 4, "on": 1},
        {"negatives": 16, "doses": 1, "replicates": 1, "on": 1},
        {"negatives": 6, "doses": 4, "replicates": 1, "on": 3},
        {"negatives": 8, "doses": 3, "replicates": 2, "on": 2},
    ],
    ids=str,
)
def test_fewer_than_5_percent_of_null_compounds_are_hits(make_plate, rank_by, settings):
    wells = null_screen(make_plate, **settings)
    compounds = ranked(wells, rule=HitRule(rank_by=rank_by), readouts=()).filter(TREATED)
    assert compounds.height == 480
    assert compounds["is_hit"].mean() < 0.05


def test_the_threshold_rises_with_doses_and_falls_with_controls():
    doses, controls = np.array([1, 9, 1, 9]), np.array([16, 16, 5, 5])
    found = dose_threshold(3.0, doses=doses, plates=np.ones(4, int), controls=controls)
    rate = 2 * stats.norm.sf(3)
    per_dose = 1 - (1 - rate) ** (1 / 9)
    expected = [
        stats.t.isf(rate / 2, 15),
        stats.t.isf(per_dose / 2, 15),
        stats.t.isf(rate / 2, 4),
        stats.t.isf(per_dose / 2, 4),
    ]
    np.testing.assert_allclose(found, expected)


def test_plates_that_agree_need_less_each_but_never_less_than_the_threshold():
    plates = np.array([1, 3, 9])
    found = dose_threshold(3.0, doses=np.full(3, 7), plates=plates, controls=np.full(3, 6), sides=1)
    per_dose = 1 - (1 - stats.norm.sf(3)) ** (1 / 7)
    two_of_three = stats.t.sf(found[1], 5)
    assert stats.binom.sf(1, 3, two_of_three) == pytest.approx(per_dose)
    assert found[0] > found[1] > found[2] == 3.0


def test_wells_that_failed_are_missing_and_a_compound_of_them_keeps_a_row(make_plate):
    wells = make_plate(doses=2)
    lost = pl.col("Metadata_Compound") == "C002"
    wells = wells.with_columns(
        pl.when(~lost).then(pl.col(READOUT, "Cells_Texture_F1", "Cells_Texture_F2")),
        pl.when(lost).then(pl.lit("failed")).otherwise(pl.lit("ok")).alias("Metadata_QC_Status"),
    )
    last = ranked(wells).row(-1, named=True)
    names = ("Metadata_Compound", "rank", "is_hit", "n_wells", "n_missing", "direction")
    assert [last[name] for name in names] == ["C002", None, None, 0, 4, None]


def test_toxic_at_the_best_dose(make_plate):
    wells = planted(make_plate(doses=6))
    dead = (pl.col("Metadata_Compound") == "C001") & (pl.col("Metadata_Concentration") >= 4)
    counts = pl.when(dead).then(20).otherwise("Metadata_Object_Count")
    found = ranked(wells.with_columns(counts.alias("Metadata_Object_Count")))
    assert row(found, "C001")["is_toxic"] is True
    assert row(found, "C000")["is_toxic"] is False


def test_a_feature_explains_no_more_than_the_controls_spread_in_it(make_plate):
    wells = planted(make_plate(doses=6), change=30.0)
    is_first = pl.int_range(pl.len()) == 0
    assert wells.filter(is_first)["Metadata_Role"].item() == "negative"
    usual = pl.Series(np.random.default_rng(0).normal(size=wells.height))
    is_far = is_first | (pl.col("Metadata_Compound") == "C001")
    wide = pl.when(is_far).then(1e4).otherwise(usual).alias("Cells_AreaShape_HuMoment_6")
    compounds = ranked(wells.with_columns(wide))
    best = row(compounds, "C001")
    assert best["top_features"][0] == READOUT
    assert "Cells_AreaShape_HuMoment_6" in best["top_features"]


def test_where_the_controls_of_a_plate_lie_explains_nothing(make_plate):
    """Plates normalised to all their wells have controls on either side of 0."""
    other = "Cells_Texture_F1"
    wells = pl.concat(planted(make_plate(name, doses=6, seed=i)) for i, name in enumerate("PQ"))
    profiles = robust_z(wells, features=feature_columns(wells), reference=is_role("negative"))
    is_active = pl.col("Metadata_Compound") == "C001"
    profiles = profiles.with_columns(pl.when(is_active).then(8.0).otherwise(other).alias(other))
    hits = rank_wells(score_wells(wells, profiles, readout=READOUT))
    curves = fit_curves(wells, readouts=(READOUT,))
    offset = pl.when(pl.col("Metadata_Plate") == "P").then(20.0).otherwise(-20.0)
    for shift in (0.0, offset):
        moved = profiles.with_columns(pl.col(READOUT) + shift)
        best = row(rank_compounds(hits, curves=curves, profiles=moved), "C001")
        assert best["top_features"][:2] == [READOUT, other]


def test_ties_go_by_name(make_plate):
    wells = make_plate(doses=1).with_columns(
        pl.when(TREATED).then(5.0).otherwise(READOUT).alias(READOUT)
    )
    compounds = ranked(wells).filter(TREATED)
    assert compounds["Metadata_Compound"].to_list() == ["C000", "C001", "C002", "C003"]


def test_without_compounds_there_is_no_row(make_plate):
    wells = make_plate().drop("Metadata_Compound", "Metadata_Concentration", "Metadata_Unit")
    compounds = ranked(wells)
    assert compounds.height == 0
    assert "top_features" in compounds.columns


def killed(wells: pl.DataFrame, dead: pl.Expr) -> pl.DataFrame:
    """No cell is left in some wells, and so no feature."""
    lost = [pl.when(~dead).then(pl.col(name)).alias(name) for name in feature_columns(wells)]
    return wells.with_columns(
        *lost,
        pl.when(dead).then(0).otherwise("Metadata_Object_Count").alias("Metadata_Object_Count"),
        pl.when(dead).then(pl.lit("no_cells")).otherwise(pl.lit("ok")).alias("Metadata_QC_Status"),
    )


def test_a_compound_that_kills_every_cell_is_toxic(make_plate):
    wells = killed(make_plate(doses=2, replicates=3), pl.col("Metadata_Compound") == "C001")
    found = row(ranked(wells), "C001")
    assert (found["rank"], found["is_hit"], found["n_wells"]) == (None, None, 0)
    assert (found["viability"], found["is_toxic"]) == (0.0, True)


def test_dead_replicates_of_the_best_dose_count(make_plate):
    wells = make_plate(doses=1, replicates=3)
    mine = wells.with_row_index().filter(Metadata_Compound="C002")["index"].to_list()
    wells = killed(wells, pl.int_range(pl.len()).is_in(mine[:2]))
    found = row(ranked(wells), "C002")
    assert (found["n_wells"], found["viability"], found["is_toxic"]) == (1, 0.0, True)
    spoilt = pl.int_range(pl.len()).is_in(mine[:2])  # a well that failed is not a dead one
    status = pl.when(spoilt).then(pl.lit("failed")).otherwise(pl.lit("ok"))
    found = row(ranked(wells.with_columns(Metadata_QC_Status=status)), "C002")
    assert found["viability"] == pytest.approx(1.0, abs=0.2)
    assert not found["is_toxic"]
