"""Names, columns, families from outside, and what is said about wrong ones."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from plates.errors import BadRecipe, UnknownName
from profiler.measure import FAMILIES, CellLabels, FeatureFamily, Over, measure, plan_measurement

# What JUMP's pipelines leave out, and what we do: its tubes of mitochondria and its skeletons.
OURS_ALONE = ("Moment_", "InertiaTensor", "ConvexArea", "_Costes_", "ThresholdOtsu")
THEIRS_ALONE = ("tubeness", "mito_bw", "ObjectSkeleton")


def plan(*families, **rest):
    given = {"stains": ("GFP", "DNA"), "max_cells": 4, "backend": "cpu"} | rest
    return plan_measurement(families=families, **given)


def test_columns_are_cellprofilers():
    columns = plan(*FAMILIES).columns
    assert len(set(columns)) == len(columns)
    assert columns[0] == "Nuclei_AreaShape_Area"
    for name in (
        "Cells_Intensity_MeanIntensity_GFP",
        "Cytoplasm_Correlation_Correlation_DNA_GFP",
        "Nuclei_Location_CenterMassIntensity_X_DNA",
        "Cells_Translocation_NucleusCytoplasmRatio_GFP",
    ):
        assert name in columns
    assert not [c for c in columns if c.startswith(("Nuclei_Trans", "Cytoplasm_Trans"))]


def test_columns_are_jumps(reference_folder):
    jump = (reference_folder / "jump_feature_columns.txt").read_text().split()
    wanted = {name for name in jump if not any(part in name for part in THEIRS_ALONE)}
    made = plan(
        *(set(FAMILIES) - {"Translocation", "RadialZernike"}),
        stains=("DNA", "RNA", "AGP", "Mito", "ER"),
    )
    found = {*made.columns, *made.image_columns}
    assert wanted <= found
    assert {
        name for name in found - wanted if not any(part in name for part in OURS_ALONE)
    } == set()


def test_channels_choose_and_order():
    columns = plan("Intensity", channels=("DNA",)).columns
    assert {c.rsplit("_", 1)[1] for c in columns} == {"DNA"}
    assert len(columns) == 45


def test_one_channel_has_no_pairs():
    assert plan("Correlation", channels=("DNA",)).columns == ()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"families": ("Intensty",)}, "feature family called 'Intensty'. Did you mean 'Intensity'"),
        ({"channels": ("GPF",)}, "no channel called 'GPF'. Did you mean 'GFP'"),
        ({"families": ("nowhere:X",)}, "'nowhere:X' cannot be imported: No module"),
        ({"families": ("json:X",)}, "'json:X' cannot be imported: module 'json' has no attribute"),
        ({"backend": "cuda"}, "no backend called 'cuda'. Known: auto, cpu, jax"),
        ({"options": {"Texture": {}}}, "no family with options among those measured called 'Text"),
    ],
)
def test_unknown_names(given, message):
    with pytest.raises(UnknownName, match=message):
        plan_measurement(**{"families": ("Intensity",), "stains": ("GFP", "DNA"), "max_cells": 4}
                         | given)  # fmt: skip


@pytest.mark.parametrize(
    ("families", "options", "message"),
    [
        (("Intensity",), {"Intensity": {"levels": 8}}, "'Intensity' takes no options; found lev"),
        (("outside:power",), {"outside:power": {"exponant": 8}}, "refused its options: .*exponant"),
        (("outside:__name__",), {}, "is a str; expected a FeatureFamily, a tuple"),
        (("Intensity", "Intensity"), {}, "90 columns would be written twice, Nuclei_Intensity_Int"),
    ],
)
def test_bad_recipes(outside, families, options, message):
    with pytest.raises(BadRecipe, match=message):
        plan(*families, options=options)


@pytest.fixture
def outside(monkeypatch):
    """A module that somebody else wrote."""

    def power(*, exponent=2):
        def kernel(signal):
            return [signal.objects.total(signal.values**exponent)]

        name = f"Power_{{}}_{exponent}"
        return FeatureFamily("Mine", Over.CHANNEL, (name,), cpu=kernel, jax=kernel)

    def kernel_on_host(objects):
        return [objects.area * 2]

    twice = FeatureFamily("Mine", Over.OBJECTS, ("Twice",), cpu=kernel_on_host, jax=None)
    module = SimpleNamespace(power=power, TWICE=twice, __name__="outside")
    monkeypatch.setitem(sys.modules, "outside", module)


@pytest.mark.parametrize("backend", ["cpu", "jax"])
def test_a_family_from_outside_takes_one_object(outside, backend):
    made = plan(
        "outside:TWICE",
        "outside:power",
        options={"outside:power": {"exponent": 3}},
        channels=("DNA",),
        backend=backend,
    )
    labels = np.zeros((8, 8), np.int32)
    labels[2:4, 2:4] = 2
    image = np.full((8, 8, 2), 0.5, np.float32)
    table = measure(image, CellLabels(labels, labels, labels), plan=made)
    assert made.columns[:2] == ("Nuclei_Mine_Twice", "Nuclei_Mine_Power_DNA_3")
    np.testing.assert_array_equal(table.features[1], [8, 0.5] * 3)
    assert np.isnan(table.features[[0, 2, 3]]).all()
    assert table.present.tolist() == [False, True, False, False]


def test_auto_takes_the_cpus_kernels_on_a_cpu():
    assert plan("AreaShape", backend="auto").backend == "cpu"
    assert not plan("AreaShape", backend="auto").device_runs


def test_plans_are_equal_by_value():
    assert plan("Intensity") == plan("Intensity")
    assert hash(plan("Intensity")) == hash(plan("Intensity"))
