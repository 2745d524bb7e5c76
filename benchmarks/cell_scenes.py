r"""Draw the fields that the whole-cell network is trained on, and pick real cells it may trust.

    python -m benchmarks.cell_scenes DATA --sheet OUT.png

No licensed masks of whole cells are at hand. So real nuclei (`bbbc039/`, `dsb2018/`, both CC0) are
given drawn cells: outlines grown around each nucleus (`cell_shapes.py`), stains painted with the
grain of real Cell Painting fields (`cell_stains.py`; `cell_painting/`, BSD-3), over real
backgrounds. To these come cells that the engine's own propagation finds in real fields, where
changed settings agree with it (`propagated`).

Everything is brought to a median nucleus of 14 px, half of what the nuclei network sees.
"""

import argparse
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import jax.numpy as jnp
import numpy as np
import tifffile
from PIL import Image
from scipy import ndimage
from skimage.measure import label as connected

from benchmarks.cell_shapes import draw_growth, grow, pair
from benchmarks.cell_stains import Textures, anatomy_of, expose, stain, textures_of
from benchmarks.cell_survivors import IGNORE, survivors
from benchmarks.train_nuclei import is_for_choosing, is_kept_apart, labelled
from profiler.segment.heads.instances import consecutive
from profiler.segment.segmenter import SegmentConfig, load_segmenter
from profiler.segment.training.fields import median_diameter

NUCLEUS_PX = 14.0
SMALLEST_PX, FEWEST = 8.0, 3  # images of smaller or fewer nuclei are left out
SIDE = 352  # larger fields are cut
SPECK_PX = 12  # smaller labelled nuclei are left out of scenes, at the training size
CHOOSERS = 12  # of DSB2018's images for choosing
FIELD_PX = {f"cdp2-{number}": 28.0 for number in range(6)} | dict.fromkeys(
    ("phenix", "phenix-left", "phenix-right"), 38.0
)  # how wide nuclei are
TRAINING_FIELDS = ("cdp2-0", "cdp2-1", "cdp2-2", "cdp2-3", "phenix-left")
HELD_FIELDS = ("cdp2-4", "cdp2-5", "phenix-right")  # the halves share no cell
STAINS = ("DNA", "ER", "RNA", "AGP", "Mito")
PHENIX = (5, 2, 3, 4, 6)  # one nuclear channel, four of the cell

Split = Literal["train", "choose", "validation"]
Draw = np.random.Generator


class Scene(NamedTuple):
    """One field and its whole cells.

    Attributes:
        name: Where it comes from, and how it was stained.
        image: [height, width, 2] float32: the cell stain and the nuclear stain, each in a unit
            of its own.
        cells: [height, width] int32, nucleus included, 1 and up; -1 where nobody knows.
        nuclei: Likewise, with the ids of their cells; 0 elsewhere.
    """

    name: str
    image: np.ndarray
    cells: np.ndarray
    nuclei: np.ndarray


# ---------------------------------------------------------------------------------- drawn scenes


