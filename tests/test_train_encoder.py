"""`train encoder` on a run of drawn cells: what it learns, what goes on, what is refused."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from flax import nnx
from safetensors.numpy import load_file
from typer.testing import CliRunner

from plates.errors import BadLabels, BadModel, BadPlate, BadRecipe, UnknownName
from plates.imageset import FieldKey
from profiler.classify.labels import read_labels
from profiler.cli import app
from profiler.compute.reread import Source, field_reader
from profiler.embed.crops import CropConfig
from profiler.embed.embedder import load_embedder
from profiler.embed.network.build import build
from profiler.embed.network.config import EncoderConfig, ModelConfig
from profiler.embed.training.events import Learnt, Started, Trained
from profiler.embed.training.learn import checkpoint_path, learn
from profiler.embed.training.step import Schedule
from profiler.embed.weights import load_model, save_model
from profiler.encoder import EncoderRequest, Judged, Read, Teaching, train_encoder
from profiler.encoder.choose import Chosen
from profiler.encoder.command import _teaching, _told
from profiler.encoder.judge import F1
from profiler.encoder.take import MOST, take_crops
from profiler.recipe import load_recipe
from profiler.store.screen import open as open_screen
from profiler.store.tables import read_footer, scan_table, write_table

pytestmark = pytest.mark.usefixtures("networks_loaded_once")
RUNNER = CliRunner()
QUICK = Path(__file__).parent / "quick.toml"
STAINS = ("DNA", "GFP", "RNA")
SCHEDULE = Schedule(steps=40, batch=32, warmup=5, learning_rate=3e-3, save_every=10, report_every=5)
KEYS = ["Metadata_Plate", "Metadata_Well", "Metadata_Site", "Metadata_ObjectNumber"]


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> str:
    return written(tmp_path_factory.mktemp("start"), EncoderConfig(widths=(6, 8), blocks=(1, 1)))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> str:
    """As small as networks get, where it plays no part how well it learns."""
    return written(tmp_path_factory.mktemp("one"), EncoderConfig(widths=(8,), blocks=(1,)))


def written(folder: Path, encoder: EncoderConfig) -> str:
    path, config = folder / "tiny.safetensors", ModelConfig(encoder, CropConfig(32))
    save_model(path, build(config, rngs=nnx.Rngs(0)), config, about={"data": "none"})
    return str(path)


@pytest.fixture(scope="module")
def labelled(small_run, tmp_path_factory) -> Path:
    """Cells whose reporter has moved, and those of controls."""
    cells = open_screen(small_run).cells.select(KEYS).collect()
    wells = open_screen(small_run).wells.collect()
    dose = pl.col("Metadata_Concentration")
    moved = (pl.col("Metadata_Compound") == "Mover") & (dose >= 1)
    still = pl.col("Metadata_Role") == "negative"
    named = wells.filter(moved | still).select(
        *KEYS[:2], pl.when(still).then(pl.lit("still")).otherwise(pl.lit("moved")).alias("Label")
    )
    path = tmp_path_factory.mktemp("labels") / "labels.csv"
    cells.join(named, on=KEYS[:2]).sort(KEYS).write_csv(path)
    return path


@pytest.fixture(scope="module")
def taught(small_run, labelled, start, tmp_path_factory):
    """An encoder taught by labelled cells, and what was told."""
    out = tmp_path_factory.mktemp("taught") / "mine.safetensors"
    labels = read_labels(labelled)
    request = EncoderRequest(
        (small_run,), out, labels, start=start, cells=4, apart=0.4, schedule=SCHEDULE
    )
    return request, list(train_encoder(request))


def only(events, kind):
    return [event for event in events if isinstance(event, kind)]


def test_labels_teach_an_encoder_what_its_start_did_not_know(taught):
    _, events = taught
    (judged,) = only(events, Judged)
    assert set(judged.scores) == {"before", "after"}
    assert judged.scores["after"][F1[1]] > 0.85
    assert judged.scores["after"][F1[1]] > judged.scores["before"][F1[1]] + 0.05
    (said,) = only(events, Teaching)
    (started,) = only(events, Started)
    assert said.cells >= started.cells > said.cells / 2  # without crops that are cut
    assert set(said.labels) == {"moved", "still"}
    assert said.objective == "supcon"
    losses = [event.loss for event in only(events, Learnt)]
    assert losses[-1] < losses[0]


def test_the_encoder_is_for_any_stains_and_its_card_says_how_it_came_about(taught, small_run):
    request, events = taught
    model, config, card = load_model(request.out)
    assert (config.stains, config.classes, model.head) == ((), (), None)
    assert card.about["runs"] == [small_run.name]
    assert card.about["stains_seen"] == list(STAINS)
    assert card.about["started_from"]["name"] == "tiny"
    (judged,) = only(events, Judged)
    assert card.about["scores"] == judged.scores
    assert card.about["kept_apart"] == list(judged.apart)
    assert not checkpoint_path(request.out).exists()
    for stains in (("DNA",), STAINS):
        embedder = load_embedder(str(request.out), stains=stains, max_cells=8)
        assert len(embedder.columns) == 8 * len(stains)


@pytest.fixture
def begun(interrupted, tmp_path):
    """The same training, broken off after step 20, in the test's own folder."""
    shutil.copytree(interrupted.out.parent, tmp_path, dirs_exist_ok=True)
    return replace(interrupted, out=tmp_path / interrupted.out.name)


