"""`profiler train segmenter`: a folder of images and labels in, a network of one's own out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx

from plates.errors import BadLabels, BadModel, BadRun
from profiler.segment.joining.join import read_joining
from profiler.segment.network.build import Network, build
from profiler.segment.network.config import NetworkConfig
from profiler.segment.training.augment import AugmentConfig
from profiler.segment.training.drafts import checkpoint_path
from profiler.segment.training.events import TrainEvent
from profiler.segment.training.example import Field
from profiler.segment.training.fields import median_diameter, prepare
from profiler.segment.training.labelled import UNSEEN, Labelled, read_labelled, split
from profiler.segment.training.learn import Lesson, learn
from profiler.segment.training.step import Schedule
from profiler.segment.weights import Card, load_network, network_config, with_new_head

DIAMETER_PX = 28.0  # of a network trained from nothing
LACKING = 0.35  # as the network `cells` was trained
SEEDS = 2**32  # what a key of JAX has room for: another seed would be cut to one of these
VALIDATION = "validation"  # folder inside the data that holds images kept apart by hand


@dataclass(frozen=True)
class TrainRequest:
    """What is asked for.

    Attributes:
        data: Folder with `images/` and `labels/`, files of the same names in both (and `nuclei/`,
            for networks that see the nuclear stain beside a cell stain); where it
            holds a folder `validation/` of the same kind, that validates, else one image in
            five that hold objects, those with the smallest hash of their name.
        out: Weights to write, .safetensors.
        start: Shipped model or weights to go on from; None to learn from nothing.
        ignore: Value of the label files where nobody has looked; None if all was looked at.
        architecture: Fields of `NetworkConfig` that are to differ from those of `start`, or from
            the default. Going on with another head, the rest of the network is kept.
        schedule: How far and how fast.
        crops: How crops are augmented.
        seed: Of everything random, 0 to 2^32 - 1: the same gives the same weights on the same
            device.
        replace: Whether an earlier network at `out` may go, once this one is through, and its
            checkpoint at once.
    """

    data: Path
    out: Path
    start: str | None = None
    ignore: int | None = None
    architecture: Mapping[str, Any] = field(default_factory=dict)
    schedule: Schedule = Schedule()
    crops: AugmentConfig = AugmentConfig()
    seed: int = 0
    replace: bool = False


def train_segmenter(request: TrainRequest) -> Iterator[TrainEvent]:
    """Train a network of nuclei or cells on a person's own labels.

    A run that was interrupted goes on from its last report when asked for again.

    Yields:
        `Started`, then `Learnt` and `Validated` as it goes, `Calibrated` and `Trained` at the end.

    Raises:
        BadPlate: A folder is missing or empty, or a file has no partner.
        BadImage: An image or label image cannot be read.
        BadLabels: Label images that cannot be learnt from; the message names the file.
        BadModel: The weights to start from, or the checkpoint, cannot be used, or are of another
            architecture than is asked for.
        BadRun: `out` exists and is finished, is no .safetensors path, is a folder or lies under
            a file; or the seed is none.
        Diverged: The loss is not a number any more.
        UnknownName: No shipped model, or no block or head, is called that.
    """
    _check(request)
    model, config, card = _start(request)
    trained_px = (card.diameter_px if card else None) or DIAMETER_PX
    taught, apart = _images(request, trained_px, config.channels)
    ignore = None if request.ignore is None else UNSEEN
    options = {"diameter_px": trained_px, "ignore": ignore, "typical_px": typical_px(taught)}
    fields = [prepare(*one, **options) for one in taught]
    _check_background(fields, request)
    is_taught = card is not None and config == network_config(card.architecture)
    lesson = Lesson(
        fields,
        np.full(len(fields), 1 / len(fields)),
        apart,
        ignore,
        request.schedule,
        _crops(request.crops, config),
        diameter_px=trained_px,
        nucleus_px=card.nucleus_px if card else None,
        seed=request.seed,
        about=_about(request, taught, apart, card),
        start_sha256=card.sha256 if card else None,
        is_taught=is_taught,
        joining=read_joining(card.joining, model=card.name) if card and is_taught else None,
    )
    if request.replace:  # only now, when all that was asked for is known to be there
        checkpoint_path(request.out).unlink(missing_ok=True)
    yield from learn(model, config, lesson, out=request.out)


def _crops(asked: AugmentConfig, config: NetworkConfig) -> AugmentConfig:
    """Have a network of several stains do without the nuclear one at times, or it forgets how."""
    return replace(asked, lacking=LACKING) if config.channels > 1 else asked


def _check(request: TrainRequest) -> None:
    """Refuse, before anything is read, what could not be written or drawn at random."""
    out = request.out
    if not 0 <= request.seed < SEEDS:
        raise BadRun(f"The seed is {request.seed}; expected 0 to {SEEDS - 1}. Choose another.")
    if out.suffix != ".safetensors":
        raise BadRun(f"The network would be written to {out}; expected a name in .safetensors.")
    folder = next(path for path in out.absolute().parents if path.exists())
    if not folder.is_dir():
        raise BadRun(
            f"{out} cannot be made: {folder} is a file, not a folder. Choose another --out; "
            "nothing was written."
        )
    if out.is_dir():
        raise BadRun(f"{out} is a folder. Choose another --out; nothing was written.")
    if not request.replace and out.exists() and not checkpoint_path(out).exists():
        raise BadRun(
            f"{out} is there already, and its training is through. Choose another --out, or "
            "--replace it; nothing was changed."
        )


def _start(request: TrainRequest) -> tuple[Network, NetworkConfig, Card | None]:
    rngs = nnx.Rngs(request.seed)
    if not request.start:
        config = replace(NetworkConfig(), **request.architecture)
        return build(config, rngs=rngs), config, None
    model, config, card = load_network(request.start)
    wanted = replace(config, **request.architecture)
    if wanted == config:
        return model, config, card
    if replace(wanted, head=config.head) != config:
        raise BadModel(
            f"{request.start} is {config}; going on from it, only the head can be another, but "
            f"{dict(request.architecture)} is asked for. Leave that out, or learn from nothing."
        )
    return with_new_head(model, wanted, rngs=rngs), wanted, card


def _images(
    request: TrainRequest, trained_px: float, channels: int
) -> tuple[list[Labelled], list[Labelled]]:
    options = {"ignore": request.ignore, "trained_px": trained_px, "channels": channels}
    labelled = read_labelled(request.data, **options)
    by_hand = request.data / VALIDATION
    if not by_hand.is_dir():
        return split(labelled)
    apart = read_labelled(by_hand, **options)
    both = sorted({one.name for one in labelled} & {one.name for one in apart})
    if both:
        raise BadLabels(
            f"{by_hand}: {both[0]!r} is among the images to learn from too ({len(both)} such), so "
            "that it could not tell how well anything was learnt. Keep it in one of the two."
        )
    return labelled, apart


def typical_px(taught: Sequence[Labelled]) -> float:
    """Width of the median object of the median image that has any, pixels."""
    widths = (median_diameter(np.maximum(one.labels, 0)) for one in taught)
    return float(np.median([width for width in widths if width]))


def _check_background(fields: Sequence[Field], request: TrainRequest) -> None:
    if not any((one.weight[one.labels == 0] > 0).any() for one in fields):
        raise BadLabels(
            f"{request.data}: no pixel is labelled as background, so nothing says where nuclei "
            f"end (--ignore is {request.ignore}). Give background pixels 0, and those nobody has "
            "looked at another number."
        )


def _about(
    request: TrainRequest, taught: list[Labelled], apart: list[Labelled], card: Card | None
) -> dict:
    about: dict = {
        "data": f"{request.data.resolve().name}, {len(taught)} images",
        "split": f"validated on {', '.join(one.name for one in apart) or 'nothing'}",
    }
    return about | ({"started_from": {"sha256": card.sha256, **card.about}} if card else {})
