"""The training loop: crops in, ever better weights out, whatever interrupts it."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import numpy as np

from plates.errors import BadModel
from profiler.nets.checkpoint import load_state, save_state
from profiler.nets.finite import Diverged, check_finite
from profiler.nets.state import TrainState, finished
from profiler.segment.heads import HEADS
from profiler.segment.heads.instances import in_one_piece
from profiler.segment.joining.join import Joining
from profiler.segment.network.build import Network
from profiler.segment.network.config import NetworkConfig
from profiler.segment.segmenter import Examined
from profiler.segment.training.augment import AugmentConfig, augment
from profiler.segment.training.calibrate import calibrate, verdicts
from profiler.segment.training.drafts import best_path, checkpoint_path, publish
from profiler.segment.training.events import (
    Calibrated,
    Learnt,
    Started,
    Trained,
    TrainEvent,
    Validated,
)
from profiler.segment.training.example import Example, Field
from profiler.segment.training.history import begin_history, history_path, note
from profiler.segment.training.judge import Judge, average_precision, make_examiner, make_judge
from profiler.segment.training.labelled import Labelled
from profiler.segment.training.step import Schedule, begin
from profiler.segment.training.windows import cut
from profiler.segment.weights import load_network, save_calibration, save_joining, save_network


@dataclass(frozen=True)
class Lesson:
    """What is learnt from, and how.

    Attributes:
        fields: Prepared images.
        shares: How often each is drawn, adding up to 1, [field].
        apart: Images kept apart for validation; without any, training goes blindly to its end.
        ignore: Value of their labels where nobody has looked.
        schedule: How far and how fast.
        crops: How they are augmented.
        diameter_px: What objects were brought to.
        nucleus_px: How wide nuclei are then, where the objects are whole cells.
        seed: Of everything random.
        about: For the card: data, licences, split.
        start_sha256: Of the weights that training goes on from; None from nothing.
        is_taught: Whether the network to begin with finds objects already: then it is validated
            first, and stays the best one until it is beaten.
        joining: What puts pieces of one object together, of the network to begin with.
    """

    fields: Sequence[Field]
    shares: np.ndarray
    apart: Sequence[Labelled] = ()
    ignore: int | None = None
    schedule: Schedule = Schedule()
    crops: AugmentConfig = AugmentConfig()
    diameter_px: float = 28.0
    nucleus_px: float | None = None
    seed: int = 0
    about: Mapping[str, Any] = field(default_factory=dict)
    start_sha256: str | None = None
    is_taught: bool = False
    joining: Joining | None = None

    def key(self, config: NetworkConfig) -> str:
        """Hash of all that the steps depend on: a checkpoint of another lesson is refused."""
        digest = hashlib.blake2b(digest_size=16)
        settings = (config, self.schedule, self.crops, self.diameter_px, self.seed, self.ignore)
        joining = (self.joining,) if self.joining else ()  # as in checkpoints of before
        digest.update(repr((*settings, self.start_sha256, *joining)).encode())
        digest.update(self.shares.tobytes())
        for part in (part for one in (*self.fields, *self.apart) for part in one):
            is_array = isinstance(part, np.ndarray)
            digest.update(part.tobytes() if is_array else repr(part).encode())
        return digest.hexdigest()


class Standing(NamedTuple):
    """How far a run has come; what a checkpoint keeps besides the state.

    Attributes:
        best: Highest validation AP so far; None before any.
        best_step: The step it was reached at.
        waited: Validations since.
        scores: The best one's, for the card.
    """

    best: float | None = None
    best_step: int = 0
    waited: int = 0
    scores: Mapping[str, str] = MappingProxyType({})


def learn(
    model: Network, config: NetworkConfig, lesson: Lesson, *, out: Path
) -> Iterator[TrainEvent]:
    """Train a network, going on from its checkpoint if there is one.

    Args:
        model: The network to begin with; its weights are not changed in place.
        config: Its architecture.
        lesson: What is learnt from, and how.
        out: Weights to write, .safetensors, once training is through; a card and a log are
            written beside them, and until then a checkpoint and the best network so far.

    Yields:
        `Started`, then `Learnt` and `Validated` as it goes, `Calibrated` and `Trained` at the end.

    Raises:
        BadModel: The checkpoint beside `out` is damaged, or of other data, settings or start.
        Diverged: A loss or weight is not a number; the best network until then is kept.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    schedule, key = lesson.schedule, lesson.key(config)
    state, step = begin(model, schedule)
    goes_on, names = checkpoint_path(out).exists(), HEADS[config.head].parts
    state, standing, seen = _resume(checkpoint_path(out), state, key)
    begin_history(history_path(out), losses=names, step=int(state.step) if goes_on else None)
    yield Started(len(lesson.fields), len(lesson.apart), int(state.step), schedule.steps)
    judge, save = _judge(model, config, lesson), partial(_save_run, out, key)
    save_if_best = partial(_save_if_best, best_path(out), model, config, lesson)
    if lesson.is_taught and judge and standing.best is None:
        event, standing = _validate(judge, state, standing)
        save_if_best(state, standing)
        save(state, standing, seen)
        yield from _told(event, out)
    while int(state.step) < schedule.steps and standing.waited < schedule.patience:
        batch = example(lesson, config.head, int(state.step))
        state, parts = step(state, batch)
        seen.append(np.array(parts))
        at = int(state.step)
        is_last = at == schedule.steps
        is_report, is_exam = (
            is_last or at % every == 0 for every in (schedule.report_every, schedule.validate_every)
        )
        if is_report or is_exam:
            numbers = [seen, state.average, state.statistics]
            if is_exam:  # what this step made of the weights, no loss has seen yet
                numbers.append(step(state._replace(params=state.average), batch)[1])
            _check_finite(numbers, out=out, standing=standing, lesson=lesson, step=at)
        if is_report:
            told = _learnt(out, at, dict(zip(names, np.mean(seen, 0).tolist(), strict=True)))
            seen.clear()
            if not is_exam:  # a run that goes on from here would not validate this step
                save(state, standing, seen)
            yield told
        if is_exam:
            event, standing = _validate(judge, state, standing)
            save_if_best(state, standing)
            save(state, standing, seen)
            yield from _told(event, out)
    yield _calibrate(best_path(out), lesson)
    publish(out)
    yield Trained(out, standing.best_step, standing.best, _why(standing, schedule))


