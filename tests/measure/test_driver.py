"""Empty fields, batches, gaps, and what is said about labels that do not fit."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from plates.errors import BadLabels, BadRecipe
from profiler.measure import (
    IMAGE,
    CellLabels,
    FeatureFamily,
    Over,
    measure,
    measure_batch,
    plan_measurement,
)


def test_absent_labels_are_nan_and_the_others_are_not(measured):
    present = measured.table.present
    assert present.tolist() == [True] * 5 + [False] + [True] * 5 + [False]
    assert np.isnan(measured.table.features[~present]).all()
    assert np.isfinite(measured["Cells_AreaShape_Area"][present]).all()
    assert measured.table.features.dtype == np.float32
    assert not np.isinf(measured.table.features).any()


def test_an_empty_compartment_is_nan(measured):
    columns = [name for name in measured.plan.columns if name.startswith("Cytoplasm_")]
    assert np.isnan([measured[name][6] for name in columns]).all()  # one pixel, all of it nucleus
    assert measured["Cells_AreaShape_Area"][6] == 1


def test_whole_cells_are_free_of_nan(measured):
    """Where CellProfiler has a value, so have we."""
    undefined = [f"NormalizedMoment_{powers}" for powers in ("0_0", "0_1", "1_0")]
    too_small = [f"_10_{direction:02}_256" for direction in range(4)]  # cells for that scale
    nowhere = (*undefined, *too_small)
    keep = [not column.endswith(nowhere) for column in measured.plan.columns]
    finite = np.isfinite(measured.table.features[:5, keep])
    names = np.array(measured.plan.columns)[keep]
    assert finite.all(), names[~finite.all(axis=0)]


def test_empty_field(run, field):
    nothing = np.zeros_like(field.labels.cells)
    table = run(field.image, CellLabels(nothing, nothing, nothing)).table
    assert np.isnan(table.features).all()
    assert not table.present.any()


@pytest.mark.parametrize("backend", ["cpu", "jax"])
def test_a_batch_is_its_fields(field, backend):
    plan = plan_measurement(
        families=("Correlation", "profiler.measure.shape.hull:HULL"),
        stains=("GFP", "DNA"),
        max_cells=12,
        backend=backend,
    )
    others = CellLabels(*(label[::-1].copy() for label in field.labels))
    batch = CellLabels(*(np.stack(pair) for pair in zip(field.labels, others, strict=True)))
    found = measure_batch(np.stack([field.image] * 2), batch, plan=plan)
    for i, labels in enumerate((field.labels, others)):
        alone = measure(field.image, labels, plan=plan)
        np.testing.assert_array_equal(np.asarray(found.features)[i], alone.features)
        np.testing.assert_array_equal(np.asarray(found.present)[i], alone.present)


@pytest.mark.parametrize("backend", ["cpu", "jax"])
def test_a_batch_leaves_labels_without_a_row_out(field, backend):
    plan = plan_measurement(
        families=("Translocation",), stains=("GFP", "DNA"), max_cells=3, backend=backend
    )
    batch = CellLabels(*(label[None] for label in field.labels))
    found = measure_batch(field.image[None], batch, plan=plan)
    assert found.features.shape == (1, 3, 10)
    assert np.asarray(found.present).all()


def test_integers_of_any_kind_are_labels(run, field, measured):
    unsigned = CellLabels(*(label.astype(np.uint16) for label in field.labels))
    found = run(field.image, unsigned).table.features
    np.testing.assert_array_equal(found, measured.table.features)


WRONG = {
    "float": (lambda f: (f.image, f.labels._replace(cells=f.labels.cells * 1.0)),
              "labels of Cells are float64; expected integers"),
    "shape": (lambda f: (f.image, f.labels._replace(nuclei=f.labels.nuclei[1:])),
              r"labels of Nuclei have shape \(.*63, 80\), their image \(.*64, 80\)"),
    "many": (lambda f: (f.image, f.labels._replace(cells=f.labels.cells * 2)),
             "labels of Cells run from 0 to 22; expected 0 to 12. Relabel them from 1, or"),
    "negative": (lambda f: (f.image, f.labels._replace(cells=f.labels.cells - 1)),
                 "labels of Cells run from -1 to 10; expected 0 to 12"),
    "channels": (lambda f: (f.image[..., :1], f.labels),
                 r"image of shape \(.*64, 80, 1\); expected .* with the 2 channels GFP, DNA"),
    "unscaled": (lambda f: ((f.image * 255).astype(np.uint8), f.labels),
                 "an image of uint8; expected floats from 0 to 1: divide integers by the largest"),
    "axes": (lambda f: (f.image[..., 0], f.labels),
             r"image of shape \(64, 80\); expected \[height, width, channel\]"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_labels_that_do_not_fit(run, field, case):
    change, message = WRONG[case]
    with pytest.raises(BadLabels, match=message):
        run(*change(field))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("backend", ["cpu", "jax"])
def test_the_field_itself_is_measured(field, outside_families, backend, threads):
    """As one object, or from what is outside the cells; shared work is done once."""
    plan = plan_measurement(
        families=("outside:BRIGHTNESS", "outside:BACKGROUND"),
        stains=("GFP", "DNA"),
        max_cells=12,
        backend=backend,
        threads=threads,
    )
    assert plan.image_columns == (
        "Image_Mine_Mean_GFP", "Image_Mine_Mean_DNA",
        "Image_Mine_Background_GFP", "Image_Mine_Background_DNA",
    )  # fmt: skip
    assert len(plan.columns) == 3 * 2
    found = measure(field.image, field.labels, plan=plan)
    outside = field.image[field.labels.cells == 0].mean(axis=0)
    expected = np.concatenate([field.image.mean(axis=(0, 1)), outside])
    np.testing.assert_allclose(found.image, expected, rtol=1e-5)
    spread = field.image.max(axis=(0, 1)) - field.image.min(axis=(0, 1))
    of_cell = field.image[field.labels.cells == 1].mean(axis=0) / spread
    np.testing.assert_allclose(found.features[0, 2:4], of_cell, rtol=1e-5)
    if backend == "cpu":
        assert outside_families.ranged == 2  # once per channel, for three compartments


def test_an_empty_field_has_features_of_its_own(field, outside_families):
    plan = plan_measurement(families=("outside:BRIGHTNESS",), stains=("GFP", "DNA"), max_cells=2)
    nothing = np.zeros_like(field.labels.cells)
    found = measure(field.image, CellLabels(nothing, nothing, nothing), plan=plan)
    np.testing.assert_allclose(found.image, field.image.mean(axis=(0, 1)), rtol=1e-5)


@pytest.fixture
def outside_families(monkeypatch):
    calls = SimpleNamespace(ranged=0)

    def extent(plane):
        calls.ranged += 1
        return plane.max() - plane.min()

    def relative(signal):
        return [signal.total / signal.objects.area / signal.once(extent)]

    def mean(signal):
        return [signal.total / signal.objects.area]

    def background(nuclei, cells, cytoplasm):
        is_outside = cells.objects.labels == 0
        return [((cells.plane * is_outside).sum() / is_outside.sum())[None]]

    def in_image(over, name, kernel):
        return FeatureFamily("Mine", over, (name,), kernel, kernel, compartments=(IMAGE,))

    module = SimpleNamespace(
        __name__="outside",
        BRIGHTNESS=(
            FeatureFamily("Mine", Over.CHANNEL, ("Relative",), cpu=relative, jax=relative),
            in_image(Over.CHANNEL, "Mean", mean),
        ),
        BACKGROUND=in_image(Over.CELL, "Background", background),
        COARSE=FeatureFamily("Mine", Over.CHANNEL, ("Mean",), cpu=mean, jax=mean, needs_px=65),
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "outside", module)
    return calls


@pytest.mark.parametrize("backend", ["cpu", "jax"])
def test_a_field_smaller_than_a_scale(field, outside_families, backend):
    plan = plan_measurement(
        families=("outside:COARSE",), stains=("GFP", "DNA"), max_cells=12, backend=backend
    )
    message = (
        r"Nuclei_Mine needs a field of at least 65 pixels a side; found 64 x 80. Give it small"
    )
    with pytest.raises(BadRecipe, match=message):
        measure(field.image, field.labels, plan=plan)
