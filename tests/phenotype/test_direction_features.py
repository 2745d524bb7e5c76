"""Which features go with a direction: scipy's Spearman, planted features, honest nulls."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import pearsonr, rankdata, spearmanr

from plates.errors import BadRun
from profiler.phenotype.direction_features import direction_features

WELLS = 6


def cells(seed: int = 0, n: int = 120) -> tuple[pl.DataFrame, np.ndarray]:
    """A feature that goes with the place, one that only wells share with it, and noise."""
    rng = np.random.default_rng(seed)
    number = np.arange(n) % WELLS
    of_well = rng.normal(size=WELLS)[number]
    place = rng.normal(size=n) + 3 * of_well
    columns = {f"Cells_Noise_{i}": rng.normal(size=n) for i in range(30)}
    columns["Cells_Real"] = np.exp(place + rng.normal(size=n))
    columns["Cells_Well"] = of_well + 0.1 * rng.normal(size=n)
    return pl.DataFrame({"well": [f"w{i}" for i in number], **columns}), place


def names(table: pl.DataFrame) -> list[str]:
    return [name for name in table.columns if name.startswith("Cells_")]


def test_correlations_are_scipys_spearman():
    table, place = cells()
    table = table.with_columns(pl.col("Cells_Noise_0").round(0))  # ties
    found = direction_features(table, place, features=names(table))
    for row in found.iter_rows(named=True):
        expected = spearmanr(table[row["feature"]], place).statistic
        np.testing.assert_allclose(row["correlation"], expected, atol=1e-12)
    sizes = found["correlation"].abs().to_list()
    assert sizes == sorted(sizes, reverse=True)


def test_given_the_well_it_is_the_partial_correlation_of_ranks():
    table, place = cells()
    found = direction_features(table, place, features=["Cells_Real"], given="well")
    wells = table["well"].to_numpy()
    ranks = [rankdata(table["Cells_Real"]), rankdata(place)]
    rest = []
    for rank in ranks:
        design = (wells[:, None] == np.unique(wells)).astype(float)
        rest.append(rank - design @ np.linalg.lstsq(design, rank, rcond=None)[0])
    np.testing.assert_allclose(found["correlation"].item(), pearsonr(*rest).statistic)


def test_what_wells_share_goes_with_it_over_all_cells_and_not_within_wells():
    table, place = cells()
    over = direction_features(table, place, features=names(table))
    within = direction_features(table, place, features=names(table), given="well")
    real, well = pl.col("feature") == "Cells_Real", pl.col("feature") == "Cells_Well"
    assert over.filter(well)["q_value"].item() < 0.01
    assert within.filter(well)["q_value"].item() > 0.1
    assert within.filter(real)["q_value"].item() < 0.01
    assert within["feature"][0] == "Cells_Real"


def test_without_any_relation_few_are_called():
    """At q of .05 a relation may be called in one table of twenty; p-values are uniform."""
    called, p_values = 0, []
    for seed in range(40):
        table, _ = cells(seed, n=60)
        place = np.random.default_rng(seed + 1000).normal(size=60)
        found = direction_features(
            table, place, features=names(table)[:10], given="well", permutations=50
        )
        called += found.filter(pl.col("q_value") <= 0.05).height > 0
        p_values += found["p_value"].to_list()
    assert called <= 6  # of 40; the chance of more at .05 is below .005
    assert abs(np.mean(np.array(p_values) <= 0.1) - 0.1) < 0.04


def test_gaps_are_the_middle_and_constants_are_null():
    table, place = cells()
    gaps = pl.when(pl.int_range(pl.len()) % 4 > 0).then("Cells_Real").alias("Cells_Gaps")
    few = pl.when(pl.int_range(pl.len()) % 4 == 0).then("Cells_Real").alias("Cells_Few")
    table = table.with_columns(gaps, few, pl.lit(2.0).alias("Cells_Same"))
    wanted = ["Cells_Gaps", "Cells_Few", "Cells_Same"]
    found = direction_features(table, place, features=wanted)
    rows = {row["feature"]: row for row in found.iter_rows(named=True)}
    assert rows["Cells_Gaps"]["n_rows"] == 90
    assert rows["Cells_Gaps"]["correlation"] > 0.6
    for name in ("Cells_Few", "Cells_Same"):
        assert rows[name]["correlation"] is None
        assert rows[name]["q_value"] is None


def test_the_same_seed_gives_the_same_p_values():
    table, place = cells()
    one, same, other = (
        direction_features(table, place, features=names(table), seed=seed) for seed in (0, 0, 1)
    )
    assert one.equals(same)
    assert not one.equals(other)


def test_too_few_rows_are_refused():
    table, place = cells()
    with pytest.raises(BadRun, match="4 rows and 32 features; .* at least 5 rows"):
        direction_features(table[:4], place[:4], features=names(table))
    with pytest.raises(BadRun, match="0 features"):
        direction_features(table, place, features=[])