def _save_run(
    out: Path, key: str, state: TrainState, standing: Standing, seen: Sequence[np.ndarray]
) -> None:
    about = {
        "key": key,
        **standing._asdict(),
        "scores": dict(standing.scores),
        "seen": [parts.tolist() for parts in seen],
    }
    save_state(checkpoint_path(out), state, about)


def _resume(
    path: Path, state: TrainState, key: str
) -> tuple[TrainState, Standing, list[np.ndarray]]:
    """Where a run stands, and the losses since it last told any."""
    if not path.exists():
        return state, Standing(), []
    state, about = load_state(path, state)
    if about.pop("key", None) != key:
        raise BadModel(
            f"{path} is from a run on other images, labels or settings, or one that went on from "
            "other weights. Start that run again to go on with it, or delete the file to begin "
            "anew."
        )
    seen = [np.array(parts, np.float32) for parts in about.pop("seen", ())]
    return state, Standing(**about), seen


def _check_finite(
    numbers: Any, *, out: Path, standing: Standing, lesson: Lesson, step: int
) -> None:
    """Stop a run that has diverged, and say what is left of it.

    Raises:
        Diverged: A loss or weight is not a number.
    """
    try:
        check_finite(numbers, step=step)
    except Diverged:
        best, rate = best_path(out), lesson.schedule.learning_rate
        kept = f"The network of step {standing.best_step} is kept as {best}."
        has_best = standing.best is not None or standing.best_step > 0
        raise Diverged(
            f"After {step} steps the loss or a weight is NaN or infinite, so training stopped. "
            f"Begin anew with --replace and a --rate lower than {rate:g}, in full precision (no "
            f"--bfloat16). {kept if has_best else 'No network was written.'}"
        ) from None


def example(lesson: Lesson, head: str, step: int) -> Example:
    """The batch of one step: by seed and step alone, so that a resumed run sees the same."""
    windows = cut(
        lesson.fields,
        lesson.shares,
        step=step,
        seed=lesson.seed,
        batch=lesson.schedule.batch,
        side=lesson.crops.window,
    )
    key = jax.random.fold_in(jax.random.key(lesson.seed), step)
    crops = augment(key, windows, config=lesson.crops)
    truth = [HEADS[head].targets(in_one_piece(labels)) for labels in np.asarray(crops.labels)]
    return Example(crops.images, jax.tree.map(lambda *each: np.stack(each), *truth), crops.weight)


