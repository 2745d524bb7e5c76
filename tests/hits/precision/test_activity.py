"""Activity of compounds: found, not invented; what the answer must not depend on; doses."""

import numpy as np
import polars as pl
import pytest

from profiler.hits.precision.activity import activity, strongest
from profiler.hits.precision.matching import Matching

COMPOUND = "Metadata_Compound"


@pytest.fixture(scope="module")
def screen() -> pl.DataFrame:
    """Four plates, 24 compounds, of which C00 to C03 do something."""
    random = np.random.default_rng(0)
    effects = random.normal(size=(24, 30)) * (np.arange(24) < 4)[:, None]
    plates = []
    for plate in range(4):
        compounds = [f"C{i:02d}" for i in range(24)] + ["DMSO"] * 16
        values = random.normal(size=(40, 30))
        values[:24] += effects
        keys = {
            "Metadata_Plate": f"P{plate}",
            "Metadata_Well": [f"{chr(65 + i // 10)}{i % 10 + 1:02d}" for i in range(40)],
            COMPOUND: compounds,
            "Metadata_Role": ["treatment"] * 24 + ["negative"] * 16,
        }
        features = pl.DataFrame(values, schema=[f"Cells_Made_F{i}" for i in range(30)])
        plates.append(pl.DataFrame(keys).hstack(features))
    return pl.concat(plates)


def test_active_compounds_are_found(screen):
    found = activity(screen)
    assert found.height == 24
    assert set(found.filter(pl.col("q_value") <= 0.05)[COMPOUND]) == {f"C0{i}" for i in range(4)}
    assert found["n_wells"].to_list() == [4] * 24
    assert found["mean_average_precision"].is_sorted(descending=True)
    assert found["status"].unique().to_list() == ["ok"]
    assert found["chance_precision"][0] == pytest.approx(0.277, abs=0.001)


def test_against_other_compounds(screen):
    found = activity(screen, matching=Matching(against="others"))
    assert found.height == 25  # the vehicle, too
    assert set(found.filter(pl.col("q_value") <= 0.05)[COMPOUND]) >= {f"C0{i}" for i in range(4)}


def test_order_and_company_do_not_change_what_is_drawn(screen):
    whole = activity(screen, seed=3)
    shuffled = activity(screen.sample(fraction=1, shuffle=True, seed=5), seed=3)
    assert shuffled.equals(whole)
    some = screen.filter(~pl.col(COMPOUND).is_in(["C00", "C10"]))
    kept = whole.filter(~pl.col(COMPOUND).is_in(["C00", "C10"]))
    assert activity(some, seed=3).drop("q_value").equals(kept.drop("q_value"))


def test_the_seed_decides(screen):
    first, second = (activity(screen, seed=seed)["p_value"] for seed in (0, 1))
    assert not first.equals(second)
    assert activity(screen)["p_value"].equals(first)


def test_what_cannot_be_tested_says_why(screen):
    alone = pl.col("Metadata_Plate") == "P0"
    gone = (pl.col(COMPOUND) == "C05") & ~alone
    broken = pl.when(pl.col(COMPOUND) != "C06").then(pl.col("^Cells_.*$"))
    found = activity(screen.filter(~gone).with_columns(broken))
    status = dict(found.select(COMPOUND, "status").iter_rows())
    assert (status["C05"], status["C06"], status["C07"]) == ("no_match", "no_profile", "ok")
    last = found.filter(pl.col(COMPOUND).is_in(["C05", "C06"]))
    assert last["p_value"].null_count() == last["q_value"].null_count() == 2
    assert last["n_left_out"].to_list() == [1, 4]


@pytest.mark.parametrize("controls", [0, 1])
def test_no_or_one_control_well(screen, controls):
    is_control = pl.col("Metadata_Role") == "negative"
    few = screen.filter(~is_control | (is_control.cum_sum().over("Metadata_Plate") <= controls))
    found = activity(few)
    assert found["status"].unique().to_list() == ["ok" if controls else "no_other"]
    assert (found["p_value"].null_count() == 0) == bool(controls)
    assert (found["q_value"].drop_nulls() > 0.05).all()


def test_a_plate_without_controls_lends_its_wells_as_matches(screen):
    is_gone = (pl.col("Metadata_Role") == "negative") & (pl.col("Metadata_Plate") == "P3")
    found = activity(screen.filter(~is_gone)).filter(pl.col(COMPOUND) == "C00")
    assert found.select("n_wells", "n_left_out", "status").row(0) == (3, 1, "ok")
    assert found["p_value"].item() < 1e-3


def test_an_empty_table(screen):
    assert activity(screen.clear()).height == 0


def test_the_strongest_dose_speaks_for_a_compound():
    table = pl.DataFrame(
        {
            COMPOUND: ["a", "a", "b", "c"],
            "Metadata_Concentration": [1.0, 2.0, 1.0, 1.0],
            "mean_average_precision": [0.2, 0.9, 0.5, None],
            "p_value": [0.5, 0.01, 0.03, None],
            "q_value": [0.5, 0.03, 0.045, None],
        }
    )
    found = strongest(table, per=[COMPOUND])
    assert found[COMPOUND].to_list() == ["a", "b", "c"]
    assert found["Metadata_Concentration"].to_list() == [2.0, 1.0, 1.0]
    assert found["n_doses"].to_list() == [2, 1, 0]
    assert found["p_value"].to_list() == [pytest.approx(1 - 0.99**2), pytest.approx(0.03), None]
    assert found["q_value"][0] == pytest.approx(0.03)  # of two tests
