"""The driver: candidates without room are told, doubtful nuclei are dropped and counted."""

import json
import shutil
from functools import cache, partial

import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
import tifffile
from flax import nnx
from scipy import ndimage

from plates.errors import BadModel, BadRecipe
from profiler.images import segment_folder
from profiler.segment import look
from profiler.segment.catalogue import MODELS
from profiler.segment.compartments import CellsConfig
from profiler.segment.confidence.belief import Maps
from profiler.segment.decoding.nuclei import Nuclei
from profiler.segment.joining.join import Joining
from profiler.segment.joining.joints import Evidence
from profiler.segment.network.build import build
from profiler.segment.network.config import NetworkConfig
from profiler.segment.segmenter import (
    SegmentConfig,
    _at_once,
    _by_field,
    _cells_at_once,
    _examine,
    _examine_cpu,
    load_segmenter,
)
from profiler.segment.sizes import Seen
from profiler.segment.weights import copy_network, save_joining, save_network

CONFIG = SegmentConfig(max_cells=5)
DRIVES = [(_by_field, _examine_cpu), (_at_once, _examine), (_cells_at_once, _examine)]


@pytest.mark.parametrize(("drive", "examine"), DRIVES)
@pytest.mark.parametrize("dropped", [0, 3])
def test_candidates_without_room_make_a_field_too_full(drive, examine, dropped):
    def see(plane):
        labels = jnp.zeros(plane.shape, jnp.int32).at[4:9, 4:9].set(1)
        maps = Maps(*2 * [jnp.zeros(plane.shape, jnp.uint8)])
        return Seen(Nuclei(labels, jnp.int32(1), jnp.int32(dropped)), maps)

    images = jnp.asarray(np.random.default_rng(0).random((2, 24, 24, 1)), jnp.float32)
    found = drive(see, partial(examine, None, 25), CONFIG)(images)
    assert found.count.tolist() == [1, 1] if not dropped else [8, 8]
    assert found.nuclei.max() == 1
    assert np.isnan(found.confidence).all()
    assert not found.doubtful.any()


def field(*, faint: float = 0.06) -> np.ndarray:
    """Four sharp discs, and one that is blurred and as faint as it is large."""
    y, x = np.mgrid[:128, :128]
    plane = np.random.default_rng(0).normal(0.05, 0.005, (128, 128))
    for cy, cx in ((25, 25), (25, 100), (100, 25), (64, 64)):
        plane += 0.4 * (np.hypot(y - cy, x - cx) < 13)
    return (plane + faint * np.exp(-(((y - 100) / 14) ** 2 + ((x - 100) / 10) ** 4))).astype(
        np.float32
    )


@cache
def load(least: float = 0.0, *, backend: str = "cpu"):
    cells = CellsConfig(method="ring", min_confidence=least)
    return load_segmenter(SegmentConfig(cells=cells, max_cells=16), backend=backend)


@pytest.mark.parametrize("backend", ["cpu", "other"])
def test_a_doubtful_nucleus_is_dropped_with_its_cell_and_the_others_are_renumbered(backend):
    image = jnp.asarray(field())[None, ..., None]
    whole = load(backend=backend).segment(image)
    sure = np.asarray(whole.confidence[0, : int(whole.count[0])])
    assert np.argmin(sure) + 1 == whole.nuclei[0, 100, 100] > 0  # the faint one
    least = float(np.sort(sure)[:2].mean())
    left = load(least, backend=backend).segment(image)
    assert left.count.tolist() == [len(sure) - 1]
    assert left.doubtful.tolist() == [1]
    kept = np.delete(sure, np.argmin(sure))
    np.testing.assert_array_equal(left.confidence[0, : len(kept)], kept)
    assert np.isnan(left.confidence[0, len(kept) :]).all()
    for name in ("nuclei", "cells", "cytoplasm"):
        before, after = (np.asarray(getattr(each, name)[0]) for each in (whole, left))
        is_gone = np.asarray(whole.cells[0]) == np.argmin(sure) + 1
        np.testing.assert_array_equal(after > 0, (before > 0) & ~is_gone)
        assert set(np.unique(after)) == set(range(len(kept) + 1))


def test_both_backends_are_equally_sure():
    image = jnp.asarray(field())[None, ..., None]
    host, device = (load(backend=backend).segment(image) for backend in ("cpu", "other"))
    np.testing.assert_allclose(host.confidence, device.confidence, rtol=1e-6)


@pytest.mark.parametrize("backend", ["cpu", "other"])
def test_confidence_does_not_depend_on_the_batch(backend):
    segment = load(backend=backend).segment
    images = jnp.asarray(np.stack([field(faint=f) for f in (0.03, 0.06, 0.2)]))[..., None]
    together = segment(images).confidence
    for image, own in zip(images, together, strict=True):
        np.testing.assert_array_equal(segment(image[None]).confidence[0], own)


