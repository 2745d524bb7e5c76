"""Verdicts: each defect found, told with its numbers, and good fields left alone."""

import re
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy import stats

from profiler.quality import judge
from profiler.quality.judge import CHECKS as NAMES
from profiler.quality.learn import reach
from profiler.quality.tell import tell_quality

from .conftest import CHECKS, change, tables


def verdicts(numbers, fields, checks=CHECKS) -> list[str]:
    return judge(numbers, fields=fields, checks=checks).table["Metadata_QC_Verdict"].to_list()


def reason(numbers, fields, row=7, checks=CHECKS) -> str:
    return judge(numbers, fields=fields, checks=checks).table["Metadata_QC_Reason"][row]


def test_a_good_plate_has_no_bad_field():
    found = judge(tables()[0], fields=tables()[1], checks=CHECKS).table
    assert set(found["Metadata_QC_Verdict"]) == {"ok"}
    assert found["Metadata_QC_Reason"].null_count() == 60
    assert found.columns[:4] == tables()[1].columns[:4]


DEFECTS = [
    (
        "focus",
        {"FineDetail_DNA": -2.175},
        "DNA is blurred: its edges are 2.0 pixels wide, the plate's 0.8; 1.3 is too wide",
    ),
    (
        "focus",
        {"CoarseDetail_DNA": -2.239},
        r"DNA is blurred: its edges are 4.0 pixels wide, the plate's 1.2; 1.\d is too wide",
    ),
    ("saturation", {"PercentMaximal_GFP": 3.0, "Max_GFP": 1.0}, "3.0% of the pixels of GFP"),
    ("saturation", {"PercentMaximal_DNA": 0.6, "Max_DNA": 4095 / 65_535}, "0.5% are too many"),
    (
        "empty",
        {"Contrast_DNA": 0.9},
        "DNA is 0.9 times the noise, and with cells it is at least 11",
    ),
    (
        "staining",
        {"Signal_DNA": 0.003, "Peak_DNA": 0.005},
        r"DNA is 0.1 times as bright .* 0.25 times to 4 times",
    ),
    ("staining", {"Signal_DNA": 0.3}, "DNA is 10 times as bright as on the plate"),
    ("bubble", {"BrightTile_GFP": 0.06}, "area of GFP larger than cells is 10 times"),
    ("bubble", {"DarkTile_DNA": -0.9}, "area of DNA is dark: -0.90 of the typical light"),
    ("debris", {"Peak_DNA": 0.5}, "Something in DNA is 10 times as bright"),
]


@pytest.mark.parametrize(("verdict", "change_", "words"), DEFECTS)
def test_each_defect_is_found_alone_with_value_and_threshold(verdict, change_, words):
    numbers, fields = tables()
    values = {f"Image_QC_{name}": value for name, value in change_.items()}
    bad = change(numbers, 7, **values)
    assert verdicts(bad, fields) == ["ok"] * 7 + [verdict] + ["ok"] * 52
    assert re.search(words, reason(bad, fields))
    others = tuple(name for name in NAMES if name != verdict)
    assert set(verdicts(bad, fields, replace(CHECKS, names=others))) == {"ok"}


def test_a_field_without_cells_is_empty():
    numbers, fields = tables()
    none = change(fields, 7, Metadata_Object_Count=0, Metadata_QC_Status="no_cells")
    assert verdicts(numbers, none)[7] == "empty"
    assert reason(numbers, none) == "No cells were found."
    full = change(fields, 7, Metadata_Object_Count=0, Metadata_QC_Status="too_many_cells")
    assert verdicts(numbers, full)[7] == "ok"


def test_a_failed_field_keeps_its_own_reason_and_teaches_nothing():
    numbers, fields = tables()
    for name in numbers.columns[4:]:
        numbers = change(numbers, 7, **{name: None})
    fields = change(fields, 7, Metadata_QC_Status="truncated", Metadata_QC_Reason="x.tif ends.")
    assert verdicts(numbers, fields) == ["ok"] * 7 + ["failed"] + ["ok"] * 52
    assert reason(numbers, fields) == "X.tif ends."
    gone = numbers.filter(pl.int_range(pl.len()) != 7)  # no row of numbers at all
    assert verdicts(gone, fields)[7] == "failed"