@pytest.fixture(scope="module")
def interrupted(taught, tmp_path_factory):
    request, _ = taught
    own = replace(request, out=tmp_path_factory.mktemp("begun") / request.out.name, replace=True)
    own.out.write_bytes(b"earlier")
    for event in train_encoder(own):
        if isinstance(event, Learnt) and event.step > 20:
            break
    return own


def test_an_interrupted_training_ends_with_the_same_weights(taught, begun):
    (request, _), own = taught, begun
    assert own.out.read_bytes() == b"earlier"
    assert checkpoint_path(own.out).exists()
    again = list(train_encoder(own))
    (started,) = only(again, Started)
    assert started.step == 20
    assert own.out.read_bytes() == request.out.read_bytes()
    assert own.out.with_suffix(".json").read_text() == request.out.with_suffix(".json").read_text()


def test_a_checkpoint_of_other_settings_is_refused_before_a_field_is_read(
    begun, labelled, tmp_path
):
    assert checkpoint_path(begun.out).exists()
    slow = replace(begun.schedule, learning_rate=1e-4)
    is_even = pl.col(KEYS[3]) % 2 == 0
    named = pl.when(is_even).then(pl.lit("moved")).otherwise("Label").alias("Label")
    pl.read_csv(labelled).with_columns(named).write_csv(tmp_path / "labels.csv")
    other = tmp_path / "other.safetensors"
    save_model(other, *other_encoder(), about={})
    for settings in (
        {"schedule": slow},
        {"seed": 1},
        {"cells": 3},
        {"objective": "cross_entropy"},
        {"labels": read_labels(tmp_path / "labels.csv")},
        {"start": str(other)},
    ):
        with pytest.raises(BadModel, match="mine.training.safetensors is from a run on another"):
            pytest.fail(f"{settings}: {next(train_encoder(replace(begun, **settings)))}")
    assert isinstance(next(train_encoder(begun)), Teaching)


def other_encoder():
    config = ModelConfig(EncoderConfig(widths=(6, 8), blocks=(1, 1)), CropConfig(32))
    return build(config, rngs=nnx.Rngs(1)), config


def test_a_frozen_encoder_stays_as_it_was_until_its_step(small_run, tiny, tmp_path, monkeypatch):
    seen = {}

    def listen(model, config, lesson, *, out):
        for event in learn(model, config, lesson, out=out):
            if isinstance(event, Learnt) and checkpoint_path(out).exists():
                seen[event.step - 1] = load_file(checkpoint_path(out))  # said before it is kept
            yield event

    monkeypatch.setattr("profiler.encoder.command.learn", listen)
    schedule = Schedule(
        steps=4, batch=8, warmup=0, learning_rate=1e-2, frozen=2, save_every=1, report_every=1
    )
    asked = {"start": tiny, "cells": 2, "schedule": schedule}
    out = tmp_path / "mine.safetensors"
    list(train_encoder(EncoderRequest((small_run,), out, by=("Metadata_Compound",), **asked)))
    before = load_file(tiny)
    after = load_file(out)
    name = next(name for name in before if "kernel" in name)
    (own,) = (n for n in seen[2] if n.startswith(".params") and _words(n) == _words(name))
    np.testing.assert_array_equal(seen[2][own], before[name])
    assert (seen[3][own] != before[name]).any()
    assert (after[name] != before[name]).any()
    heads = [n for n in seen[2] if n.startswith(".params") and "'head'" in n and "bias" in n]
    assert any((seen[1][head] != seen[2][head]).any() for head in heads)