def test_confidence_is_examined_without_cells_too():
    found = load().examine(jnp.asarray(field()))
    count = int(found.nuclei.count)
    assert np.isfinite(found.confidence[:count]).all()
    assert np.isnan(found.confidence[count:]).all()
    np.testing.assert_array_equal(found.nuclei.labels, load().nuclei(jnp.asarray(field())).labels)


def model_with(tmp_path, calibration) -> str:
    path = tmp_path / "mine.safetensors"
    shutil.copy(MODELS["nuclei"], path)
    card = json.loads(MODELS["nuclei"].with_suffix(".json").read_text())
    card |= {"calibration": calibration}
    if calibration is None:
        card.pop("calibration")  # as cards were before
    path.with_suffix(".json").write_text(json.dumps(card))
    return str(path)


def test_an_uncalibrated_network_has_no_confidence_and_can_leave_nothing_out(tmp_path):
    model = model_with(tmp_path, None)
    found = load_segmenter(SegmentConfig(model=model)).examine(jnp.asarray(field()))
    assert np.isnan(found.confidence).all()
    cells = CellsConfig(min_confidence=0.5)
    config = SegmentConfig(model=model, cells=cells)
    message = r"min_confidence is 0\.5; .*mine\.safetensors' is not calib"
    with pytest.raises(BadRecipe, match=message):
        load_segmenter(config)
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "a.tif", field())
    with pytest.raises(BadRecipe, match=message):
        list(segment_folder(tmp_path / "in", tmp_path / "out", config=config))
    assert not (tmp_path / "out").exists()


def test_a_folder_and_a_run_leave_out_the_same_and_are_equally_sure(tmp_path):
    image = np.round(10_000 * field()).astype(np.uint16)
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "a.tif", image)
    whole = load(backend="cpu").segment(jnp.asarray(image / 65535, jnp.float32)[None, ..., None])
    least = float(np.sort(whole.confidence[0, : int(whole.count[0])])[:2].mean())
    config = SegmentConfig(cells=CellsConfig(method="ring", min_confidence=least), max_cells=16)
    run = load_segmenter(config).segment(jnp.asarray(image / 65535, jnp.float32)[None, ..., None])
    (done,) = segment_folder(tmp_path / "in", tmp_path / "out", config=config)
    count = int(run.count[0])
    assert (done.nuclei, done.doubtful) == (count, 1) == (int(whole.count[0]) - 1, 1)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / "a.tif"), run.nuclei[0])
    listed = pl.read_csv(tmp_path / "out" / "objects.csv")["confidence"]
    np.testing.assert_allclose(listed, run.confidence[0, :count], rtol=1e-6)


def test_a_damaged_calibration_names_the_model(tmp_path):
    model = model_with(tmp_path, {"weights": [1.0]})
    with pytest.raises(
        BadModel, match=r"calibration on the card of the model '.*mine\.safetensors'"
    ):
        load_segmenter(SegmentConfig(model=model))


# ----------------------------------------------------------------------------------- whole cells