def scenes(data: Path, split: Split, *, copies: int = 1, seed: int = 0) -> Iterator[Scene]:
    """Draw the scenes of a split; a scene depends on its image, copy and seed alone.

    Args:
        data: Holds `bbbc039/`, `dsb2018/` and `cell_painting/`.
        split: As the nuclei network's; BBBC039's last ten training images and a dozen of
            DSB2018's choose, the official validation images and DSB2018's kept apart validate.
            Grain for the two comes from fields that training does not use.
        copies: Drawings of each BBBC039 image; each of DSB2018 gets half as many, rounded up.
        seed: Of all draws.
    """
    if split not in get_args(Split):
        raise ValueError(f"split is {split!r}; there are {', '.join(get_args(Split))}")
    lent = textures(data, TRAINING_FIELDS if split == "train" else HELD_FIELDS)
    plate, mixed = _images(data, split)
    for source, times in ((plate, copies), (mixed, (copies + 1) // 2)):
        for name, plane, labels in source:
            ready = to_size(plane, labels)
            if ready is None:
                continue
            for copy in range(times):
                rng = np.random.default_rng([seed, zlib.crc32(name.encode()), copy])
                scene = render(*_cut(*ready, rng), lent, rng)
                yield scene._replace(name=f"{name}-{copy}-{scene.name}")


def _images(data: Path, split: Split) -> tuple[list, list]:
    mixed = labelled(data / "dsb2018")
    if split == "validation":
        plate = labelled(data / "bbbc039" / "validation")
        return plate, [one for one in mixed if is_kept_apart(one.name)]
    plate = labelled(data / "bbbc039" / "train")
    mixed = [one for one in mixed if not is_kept_apart(one.name)]
    choosing = [one for one in mixed if is_for_choosing(one.name)]
    if split == "choose":
        return plate[-10:], choosing[:CHOOSERS]
    return plate[:-10], [one for one in mixed if not is_for_choosing(one.name)]


def to_size(plane: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Bring an image to the training size; None if its nuclei are too small or too few."""
    width = median_diameter(labels)
    if width < SMALLEST_PX or len(np.unique(labels)) - 1 < FEWEST:
        return None
    scale = NUCLEUS_PX / width
    return zoomed(plane.astype(np.float32), scale), zoomed_labels(labels, scale)


def zoomed(plane: np.ndarray, scale: float) -> np.ndarray:
    """Scale a stain, smoothed first where it shrinks."""
    if scale < 1:
        plane = ndimage.gaussian_filter(plane, 0.4 * (1 / scale - 1), mode="nearest")
    return np.asarray(ndimage.zoom(plane, scale, order=1, grid_mode=True, mode="nearest"))


def zoomed_labels(labels: np.ndarray, scale: float) -> np.ndarray:
    """Scale labels: the nearest counts."""
    return np.asarray(ndimage.zoom(labels, scale, order=0, grid_mode=True, mode="nearest"))


def _cut(plane: np.ndarray, nuclei: np.ndarray, rng: Draw) -> tuple[np.ndarray, np.ndarray]:
    corner = [rng.integers(0, max(side - SIDE, 0) + 1) for side in plane.shape]
    box = tuple(slice(start, start + SIDE) for start in corner)
    return plane[box], nuclei[box]


def textures(data: Path, fields: tuple[str, ...]) -> Textures:
    """Read the stains that lend their grain, at the training size."""
    return textures_of(
        [
            zoomed(plane.astype(np.float32), NUCLEUS_PX / FIELD_PX[name])
            for name in fields
            for plane in field(data, name)[1:]
        ]
    )


def field(data: Path, name: str) -> np.ndarray:
    """Read one Cell Painting field, [stain, height, width]; see `STAINS`."""
    if name.startswith("phenix"):
        folder = data / "cell_painting" / "br00143976_phenix_naming"
        planes = [tifffile.imread(next(folder.glob(f"*-ch{n}sk*.tiff"))) for n in PHENIX]
        half = planes[0].shape[1] // 2
        ends = {"phenix": (0, None), "phenix-left": (0, half), "phenix-right": (half, None)}
        return np.stack(planes)[..., slice(*ends[name])]
    path = data / "cell_painting" / "cdp2bioactives" / "cdp2bioactives_h15.ome.tif"
    return np.asarray(tifffile.imread(path, series=int(name.removeprefix("cdp2-"))))


def render(plane: np.ndarray, nuclei: np.ndarray, lent: Textures, rng: Draw) -> Scene:
    """Grow cells around real nuclei and stain them.

    Args:
        plane: The nuclear stain, nuclei some 14 px wide, [height, width].
        nuclei: Its labels, 0 for background.
        lent: Grain and background of real fields.
        rng: Draws everything.
    """
    ground = without(plane, nuclei > 0, rng)
    plane, nuclei = _thin_out(plane, nuclei, ground, rng)
    growth = draw_growth(rng)
    grown, way = grow(pair(nuclei, growth.paired, rng), growth, rng)
    if rng.random() < 0.1:
        grown = np.where(_meeting(grown) & (nuclei == 0), 0, grown)
    cells = whole(grown, nuclei > 0)
    nuclei = np.where(nuclei > 0, cells, 0)
    name, light = stain(anatomy_of(cells, nuclei, way), lent, rng)
    span = max(float(np.percentile(plane, 99.5) - np.median(ground)), 1e-6)
    relative = (plane - np.median(ground)) / span
    leak = rng.choice([0.0, rng.uniform(0.1, 0.7)], p=[0.75, 0.25])
    behind = (ground - ground.mean()) / max(float(ground.std()), 1e-6)
    behind = np.flip(behind, int(rng.integers(2)))
    seen = expose(light + leak * np.maximum(relative, 0), behind, lent, rng)
    spill = rng.choice([0.0, rng.uniform(0.01, 0.12)], p=[0.75, 0.25])
    image = np.stack([seen, relative + spill * seen], axis=-1).astype(np.float32)
    return Scene(name, image, cells, nuclei)


def without(plane: np.ndarray, mask: np.ndarray, rng: Draw) -> np.ndarray:
    """Put background in the place of what a mask holds and its halo: its level and its noise."""
    hidden = np.asarray(ndimage.binary_dilation(mask, iterations=6)).astype(bool)
    if hidden.all():
        return np.full_like(plane, plane.min())
    weight = ndimage.gaussian_filter((~hidden).astype(np.float32), 12)
    level = ndimage.gaussian_filter(np.where(hidden, 0, plane), 12) / np.maximum(weight, 1e-4)
    rest = (plane - level)[~hidden]
    level = np.where(weight > 1e-4, level, np.median(plane[~hidden]))
    drawn = rng.choice(rest[rest <= np.percentile(rest, 95)], plane.shape)
    return np.where(hidden, level + 0.7 * drawn, plane)


def _thin_out(
    plane: np.ndarray, nuclei: np.ndarray, ground: np.ndarray, rng: Draw
) -> tuple[np.ndarray, np.ndarray]:
    """Take specks out of the labels, and at times whole nuclei out of the image."""
    area = np.bincount(nuclei.ravel())
    share = rng.choice([0.0, rng.uniform(0.1, 0.8)], p=[0.4, 0.6])
    gone = (area < SPECK_PX) | (rng.random(len(area)) < share)
    gone[0] = False
    near = ndimage.grey_dilation(np.where(gone[nuclei], 1, 0), size=9) > 0
    soft = ndimage.gaussian_filter((near & ~_near(nuclei, ~gone)).astype(np.float32), 0.5)
    return plane * (1 - soft) + ground * soft, np.where(gone[nuclei], 0, nuclei)


def _near(nuclei: np.ndarray, kept: np.ndarray) -> np.ndarray:
    return ndimage.binary_dilation((nuclei > 0) & kept[nuclei], iterations=2)


def _meeting(cells: np.ndarray) -> np.ndarray:
    """Pixels of a cell beside another cell."""
    least = ndimage.minimum_filter(np.where(cells > 0, cells, cells.max() + 1), 3)
    return (cells > 0) & (least != ndimage.maximum_filter(cells, 3))


# ------------------------------------------------------------------------------------ real cells


def propagated(data: Path, fields: tuple[str, ...] = TRAINING_FIELDS) -> Iterator[Scene]:
    """Segment real Cell Painting fields with the engine itself, and keep what can be trusted.

    Args:
        data: Holds `cell_painting/`.
        fields: Of `TRAINING_FIELDS` or, to validate, `HELD_FIELDS`.

    Yields:
        For each field its cell stains and their mean, some without a kept cell left out.
    """
    find = load_segmenter(SegmentConfig(diameter_px="auto")).nuclei
    for name in fields:
        dna, *planes = field(data, name).astype(np.float32)
        nuclei = np.asarray(find(jnp.asarray(dna)).labels)
        mean = np.mean([_levelled(plane) for plane in planes], axis=0)
        for stained, plane in zip((*STAINS[1:], "mean"), (*planes, mean), strict=True):
            left = survivors(plane, nuclei)
            if left.kept:
                yield _as_scene(f"{name}-{stained}", plane, dna, left.cells, nuclei)


def _levelled(plane: np.ndarray) -> np.ndarray:
    low, high = np.percentile(plane, [1, 99.5])
    return ((plane - low) / max(high - low, 1e-9)).astype(np.float32) + 0.05


def _as_scene(
    name: str, plane: np.ndarray, dna: np.ndarray, cells: np.ndarray, nuclei: np.ndarray
) -> Scene:
    scale = NUCLEUS_PX / median_diameter(nuclei)
    image = np.stack([zoomed(one, scale) for one in (plane, dna)], axis=-1).astype(np.float32)
    small, cores = (zoomed_labels(one, scale) for one in (cells, nuclei))
    known = small != IGNORE
    kept = whole(np.where(known, small, 0), cores > 0)
    unknown = ~known | ((small > 0) & (kept == 0))
    return Scene(name, image, np.where(unknown, IGNORE, kept), np.where(cores > 0, kept, 0))


def whole(cells: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Number the pieces of cells that hold some of a nucleus; the others are dropped.

    Args:
        cells: Labels, some of which may lie in pieces.
        held: Where there is a nucleus.
    """
    pieces = np.asarray(connected(cells, background=0, connectivity=1))
    cores = np.bincount(pieces[held & (pieces > 0)], minlength=int(pieces.max()) + 1)
    return consecutive(np.where(cores[pieces] >= SPECK_PX, pieces, 0)).astype(np.int32)


# ----------------------------------------------------------------------------------------- sheet


def sheet(shown: list[Scene]) -> Image.Image:
    """Draw scenes in rows of two: the cell stain, and the same with outlines and nuclei."""
    tiles = []
    for scene in shown:
        tile = np.zeros((SIDE, 2 * SIDE, 3))
        plain = np.repeat(_levelled(scene.image[..., 0]).clip(0, 1)[..., None] ** 0.7, 3, axis=-1)
        drawn = plain.copy()
        drawn[..., 2] = np.maximum(drawn[..., 2], 0.7 * _levelled(scene.image[..., 1]).clip(0, 1))
        drawn[_meeting_anything(scene.cells)] = (1, 0.8, 0)
        drawn[scene.cells == IGNORE] *= 0.5
        for at, picture in ((0, plain), (SIDE, drawn)):
            part = picture[:SIDE, :SIDE]
            tile[: part.shape[0], at : at + part.shape[1]] = part
        tiles.append(tile)
    rows = [np.concatenate(tiles[at : at + 2], axis=1) for at in range(0, len(tiles) - 1, 2)]
    return Image.fromarray((255 * np.clip(np.concatenate(rows), 0, 1)).astype(np.uint8))


def _meeting_anything(cells: np.ndarray) -> np.ndarray:
    return (cells > 0) & (ndimage.minimum_filter(cells, 3) != ndimage.maximum_filter(cells, 3))


def check(scene: Scene) -> None:
    """Assert what the training relies on: ids without a gap, cells in one piece with a nucleus."""
    for label in range(1, int(scene.cells.max()) + 1):
        assert (scene.nuclei == label).any(), f"{scene.name}: cell {label} holds no nucleus"
        pieces = len(np.unique(np.asarray(connected(scene.cells == label, connectivity=1)))) - 1
        assert pieces == 1, f"{scene.name}: cell {label} is in {pieces} pieces"
    held = scene.nuclei > 0
    assert (scene.cells[held] == scene.nuclei[held]).all(), f"{scene.name}: ids disagree"
    assert np.isfinite(scene.image).all(), f"{scene.name}: light is not finite"


def main() -> None:
    """Draw one contact sheet."""
    parser = argparse.ArgumentParser(description="Draw a contact sheet of scenes.")
    parser.add_argument("data", type=Path)
    parser.add_argument("--sheet", type=Path, default=Path("cell_scenes.png"))
    parser.add_argument("--split", choices=get_args(Split), default="choose")
    args = parser.parse_args()
    if not (args.data / "bbbc039").is_dir():
        parser.exit(message=f"{args.data} holds no bbbc039/; nothing to draw on.\n")
    shown = list(islice(scenes(args.data, args.split), 6)) + list(
        islice(propagated(args.data, HELD_FIELDS[-1:]), 2)
    )
    for scene in shown:
        check(scene)
    sheet(shown).save(args.sheet)
    cells = [int(scene.cells.max()) for scene in shown]
    print(f"{args.sheet}: 6 drawn scenes and 2 real ones, {cells} cells; yellow outlines them,")
    print("blue are nuclei, half-bright is ignored.")


if __name__ == "__main__":
    main()
