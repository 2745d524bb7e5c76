"""Explaining a compound's cells: sheets, numbers and features from a run, and what is refused."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import h5py
import numpy as np
import polars as pl
import pytest
import tifffile
from flax import nnx
from PIL import Image
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

from plates.convert import convert
from plates.errors import BadLayout, BadModel, BadPlate, BadRecipe, BadRun, NoControls, UnknownName
from plates.imageset import FieldKey
from profiler import cli
from profiler.classify.content import contents_of
from profiler.classify.labels import read_labels
from profiler.classify.model import read_model
from profiler.classify.tables import classify_run
from profiler.classify.train import TrainRequest, train_classifier
from profiler.compute.reread import Source, field_reader
from profiler.embed.crops import CropConfig
from profiler.embed.network.build import build
from profiler.embed.network.config import EncoderConfig, ModelConfig
from profiler.embed.weights import save_model
from profiler.explain import Read, Told, Wanted, Written, explain, read_listed
from profiler.explain.choose import choose_cells, reference_cells
from profiler.explain.listed import Listed
from profiler.explain.sheet import AGAINST, FOR, HEAD, LABEL, TILE, Row, draw_sheet, look_of
from profiler.pipeline import run
from profiler.recipe import load_recipe
from profiler.request import Request, find_fields
from profiler.store.cell_keys import ASIDE
from profiler.store.places import well_path
from profiler.store.run import FACTS, read_facts
from profiler.store.screen import open as open_screen
from profiler.store.tables import read_footer, scan_table, write_table

pytestmark = pytest.mark.usefixtures("networks_loaded_once")
QUICK = Path(__file__).parent / "quick.toml"
STAINS = ("DNA", "GFP", "RNA")
CROPS = CropConfig(32)
CELL = ["Metadata_Plate", "Metadata_Well", "Metadata_Site", "Metadata_ObjectNumber"]


def write_encoder(path: Path, *, stains=STAINS, crops: CropConfig = CROPS, seed=0) -> Path:
    config = ModelConfig(EncoderConfig(widths=(8,), blocks=(1,)), crops, stains)
    save_model(path, build(config, rngs=nnx.Rngs(seed)), config, about={})
    return path


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> str:
    return str(write_encoder(tmp_path_factory.mktemp("encoder") / "tiny.safetensors"))


@pytest.fixture(scope="module")
def explained(small_run, encoder, tmp_path_factory):
    """A run without vectors whose compound was explained, and what was told."""
    out = Path(shutil.copytree(small_run, tmp_path_factory.mktemp("runs") / "run"))
    events = list(explain(out, Wanted(compound="Mover", model=encoder, cells=4)))
    return out, events


def read_only(events: list) -> list[str]:
    return [event.sentence for event in events if isinstance(event, Told)]


def test_a_compound_gets_a_sheet_numbers_and_features(explained):
    out, events = explained
    (written,) = (event for event in events if isinstance(event, Written))
    assert written.folder == out / "explain" / "Mover"
    assert {path.name for path in written.folder.iterdir()} == {
        "cells.png",
        "explain.parquet",
        "features.parquet",
    }
    table = scan_table(written.folder / "explain.parquet").collect()
    assert table["kind"].value_counts().sort("kind")["count"].to_list() == [2, 1, 3]
    assert table.select(CELL).is_unique().all()
    names = ["place", "share_inside", "without_cell", "exchanged_GFP", "emptied_DNA", "share_RNA"]
    assert table.select(names).null_count().sum_horizontal().item() == 0
    stains = table.select(f"share_{stain}" for stain in STAINS)
    np.testing.assert_allclose(stains.sum_horizontal(), 1, rtol=1e-5)
    features = scan_table(written.folder / "features.parquet").collect()
    assert "Cells_Translocation_NucleusCytoplasmRatio_GFP" in features["feature"].to_list()
    assert not features["feature"].str.contains("Location_Center|Embedding").any()
    about = read_footer(written.folder / "explain.parquet").parameters
    assert about["compound"] == "Mover"
    assert about["told"] == read_only(events)


def test_the_cells_are_those_of_the_compound_at_its_best_dose_and_of_controls(explained):
    out, _ = explained
    table = scan_table(out / "explain" / "Mover" / "explain.parquet").collect()
    wells = open_screen(out).wells.collect()
    both = table.join(wells, on=CELL[:2]).with_columns(role=pl.col("Metadata_Role"))
    assert set(both.filter(pl.col("kind") == "control")["role"]) == {"negative"}
    treated = both.filter(pl.col("kind") != "control")
    assert set(treated["Metadata_Compound"]) == {"Mover"}
    assert treated["Metadata_Concentration"].n_unique() == 1
    extreme = treated.filter(pl.col("kind") == "extreme")["place"].min()
    assert extreme > treated.filter(pl.col("kind") == "typical")["place"].max()


@pytest.fixture(scope="module")
def embedded(small_plate, encoder, tmp_path_factory) -> Path:
    """The small plate, its cells with vectors."""
    recipe, out = load_recipe(QUICK), tmp_path_factory.mktemp("runs") / "embedded"
    embed = recipe.embed.model_copy(update={"model": encoder})
    recipe = recipe.model_copy(update={"embed": embed})
    list(run(Request((small_plate,), out, recipe, layout=small_plate / "platemap.csv")))
    return out


def test_vectors_of_the_run_give_the_same_as_fields_read_again(explained, embedded):
    about = read_footer(explained[0] / "explain" / "Mover" / "explain.parquet").parameters
    dose = float(about["name"].removeprefix("Mover, ").removesuffix(" uM"))  # the best by profile
    wanted = Wanted(compound="Mover", concentration=dose, cells=4)
    events = list(explain(embedded, wanted))
    reads = [event.why for event in events if isinstance(event, Read)]
    assert set(reads) == {"for crops"}
    one, other = (
        scan_table(out / "explain" / "Mover" / "explain.parquet").collect()
        for out in (explained[0], embedded)
    )
    assert one.select(*CELL, "kind").equals(other.select(*CELL, "kind"))
    for name in ("place", "share_inside", "without_cell", "exchanged_GFP"):
        np.testing.assert_allclose(one[name], other[name], atol=2e-3, err_msg=name)


@pytest.fixture(scope="module")
def classified(embedded, tmp_path_factory) -> tuple[Path, Path]:
    """The run with classes, "moved" and "still", and the classifier that gave them."""
    folder = tmp_path_factory.mktemp("classified")
    out = Path(shutil.copytree(embedded, folder / "run"))
    screen = open_screen(out)
    is_moved = pl.col("Metadata_Compound") == "Mover"
    wells = screen.wells.filter(~is_moved | (pl.col("Metadata_Concentration") == 10))
    label = pl.when(is_moved).then(pl.lit("moved")).otherwise(pl.lit("still")).alias("Label")
    keys = [*CELL[:2], "Label"]
    cells = screen.cells.join(wells.with_columns(label).select(keys), on=CELL[:2]).collect()
    cells.select(*CELL, "Label").write_csv(folder / "labels.csv")
    request = TrainRequest(
        folder / "labels.csv", [out], folder / "moved.safetensors", is_mixed=True
    )
    list(train_classifier(request))
    list(classify_run(out, read_model(request.out)))
    return out, request.out


def test_a_class_is_explained_along_the_line_that_its_classifier_goes_by(classified):
    out, path = classified
    words = ["explain", str(out), "--class", "moved", "--classifier", str(path), "--cells", "3"]
    done = CliRunner().invoke(cli.app, words)
    assert done.exit_code == 0, done.output
    folder = out / "explain" / "class%20moved"
    assert done.stdout.strip() == str(folder / "cells.png")
    assert "columns of the embedding" in done.stderr
    about = read_footer(folder / "explain.parquet").parameters
    assert about["name"] == "class moved"
    assert about["compound"] is None
    table = scan_table(folder / "explain.parquet").collect()
    classes = table.join(open_screen(out).cell_classes.collect(), on=CELL)
    assert set(classes.filter(pl.col("kind") != "control")["Class"]) == {"moved"}
    assert set(classes.filter(pl.col("kind") == "control")["Class"]) == {"still"}

    # By hand: each number of the vector in robust sds of the plate, times its weight.
    model, cells = read_model(path), open_screen(out).cells.collect()
    columns = [name for name in model.card.features if name.startswith("Embedding")]
    values = cells.select(columns).to_numpy().astype(float)
    spread = 1.4826 * np.median(np.abs(values - np.median(values, axis=0)), axis=0)
    weights = model.learnt.linear.weights[[model.card.features.index(c) for c in columns]]
    moved = model.card.classes.index("moved")
    line = (values / spread) @ (weights[:, moved] - weights.mean(axis=1))
    shown = table.join(cells.select(CELL).with_columns(line=pl.Series(line)), on=CELL)
    assert shown.height == table.height > 3
    slope, start = np.polyfit(shown["line"], shown["place"], 1)
    assert slope > 0
    np.testing.assert_allclose(shown["place"], slope * shown["line"] + start, atol=1e-3)


def test_a_class_is_asked_of_its_own_classifier_and_network(classified, tmp_path):
    out, path = classified
    half = CliRunner().invoke(cli.app, ["explain", str(out), "--class", "moved"])
    assert half.exit_code == 2
    assert "A class is one of a classifier" in half.output
    words = ["explain", str(out), "--classifier", str(path), "--class"]
    both = CliRunner().invoke(cli.app, [*words, "moved", "--compound", "Mover"])
    assert "one of the three" in str(both.exception)
    none = CliRunner().invoke(cli.app, [*words, "movd"])
    assert "no class of the classifier called 'movd'. Did you mean 'moved'" in str(none.exception)
    other = write_encoder(tmp_path / "other.safetensors", seed=1)
    done = CliRunner().invoke(cli.app, [*words, "moved", "--model", str(other)])
    assert isinstance(done.exception, BadModel)
    assert "The classifier goes by embeddings of network" in str(done.exception)


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_the_nearest_labelled_cells_are_beside_each_cell(classified, tmp_path):
    out, path = classified
    every = pl.read_csv(path.parent / "labels.csv")
    is_drawn = pl.int_range(pl.len()) % 2 == 0
    labels = every.filter(is_drawn)
    other = labels.head(3).with_columns(pl.lit("elsewhere").alias(CELL[0]))
    pl.concat([labels, other]).write_csv(tmp_path / "labels.csv")
    words = ["explain", str(out), "--class", "moved", "--classifier", str(path), "--cells", "3"]
    done = CliRunner().invoke(cli.app, [*words, "--labels", str(tmp_path / "labels.csv")])
    assert done.exit_code == 0, done.output
    assert f"3 of {labels.height + 3} labelled cells are of other plates" in done.stderr
    assert "The nearest one of the 3 treated cells shown: " in done.stderr
    table = scan_table(out / "explain" / "class%20moved" / "explain.parquet").collect()

    # By hand: the angle between vectors from the mean control cell that is not of the class.
    screen = open_screen(out)
    keys = [*CELL[:3], "Metadata_Timepoint", CELL[3]]
    cells = screen.cells.join(screen.cell_classes.select(*keys, "Class"), on=keys).collect()
    cut = ["Metadata_QC_TouchesBorder", "Metadata_QC_CropPadded"]
    cells = cells.filter(~pl.any_horizontal(pl.col(cut).cast(pl.Boolean)))
    role = screen.wells.select(*CELL[:2], "Metadata_Role").collect()
    cells = cells.join(role, on=CELL[:2], maintain_order="left")
    names = [name for name in cells.columns if name.startswith("Embedding")]
    held = (pl.col("Metadata_Role") == "negative") & (pl.col("Class") != "moved")
    mean = cells.filter(held).select(names).to_numpy().astype(float).mean(axis=0)
    known = cells.join(labels, on=CELL, maintain_order="left")
    theirs = unit(known.select(names).to_numpy() - mean)
    shown = table.select(CELL).join(cells, on=CELL, how="left", maintain_order="left")
    cosines = unit(shown.select(names).to_numpy() - mean) @ theirs.T
    places = known.select(pl.concat_str(CELL, separator=" ")).to_series().to_list()
    own = table.select(pl.concat_str(CELL, separator=" ")).to_series().to_list()
    rows = table.iter_rows(named=True)
    for line, row, itself in zip(cosines, rows, own, strict=True):
        order = [i for i in np.argsort(-line) if places[i] != itself]
        assert row["nearest_labelled"] == [places[i] for i in order[:3]]
        assert row["nearest_labels"] == [known["Label"][int(i)] for i in order[:3]]
        np.testing.assert_allclose(row["nearest_labelled_cosines"], line[order[:3]], atol=1e-6)

    every.with_columns(pl.lit("elsewhere").alias(CELL[0])).write_csv(tmp_path / "labels.csv")
    away = CliRunner().invoke(cli.app, [*words, "--labels", str(tmp_path / "labels.csv")])
    assert "labelled cells is of this run: they are of plates elsewhere" in str(away.exception)
    half = CliRunner().invoke(cli.app, [*words, "--column", "Label"])
    assert half.exit_code == 2
    assert "--column is one of a label table" in half.output


def test_labelled_cells_are_looked_at_where_the_run_has_no_vectors(
    classified, small_run, explained, encoder, tmp_path
):
    out = Path(shutil.copytree(small_run, tmp_path / "run"))
    labels = read_labels(classified[1].parent / "labels.csv")
    with Image.open(explained[0] / "explain" / "Mover" / "cells.png") as sheet:
        with_labels = sheet.width + 3 * TILE
    wanted = Wanted(compound="Mover", model=encoder, cells=2, labels=labels)
    events = list(explain(out, wanted))
    assert any(
        "labelled cells were looked at: a sample of each label" in s for s in read_only(events)
    )
    table = scan_table(out / "explain" / "Mover" / "explain.parquet").collect()
    assert table["nearest_labelled"].list.len().to_list() == [3] * table.height
    near = {name for names in table["nearest_labelled"] for name in names}
    assert near <= {" ".join(map(str, row)) for row in labels.cells.select(CELL).iter_rows()}
    with Image.open(out / "explain" / "Mover" / "cells.png") as wide:
        assert wide.width > with_labels


def sized_plate(plate: Path, folder: Path, *, pixel_size_um: float) -> Path:
    """The same plate as by a microscope that says how large its pixels are."""
    list(convert(plate, folder, to="hdf5"))
    (path,) = folder.rglob("*.h5")

    def say(_, item) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim > 3:
            item.attrs["pixel_size_um"] = pixel_size_um

    with h5py.File(path, "a") as file:
        file.visititems(say)
    return folder


@pytest.mark.parametrize("said", [float("inf"), float("nan"), -1.0])
def test_a_pixel_size_that_is_none_is_not_known(small_plate, tmp_path, said):
    plate = sized_plate(small_plate, tmp_path / "mini", pixel_size_um=said)
    asked = Request((plate,), tmp_path / "run", load_recipe(QUICK))
    assert dict(find_fields(asked).pixel_sizes) == {}


def test_what_the_microscope_said_of_pixels_need_not_be_said_again(small_plate, tmp_path):
    sized = write_encoder(tmp_path / "sized.safetensors", crops=CropConfig(32, pixel_size_um=0.5))
    plate = sized_plate(small_plate, tmp_path / "mini", pixel_size_um=0.25)
    recipe, out = load_recipe(QUICK), tmp_path / "run"
    embed = recipe.embed.model_copy(update={"model": str(sized)})
    recipe = recipe.model_copy(update={"embed": embed})
    list(run(Request((plate,), out, recipe, layout=small_plate / "platemap.csv")))
    facts = read_facts(out)
    assert dict(facts.pixel_sizes) == {"mini": 0.25}
    wanted = Wanted(compound="Mover", concentration=10.0, cells=3)
    list(explain(out, wanted))
    known = scan_table(out / "explain" / "Mover" / "explain.parquet").collect()

    said = asdict(facts)
    del said["pixel_sizes"]  # a run from before they were kept
    (out / FACTS).write_text(json.dumps(said))
    message = (
        "how large the pixels of plate mini are is neither .* nor in its run.json, .* --pixel-size"
    )
    with pytest.raises(BadRecipe, match=message):
        list(explain(out, wanted))
    list(explain(out, replace(wanted, pixel_size_um=0.25)))
    told = scan_table(out / "explain" / "Mover" / "explain.parquet").collect()
    assert_frame_equal(known, told)


def test_a_field_read_again_has_the_same_cells_with_and_without_kept_labels(small_run, tmp_path):
    out = Path(shutil.copytree(small_run, tmp_path / "run"))
    recipe = load_recipe(QUICK)
    read = field_reader(Source(out, recipe, ("GFP", "DNA"), CropConfig(32)))
    key = FieldKey("mini", "A02", 1)
    kept = read(key)
    labels = [
        tifffile.imread(out / "labels" / "mini" / f"A02_1_{n}.tif") for n in ("nuclei", "cells")
    ]
    shutil.rmtree(out / "labels")
    for one, other in zip(kept, read(key), strict=True):
        np.testing.assert_array_equal(one, other)
    for number in np.flatnonzero(kept.is_whole):
        rows, columns = np.nonzero(labels[0] == number + 1)
        top, left = (int(np.floor(each.mean() + 0.5)) - 16 for each in (rows, columns))
        seen = labels[1][top : top + 32, left : left + 32] == number + 1
        np.testing.assert_array_equal(kept.inside[number], seen)


def test_other_labels_than_the_runs_are_refused(small_run, tmp_path):
    out = Path(shutil.copytree(small_run, tmp_path / "run"))
    path = out / "labels" / "mini" / "A02_1_nuclei.tif"
    labels = tifffile.imread(path)
    tifffile.imwrite(path, np.where(labels == labels.max(), 0, labels))
    read = field_reader(Source(out, load_recipe(QUICK), ("DNA",), CropConfig(32)))
    with pytest.raises(BadRun, match=r"mini A02 site 1 has \d+ cells now, and \d+ in the run's"):
        read(FieldKey("mini", "A02", 1))


def test_cells_that_other_networks_would_find_again_are_refused(small_run, tmp_path):
    out = Path(shutil.copytree(small_run, tmp_path / "run"))
    shutil.rmtree(out / "labels")
    said = asdict(read_facts(out))
    (out / FACTS).write_text(json.dumps(said | {"weights": f"{said['weights']}+ab12"}))
    read = field_reader(Source(out, load_recipe(QUICK), ("DNA",), CropConfig(32)))
    with pytest.raises(BadRun, match="were found by other networks .*keeps no label images"):
        read(FieldKey("mini", "A02", 1))


def test_listed_cells_are_explained_and_strangers_named(explained, encoder, tmp_path):
    out, _ = explained
    cells = scan_table(out / "explain" / "Mover" / "explain.parquet").collect()
    mine = cells.filter(pl.col("kind") != "control").select(CELL)
    path = tmp_path / "mine.csv"
    mine.write_csv(path)

    def ask(cells):
        listed = read_listed(open_screen(out), path, timepoint=None)
        return list(explain(out, Wanted(listed=listed, model=encoder, cells=cells)))

    events = ask(9)
    assert any(f"9 cells were asked for; {mine.height} lie whole" in s for s in read_only(events))
    found = scan_table(out / "explain" / "mine" / "explain.parquet").collect()
    shown = found.filter(pl.col("kind") != "control").select(CELL)
    assert shown.sort(CELL).equals(mine.sort(CELL))
    strange = mine.with_columns(pl.lit(900).alias(CELL[3]))
    strange.write_csv(path)
    with pytest.raises(BadRun, match="are not in the run, such as plate mini, well .*, object 900"):
        ask(12)
    mine.drop(CELL[2]).write_csv(path)
    with pytest.raises(BadLayout, match="has no column Metadata_Site"):
        ask(12)


def renumbered(small_run: Path, out: Path, *, well: str) -> Path:
    """The run with the cells of one well under other numbers: each has that of the one before."""
    shutil.copytree(small_run, out)
    path = well_path(out, "mini", well)
    cells = pl.read_parquet(path, hive_partitioning=False)
    number = pl.Series(CELL[3], np.roll(cells[CELL[3]], 1), pl.Int32)
    told = dict(read_footer(path).parameters)
    told["pixel_size_um"] = 0.5
    write_table(path, cells.with_columns(number).sort(CELL), level="cells", parameters=told)
    for name in ("nuclei", "cells"):
        image = out / "labels" / "mini" / f"{well}_1_{name}.tif"
        labels = tifffile.imread(image)
        now = np.concatenate([[0], np.roll(np.arange(1, cells.height + 1), 1)])
        tifffile.imwrite(image, now[labels].astype(labels.dtype))
    return out


def test_listed_cells_are_followed_by_place_where_their_well_was_computed_anew(
    small_run, encoder, tmp_path
):
    well = "A02"
    screen = open_screen(small_run)
    own = screen.cells.filter((pl.col(CELL[1]) == well) & ~pl.col("Metadata_QC_TouchesBorder"))
    (content,) = contents_of(screen, [("mini", well)]).values()
    some = own.select(*CELL, *ASIDE[1:]).collect().gather_every(3)
    some.with_columns(pl.lit(content).alias(ASIDE[0])).write_csv(tmp_path / "mine.csv")
    count = screen.cells.filter(pl.col(CELL[1]) == well).collect().height

    def ask(out: Path):
        words = ["explain", str(out), "--cells-from", str(tmp_path / "mine.csv"), "--cells", "2"]
        return CliRunner().invoke(cli.app, [*words, "--model", encoder])

    def shown(out: Path) -> pl.DataFrame:
        table = scan_table(out / "explain" / "mine" / "explain.parquet").collect()
        return table.filter(pl.col("kind") != "control")

    same = Path(shutil.copytree(small_run, tmp_path / "same"))
    anew = renumbered(small_run, tmp_path / "anew", well=well)
    before, after = ask(same), ask(anew)
    assert before.exit_code == after.exit_code == 0, after.output
    said = f"{some.height} of {some.height} listed cells are of 1 wells that have been"
    assert said not in before.stderr
    assert said in after.stderr
    assert "found again by where their nuclei lie" in after.stderr
    about = read_footer(anew / "explain" / "mine" / "explain.parquet").parameters
    assert about["told"][0].startswith(said)
    now = (shown(same)[CELL[3]] - 2) % count + 1
    assert shown(anew)[CELL[3]].to_list() == now.to_list()
    np.testing.assert_allclose(shown(anew)["place"], shown(same)["place"], rtol=1e-4)

    some.drop(ASIDE[1]).with_columns(pl.lit(content).alias(ASIDE[0])).write_csv(
        tmp_path / "mine.csv"
    )
    blind = ask(anew)
    assert isinstance(blind.exception, BadLayout), blind.output
    assert "Nothing was matched" in str(blind.exception)
    some.write_csv(tmp_path / "mine.csv")  # no fingerprint: by number alone, as ever
    assert "listed cells are of" not in ask(anew).stderr


def test_what_cannot_be_explained_is_said(small_run, encoder, tmp_path):
    def ask(**settings):
        list(explain(small_run, Wanted(**{"model": encoder} | settings)))

    cells = open_screen(small_run).cells.select(CELL).head(2).collect()
    listed = Listed("mine", cells, None, cells.clear())
    with pytest.raises(UnknownName, match="holds 'Movr'. Did you mean 'Mover'"):
        ask(compound="Movr")
    with pytest.raises(NoControls, match="'DMSO' is the negative control itself"):
        ask(compound="DMSO")
    with pytest.raises(UnknownName, match="not on the run's plates at 7; it is at 0.1, 1, 10"):
        ask(compound="Mover", concentration=7.0)
    with pytest.raises(BadRecipe, match="Name a compound, give a list of cells, or name a class"):
        ask()
    with pytest.raises(UnknownName, match="no time point 3; it has 1 alone"):
        ask(compound="Mover", timepoint=3)
    for size in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(BadRecipe, match=f"A pixel is {size:g} um wide: expected .* above 0"):
            ask(compound="Mover", pixel_size_um=size)
    with pytest.raises(BadRecipe, match="A concentration .10. is one of a compound, and none"):
        ask(listed=listed, concentration=10.0)
    with pytest.raises(BadRecipe, match="names no encoder .* --model NAME.safetensors"):
        ask(compound="Mover", model=None)
    other = write_encoder(tmp_path / "other.safetensors", stains=("DNA", "Mito"))
    with pytest.raises(BadModel, match="channels are DNA, GFP, RNA; .* was trained on DNA, Mito"):
        ask(compound="Mover", model=str(other))
    sized = write_encoder(tmp_path / "sized.safetensors", crops=CropConfig(32, pixel_size_um=0.5))
    with pytest.raises(BadRecipe, match="0.5 um per pixel, .* --pixel-size UM"):
        ask(compound="Mover", model=str(sized))
    assert not (small_run / "explain").exists()


def test_images_that_are_gone_are_named(small_run, encoder, small_plate):
    (image,) = small_plate.rglob("*A02*GFP*.tif*")
    away = image.with_suffix(".away")
    image.rename(away)
    try:
        read = field_reader(Source(small_run, load_recipe(QUICK), STAINS, CropConfig(32)))
        with pytest.raises(
            BadPlate, match=f"1 of 3 files .* gone or changed, such as .*{image.name}"
        ):
            read(FieldKey("mini", "A02", 1))
    finally:
        away.rename(image)


def test_the_command_prints_where_the_sheets_are(explained, encoder):
    out, _ = explained
    words = ["explain", str(out), "--compound", "Activator", "--model", encoder, "--cells", "2"]
    done = CliRunner().invoke(cli.app, words)
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == str(out / "explain" / "Activator" / "cells.png")
    assert "of the attribution lies within the cells" in done.stderr


def test_typical_cells_are_near_the_median_extreme_ones_far_and_wells_take_turns():
    place = np.array([1.0, 2, 3, 4, 9, 2.9, 8, 0, 0.1, -3])
    is_treated = np.arange(10) < 7
    well = np.array(list("aaaaabb" + "ccd"))
    found = choose_cells(place, is_treated=is_treated, well=well, cells=6)
    assert found.extreme.tolist() == [4, 6]
    assert found.typical.tolist() == [2, 5, 1, 3]
    assert found.controls.tolist() == [7, 9]
    every = np.concatenate(found)
    assert len(set(every.tolist())) == len(every)
    more = choose_cells(place, is_treated=is_treated, well=well, cells=50)
    assert sorted([*more.typical, *more.extreme]) == list(range(7))


def test_reference_cells_are_the_nearest_to_the_mean():
    vectors = np.array([[0.0, 0], [5, 5], [-5, -5], [0.1, 0], [0, 9]])
    found = reference_cells(vectors, well=np.array(list("aaabb")), cells=2)
    assert found.tolist() == [0, 3]


NAMED = {"stains": ["DNA"], "changes": ["a", "b"], "coarse": "Grad-CAM"}


def sheet_row(attribution: np.ndarray, *, changes=(-2.0, 1.0)) -> Row:
    inside = np.zeros((8, 8), bool)
    pixels = np.random.default_rng(0).random((8, 8, 1))
    return Row(["typical"], pixels, inside, attribution, np.zeros((8, 8)), changes, [])


def test_labelled_cells_stand_at_the_right_with_their_labels():
    row = sheet_row(np.zeros((8, 8, 1)))
    crop = np.zeros((8, 8, 1))
    plain = draw_sheet([row], look_of([row], **NAMED), title="T")
    more = row._replace(labelled=[crop, crop], labels=["dying", "at rest"])
    sheet = draw_sheet([more], look_of([more], **NAMED), title="T")
    assert sheet.width == plain.width + 2 * (TILE + 4)
    pixels = np.asarray(sheet.convert("RGB")).astype(int)[HEAD : HEAD + TILE]
    left = sheet.width - 10 - 2 * (TILE + 4)
    for x in (left, left + TILE + 4):
        strip = pixels[-18:, x : x + TILE]
        assert strip.min() < 60 < 200 < strip.max()  # ink, and the words in white


def test_what_adds_is_orange_and_what_takes_away_is_blue():
    attribution = np.zeros((8, 8, 1))
    attribution[:4], attribution[4:] = 1.0, -1.0
    rows = [sheet_row(attribution), sheet_row(np.zeros((8, 8, 1)))]
    look = look_of(rows, stains=["DNA"], changes=["a", "b"], coarse="Grad-CAM")
    sheet = draw_sheet(rows, look, title="T")
    pixels = np.asarray(sheet.convert("RGB")).astype(int)
    left = LABEL + (TILE + 4) + 22  # after the stain itself
    tile = pixels[HEAD : HEAD + TILE, left : left + TILE]
    np.testing.assert_allclose(tile[5:20, 20:80].mean((0, 1)), FOR, atol=12)
    np.testing.assert_allclose(tile[-20:-5, 20:80].mean((0, 1)), AGAINST, atol=12)
    second = pixels[HEAD + TILE + 8 : HEAD + 2 * TILE + 8, left : left + TILE]
    assert np.abs(second - second[..., :1]).max() <= 1  # nothing adds: grey all over
    bars = pixels[HEAD : HEAD + TILE, left + TILE :].reshape(-1, 3)
    wide = [(bars == colour).all(axis=1).sum() for colour in (FOR, AGAINST)]
    assert 1.7 < wide[0] / wide[1] < 2.3
    assert isinstance(sheet, Image.Image)