def _learnt(out: Path, step: int, losses: Mapping[str, float]) -> Learnt:
    note(history_path(out), step=step, **{f"loss_{name}": x for name, x in losses.items()})
    return Learnt(step, losses)


def _judge(model: Network, config: NetworkConfig, lesson: Lesson) -> Judge | None:
    if not lesson.apart:
        return None
    return make_judge(model, config, lesson.apart, **_how(lesson))


def _how(lesson: Lesson) -> dict[str, Any]:
    """How nuclei are looked for in the images kept apart."""
    return {
        "ignore": lesson.ignore,
        "trained_px": lesson.diameter_px,
        "joining": lesson.joining,
    }


def _validate(
    judge: Judge | None, state: TrainState, standing: Standing
) -> tuple[Validated | None, Standing]:
    step = int(state.step)
    if judge is None:  # the latest is the best there is to know
        return None, standing._replace(best_step=step)
    scores = judge(state)
    ap, f1 = float(scores.average_precision.mean()), float(scores.f1[0])
    if standing.best is not None and ap <= standing.best:
        return Validated(step, ap, f1, False), standing._replace(waited=standing.waited + 1)
    found = {"images kept apart": f"F1@.5 {f1:.3f}, AP@[.5:.95] {ap:.3f}"}
    return Validated(step, ap, f1, True), Standing(ap, step, 0, found)


def _told(event: Validated | None, out: Path) -> Iterator[Validated]:
    if event is not None:
        scores = {"validation_ap": event.average_precision, "validation_f1": event.f1}
        note(history_path(out), step=event.step, **scores)
        yield event


def _save_if_best(
    out: Path,
    model: Network,
    config: NetworkConfig,
    lesson: Lesson,
    state: TrainState,
    standing: Standing,
) -> None:
    if standing.best_step == int(state.step):
        _save(out, finished(model, state), config, lesson, standing)


def _save(
    out: Path, network: Network, config: NetworkConfig, lesson: Lesson, standing: Standing
) -> None:
    about = {
        **lesson.about,
        "images": len(lesson.fields),
        "schedule": asdict(lesson.schedule),
        "augmentation": asdict(lesson.crops),
        "seed": lesson.seed,
        "device": jax.devices()[0].device_kind,
        "jax": jax.__version__,
        "steps_done": standing.best_step,
        "scores": dict(standing.scores),
    }
    sizes = {"diameter_px": lesson.diameter_px, "nucleus_px": lesson.nucleus_px}
    save_network(out, network, config, about=about, joining=lesson.joining, **sizes)


def _calibrate(out: Path, lesson: Lesson) -> Calibrated:
    """Learn on the images kept apart how far the network that was saved can be trusted."""
    fitted, note = None, "not calibrated: no image was kept apart"
    if lesson.apart:
        model, config, _ = load_network(out)
        examine, left_out = _examiner(model, config, lesson)
        if left_out:
            save_joining(out, None, note=left_out)
        seen = verdicts(examine, lesson.apart, ignore=lesson.ignore)
        fitted, note = calibrate(seen, where="the images kept apart, which chose the step, too")
    save_calibration(out, fitted, note=note)
    return Calibrated(note, fitted and fitted.error)


def _examiner(
    model: Network, config: NetworkConfig, lesson: Lesson
) -> tuple[Callable[[Labelled], Examined], str]:
    """What finds objects as the network will, and why it joins no pieces any more, if so.

    What joined pieces of the objects of the network to begin with may join other objects.
    """
    how: dict[str, Any] = _how(lesson)
    ignore = lesson.ignore
    apart = make_examiner(model, config, **{**how, "joining": None})
    if lesson.joining is None:
        return apart, ""
    joined = make_examiner(model, config, **how)
    scores = [average_precision(each, lesson.apart, ignore=ignore) for each in (joined, apart)]
    if scores[0] >= scores[1]:
        return joined, ""
    said = "left out: the images kept apart have AP@[.5:.95] {:.3f} with it and {:.3f} without"
    return apart, said.format(*scores)


def _why(standing: Standing, schedule: Schedule) -> str:
    start = "" if standing.best_step else " than the network it went on from"
    if standing.waited >= schedule.patience:
        return f"{standing.waited} validations brought nothing better{start}"
    return f"all {schedule.steps} steps are done" + (start and f", nothing was better{start}")
