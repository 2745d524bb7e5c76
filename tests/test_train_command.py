"""`profiler train segmenter`: what it says when stopped, or when nothing is kept apart."""

import os
import signal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from profiler.cli import app
from profiler.segment.training import trainer
from profiler.segment.training.drafts import checkpoint_path
from profiler.segment.training.events import Learnt, Started


def train(out: Path, *more: str):
    return CliRunner().invoke(app, ["train", "segmenter", "data", "--out", str(out), *more])


def stopped(*, at: int):
    """Training that is told to stop at a step, and left a checkpoint at step 20."""

    def events(request):
        yield Started(3, 0, 0, 100)
        if at > 20:
            checkpoint_path(request.out).touch()
            yield Learnt(20, {"foreground": 0.5})
        os.kill(os.getpid(), signal.SIGINT)
        yield Learnt(40, {"foreground": 0.4})

    return events


@pytest.mark.parametrize(
    ("at", "more", "message"),
    [
        (10, [], "Interrupted before anything was learnt; the same command begins anew."),
        (30, [], "mine.training.safetensors. The same command goes on from there."),
        (30, ["--replace"], "The same command without --replace goes on from there."),
    ],
)
def test_an_interrupt_says_what_is_kept(tmp_path, monkeypatch, at, more, message):
    monkeypatch.setattr(trainer, "train_segmenter", stopped(at=at))
    done = train(tmp_path / "mine.safetensors", *more)
    assert done.exit_code == 130
    assert message in " ".join(done.stderr.split())


@pytest.mark.parametrize(("apart", "is_told"), [(0, True), (1, False)])
def test_without_images_kept_apart_it_is_said_what_that_means(
    tmp_path, monkeypatch, apart, is_told
):
    monkeypatch.setattr(trainer, "train_segmenter", lambda _: iter([Started(3, apart, 0, 100)]))
    done = train(tmp_path / "mine.safetensors")
    assert done.exit_code == 0
    told = " ".join(done.stderr.split())
    assert f"{apart} kept apart" in told
    assert ("training goes to its last step" in told) == is_told


@pytest.mark.parametrize("seed", ["-1", "4294967296"])
def test_a_seed_that_is_none_is_a_usage_error(tmp_path, seed):
    done = train(tmp_path / "mine.safetensors", f"--seed={seed}")
    assert done.exit_code == 2
    assert "--seed" in done.stderr
