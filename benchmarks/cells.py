r"""How well whole cells are found: the network `cells` beside propagation and rings.

    python -m benchmarks.cells DATA [--model cells.safetensors] [--sheet OUT.png] [--write-card]

Drawn cells around nuclei of images that no network was trained on (`cell_scenes.py`), whose truth
is known: every way gets the same image, and all but the last two the nuclei that the nuclei network
finds. Then real Cell Painting fields that were not trained on, where the only reference is
propagation's own cells that no setting changes: that row says how far the network agrees with
them, not who is right.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.cell_scenes import (
    FIELD_PX,
    HELD_FIELDS,
    NUCLEUS_PX,
    Scene,
    field,
    propagated,
    scenes,
    sheet,
    zoomed,
)
from benchmarks.cell_survivors import IGNORE
from profiler.segment.catalogue import MODELS
from profiler.segment.compartments import CellsConfig
from profiler.segment.evaluation.field import count, of_fields
from profiler.segment.score import SPECK_PX, THRESHOLDS, drop_specks, score, where_known
from profiler.segment.segmenter import SegmentConfig, load_segmenter

SIDES = (256, 128, 64)  # scenes are cut to these: every other size costs programs of its own
GOAL = "of the ways that start from nuclei the network's has the best AP@.5 of drawn scenes"

Way = Callable[[np.ndarray], np.ndarray]


def around_nuclei(config: CellsConfig, *, model: str) -> Way:
    """Find nuclei, then cells around them, as a run does."""
    wanted = SegmentConfig(1, 0, cells_model=model, diameter_px=NUCLEUS_PX, cells=config)
    segment = load_segmenter(wanted).segment
    return lambda image: np.asarray(segment(jnp.asarray(image)[None]).cells[0])


def alone(model: str, stains: int) -> Way:
    """Find cells without looking for nuclei, with or without the nuclear stain."""
    find = load_segmenter(SegmentConfig(model=model)).nuclei
    return lambda image: np.asarray(find(jnp.asarray(image[..., :stains])).labels)


def ways(model: str) -> dict[str, Way]:
    """Every way to find cells, by its name in the table."""
    configs = {
        "network, nuclei found": CellsConfig(method="network"),
        "propagation (minimum cross entropy)": CellsConfig(),
        "propagation (Otsu)": CellsConfig(threshold="otsu"),
        "ring of 6 px": CellsConfig(method="ring"),
    }
    around = {name: around_nuclei(config, model=model) for name, config in configs.items()}
    return around | {
        "network alone, both stains": alone(model, 2),
        "network alone, cell stain only": alone(model, 1),
    }


def judged(way: Way, shown: list[Scene]) -> tuple[dict[str, float], list[np.ndarray]]:
    """Score a way by the truth, where it is known, in seconds a field after the first of a size."""
    for size in {scene.image.shape for scene in shown}:
        way(next(scene.image for scene in shown if scene.image.shape == size))
    start = time.perf_counter()
    found = [way(scene.image) for scene in shown]
    seconds = (time.perf_counter() - start) / len(shown)
    pairs = [
        (
            drop_specks(np.maximum(scene.cells, 0), below=SPECK_PX),
            drop_specks(where_known(labels, scene.cells != IGNORE), below=SPECK_PX),
        )
        for scene, labels in zip(shown, found, strict=True)
    ]
    scores, counts = score(pairs), of_fields(count(*pair) for pair in pairs)
    ap = dict(zip(THRESHOLDS, scores.average_precision, strict=True))
    wrong = 100 * (counts.split.sum() + counts.merged.sum()) / counts.true.sum()
    told = {"F1@.5": scores.f1[0], "AP@.5": ap[0.5], "AP@.75": ap[0.75]}
    told["AP@[.5:.95]"] = scores.average_precision.mean()
    return told | {"splits + merges per 100": wrong, "s/field": seconds}, found


def cut(scene: Scene) -> Scene:
    """Cut a scene to sides of `SIDES`."""
    height, width = (
        next((side for side in SIDES if side <= length), length) for length in scene.cells.shape
    )
    parts = (part[:height, :width] for part in scene[1:])
    return Scene(scene.name, *parts)


def confluent(data: Path, name: str) -> Scene:
    """A real field whose cells nobody knows: its RNA stain, to look at."""
    dna, _, rna, *_ = field(data, name).astype(np.float32)
    small = [zoomed(plane, NUCLEUS_PX / FIELD_PX[name]) for plane in (rna, dna)]
    nothing = np.zeros(small[0].shape, np.int32)
    return cut(Scene(name, np.stack(small, axis=-1), nothing, nothing))


def drawn(data: Path) -> dict[str, list[Scene]]:
    """Scenes that nothing was trained on or chosen by, by where their nuclei are from."""
    plates = {path.stem for path in (data / "bbbc039" / "validation" / "images").iterdir()}
    by_source: dict[str, list[Scene]] = {"BBBC039 validation": [], "DSB2018 kept apart": []}
    for scene in scenes(data, "validation"):
        is_plate = any(scene.name.startswith(name) for name in plates)
        by_source["BBBC039 validation" if is_plate else "DSB2018 kept apart"].append(cut(scene))
    return by_source


def rows(sets: dict[str, list[Scene]], asked: dict[str, Way]) -> Iterator[tuple[str, str, dict]]:
    """Every way on every set of scenes."""
    for name, shown in sets.items():
        for way, find in asked.items():
            yield name, way, judged(find, shown)[0]


def write_card(scores: Iterable[tuple[str, str, dict]]) -> None:
    """Put what was measured on the shipped network's card."""
    path = MODELS["cells"].with_suffix(".json")
    card = json.loads(path.read_text())
    card["about"]["scores"] = {
        name: f"F1@.5 {told['F1@.5']:.3f}, AP@.5 {told['AP@.5']:.3f}, {way}"
        for name, way, told in scores
        if way == "network, nuclei found"
    }
    path.write_text(json.dumps(card, indent=2) + "\n")


