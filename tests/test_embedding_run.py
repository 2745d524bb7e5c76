"""A run whose recipe names an encoder: vectors beside features, the same as a script finds."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tifffile
from flax import nnx

import profiler
from plates.errors import BadModel, BadRecipe, BadRun
from profiler.embed.crops import CropConfig
from profiler.embed.embedder import load_embedder
from profiler.embed.network.build import build
from profiler.embed.network.config import EncoderConfig, ModelConfig
from profiler.embed.weights import save_model
from profiler.events import Planned
from profiler.pipeline import run
from profiler.recipe import load_recipe
from profiler.request import Request
from profiler.store.tables import read_footer

QUICK = Path(__file__).parent / "quick.toml"
STAINS = ("GFP", "DNA")  # not in the images' order


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("encoder") / "tiny.safetensors")


def write_encoder(
    path: Path, *, seed: int = 0, side: int = 32, pixel_size_um: float | None = None
) -> Path:
    crops = CropConfig(side, pixel_size_um)
    config = ModelConfig(EncoderConfig(widths=(8, 16), blocks=(1, 1)), crops, STAINS)
    save_model(path, build(config, rngs=nnx.Rngs(seed)), config, about={})
    return path


def request(plate: Path, out: Path, encoder: Path, **settings) -> Request:
    recipe = load_recipe(QUICK)
    embed = recipe.embed.model_copy(update={"model": str(encoder), "channels": STAINS} | settings)
    recipe = recipe.model_copy(update={"embed": embed})
    return Request((plate,), out, recipe, layout=plate / "platemap.csv", save_labels=True)


@pytest.fixture(scope="module")
def embedded(small_plate, encoder, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "embedded"
    list(run(request(small_plate, out, encoder)))
    return out


def test_cells_have_the_vectors_that_a_script_finds(embedded, small_plate, encoder):
    cells = profiler.open(embedded).cells.filter(pl.col("Metadata_Well") == "A02").collect()
    planes = [next(small_plate.rglob(f"*A02*{stain}*.tif*")) for stain in STAINS]
    image = np.stack([tifffile.imread(path) for path in planes], axis=-1)  # as the files have it
    labels = tifffile.imread(embedded / "labels" / "mini" / "A02_1_nuclei.tif")
    embedder = load_embedder(str(encoder), stains=STAINS, max_cells=512)
    found = embedder.embed(image[None], labels[None])
    assert list(embedder.columns) == [c for c in cells.columns if c.startswith("Embedding_")]
    assert len(embedder.columns) == 32
    np.testing.assert_allclose(
        cells.select(embedder.columns).to_numpy(), found.vectors[0, : len(cells)], atol=1e-5
    )
    padded = cells["Metadata_QC_CropPadded"].to_numpy()
    np.testing.assert_array_equal(padded, found.is_padded[0, : len(cells)])
    assert 0 < padded.sum() < len(cells)


def test_features_are_as_without_it(embedded, small_run):
    with_vectors, without = (profiler.open(out).cells.collect() for out in (embedded, small_run))
    same = with_vectors.select(without.columns)
    assert same.equals(without)


def test_files_say_whose_vectors_they_are(embedded, encoder):
    sha256 = json.loads(encoder.with_suffix(".json").read_text())["sha256"]
    file = next((embedded / "cells").rglob("*.parquet"))
    assert read_footer(file).parameters["embedder"] == sha256
    assert profiler.open(embedded).facts.embedder == sha256


def test_wells_are_profiled_by_features_and_vectors(embedded):
    screen = profiler.open(embedded)
    wells, cells = screen.wells.collect(), screen.cells.collect()
    expected = cells.group_by("Metadata_Well").agg(pl.col("Embedding_0003").median())
    both = wells.join(expected, on="Metadata_Well")
    np.testing.assert_allclose(both["Embedding_0003"], both["Embedding_0003_right"], rtol=1e-6)
    assert "Embedding_0003" in screen.profiles.collect_schema()


def test_only_another_encoder_makes_cells_anew(embedded, small_plate, encoder, tmp_path):
    out = Path(shutil.copytree(embedded, tmp_path / "run"))
    moved = shutil.copy(encoder, tmp_path / "moved.safetensors")
    shutil.copy(encoder.with_suffix(".json"), tmp_path / "moved.json")
    assert planned(request(small_plate, out, Path(moved))).wells_done == 12
    other = write_encoder(tmp_path / "other.safetensors", seed=1)
    assert planned(request(small_plate, out, other)).wells_done == 0
    with pytest.raises(BadRun, match="embedder is"):
        profiler.open([embedded, out], repeated_plates=True).cells.collect()


def planned(asked: Request) -> Planned:
    return next(event for event in run(asked) if isinstance(event, Planned))


def test_a_pixel_size_comes_from_the_recipe_where_no_microscope_tells(
    small_plate, encoder, tmp_path
):
    sized = write_encoder(tmp_path / "sized.safetensors", pixel_size_um=0.5)
    asked = request(small_plate, tmp_path / "run", sized)
    asked = replace(asked, wells=("A02",), layout=None, save_labels=False)
    with pytest.raises(BadRecipe, match=r"\[embed\] pixel_size_um"):
        list(run(asked))
    told = asked.recipe.embed.model_copy(update={"pixel_size_um": 0.25})
    recipe = asked.recipe.model_copy(update={"embed": told})
    list(run(replace(asked, recipe=recipe)))
    assert profiler.open(tmp_path / "run").cells.collect()["Embedding_0000"].null_count() == 0
    (well,) = (tmp_path / "run" / "cells").rglob("*.parquet")
    assert read_footer(well).parameters["pixel_size_um"] == 0.25


def test_other_stains_are_refused_before_anything_is_computed(small_plate, encoder, tmp_path):
    asked = request(small_plate, tmp_path / "run", encoder, channels=("DNA",))
    with pytest.raises(BadModel, match="was trained on GFP, DNA"):
        list(run(asked))
    assert not list((tmp_path / "run").glob("cells/*"))


def test_crops_larger_than_the_fields_are_refused_before_any_is_segmented(
    small_plate, tmp_path, monkeypatch
):
    wide = write_encoder(tmp_path / "wide.safetensors", side=1024)
    begun = []
    monkeypatch.setattr("profiler.compute.field._share", lambda *_, **__: begun.append(1))
    with pytest.raises(BadRecipe, match=r"'wide' are 1024 x 1024 pixels, larger than the field"):
        list(run(request(small_plate, tmp_path / "run", wide)))
    assert not begun