def _words(name: str) -> list[str]:
    return [word for word in re.findall(r"[A-Za-z0-9_]+", name) if word not in ("params", "value")]


def test_crops_are_those_that_a_run_embeds(small_run):
    cells = open_screen(small_run).cells.select(*KEYS[:3], "Metadata_Timepoint", KEYS[3])
    some = cells.filter(pl.col("Metadata_Well").is_in(["A01", "B02"])).collect()
    read = field_reader(Source(small_run, load_recipe(QUICK), ("GFP", "DNA"), CropConfig(32)))
    steps, events = take_crops(some, {"mini": read}), []
    while True:
        try:
            events.append(next(steps))
        except StopIteration as end:
            taken = end.value
            break
    assert [(event.field.well, event.number) for event in events] == [("A01", 1), ("B02", 2)]
    seen = read(FieldKey("mini", "B02", 1))
    of_well = taken.cells["Metadata_Well"] == "B02"
    rows = taken.cells.filter(of_well)["Metadata_ObjectNumber"].to_numpy() - 1
    assert seen.is_whole[rows].all()
    assert 0 < len(rows) == seen.is_whole.sum()
    lost = some.height - taken.cells.height
    assert taken.lost[0].startswith(f"{lost} of {some.height} cells lie so near a border that")
    crops = taken.crops[of_well.to_numpy()]
    np.testing.assert_allclose(crops / MOST, seen.pixels[rows], atol=0.51 / MOST)


@pytest.mark.parametrize(
    "settings",
    [{}, {"by": ("Metadata_Compound",), "objective": "cross_entropy"}],
)
def test_every_way_of_learning_leaves_an_encoder(settings, small_run, tiny, tmp_path):
    schedule = Schedule(steps=2, batch=8, warmup=1)
    out = tmp_path / "mine.safetensors"
    asked = EncoderRequest((small_run,), out, start=tiny, cells=2, schedule=schedule, **settings)
    events = list(train_encoder(asked))
    model, config, card = load_model(out)
    assert (config.classes, model.head) == ((), None)
    name = settings.get("objective", "simclr")
    assert card.about["objective"]["name"] == name
    (said,) = only(events, Teaching)
    assert (said.objective, bool(said.labels)) == (name, name == "cross_entropy")
    (judged,) = only(events, Judged)
    assert judged.scores == {}
    assert len(only(events, Read)) == 12


def test_what_contradicts_itself_is_said_before_anything_is_read(
    small_run, labelled, start, tmp_path
):
    def ask(**settings):
        asked = {"out": tmp_path / "mine.safetensors", "start": start} | settings
        list(train_encoder(EncoderRequest((small_run,), **asked)))

    labels = read_labels(labelled)
    with pytest.raises(BadModel, match="expected NAME.safetensors"):
        ask(out=tmp_path / "mine.pt")
    with pytest.raises(BadRecipe, match="give --labels or --by, not both"):
        ask(labels=labels, by=("Metadata_Compound",))
    with pytest.raises(BadRecipe, match="'vicreg' takes no labels"):
        ask(labels=labels, objective="vicreg")
    with pytest.raises(BadRecipe, match="'focal' learns from labels: give --by Metadata_Compound"):
        ask(objective="focal")
    with pytest.raises(UnknownName, match="no objective called 'simclear'. Did you mean 'simclr'"):
        ask(objective="simclear")
    with pytest.raises(UnknownName, match="no embedding model called 'cels'"):
        ask(start="cels")
    with pytest.raises(BadLabels, match="expected --cells of 1 or more"):
        ask(cells=0)
    with pytest.raises(BadRecipe, match="Found --apart 1; expected a share above 0 and below 1"):
        ask(apart=1.0)
    with pytest.raises(BadRecipe, match="learning_rate"):
        ask(schedule=Schedule(learning_rate=0.0))
    frozen = Schedule(steps=9, frozen=3)
    with pytest.raises(BadRecipe, match="'resnet-tiny' begins from nothing: .* Leave out --freeze"):
        ask(start="resnet-tiny", schedule=frozen)
    with pytest.raises(BadRecipe, match="begin to learn at step 9 of 9, so its head alone would"):
        ask(schedule=Schedule(steps=9, frozen=9))
    with pytest.raises(BadRecipe, match="expected at most 4 steps, from 0"):
        ask(schedule=Schedule(steps=9, thaw=(0, 1, 2, 3, 4)))
    there = tmp_path / "there.safetensors"
    there.write_bytes(b"")
    with pytest.raises(BadModel, match="is there already. Choose another --out, or use --replace"):
        ask(out=there)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there.safetensors"]