def main() -> None:
    """Print one row per set and way, then whether the goal is reached."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="cells")
    parser.add_argument("--sheet", type=Path, help="PNG of what is found in some scenes")
    parser.add_argument("--write-card", action="store_true")
    args = parser.parse_args()
    if args.write_card and args.model != "cells":
        parser.error("--write-card writes the card of the network that ships")
    if not (args.data / "bbbc039").is_dir():
        parser.exit(message=f"{args.data} holds no bbbc039/; nothing to score on.\n")
    sets = drawn(args.data)
    real = [cut(scene) for scene in propagated(args.data, HELD_FIELDS[-1:])]  # others keep none
    sets = {f"{name} ({len(shown)})": shown for name, shown in sets.items()}
    asked = ways(args.model)
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}\n")
    told = list(rows(sets, asked))
    told += rows({f"real, agreement ({len(real)})": real}, asked)
    print("| nuclei of | way | " + " | ".join(told[0][2]) + " |")
    print("|---" * (2 + len(told[0][2])) + "|")
    for name, way, scores in told:
        print(f"| {name} | {way} | " + " | ".join(f"{n:.3f}" for n in scores.values()) + " |")
    means = {
        way: np.mean([s["AP@.5"] for n, w, s in told if w == way and n in sets]) for way in asked
    }
    best, *others = (means[way] for way in list(asked)[:4])
    print(f"\nGoal, {GOAL}: {'reached' if best > max(others) else 'missed'}.")
    if args.sheet:
        shown = [scene for each in (*sets.values(), real) for scene in each[:4]]
        shown += [confluent(args.data, name) for name in HELD_FIELDS[:2]]
        find = asked["network, nuclei found"]
        sheet([scene._replace(cells=find(scene.image)) for scene in shown]).save(args.sheet)
    if args.write_card:
        write_card(told)


if __name__ == "__main__":
    main()
