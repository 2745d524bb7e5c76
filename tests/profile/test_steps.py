"""A recipe's steps: the same as calling them, told by number, and refused by name."""

import numpy as np
import polars as pl
import pytest

from plates.errors import BadRecipe, NoControls, UnknownName
from profiler.profile import compress, is_role, normalise, process, select, spherize
from profiler.profile.steps import check_steps
from profiler.profile.wells.timepoints import steps_in_time

RANDOM = np.random.default_rng(13)
FEATURES = [f"Cells_Test_F{i}" for i in range(6)]
N = 40
PLATE = np.array(["P", "Q"] * (N // 2))
VALUES = RANDOM.normal(size=(N, 6))
VALUES[:, 5] = 2 * VALUES[:, 4]
VALUES[PLATE == "P", 0] = 1.0
TABLE = pl.DataFrame(VALUES, schema=FEATURES).with_columns(
    Metadata_Plate=pl.Series(PLATE),
    Metadata_Role=pl.Series((["negative"] * 2 + ["treatment"] * 2) * (N // 4)),
    Nuclei_Not_Wanted=1.0,
)
NEGATIVE = is_role("negative")
STEPS = [
    {"step": "normalise", "method": "robustize", "reference": "negative"},
    {"step": "select", "steps": ["drop_na_columns", "correlation_threshold"]},
    {"step": "correct", "method": "compress", "options": {"limit": 4.0}},
    {"step": "normalise", "method": "spherize", "reference": "negative", "within": []},
]


def test_the_same_as_calling_them():
    scaled = normalise(TABLE, features=FEATURES, method="robustize", reference=NEGATIVE).table
    steps = ["drop_na_columns", "correlation_threshold"]
    kept = select(scaled, features=FEATURES, steps=steps).features
    near = compress(scaled, features=kept, limit=4.0).table
    white = spherize(near, features=kept, reference=NEGATIVE, within=()).table

    found = process(TABLE, features=FEATURES, steps=STEPS)
    assert found.features == kept == FEATURES[1:5]
    assert found.selected.columns == [*kept, "Metadata_Plate", "Metadata_Role"]
    assert found.selected.equals(white.select(found.selected.columns))
    assert found.profiles.equals(scaled.drop("Nuclei_Not_Wanted"))
    assert found.n_profile_steps == 1


def test_what_is_lost_and_dropped_is_told_by_number():
    found = process(TABLE, features=FEATURES, steps=STEPS)
    assert found.lost.rows() == [(1, "normalise", "P", "Cells_Test_F0", "no_spread", N // 2)]
    assert found.dropped.select("number", "step", "feature").rows() == [
        (2, "drop_na_columns", "Cells_Test_F0"),
        (2, "correlation_threshold", "Cells_Test_F5"),
    ]
    assert found.notes == (
        "Step 1, normalise, P: 1 feature lost 20 values, as the reference does not vary: "
        "Cells_Test_F0.",
        "Step 2, select: 4 of 6 features are left; drop_na_columns took 1, correlation_threshold "
        "took 1.",
    )


def test_no_steps_only_leave_out_other_features():
    found = process(TABLE, features=FEATURES, steps=[])
    assert found.profiles.equals(TABLE.drop("Nuclei_Not_Wanted"))
    assert found.selected.equals(found.profiles)
    assert found.n_profile_steps == 0
    assert found.lost.is_empty()
    assert found.dropped.is_empty()
    assert found.notes == ()


def test_without_selection_both_tables_are_the_last():
    found = process(TABLE, features=FEATURES, steps=STEPS[:1])
    assert found.selected.equals(found.profiles)
    assert found.n_profile_steps == 1


def test_plates_that_lose_alike_share_a_line():
    table = TABLE.with_columns(
        pl.lit(1.0).alias("Cells_Test_F0"),
        pl.when(pl.int_range(N) == 1)
        .then(float("inf"))
        .otherwise("Cells_Test_F1")
        .alias(FEATURES[1]),
    )
    assert process(table, features=FEATURES, steps=STEPS[:1]).notes == (
        "Step 1, normalise, P, Q: 1 feature lost 40 values, as the reference does not vary: "
        "Cells_Test_F0.",
        "Step 1, normalise, Q: 1 feature lost 1 value, as infinite values become null: "
        "Cells_Test_F1.",
    )


def test_joint_steps_name_what_a_row_lacks_but_not_wells_without_cells():
    first = pl.int_range(N)
    table = TABLE.with_columns(
        pl.when(first == 0).then(None).otherwise(name).alias(name) for name in FEATURES
    ).with_columns(pl.when(first == 1).then(None).otherwise(FEATURES[2]).alias(FEATURES[2]))
    steps = [{"step": "normalise", "method": "spherize", "within": []}]
    found = process(table, features=FEATURES, steps=steps)
    assert found.selected[FEATURES[1]].is_null().arg_true().to_list() == [0, 1]
    assert found.notes == (
        "Step 1, normalise: 1 value missing of Cells_Test_F2: such a row has no place in a joint "
        "step.",
    )


def test_wells_without_cells_do_not_speak_against_features():
    failed = [pl.when(pl.int_range(N) < 8).then(None).otherwise(x).alias(x) for x in FEATURES]
    steps = [{"step": "select", "steps": ["drop_na_columns"]}]
    found = process(TABLE.with_columns(failed), features=FEATURES, steps=steps)
    assert found.features == FEATURES
    assert found.selected.height == N


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (TABLE, r"refers to the positive wells, and there is none: the roles are negative \(20\)"),
        (TABLE.drop("Metadata_Role"), "there is none: no plate map gives roles"),
    ],
)
def test_no_control_at_all_is_an_error(table, message):
    with pytest.raises(NoControls, match=message):
        process(table, features=FEATURES, steps=[{"step": "normalise", "reference": "positive"}])


def test_a_plate_without_controls_is_null_there_and_told():
    table = TABLE.filter(~(NEGATIVE & (pl.col("Metadata_Plate") == "Q")))
    found = process(table, features=FEATURES[1:], steps=STEPS[:1])
    assert found.selected.filter(Metadata_Plate="Q")[FEATURES[1]].null_count() == N // 4
    assert found.notes == (
        "Step 1, normalise, Q: 5 features lost 50 values, as the reference has no value: "
        "Cells_Test_F1, Cells_Test_F2, Cells_Test_F3 and 2 more.",
    )


def test_features_may_be_judged_by_the_controls():
    table = TABLE.with_columns(
        pl.when(NEGATIVE).then(1.0).otherwise(FEATURES[1]).alias(FEATURES[1])
    )
    steps = [{"step": "select", "steps": ["variance_threshold"], "reference": "negative"}]
    assert FEATURES[1] not in process(table, features=FEATURES, steps=steps).features


SPHERE = {"step": "normalise", "method": "spherize"}
HARMONY = {"step": "correct", "method": "harmony"}


@pytest.mark.parametrize(
    ("step", "error", "message"),
    [
        ({"method": "tvn"}, BadRecipe, "has no name: give step = one of normalise, correct, sel"),
        ({"step": "normalize"}, UnknownName, "no profile step called 'normalize'. Did you mean"),
        ({"step": "normalise", "how": "z"}, BadRecipe, "normalise has no option 'how'. Known: me"),
        ({"step": "normalise", "reference": "dmso"}, UnknownName, "no role called 'dmso'"),
        ({"step": "select", "steps": ["var"]}, UnknownName, "no selection step called 'var'"),
        ({"step": "normalise", "method": "zscore"}, UnknownName, "no normalisation called 'zsc"),
        ({"step": "normalise", "options": {"x": 1}}, BadRecipe, "mad_robustize has no option 'x'"),
        ({"step": "correct"}, BadRecipe, "correct needs the option 'method', and it is not given"),
        ({"step": "correct", "method": "combat"}, UnknownName, "no correction called 'combat'"),
        ({"step": "select"}, BadRecipe, "select needs the option 'steps'"),
        ({"step": "select", "steps": {"blocklist": {"x": 1}}}, BadRecipe, "no option 'x'"),
        (
            SPHERE | {"options": {"variant": "ZAC"}},
            UnknownName,
            "no whitening called 'ZAC'. Did yo",
        ),
        (SPHERE | {"options": {"ridge": "tiny"}}, BadRecipe, "ridge is 'tiny'; it should be a"),
        (SPHERE | {"options": {"ridge": -1}}, BadRecipe, "ridge is -1; it should be greater than"),
        ({"step": "normalise", "within": 3}, BadRecipe, "within is 3; it should be a valid string"),
        (
            HARMONY | {"options": {"seed": 0.5}},
            BadRecipe,
            "harmony: seed is 0.5; it should be a va",
        ),
        (HARMONY | {"options": {"n_clusters": 0}}, BadRecipe, "n_clusters is 0; it should be grea"),
        (
            {"step": "correct", "method": "compress", "options": {"shape": "clipp"}},
            UnknownName,
            "no shape called 'clipp'. Did you mean 'clip'",
        ),
        (
            {"step": "select", "steps": {"correlation_threshold": {"method": "pearsn"}}},
            UnknownName,
            "no correlation called 'pearsn'. Did you mean 'pearson'",
        ),
        (
            {"step": "select", "steps": {"correlation_threshold": {"max_correlation": 90}}},
            BadRecipe,
            "max_correlation is 90; it should be less than or equal to 1",
        ),
        ({"step": "select", "steps": {"blocklist": {"lists": ["mine"]}}}, UnknownName, "'mine'"),
        ({"step": "select", "steps": {"blocklist": {"names": "Cells_X"}}}, BadRecipe, "names is"),
        ({"step": 3}, BadRecipe, "has step = 3: give a name"),
        (
            {"step": "normalise", "method": ["tvn"]},
            BadRecipe,
            r"has method = \['tvn'\]: give a name",
        ),
    ],
)
def test_messages_come_before_there_is_anything_to_work_on(step, error, message):
    with pytest.raises(error, match=message):
        process(TABLE, features=FEATURES, steps=[step])
    with pytest.raises(error, match=message):
        check_steps([step])


def test_one_selection_step_may_be_given_by_its_name_alone():
    steps = [{"step": "select", "steps": "correlation_threshold"}]
    check_steps(steps)
    assert process(TABLE, features=FEATURES, steps=steps).features == FEATURES[:5]


def test_columns_that_options_name_are_looked_up():
    metadata = ["Metadata_Plate", "Metadata_Week", "Metadata_Compound"]
    fine = [
        {"step": "normalise", "within": ["Metadata_Week", "Metadata_Plate"]},
        {"step": "correct", "method": "regress_out", "options": {"covariates": ["Cells_Any"]}},
        {"step": "select", "steps": {"noise_removal": {"by": "Metadata_Compound"}}},
    ]
    check_steps(fine, metadata=metadata)
    message = r"no column for within of the step 'normalise' called 'Metadata_Weak'\. Did you mean"
    with pytest.raises(UnknownName, match=message):
        check_steps([{"step": "normalise", "within": "Metadata_Weak"}], metadata=metadata)
    wrong = {"step": "select", "steps": {"noise_removal": {"by": "Metadata_Compond"}}}
    with pytest.raises(UnknownName, match="column for by of the step 'select' called"):
        check_steps([wrong], metadata=metadata)
    check_steps([wrong])


def test_the_default_of_within_is_looked_up_too():
    step = {"step": "correct", "method": "position_means"}
    check_steps([step], metadata=["Metadata_Plate", "Metadata_Batch"])
    with pytest.raises(
        UnknownName, match="for within of the step 'correct' called 'Metadata_Batch"
    ):
        check_steps([step], metadata=["Metadata_Plate"])


def test_over_time_a_step_keeps_its_own_within():
    wells = pl.DataFrame({"Metadata_Timepoint": [1]})
    steps = [
        {"step": "correct", "method": "position_means"},
        {"step": "correct", "method": "harmony", "within": "Metadata_Week"},
        {"step": "correct", "method": "compress"},
        {"step": "normalise"},
        {"step": "select", "steps": "variance_threshold"},
    ]
    found = [step.get("within") for step in steps_in_time(steps, wells)]
    assert found == [
        ("Metadata_Batch", "Metadata_Timepoint"),
        ("Metadata_Week", "Metadata_Timepoint"),
        ("Metadata_Timepoint",),
        ("Metadata_Plate", "Metadata_Timepoint"),
        None,
    ]


@pytest.mark.parametrize("variant", ["PCA", "PCA-cor"])
def test_components_are_refused_before_they_leave_hits_without_features(variant):
    step = SPHERE | {"options": {"variant": variant}}
    with pytest.raises(BadRecipe, match=f"variant = '{variant}' gives .* Take ZCA or ZCA-cor in"):
        check_steps([step])
    check_steps([SPHERE | {"options": {"variant": "ZCA"}}])
