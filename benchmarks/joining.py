r"""Fit what puts pieces of one nucleus together again, and show what it brings.

    python -m benchmarks.joining ../shared/data [--model nuclei] [--fit]

Joints, borders of two nuclei that touch, are found in the images that the network learnt from (90
BBBC039 training images, four ways mirrored; DSB2018 images, as they are and once mirrored, neither
kept apart nor for choosing), brought to one nuclear size ("auto"), and judged by the truth; a
logistic regression tells those within one nucleus from those between two. The threshold is chosen
on images that the fit has not seen: the last ten BBBC039 training images and the DSB2018 images for
choosing. `--fit` puts both on the model's card, whose calibration goes (`benchmarks.confidence
--fit` makes another).

Prints what the model's card joins on the images that chose: scores as `benchmarks.segmentation`
prints them for images that were never looked at.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks.train_nuclei import SPECK_PX, is_for_choosing, is_kept_apart, labelled
from profiler.compute.devices import keep_compiled_programs
from profiler.segment.catalogue import MODELS
from profiler.segment.confidence.evidence import most_nuclei
from profiler.segment.evaluation.field import count, of_fields
from profiler.segment.heads import HEADS
from profiler.segment.joining.fit import evidence_of, fit_joining, is_within
from profiler.segment.joining.join import Joining, join, read_joining
from profiler.segment.joining.joints import Joints, Pixels, add_up, weigh
from profiler.segment.look import program
from profiler.segment.score import drop_specks, score
from profiler.segment.sizes import Seen, find_scale
from profiler.segment.training.labelled import Labelled
from profiler.segment.weights import load_network, save_joining

THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6)
MIRRORS = {"": np.s_[:], "down": np.s_[::-1], "across": np.s_[:, ::-1], "both": np.s_[::-1, ::-1]}
WHERE = (
    "90 BBBC039 training images, four ways mirrored, and DSB2018 images neither kept apart nor for "
    "choosing, as they are and once mirrored; the threshold was chosen on the last ten BBBC039 "
    "training images and the DSB2018 images for choosing"
)


class Apart(NamedTuple):
    """A field whose pieces are still apart, with its joints."""

    seen: Seen
    joints: Joints
    truth: np.ndarray


def looker(model: str) -> Callable[[Labelled], Apart]:
    """Make a function that finds an image's nuclei at their own size, and their joints."""
    weights, config, card = load_network(model)
    graph, state = nnx.split(weights)
    head = HEADS[config.head]

    find = program(graph, config, head)

    @partial(jax.jit, static_argnums=1)
    def look(plane, scale: float):
        seen, grey = find((state,), plane, scale)
        most = most_nuclei(plane.size, head.settings.min_area_px)
        pixels = Pixels(seen.labels, grey, seen.maps)
        return seen, weigh(add_up(pixels, most=most), scale=scale)

    def one(image: Labelled) -> Apart:
        joints = {}

        def see(plane, scale):
            seen, joints[id(seen.nuclei)] = look(plane, scale)
            kept.append(seen)  # so that no other takes its place in memory
            return seen

        kept: list[Seen] = []
        plane = jnp.asarray(image.image, jnp.float32)
        seen = find_scale(see, plane, trained_px=card.diameter_px or 28.0)
        return Apart(seen, joints[id(seen.nuclei)], drop_specks(image.labels, below=SPECK_PX))

    return one


def mirrored(image: Labelled, way: str) -> Labelled:
    """An image and its labels, mirrored."""
    cut = MIRRORS[way]
    plane, labels = (np.ascontiguousarray(each[cut]) for each in (image.image, image.labels))
    return Labelled(image.name, plane, labels)


def taught_by(data: Path) -> Iterator[Labelled]:
    """Images to fit on."""
    for image in labelled(data / "bbbc039" / "train")[:-10]:
        yield from (mirrored(image, way) for way in MIRRORS)
    for number, image in enumerate(labelled(data / "dsb2018")):
        if not (is_kept_apart(image.name) or is_for_choosing(image.name)):
            yield image
            yield mirrored(image, ("down", "across", "both")[number % 3])


