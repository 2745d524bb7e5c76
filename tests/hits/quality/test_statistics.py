"""Plate statistics: by hand, against numpy, at the edges; the best readout."""

import numpy as np
import polars as pl
import pytest

from profiler.hits import best_readout, plate_statistics

NEGATIVE, POSITIVE = [1.0, 2.0, 3.0], [10.0, 12.0, 14.0, 20.0]
FEATURE = "Cells_Test_F"


def plate(negative, positive, *, feature=FEATURE, name="P") -> pl.DataFrame:
    return pl.DataFrame(
        {
            "Metadata_Plate": name,
            "Metadata_Role": ["negative"] * len(negative) + ["positive"] * len(positive) + [None],
            feature: [*negative, *positive, 5.0],
        },
        strict=False,
        schema_overrides={feature: pl.Float64},
    )


def statistics(negative, positive) -> dict:
    return plate_statistics(plate(negative, positive), readouts=[FEATURE]).row(0, named=True)


def test_by_hand():
    # Means 2 and 14, sds 1 and √(56/3); medians 2 and 13, MADs 1 and 2.
    sd = np.sqrt(56 / 3)
    expected = {
        "n_negative": 3, "n_positive": 4, "mean_negative": 2, "mean_positive": 14,
        "sd_negative": 1, "sd_positive": sd, "median_negative": 2, "median_positive": 13,
        "mad_sd_negative": 1.4826, "mad_sd_positive": 2 * 1.4826,
        "z_prime": 1 - 3 * (1 + sd) / 12,
        "robust_z_prime": 1 - 3 * 1.4826 * 3 / 11,
        "ssmd": 12 / np.sqrt(1 + 56 / 3),
        "robust_ssmd": 11 / (1.4826 * np.sqrt(5)),
        "signal_window": (12 - 3 * (1 + sd)) / sd,
        "signal_to_background": 7, "cv_negative": 0.5, "cv_positive": sd / 14, "n_infinite": 0,
    }  # fmt: skip
    found = statistics(NEGATIVE, POSITIVE)
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert set(found) == {*expected, "Metadata_Plate", "readout"}


def test_many_readouts_agree_with_numpy():
    random = np.random.default_rng(0)
    values = random.normal(5, 1, (60, 200))
    values[random.random(values.shape) < 0.05] = np.nan
    roles = np.repeat(["negative", "positive", "treatment"], 20)
    names = [f"Cells_Test_F{i}" for i in range(200)]
    wells = pl.DataFrame(values, schema=names).with_columns(
        pl.Series("Metadata_Role", roles), Metadata_Plate=pl.lit("P")
    )
    found = plate_statistics(wells, readouts=names)
    (mean0, sd0), (mean1, sd1) = (
        (np.nanmean(values[roles == role], 0), np.nanstd(values[roles == role], 0, ddof=1))
        for role in ("negative", "positive")
    )
    z_prime = 1 - 3 * (sd0 + sd1) / np.abs(mean0 - mean1)
    np.testing.assert_allclose(found["z_prime"].to_numpy(), z_prime)
    np.testing.assert_allclose(found["ssmd"].to_numpy(), (mean1 - mean0) / np.hypot(sd0, sd1))


def test_scale_and_offset_do_not_matter():
    first = statistics(NEGATIVE, POSITIVE)
    moved = statistics([9 - 2 * x for x in NEGATIVE], [9 - 2 * x for x in POSITIVE])
    for name in ("z_prime", "robust_z_prime", "signal_window"):
        assert moved[name] == pytest.approx(first[name])
    assert moved["ssmd"] == pytest.approx(-first["ssmd"])


def test_plates_are_apart():
    both = pl.concat([plate(NEGATIVE, POSITIVE), plate(NEGATIVE, [1.0, 2.0], name="Q")])
    found = plate_statistics(both, readouts=[FEATURE])
    assert found["Metadata_Plate"].to_list() == ["P", "Q"]
    assert found["z_prime"][0] == pytest.approx(statistics(NEGATIVE, POSITIVE)["z_prime"])


@pytest.mark.parametrize("positive", [[], [10.0], [10.0, None], [10.0, float("nan")]])
def test_fewer_than_two_wells_have_no_statistics(positive):
    found = statistics(NEGATIVE, positive)
    assert found["sd_negative"] == 1
    assert [found[name] for name in ("sd_positive", "z_prime", "ssmd", "cv_positive")] == [None] * 4


def test_constant_controls_have_no_ratios():
    found = statistics([2.0, 2.0], [2.0, 2.0])
    ratios = ("z_prime", "robust_z_prime", "ssmd", "robust_ssmd", "signal_window")
    assert [found[name] for name in ratios] == [None] * 5
    assert statistics([0.0, 0.0], POSITIVE)["signal_to_background"] is None


def test_an_infinite_value_is_counted_and_left_out():
    found = statistics([*NEGATIVE, float("inf")], POSITIVE)
    assert (found["n_infinite"], found["n_negative"]) == (1, 3)


def test_no_readouts():
    assert plate_statistics(plate(NEGATIVE, POSITIVE), readouts=[]).height == 0


def readouts(**features: tuple) -> pl.DataFrame:
    frames = [plate(*values, feature=name) for name, values in features.items()]
    extra = [frame.drop("Metadata_Plate", "Metadata_Role") for frame in frames[1:]]
    wells = pl.concat([frames[0], *extra], how="horizontal")
    return plate_statistics(wells, readouts=list(features))


def test_the_best_readout_has_the_highest_z_prime():
    found = readouts(Cells_A=(NEGATIVE, POSITIVE), Cells_B=(NEGATIVE, [90.0, 91.0, 92.0, 93.0]))
    assert best_readout(found) == "Cells_B"


def test_ties_go_by_name():
    found = readouts(Cells_B=(NEGATIVE, POSITIVE), Cells_A=(NEGATIVE, POSITIVE))
    assert best_readout(found) == "Cells_A"


@pytest.mark.parametrize(
    ("name", "negative"),
    [
        ("Cells_AreaShape_Center_X", [1.0, 1.1, 1.2]),
        ("Nuclei_Number_Object_Number", [1.0, 1.1, 1.2]),
        ("Cells_Constant", [1.0, 1.0, 1.0]),
        ("Cells_Infinite", [1.0, 1.1, float("inf")]),
        ("Cells_Missing", [1.0, None, None]),
    ],
)
def test_readouts_that_cannot_be_ranked_by_are_passed_over(name, negative):
    good = ([1.0, 2.0, 3.0], POSITIVE)
    bad = (negative, [90.0, 91.0, 92.0, 93.0])
    assert best_readout(readouts(Cells_A=good, **{name: bad})) == "Cells_A"
    assert best_readout(readouts(**{name: bad})) is None


def test_the_worst_plate_decides():
    two = {"P": ([1.0, 2.0, 3.0], [90.0, 91.0, 92.0]), "Q": ([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])}
    swing = pl.concat([plate(*values, feature="Cells_A", name=p) for p, values in two.items()])
    even = [plate([1.0, 2.0, 3.0], [20.0, 21.0, 22.0], feature="Cells_B", name=p) for p in two]
    wells = swing.hstack(pl.concat(even).select("Cells_B"))
    assert best_readout(plate_statistics(wells, readouts=["Cells_A", "Cells_B"])) == "Cells_B"


def test_plates_without_positive_controls_do_not_count():
    wells = pl.concat([plate(NEGATIVE, POSITIVE), plate(NEGATIVE, [], name="Q")])
    assert best_readout(plate_statistics(wells, readouts=[FEATURE])) == FEATURE
