"""Learned profiles of wells: by hand, by symmetry, at the edges, and files that are not right."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from plates.errors import BadModel
from profiler.nets.cards import write_card, write_tensors
from profiler.profile.wells.cell_scale import Scale, cell_scales, standardised
from profiler.profile.wells.sets import SetCard, aggregate_sets, check_cells, load_aggregator

FEATURES = ("Cells_A", "Embedding_0000")
RANDOM = np.random.default_rng(0)
CELLS = pl.DataFrame(
    {
        "Metadata_Plate": ["P"] * 9 + ["Q"] * 3,
        "Metadata_Well": ["A01"] * 5 + ["A02"] * 3 + ["A03"] + ["A01"] * 3,
        "Cells_A": RANDOM.normal(size=12).astype(np.float32),
        "Embedding_0000": RANDOM.normal(size=12).astype(np.float32),
    }
)
UNIT = {plate: Scale(np.zeros(2), np.ones(2)) for plate in "PQ"}


def save(path, tensors, *, phi=(), rho=(), **more):
    digest = write_tensors(path, tensors)
    write_card(path, SetCard(path.stem, FEATURES, phi, rho, more.get("embedder"), digest))
    return path


@pytest.fixture
def mean(tmp_path):
    return load_aggregator(save(tmp_path / "mean.safetensors", {}))


@pytest.fixture
def small(tmp_path):
    tensors = {
        "phi/0/kernel": np.float32([[1, -1, 2], [0, 1, 1]]),
        "phi/0/bias": np.float32([0, 0.5, -1]),
        "phi/1/kernel": np.float32([[1, 0], [0, 1], [1, 1]]),
        "phi/1/bias": np.float32([0, 1]),
        "rho/0/kernel": np.float32([[2], [-1]]),
        "rho/0/bias": np.float32([3]),
    }
    return load_aggregator(save(tmp_path / "small.safetensors", tensors, phi=(3, 2), rho=(1,)))


def near(values):
    return 5 * np.arcsinh(values / 5)


def test_without_layers_it_is_the_mean_of_the_standardised_cells(mean):
    wells = aggregate_sets(CELLS, aggregator=mean, scales=UNIT)
    assert wells.columns[2:] == ["Embedding_Set_0000", "Embedding_Set_0001"]
    for plate, well, *found in wells.iter_rows():
        own = CELLS.filter(Metadata_Plate=plate, Metadata_Well=well).select(FEATURES).to_numpy()
        np.testing.assert_allclose(found, near(own.astype(float)).mean(0), rtol=1e-5)


def test_two_cells_by_hand(small):
    cells = np.float32([[1, 2], [-1, 0]])
    # relu(1, 1.5, 3) = (1, 1.5, 3) -> (4, 5.5); relu(-1, 1.5, -3) = (0, 1.5, 0) -> (0, 2.5)
    assert small(cells).tolist() == [2 * 2 - 4 + 3]


def test_neither_order_nor_company_counts(small):
    found = aggregate_sets(CELLS, aggregator=small, scales=UNIT)
    shuffled = CELLS.sample(fraction=1.0, shuffle=True, seed=1)
    again = aggregate_sets(shuffled, aggregator=small, scales=UNIT)
    alone = aggregate_sets(CELLS.filter(Metadata_Plate="Q").lazy(), aggregator=small, scales=UNIT)
    assert again.equals(found) or np.allclose(again[:, 2:], found[:, 2:], rtol=1e-9)
    assert alone.row(0) == found.row(3)


def test_one_cell_is_a_well(small):
    wells = aggregate_sets(CELLS, aggregator=small, scales=UNIT)
    own = (
        near(CELLS.row(8, named=True)["Cells_A"]),
        near(CELLS.row(8, named=True)["Embedding_0000"]),
    )
    assert wells.row(2)[2] == pytest.approx(small(np.float32([own])).item(), rel=1e-5)


def test_a_well_without_usable_cells_is_null(small):
    gone = CELLS.with_columns(
        pl.when(pl.col("Metadata_Well") != "A02").then(pl.col(name)).alias(name)
        for name in FEATURES
    )
    wells = aggregate_sets(gone, aggregator=small, scales=UNIT)
    assert wells["Embedding_Set_0000"].is_null().to_list() == [False, True, False, False]


def test_a_plate_without_scale_is_null(small):
    wells = aggregate_sets(CELLS, aggregator=small, scales={"P": UNIT["P"]})
    assert wells.filter(Metadata_Plate="Q")["Embedding_Set_0000"].to_list() == [None]


def test_no_cells_give_no_wells(small):
    assert aggregate_sets(CELLS.clear(), aggregator=small, scales=UNIT).height == 0


def test_a_scale_is_that_of_the_plates_controls():
    controls = pl.DataFrame({"Metadata_Plate": ["P"], "Metadata_Well": ["A01"]})
    scales = cell_scales(CELLS.lazy(), features=FEATURES, controls=controls)
    own = CELLS[:5].select(FEATURES).to_numpy().astype(float)
    assert list(scales) == ["P"]
    middle = np.median(own, axis=0)
    np.testing.assert_allclose(scales["P"].centre, middle)
    np.testing.assert_allclose(
        scales["P"].spread, 1.4826 * np.median(abs(own - middle), axis=0), rtol=1e-4
    )
    everywhere = cell_scales(
        CELLS.lazy(), features=FEATURES, controls=controls.drop("Metadata_Plate")
    )
    assert list(everywhere) == ["P", "Q"]
    of_all = cell_scales(CELLS.lazy(), features=FEATURES, controls=None)
    np.testing.assert_allclose(of_all["Q"].centre, CELLS[9:].select(pl.median(FEATURES)).row(0))


def test_what_does_not_vary_or_is_missing_is_the_middle():
    cells = CELLS.with_columns(Cells_A=pl.lit(4.0), Embedding_0000=pl.lit(None, dtype=pl.Float32))
    scales = {"P": Scale(np.array([4.0, 1.0]), np.array([0.0, 1.0]))}
    values, is_usable = standardised(cells, features=FEATURES, scales=scales)
    assert (values == 0).all()
    assert is_usable.tolist() == [True] * 9 + [False] * 3  # half of the values are there


def test_cells_of_another_network_are_refused(tmp_path):
    card = load_aggregator(save(tmp_path / "a.safetensors", {}, embedder="abc")).card
    check_cells(card, CELLS.columns, embedder="abc")
    with pytest.raises(BadModel, match="taught on vectors of the encoder abc"):
        check_cells(card, CELLS.columns, embedder="def")
    with pytest.raises(BadModel, match="lack 1 of the 2 features .* Embedding_0000 first"):
        check_cells(card, ["Cells_A"], embedder="abc")


def test_vectors_of_stains_in_another_order_are_refused(tmp_path):
    path = save(tmp_path / "a.safetensors", {}, embedder="abc")
    old = load_aggregator(path).card
    said = json.loads(path.with_suffix(".json").read_text())
    assert said.pop("stains") is None  # a card from before they were noted
    path.with_suffix(".json").write_text(json.dumps(said))
    assert load_aggregator(path).card == old
    check_cells(old, CELLS.columns, embedder="abc", stains=("GFP", "DNA"))  # not known, not checked
    card = replace(old, stains=("DNA", "GFP"))
    write_card(path, card)
    assert load_aggregator(path).card == card
    check_cells(card, CELLS.columns, embedder="abc", stains=("DNA", "GFP"))
    check_cells(card, CELLS.columns, embedder="abc")
    message = r"stains GFP, DNA, in this order, and the aggregator 'a' was trained on those of DNA"
    with pytest.raises(BadModel, match=message):
        check_cells(card, CELLS.columns, embedder="abc", stains=("GFP", "DNA"))
    plain = replace(card, features=("Cells_A",))
    check_cells(plain, CELLS.columns, embedder=None, stains=("GFP", "DNA"))


def test_files_that_are_not_right_are_refused(tmp_path):
    path = save(tmp_path / "a.safetensors", {}, rho=(2,))
    with pytest.raises(BadModel, match=r"does not fit the aggregator on its card \(rho/0/bias\)"):
        load_aggregator(path)
    with pytest.raises(BadModel, match="Cannot read .*none.safetensors"):
        load_aggregator(tmp_path / "none.safetensors")
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(BadModel, match="was changed or cut short"):
        load_aggregator(path)
    path.with_suffix(".json").write_text(json.dumps({"name": "a", "sha256": "", "layers": 3}))
    with pytest.raises(BadModel, match="is not the card of a set aggregator"):
        load_aggregator(path)
