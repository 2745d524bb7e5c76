"""Empty fields, batches, gaps, and what is said about labels that do not fit."""

import numpy as np
import pytest

from plates.errors import BadLabels
from profiler.measure import CellLabels, measure, measure_batch, plan_measurement


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
    assert np.isfinite(measured.table.features[[0, 1, 2, 3, 4]]).all()


def test_empty_field(run, field):
    nothing = np.zeros_like(field.labels.cells)
    table = run(field.image, CellLabels(nothing, nothing, nothing)).table
    assert np.isnan(table.features).all()
    assert not table.present.any()


@pytest.mark.parametrize("backend", ["cpu", "jax"])
def test_a_batch_is_its_fields(field, backend):
    plan = plan_measurement(
        families=("Correlation", "profiler.measure.hull:HULL"),
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
    "axes": (lambda f: (f.image[..., 0], f.labels),
             r"image of shape \(64, 80\); expected \[height, width, channel\]"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_labels_that_do_not_fit(run, field, case):
    change, message = WRONG[case]
    with pytest.raises(BadLabels, match=message):
        run(*change(field))