def test_several_defects_give_the_worst_verdict_and_all_reasons():
    numbers, fields = tables()
    bad = change(
        numbers, 7, Image_QC_FineDetail_DNA=-2.4, Image_QC_PowerSlope_DNA=-3.4,
        Image_QC_Signal_DNA=0.003, Image_QC_Peak_DNA=0.005,
    )  # fmt: skip
    assert verdicts(bad, fields)[7] == "focus"
    assert "blurred" in reason(bad, fields)
    assert "as bright as on the plate" in reason(bad, fields)


def test_a_steeper_spectrum_alone_is_no_blur():
    numbers, fields = tables()
    steep = change(numbers, 7, Image_QC_PowerSlope_DNA=-3.5)
    assert set(verdicts(steep, fields)) == {"ok"}
    both = change(steep, 7, Image_QC_FineDetail_DNA=-1.65)
    assert verdicts(both, fields)[7] == "focus"
    assert set(verdicts(change(numbers, 7, Image_QC_FineDetail_DNA=-1.65), fields)) == {"ok"}


def test_the_softer_a_plate_is_the_more_a_field_must_differ():
    numbers, fields = tables()
    sharp = change(numbers, 7, Image_QC_FineDetail_DNA=-1.95)
    assert verdicts(sharp, fields)[7] == "focus"
    soft = numbers.with_columns(Image_QC_FineDetail_DNA=pl.lit(-1.75, pl.Float32))
    assert set(verdicts(change(soft, 7, Image_QC_FineDetail_DNA=-1.95), fields)) == {"ok"}


def test_contrast_far_below_the_plates_is_emptiness():
    numbers, fields = tables()
    assert verdicts(change(numbers, 7, Image_QC_Contrast_DNA=8.0), fields)[7] == "empty"
    assert set(verdicts(change(numbers, 7, Image_QC_Contrast_DNA=20.0), fields)) == {"ok"}


def test_the_reporter_may_be_the_answer():
    numbers, fields = tables()
    bright = change(numbers, 7, Image_QC_Signal_GFP=0.9, Image_QC_FineDetail_GFP=-2.4)
    assert set(verdicts(bright, fields)) == {"ok"}


def test_few_levels_are_no_saturation():
    numbers, fields = tables()
    dim = change(numbers, 7, Image_QC_PercentMaximal_DNA=30.0, Image_QC_Max_DNA=3 / 255)
    assert set(verdicts(dim, fields)) == {"ok"}
    both = change(numbers, 7, Image_QC_PercentMaximal_DNA=3.0, Image_QC_Max_DNA=0.5)
    both = change(both, 9, Image_QC_PercentMaximal_DNA=3.0, Image_QC_Max_DNA=0.5)
    assert [i for i, name in enumerate(verdicts(both, fields)) if name == "saturation"] == [7, 9]


def test_a_stain_that_is_black_throughout_is_told_and_is_not_saturated():
    numbers, fields = tables()
    black = numbers.with_columns(
        pl.lit(0, pl.Float32).alias("Image_QC_Max_GFP"),
        pl.lit(100, pl.Float32).alias("Image_QC_PercentMaximal_GFP"),
    )
    found = judge(black, fields=fields, checks=CHECKS).table
    assert "saturation" not in found["Metadata_QC_Verdict"].to_list()
    sentence = "P1: GFP is black in all 60 fields that could be read: every pixel is 0."
    assert any(note.startswith(sentence) for note in tell_quality(found, exclude=True))
    one = judge(change(black, 7, Image_QC_Max_GFP=0.1), fields=fields, checks=CHECKS).table
    assert not any("black" in note for note in tell_quality(one, exclude=True))