def test_a_label_of_one_cell_is_said_before_anything_is_read():
    cells = pl.DataFrame({"Label": [*list("aabb"), "odd", None, "odd"], "Use": ["taught"] * 7})
    cells[6, "Use"] = "judged"
    chosen = Chosen(cells, None, (), ())
    with pytest.raises(BadLabels, match="1 classes have one labelled cell each: odd. Label"):
        _teaching(chosen, "cross_entropy", STAINS)
    assert _teaching(chosen, "supcon", STAINS).labels == {"a": 2, "b": 2, "odd": 1}


def test_only_cells_that_are_not_kept_apart_are_learnt_from(
    small_run, labelled, tiny, tmp_path, monkeypatch
):
    class Heard(Exception):
        pass

    seen = []

    def listen(model, config, lesson, *, out):
        seen.append(lesson.examples)
        raise Heard
        yield

    chosen = []

    def take(cells, readers):
        chosen.append(cells)
        return (yield from take_crops(cells, readers))

    monkeypatch.setattr("profiler.encoder.command.learn", listen)
    monkeypatch.setattr("profiler.encoder.command.take_crops", take)
    asked = {"labels": read_labels(labelled), "start": tiny, "cells": 2, "apart": 0.4}
    with pytest.raises(Heard):
        list(train_encoder(EncoderRequest((small_run,), tmp_path / "a.safetensors", **asked)))
    own = chosen[0].filter(pl.col("Use") == "taught")
    assert 0 < own.height < chosen[0].height
    read = field_reader(Source(small_run, load_recipe(QUICK), STAINS, CropConfig(32)))
    steps = take_crops(own, {"mini": read})
    try:
        while True:
            next(steps)
    except StopIteration as end:
        taken = end.value
    np.testing.assert_array_equal(seen[0].crops, taken.crops)
    names = [None if code < 0 else ("moved", "still")[code] for code in seen[0].labels]
    assert names == taken.cells["Label"].to_list()


def test_networks_that_do_not_fit_the_runs_are_said(small_run, tmp_path):
    def save(name: str, config: ModelConfig) -> str:
        path = tmp_path / f"{name}.safetensors"
        save_model(path, build(config, rngs=nnx.Rngs(0)), config, about={})
        return str(path)

    def ask(start: str):
        out = tmp_path / "mine.safetensors"
        list(train_encoder(EncoderRequest((small_run,), out, start=start)))

    own = EncoderConfig(widths=(6, 8), blocks=(1, 1))
    other = save("other", ModelConfig(own, CropConfig(32), ("DNA", "Mito")))
    with pytest.raises(BadModel, match="channels are DNA, GFP, RNA; .* was trained on DNA, Mito"):
        ask(other)
    sized = save("sized", ModelConfig(own, CropConfig(32, pixel_size_um=0.5)))
    with pytest.raises(BadRecipe, match="0.5 um per pixel, .* plate mini .* run the plate again"):
        ask(sized)
    large = save("large", ModelConfig(own, CropConfig(256)))
    with pytest.raises(BadRecipe, match="256"):
        ask(large)


def test_images_that_are_gone_are_named_and_nothing_is_written(
    small_run, small_plate, start, tmp_path
):
    (image,) = small_plate.rglob("*A02*GFP*.tif*")
    away = image.with_suffix(".away")
    image.rename(away)
    try:
        asked = EncoderRequest((small_run,), tmp_path / "mine.safetensors", start=start)
        with pytest.raises(BadPlate, match=f"gone or changed, such as .*{image.name}"):
            list(train_encoder(asked))
    finally:
        away.rename(image)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def other_run(small_run, tmp_path) -> Path:
    """The small run as if of another plate."""
    out = Path(shutil.copytree(small_run, tmp_path / "other"))
    facts = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps(facts | {"plates": ["other"], "pixel_sizes": {}}))
    for name in ("cells", "labels"):
        (out / name / "mini").rename(out / name / "other")
    (out / "index.parquet").unlink(missing_ok=True)
    levels = {path: "cells" for path in (out / "cells").rglob("*.parquet")}
    for path, level in (levels | {out / f"{t}.parquet": t for t in ("wells", "quality")}).items():
        told = read_footer(path)
        table = scan_table(path).collect().with_columns(Metadata_Plate=pl.lit("other"))
        write_table(path, table, level=level, parameters=told.parameters)
    return out


