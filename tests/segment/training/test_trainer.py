"""The command's function: a folder in, a network out; transfer, partial labels, bad requests."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from flax import nnx

from plates.errors import BadLabels, BadModel, BadRun, ProfilingError, UnknownName
from profiler.segment.joining.join import Joining, read_joining
from profiler.segment.joining.joints import Evidence
from profiler.segment.network.build import build
from profiler.segment.network.config import NetworkConfig
from profiler.segment.training import learn as learn_
from profiler.segment.training import trainer
from profiler.segment.training.augment import AugmentConfig
from profiler.segment.training.drafts import best_path, checkpoint_path
from profiler.segment.training.events import Learnt, Started, Trained, Validated
from profiler.segment.training.fields import median_diameter
from profiler.segment.training.judge import average_precision, make_examiner
from profiler.segment.training.labelled import read_labelled
from profiler.segment.training.step import Schedule
from profiler.segment.training.trainer import TrainRequest, train_segmenter
from profiler.segment.weights import load_network, save_joining, save_network

SIZES = {"ignore": None, "trained_px": 28.0}
SMALL = NetworkConfig(widths=(8, 16))
SCHEDULE = Schedule(
    steps=4, batch=2, warmup=1, learning_rate=1e-2, report_every=2, validate_every=4
)
STILL = replace(SCHEDULE, learning_rate=0.0, frozen=4)


@pytest.fixture
def request_(folder, tmp_path):
    return TrainRequest(
        data=folder,
        out=tmp_path / "mine.safetensors",
        architecture={"widths": SMALL.widths},
        schedule=SCHEDULE,
        crops=AugmentConfig(size=32, empty=0.0),
    )


@pytest.fixture
def start(tmp_path):
    path = tmp_path / "start.safetensors"
    save_network(
        path, build(SMALL, rngs=nnx.Rngs(5)), SMALL, about={"data": "none"}, diameter_px=30.0
    )
    return str(path)


def test_a_folder_becomes_a_network_that_says_where_it_comes_from(request_):
    events = list(train_segmenter(request_))
    assert events[0] == Started(images=5, apart=1, step=0, steps=4)
    assert isinstance(events[-1], Trained)
    _, config, card = load_network(request_.out)
    assert (config, card.diameter_px) == (SMALL, 28.0)
    assert card.about["data"] == "data, 5 images"
    assert card.about["split"].startswith("validated on field")


def test_training_goes_on_from_other_weights_at_their_diameter(request_, start):
    events = list(train_segmenter(replace(request_, start=start, schedule=STILL)))
    assert isinstance(events[1], Validated)
    assert events[1].step == events[-1].step == 0  # the start is judged, and not beaten
    (one, _, card), (other, _, before) = load_network(request_.out), load_network(start)
    assert card.diameter_px == 30.0
    _, apart = trainer._images(request_, 30.0, 1)
    examine = make_examiner(*load_network(start)[:2], ignore=None, trained_px=30.0)
    found = average_precision(examine, apart, ignore=None)
    assert found == pytest.approx(events[1].average_precision, abs=1e-6)
    assert card.about["started_from"]["sha256"] == before.sha256
    for mine, theirs in zip(
        *(nnx.to_flat_state(nnx.state(m, nnx.Param)) for m in (one, other)), strict=True
    ):
        np.testing.assert_allclose(mine[1][...], theirs[1][...], atol=1e-6)


def test_what_joins_pieces_goes_along_but_not_to_another_head(request_, start):
    joining = Joining(Evidence._fields, (0.0,) * len(Evidence._fields), 9.0, 0.4, 400, 40)
    save_joining(Path(start), joining, note="by hand")  # joins all that touch
    list(train_segmenter(replace(request_, start=start, schedule=STILL)))
    card = load_network(request_.out)[2]
    assert read_joining(card.joining, model="mine") == joining
    other = replace(request_, start=start, schedule=STILL, architecture={"head": "boundary"})
    list(train_segmenter(replace(other, out=request_.out.with_name("other.safetensors"))))
    assert load_network(request_.out.with_name("other.safetensors"))[2].joining is None


@pytest.mark.parametrize(("with_it", "without"), [(0.4, 0.4), (0.3, 0.4)])
def test_what_joins_pieces_is_left_out_where_it_does_harm(
    request_, start, monkeypatch, with_it, without
):
    joining = Joining(Evidence._fields, (0.0,) * len(Evidence._fields), 9.0, 0.4, 400, 40)
    save_joining(Path(start), joining, note="by hand")
    made, apart = learn_.make_examiner, []

    def watched(*args, joining, **options):
        examine = made(*args, joining=joining, **options)
        apart.extend([examine] if joining is None else [])
        return examine

    def scored(examine, _images, *, ignore):
        return without if examine in apart else with_it

    monkeypatch.setattr(learn_, "make_examiner", watched)
    monkeypatch.setattr(learn_, "average_precision", scored)
    list(train_segmenter(replace(request_, start=start, schedule=STILL)))
    card = load_network(request_.out)[2]
    assert (card.joining is None) == (with_it < without)
    if with_it < without:
        assert card.about["joining"].endswith("have AP@[.5:.95] 0.300 with it and 0.400 without")


def test_a_folder_of_ones_own_validates(request_, folder):
    for part in ("images", "labels"):
        (folder / "validation" / part).mkdir(parents=True)
        path = folder / part / "field2.tif"
        path.rename(folder / "validation" / part / path.name)
    assert next(iter(train_segmenter(request_))) == Started(images=5, apart=1, step=0, steps=4)


def test_an_image_cannot_be_on_both_sides(request_, folder):
    for part in ("images", "labels"):
        (folder / "validation" / part).mkdir(parents=True)
        path = folder / part / "field2.tif"
        (folder / "validation" / part / path.name).write_bytes(path.read_bytes())
    with pytest.raises(BadLabels, match="'field2' is among the images to learn from too"):
        list(train_segmenter(request_))


def test_partly_labelled_images_are_learnt_from_and_validated_on(request_, folder):
    for path in (folder / "labels").iterdir():
        labels = tifffile.imread(path)
        labels[:, 48:] = 65535
        tifffile.imwrite(path, labels)
    events = list(train_segmenter(replace(request_, ignore=65535)))
    assert any(isinstance(event, Validated) for event in events)


def test_without_background_nothing_can_be_learnt(request_, folder):
    with pytest.raises(BadLabels, match=r"no pixel is labelled as background.*--ignore is 0"):
        list(train_segmenter(replace(request_, ignore=0)))


def test_a_finished_network_is_not_overwritten_but_on_request(request_):
    list(train_segmenter(request_))
    before = request_.out.read_bytes()
    with pytest.raises(BadRun, match="is there already, and its training is through"):
        list(train_segmenter(request_))
    assert request_.out.read_bytes() == before
    assert isinstance(list(train_segmenter(replace(request_, replace=True)))[-1], Trained)


@pytest.mark.parametrize(
    "change",
    [
        {"data": Path("nowhere")},
        {"start": "nucleii"},
        {"architecture": {"head": "starss"}},
        {"ignore": 0},
    ],
)
def test_a_mistyped_request_leaves_what_it_would_replace(request_, start, change):
    out = Path(start)
    checkpoint_path(out).write_bytes(b"a run that was interrupted")
    before = {path: path.read_bytes() for path in out.parent.glob("start*")}
    with pytest.raises(ProfilingError):
        list(train_segmenter(replace(request_, out=out, replace=True, **change)))
    assert {path: path.read_bytes() for path in out.parent.glob("start*")} == before


def test_a_network_may_be_replaced_by_what_it_became(request_, start):
    out, before = Path(start), Path(start).read_bytes()
    asked = replace(request_, start=start, out=out, schedule=replace(SCHEDULE, steps=8))
    events = itertools.islice(train_segmenter(replace(asked, replace=True)), 6)
    assert [type(event) for event in events][-2:] == [Validated, Learnt]
    assert out.read_bytes() == before  # until the new one is through
    assert best_path(out).exists()
    resumed, *_ = train_segmenter(asked)
    assert resumed.step == 6
    assert load_network(out)[2].about["started_from"]["data"] == "none"
    assert out.read_bytes() != before


def test_an_interrupted_request_goes_on(request_):
    long = replace(request_, schedule=replace(SCHEDULE, steps=8))
    list(itertools.islice(train_segmenter(long), 5))
    assert checkpoint_path(long.out).exists()
    assert next(iter(train_segmenter(long))).step == 6


def empty(path):
    tifffile.imwrite(path, 0 * tifffile.imread(path))


def test_images_without_nuclei_are_learnt_from_at_the_size_of_the_others(request_, folder):
    for number in (0, 4):
        empty(folder / "labels" / f"field{number}.tif")
        tifffile.imwrite(folder / "images" / f"field{number}.tif", np.full((96, 96), 7, np.uint8))
    events = train_segmenter(request_)
    assert next(events) == Started(images=6, apart=0, step=0, steps=4)
    assert isinstance(list(events)[-1], Trained)
    widths = {one.name: median_diameter(one.labels) for one in read_labelled(folder, **SIZES)}
    assert widths.pop("field0") == widths.pop("field4") == 0
    taught = read_labelled(folder, **SIZES)
    assert trainer.typical_px(taught) == np.median(list(widths.values()))


def test_training_on_empty_fields_alone_stays_finite(request_, folder):
    for number in range(1, 6):
        empty(folder / "labels" / f"field{number}.tif")
        tifffile.imwrite(folder / "images" / f"field{number}.tif", np.full((96, 96), 7, np.uint8))
    assert isinstance(list(train_segmenter(request_))[-1], Trained)


def test_a_folder_that_validates_needs_nuclei_and_may_hold_empty_fields(request_, folder):
    for part in ("images", "labels"):
        (folder / "validation" / part).mkdir(parents=True)
        for number in (1, 2):
            path = folder / part / f"field{number}.tif"
            path.rename(folder / "validation" / part / path.name)
    empty(folder / "validation" / "labels" / "field1.tif")
    events = list(train_segmenter(request_))
    assert events[0] == Started(images=4, apart=2, step=0, steps=4)
    empty(folder / "validation" / "labels" / "field2.tif")
    with pytest.raises(BadLabels, match=r"validation.labels: there is no nucleus in any of the 2"):
        list(train_segmenter(replace(request_, replace=True)))


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_is_none_is_refused_before_any_work(request_, seed):
    asked = replace(request_, data=Path("nowhere"), seed=seed)
    with pytest.raises(BadRun, match=rf"seed is {seed}; expected 0 to 4294967295"):
        next(train_segmenter(asked))


@pytest.mark.parametrize("under", ["mine.safetensors", "deeper/mine.safetensors"])
def test_a_file_in_place_of_the_folder_is_told_before_any_work(request_, tmp_path, under):
    (tmp_path / "file.tif").touch()
    asked = replace(request_, data=Path("nowhere"), out=tmp_path / "file.tif" / under)
    with pytest.raises(BadRun, match=r"file\.tif is a file, not a folder\. Choose another --out"):
        next(train_segmenter(asked))


def test_a_folder_in_place_of_the_network_is_told(request_):
    request_.out.mkdir()
    with pytest.raises(BadRun, match=r"mine\.safetensors is a folder"):
        next(train_segmenter(replace(request_, replace=True)))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"out": "mine.pt"}, BadRun, "expected a name in .safetensors"),
        ({"start": "nucleii"}, UnknownName, "Did you mean 'nuclei'"),
        ({"start": "none.safetensors"}, BadModel, "A model is two files"),
        ({"architecture": {"head": "starss"}}, UnknownName, "Did you mean 'stars'"),
        ({"architecture": {"block": "dens"}}, UnknownName, "Did you mean 'dense'"),
    ],
)
def test_bad_requests_say_what_is_wrong(request_, tmp_path, change, error, message):
    if "out" in change:
        change = {"out": tmp_path / change["out"]}
    with pytest.raises(error, match=message):
        list(train_segmenter(replace(request_, **change)))


def test_another_head_goes_on_from_the_same_features(request_, start):
    asked = replace(request_, start=start, schedule=STILL, architecture={"head": "boundary"})
    events = list(train_segmenter(asked))
    assert events[1].losses.keys() == {"classes"}  # an untrained head is not judged
    model, config, _ = load_network(asked.out)
    before, _, _ = load_network(start)
    assert config == replace(SMALL, head="boundary")
    assert model.head.kernel.shape == (1, 1, 8, 3)
    kept, was = model.stem.conv1.kernel[...], before.stem.conv1.kernel[...]
    np.testing.assert_allclose(kept, was, rtol=1e-5)  # but for what averaging weights rounds


@pytest.mark.parametrize("architecture", [{"block": "residual"}, {"widths": (8, 8)}])
def test_going_on_from_weights_of_another_make_is_refused(request_, start, architecture):
    with pytest.raises(BadModel, match="only the head can be another"):
        list(train_segmenter(replace(request_, start=start, architecture=architecture)))


def test_a_network_of_other_blocks_says_so_on_its_card(request_):
    asked = {"widths": (8, 16), "block": "separable", "norm": "group", "dropout": 0.2}
    list(train_segmenter(replace(request_, architecture=asked)))
    assert load_network(request_.out)[1] == NetworkConfig(**asked)


def test_edited_weights_are_not_gone_on_from(request_, start):
    path = Path(start).with_suffix(".json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"sha256": "0" * 64}))
    with pytest.raises(BadModel, match="changed or cut short"):
        list(train_segmenter(replace(request_, start=start)))


def test_a_network_of_cells_learns_on_with_the_nuclear_stain_where_there_is_one(request_, tmp_path):
    config, path = replace(SMALL, channels=2), tmp_path / "whole.safetensors"
    sizes = {"diameter_px": 20.0, "nucleus_px": 10.0}
    save_network(path, build(config, rngs=nnx.Rngs(5)), config, about={"data": "none"}, **sizes)
    (request_.data / "nuclei").mkdir()
    for image in list((request_.data / "images").iterdir())[:3]:
        (request_.data / "nuclei" / image.name).write_bytes(image.read_bytes())
    list(train_segmenter(replace(request_, start=str(path), architecture={})))
    _, kept, card = load_network(request_.out)
    assert (kept.channels, card.diameter_px, card.nucleus_px) == (2, 20.0, 10.0)
    assert card.about["augmentation"]["lacking"] == 0.35