def test_a_third_of_the_plate_may_be_bad():
    numbers, fields = tables()
    for row in range(20):
        bad = {"Image_QC_FineDetail_DNA": -2.4, "Image_QC_PowerSlope_DNA": -3.4}
        numbers = change(numbers, row, **bad)
    assert verdicts(numbers, fields) == ["focus"] * 20 + ["ok"] * 40


def test_a_wholly_blurred_plate_is_found():
    numbers, fields = tables()
    blurred = numbers.with_columns(Image_QC_CoarseDetail_DNA=pl.lit(-2.6, pl.Float32))
    assert set(verdicts(blurred, fields)) == {"focus"}


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_few_fields_are_judged_leniently(n):
    numbers, fields = tables(n)
    assert set(verdicts(numbers, fields)) == {"ok"}
    assert verdicts(change(numbers, 0, Image_QC_Contrast_DNA=0.9), fields)[0] == "empty"


def test_plates_are_judged_apart_and_rows_keep_their_order():
    dim, dim_fields = tables(plate="P2", seed=1)
    dim = dim.with_columns(Image_QC_Signal_DNA=pl.col("Image_QC_Signal_DNA") / 20)
    numbers, fields = pl.concat([tables()[0], dim]), pl.concat([tables()[1], dim_fields])
    assert set(verdicts(numbers, fields)) == {"ok"}
    shuffled = judge(numbers.reverse(), fields=fields, checks=CHECKS).table
    assert shuffled["Metadata_Plate"].to_list() == fields["Metadata_Plate"].to_list()


def test_times_of_a_field_are_judged_as_fields_of_their_own():
    numbers, fields = tables()
    later = pl.lit(2, pl.Int32).alias("Metadata_Timepoint")
    numbers = pl.concat(
        [numbers, change(numbers, 7, Image_QC_Contrast_DNA=0.9).with_columns(later)]
    )
    fields = pl.concat([fields, fields.with_columns(later)])
    assert [i for i, name in enumerate(verdicts(numbers, fields)) if name != "ok"] == [67]


def test_thresholds_are_kept_by_plate_and_number():
    numbers, fields = tables()
    found = judge(numbers, fields=fields, checks=CHECKS).thresholds
    said = found["P1"]["PowerSlope_DNA"]
    assert said["fields"] == 60
    assert said["middle"] == pytest.approx(-2.7, abs=0.03)
    assert said["low"] == pytest.approx(said["middle"] - 0.6, abs=0.01)
    edges = found["P1"]["EdgeVariance_FineDetail_DNA"]
    assert edges["high"] == pytest.approx(edges["middle"] + 1, abs=0.01)
    few = judge(*[t.head(1) for t in tables()][:1], fields=tables()[1].head(1), checks=CHECKS)
    assert few.thresholds["P1"]["EdgeVariance_FineDetail_DNA"]["high"] is None


@pytest.mark.parametrize("n", [8, 100, 5000])
def test_the_false_alarm_rate_is_about_the_stated_one(n):
    rng, alarms, fields = np.random.default_rng(0), 0, 0
    for _ in range(max(1, 40_000 // n)):
        values = rng.normal(3, 2, n)
        found = reach(values, false_alarms=0.01, least=0.0)
        alarms += int(((values < found.low) | (values > found.high)).sum())
        fields += n
    assert 0.005 < alarms / fields / 2 < (0.016 if n > 8 else 0.05)


def test_the_distance_is_students():
    values = np.array([1.0, 2, 3, 4, 5, 6, 7])
    found = reach(values, false_alarms=0.01, least=0.0)
    assert found.high - found.middle == pytest.approx(stats.t.isf(0.01, 6) * 1.4826 * 2)
    assert reach(values, false_alarms=0.01, least=99.0).low == 4 - 99
    assert reach(np.full(3, np.nan), false_alarms=0.01, least=1.0).fields == 0


def test_few_nuclei_as_bright_as_ever_are_no_failed_stain():
    numbers, fields = tables()
    assert verdicts(change(numbers, 7, Image_QC_Signal_DNA=0.003), fields)[7] == "ok"