def test_cells_of_several_runs_are_read_from_their_own(small_run, other_run, tiny, tmp_path):
    schedule = Schedule(steps=1, batch=4, warmup=1)
    settings = {"start": tiny, "cells": 1, "schedule": schedule, "by": ("Metadata_Plate",)}
    out = tmp_path / "mine.safetensors"
    events = list(train_encoder(EncoderRequest((small_run, other_run), out, **settings)))
    (said,) = only(events, Teaching)
    assert said.labels == {"mini": 12, "other": 12}
    (started,) = only(events, Started)
    assert started.groups == 2
    fields = [event.field.plate for event in only(events, Read)]
    assert sorted(fields) == ["mini"] * 12 + ["other"] * 12
    assert load_model(out)[2].about["runs"] == sorted([small_run.name, "other"])


def test_what_an_encoder_saw_before_and_small_numbers_are_told(taught, small_run, tmp_path):
    request, _ = taught
    own = EncoderRequest((small_run,), tmp_path / "b.safetensors", start=str(request.out), cells=1)
    (said,) = only([next(train_encoder(own))], Teaching)
    doubts = "\n".join(said.notes)
    assert f"{said.cells} cells to learn from are fewer than a batch of 128" in doubts
    assert f"{request.out} has learnt from {small_run.name} before, perhaps what is kept" in doubts
    quiet = EncoderRequest(
        (small_run,), own.out, start="cells", cells=9, schedule=Schedule(steps=1, batch=8)
    )
    (said,) = only([next(train_encoder(quiet))], Teaching)
    assert [note for note in said.notes if "score" not in note] == []


def test_a_score_that_is_undefined_is_null_in_the_card():
    found = _told(Judged({"before": {"x": float("nan"), "y": 0.5}}, ("a",), ("Why.",)))
    assert json.loads(json.dumps(found, allow_nan=False)) == {
        "scores": {"before": {"x": None, "y": 0.5}},
        "kept_apart": ["a"],
        "notes": ["Why."],
    }


@pytest.mark.parametrize("kind", ["learning", "judging"])
def test_an_interruption_says_what_is_left_and_what_goes_on(kind, tmp_path, monkeypatch):
    out = tmp_path / "mine.safetensors"

    def stopped(request):
        if kind == "learning":
            checkpoint_path(out).write_bytes(b"")
        else:
            yield Trained(out, 60)
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr("profiler.encoder.train_encoder", stopped)
    command = ["train", "encoder", str(tmp_path), "--out", str(out), "--replace"]
    done = RUNNER.invoke(app, command)
    told = {
        "learning": "training.safetensors. The same command goes on from there.",
        "judging": f"Interrupted. {out} is taught and written, not judged.",
    }
    assert told[kind] in done.stderr
    assert done.exit_code >= 128


def test_the_command_prints_scores_as_csv_and_the_line_for_the_recipe(
    small_run, labelled, tiny, tmp_path
):
    out = tmp_path / "mine.safetensors"
    out.write_bytes(b"earlier")
    command = ["train", "encoder", str(small_run), "--labels", str(labelled), "--out", str(out)]
    command += ["--from", tiny, "--steps", "2", "--batch", "8", "--cells", "0", "--apart", "0.4"]
    command += ["--freeze", "1"]
    there = RUNNER.invoke(app, command)
    assert "is there already" in str(there.exception)
    done = RUNNER.invoke(app, [*command, "--replace"])
    assert done.exit_code == 0, done.output
    header, *rows = done.stdout.splitlines()
    assert header == "encoder,weighted F1,macro F1"
    assert [row.partition(",")[0] for row in rows] == ["before", "after"]
    about = json.loads(out.with_suffix(".json").read_text())["about"]
    assert about["schedule"]["frozen"] == 1
    scores = about["scores"]
    assert rows[1] == "after," + ",".join(f"{x:.4f}" for x in scores["after"].values())
    assert "cells to learn from by supcon" in done.stderr
    assert "labels: moved " in done.stderr
    assert f'[embed] model = "{out}"' in done.stderr
    lone = RUNNER.invoke(app, ["train", "encoder", str(small_run), "--out", "x", "--column", "a"])
    assert "--column is one of a label table" in lone.output