def joined(apart: Apart, joining: Joining | None) -> np.ndarray:
    """The labels of a field once its pieces are together, without specks."""
    nuclei = apart.seen.nuclei
    if joining is not None:
        most = most_nuclei(apart.seen.labels.size, SPECK_PX)
        nuclei = join(nuclei, apart.joints, joining, most=most)
    return drop_specks(np.asarray(nuclei.labels), below=SPECK_PX)


class Row(NamedTuple):
    """How good the nuclei of some fields are."""

    f1: float
    ap_half: float
    ap: float
    split: float
    merged: float

    def __str__(self) -> str:
        scores = " | ".join(f"{number:.3f}" for number in self[:3])
        return f"{scores} | {self.split:.2f} | {self.merged:.2f}"


def scored(fields: Sequence[Apart], joining: Joining | None) -> Row:
    """Score fields; splits and merges are per 100 true nuclei."""
    pairs = [(field.truth, joined(field, joining)) for field in fields]
    counts, scores = of_fields(count(*pair) for pair in pairs), score(pairs)
    wrong = [100 * each.sum() / counts.true.sum() for each in (counts.split, counts.merged)]
    ap = scores.average_precision
    return Row(float(scores.f1[0]), float(ap[0]), float(ap.mean()), *map(float, wrong))


def fit(look: Callable[[Labelled], Apart], data: Path, sets: dict[str, list[Apart]]) -> Joining:
    """Fit on the images that taught the network, the threshold on `sets`."""
    evidence, within = [], []
    for field in map(look, taught_by(data)):
        evidence.append(evidence_of(field.joints))
        within.append(is_within(np.asarray(field.seen.labels), field.joints, field.truth))

    def at(threshold: float) -> Joining:
        found = fit_joining(np.concatenate(evidence), np.concatenate(within), threshold=threshold)
        assert found is not None
        return found

    return max(
        map(at, THRESHOLDS),
        key=lambda joining: sum(scored(fields, joining).ap for fields in sets.values()),
    )


def main() -> None:
    """Fit if asked for, then print a row for each set, apart and joined."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="nuclei")
    parser.add_argument("--fit", action="store_true", help="fit first, and put it on the card")
    args = parser.parse_args()
    if not all((args.data / name).is_dir() for name in ("bbbc039", "dsb2018")):
        parser.exit(message=f"{args.data} lacks bbbc039/ or dsb2018/; nothing to judge on.\n")
    keep_compiled_programs()
    look = looker(args.model)
    mixed = (one for one in labelled(args.data / "dsb2018") if is_for_choosing(one.name))
    sets = {
        "last 10 BBBC039 training images": labelled(args.data / "bbbc039" / "train")[-10:],
        "DSB2018 for choosing": list(mixed),
    }
    sets = {name: list(map(look, images)) for name, images in sets.items()}
    path = MODELS.get(args.model, Path(args.model))
    if args.fit:
        fitted = fit(look, args.data, sets)
        save_joining(path, fitted, note=f"fitted on {WHERE}")
        print(f"{fitted}\n")
    joining = read_joining(load_network(args.model)[2].joining, model=args.model)
    if joining is None:
        parser.exit(message=f"{args.model} joins nothing; --fit makes it.\n")
    print("| images | pieces | F1@.5 | AP@.5 | AP@[.5:.95] | splits | merges |")
    print("|---|---|---|---|---|---|---|")
    for (name, fields), how in chain(*(((item, None), (item, joining)) for item in sets.items())):
        what = "apart" if how is None else "joined"
        print(f"| {name} ({len(fields)}) | {what} | {scored(fields, how)} |", flush=True)


if __name__ == "__main__":
    main()