def pair_of(radius: float = 22.0) -> jnp.ndarray:
    """A field of two stains: the nuclei of `field`, and cells around them."""
    y, x = np.mgrid[:128, :128]
    cells = np.random.default_rng(1).normal(0.1, 0.01, (128, 128))
    for cy, cx in ((25, 25), (25, 100), (100, 25), (64, 64), (100, 100)):
        cells += 0.5 * (np.hypot(y - cy, x - cx) < radius)
    return jnp.asarray(np.stack([field(), cells], axis=-1), jnp.float32)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A network of whole cells that has learnt nothing: it sees the brighter half of a field."""
    path = tmp_path_factory.mktemp("models") / "whole.safetensors"
    config = NetworkConfig(channels=2, widths=(4, 8))
    model = build(config, rngs=nnx.Rngs(0))
    save_network(path, model, config, about={}, diameter_px=28.0, nucleus_px=14.0)
    return str(path)


def with_cells(model: str, **options):
    config = {"cells_channel": 1, "cells_model": model, "max_cells": 16}
    cells = CellsConfig(method="network")
    return SegmentConfig(**{**config, "cells": cells, **options})


@pytest.mark.parametrize("diameter", [26.0, "auto"])
def test_cells_of_a_network_are_the_same_on_both_backends_and_in_any_batch(whole, diameter):
    image = pair_of()
    config = with_cells(whole, diameter_px=diameter)
    host, device = (load_segmenter(config, backend=name) for name in ("cpu", "other"))
    assert host.cells_card.nucleus_px == 14.0
    one = host.segment(image[None])
    both = device.segment(jnp.stack([image, image[::-1]]))
    for name in ("nuclei", "cells", "cytoplasm", "count"):
        np.testing.assert_array_equal(getattr(one, name)[0], getattr(both, name)[0])
    cells, nuclei = np.asarray(one.cells[0]), np.asarray(one.nuclei[0])
    assert (cells > 0).sum() > (nuclei > 0).sum()
    np.testing.assert_array_equal(cells[nuclei > 0], nuclei[nuclei > 0])


@pytest.mark.parametrize("backend", ["cpu", "other"])
@pytest.mark.parametrize(("intercept", "count"), [(-9.0, 3), (9.0, 2)])
def test_pieces_are_joined_as_the_card_says(tmp_path, backend, intercept, count):
    mine, names = tmp_path / "mine.safetensors", Evidence._fields
    copy_network(MODELS["nuclei"], mine)
    always = Joining(names, (0.0,) * len(names), intercept, 0.5, 400, 40)
    save_joining(mine, always, note="by hand")
    y, x = np.mgrid[:96, :96]
    discs = [np.hypot(y - v, x - u) < 13 for v, u in ((30, 22), (30, 46), (70, 70))]  # two touch
    plane = jnp.asarray(ndimage.gaussian_filter(np.any(discs, axis=0).astype(np.float32), 1))
    segmenter = load_segmenter(SegmentConfig(model=str(mine), max_cells=8), backend=backend)
    nuclei = segmenter.nuclei(plane)
    assert int(nuclei.count) == count
    assert np.unique(nuclei.labels).tolist() == list(range(count + 1))
    first = np.asarray(nuclei.labels)[30, [22, 46]]
    assert first.tolist() == ([1, 1] if count == 2 else [1, 2])
    batch = segmenter.segment(plane[None, ..., None])
    assert batch.count.tolist() == [count]


@pytest.fixture
def traced(monkeypatch):
    """Shape and scale of what is traced, one of a kind."""
    seen = []

    def see(run, stains, head, *, scale):
        seen.append((stains.shape, scale))
        return at_scale(run, stains, head, scale=scale)

    at_scale = look.see_at
    monkeypatch.setattr(look, "see_at", see)
    look.program.cache_clear()  # what was traced before is not seen again
    return seen


def test_networks_of_one_architecture_are_traced_once(traced):
    plane = jnp.asarray(field())
    found = [
        load_segmenter(SegmentConfig(model=model)).examine(plane).evidence.inside
        for model in ("nuclei", "nuclei-any-size", "nuclei")
    ]
    assert traced == [((128, 128), 1.0)]
    np.testing.assert_array_equal(found[0], found[2])
    assert not np.array_equal(found[0], found[1], equal_nan=True)  # of weights of its own


@pytest.mark.parametrize(("diameter", "scale"), [(None, 0.5), (14.0, 1.0), (56.0, 0.25)])
def test_cells_are_seen_at_the_scale_that_suits_the_nuclei(whole, traced, diameter, scale):
    whole_cells = load_segmenter(with_cells(whole, diameter_px=diameter)).whole_cells
    assert whole_cells is not None
    whole_cells(pair_of(), jnp.zeros((128, 128), jnp.int32))
    assert traced == [((128, 128, 2), scale)]  # the cell stain, then the nuclei


def test_cells_of_a_network_need_a_cell_stain_and_a_network_of_cells(whole):
    with pytest.raises(BadRecipe, match="names none but that of the nuclei. Name one"):
        load_segmenter(with_cells(whole, cells_channel=0))
    with pytest.raises(BadModel, match="'nuclei' finds nuclei, not whole cells .*shipped model"):
        load_segmenter(with_cells("nuclei"))


def test_more_stains_than_a_network_sees_are_refused():
    with pytest.raises(BadModel, match="field has 2 stains; the network looks at 1"):
        load_segmenter(SegmentConfig()).nuclei(pair_of())


def test_nuclei_beyond_what_the_network_of_cells_can_be_shown_are_refused(whole):
    with pytest.raises(BadRecipe, match=r"'whole' serves nuclei of 2\.9 to 67 px"):
        load_segmenter(with_cells(whole, diameter_px=100.0))


def test_nuclei_cut_by_the_border_are_found_where_the_field_is_filled_up():
    y, x = np.mgrid[:97, :97]  # filled up to 112: four rows, four columns of two nuclei are seen
    discs = [np.hypot(y - v, x - u) < 13 for v, u in ((105, 40), (40, 105), (50, 50))]
    plane = ndimage.gaussian_filter(np.any(discs, axis=0).astype(np.float32), 1)
    nuclei = load_segmenter(SegmentConfig(max_cells=8)).nuclei(jnp.asarray(plane))
    assert int(nuclei.count) == 3
    labels = np.asarray(nuclei.labels)
    assert len({labels[95, 40], labels[40, 95], labels[50, 50]} - {0}) == 3
