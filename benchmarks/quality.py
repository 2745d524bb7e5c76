"""Planted blur, saturation, emptiness, bubbles and debris: how many are found, and what is spared.

    python -m benchmarks.quality [../shared]

Each texture is a plate of its own: a fifth of its fields is spoiled, the rest are as they were.
Thresholds were chosen on BBBC039's training fields, every other well of BBBC013, a well of Cell
Painting, DSB2018's images of 256 x 256 and synthetic fields of seeds below 100; all that is shown
here comes from others. Blur is that of the optics: a Gaussian over all stains, then as much noise
as the field had. Verdicts come from `profiler.illuminate.exposure` and `profiler.quality` as in a
run, with the counts of a good field even where it was emptied: the pixels alone decide.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import tifffile
from scipy import ndimage

from plates.decode import decode
from plates.synthetic import Phenotype, field
from profiler.illuminate.exposure import expose, exposure_columns
from profiler.quality import Checks, judge
from profiler.store.schema import FIELD_KEYS

GOAL = 0.95
SPOILED = 5  # every so manieth field
LEAST = 16  # fields that make a plate
RNG = np.random.default_rng(2024)


class Texture(NamedTuple):
    """Fields of one assay: name, [field] of [height, width, channel], stains, camera's limit."""

    name: str
    fields: list[np.ndarray]
    stains: tuple[str, ...]
    nuclei: str
    limit: int
    dtype: type


def textures(data: Path | None) -> Iterator[Texture]:
    """All that thresholds were not chosen on."""
    for cells in (12, 40, 70):
        drawn = [field(Phenotype(n_cells=cells), size=384, seed=1000 + i) for i in range(40)]
        images = [each.images for each in drawn]
        yield Texture(
            f"synthetic, {cells} cells", images, ("DNA", "GFP", "RNA"), "DNA", 4095, np.uint16
        )
    if data is None:
        return
    paths = sorted((data / "bbbc039" / "validation" / "images").glob("*.png"))
    images = [_read(path)[..., None] for path in paths]
    yield Texture("BBBC039 validation, U2OS", images, ("DNA",), "DNA", 4095, np.uint16)
    yield Texture(
        "BBBC013, other wells", list(_bbbc013(data)), ("DNA", "GFP"), "DNA", 255, np.uint8
    )
    yield _cell_painting(data)
    yield from _dsb(data)


def _read(path: Path) -> np.ndarray:
    return np.asarray(decode(path.read_bytes(), path=str(path)))


def _bbbc013(data: Path) -> Iterator[np.ndarray]:
    folder = data / "bbbc013" / "images"
    reporter, dna = (sorted(folder.glob(f"Channel{c}-*"))[1::2] for c in (1, 2))
    for paths in zip(dna, reporter, strict=True):
        yield np.stack([_read(path) for path in paths], axis=-1)


def _cell_painting(data: Path) -> Texture:
    """One real Cell Painting site in 16 parts, 5 stains (the sixth channel is brightfield)."""
    paths = sorted((data / "cell_painting" / "br00143976_phenix_naming").glob("*.tiff"))[:5]
    site = np.stack([tifffile.imread(path) for path in paths], axis=-1)
    stains = tuple(f"ch{i + 1}" for i in range(site.shape[-1]))
    return Texture("Cell Painting, Phenix", _parts([site], 4), stains, "ch5", 65_535, np.uint16)


def _dsb(data: Path) -> Iterator[Texture]:
    """Images of one size are mostly of one microscope; those of 360 px are of many."""
    images = [_read(path) for path in sorted((data / "dsb2018" / "images").glob("*"))]
    for shape in ((256, 320), (520, 696), (360, 360)):
        chosen = [image[..., None] for image in images if image.shape == shape]
        name = f"DSB2018, {shape[0]} x {shape[1]}"
        if len(chosen) >= LEAST:
            yield Texture(name, chosen[:60], ("DNA",), "DNA", 255, np.uint8)


def _parts(fields: list[np.ndarray], n: int) -> list[np.ndarray]:
    """Each field in n x n parts."""
    height, width = (size // n for size in fields[0].shape[:2])
    starts = [(i * height, j * width) for i in range(n) for j in range(n)]
    return [f[t : t + height, w : w + width] for f in fields for t, w in starts]


def noise_sd(plane: np.ndarray) -> float:
    """Robust, from the differences of neighbouring pixels; a third of a level at the least."""
    one = plane.astype(np.float64)
    diagonal = (one[:-1, :-1] - one[1:, :-1] - one[:-1, 1:] + one[1:, 1:]) / 2
    return max(1.4826 * float(np.median(np.abs(diagonal))), 0.3)


def blurred(sigma_px: float) -> Callable[[np.ndarray, Texture], np.ndarray]:
    """Out of focus in all stains."""

    def spoil(image: np.ndarray, texture: Texture) -> np.ndarray:
        planes = []
        for plane in np.moveaxis(image.astype(np.float64), -1, 0):
            smooth = ndimage.gaussian_filter(plane, sigma_px)
            low = max(np.percentile(plane, 5), 1.0)
            shot = noise_sd(plane) * np.sqrt(np.maximum(smooth, 0.1) / low)
            planes.append(smooth + shot * RNG.standard_normal(plane.shape))
        return _levels(np.stack(planes, axis=-1), texture)

    return spoil


def saturated(share: float) -> Callable[[np.ndarray, Texture], np.ndarray]:
    """Exposed so long that a share of the nuclei's pixels is at the camera's limit."""

    def spoil(image: np.ndarray, texture: Texture) -> np.ndarray:
        found = image.astype(np.float64)
        at = texture.stains.index(texture.nuclei)
        plane = found[..., at]
        low, top = np.percentile(plane, (5, 99.7))
        high = np.quantile(plane[plane > (low + top) / 2], 1 - share)
        found[..., at] = low + (plane - low) * (texture.limit - low) / max(high - low, 1)
        return _levels(found, texture)

    return spoil


def emptied(image: np.ndarray, texture: Texture) -> np.ndarray:
    """Background and noise alone, unevenly lit."""
    y, x = (np.mgrid[: image.shape[0], : image.shape[1]].T / image.shape[:2]).T - 0.5
    light = 1 - 0.2 * (x**2 + y**2) / 0.5
    planes = []
    for plane in np.moveaxis(image.astype(np.float64), -1, 0):
        low = np.percentile(plane, 5)
        planes.append(low * light + noise_sd(plane) * RNG.standard_normal(plane.shape))
    return _levels(np.stack(planes, axis=-1), texture)


def bubble(image: np.ndarray, texture: Texture) -> np.ndarray:
    """A bright disc, out of focus, a fifth of the field wide, as bright as the cells."""
    found = image.astype(np.float64)
    height, width = image.shape[:2]
    middle = RNG.uniform(0.3, 0.7, 2) * (height, width)
    y, x = np.mgrid[:height, :width]
    disc = np.hypot(y - middle[0], x - middle[1]) < 0.2 * min(height, width)
    soft = ndimage.gaussian_filter(disc.astype(float), 6)[..., None]
    span = np.percentile(found, 99.5, axis=(0, 1)) - np.percentile(found, 5, axis=(0, 1))
    return _levels(found + 1.5 * soft * span, texture)


def debris(image: np.ndarray, texture: Texture) -> np.ndarray:
    """A fibre eight times as bright as the cells."""
    found = image.astype(np.float64)
    line = np.zeros(image.shape[:2])
    start, angle = RNG.uniform(0.3, 0.7, 2) * image.shape[:2], RNG.uniform(0, np.pi)
    for step in np.linspace(-30, 30, 200):
        y, x = (start + step * np.array([np.sin(angle), np.cos(angle)])).astype(int)
        line[y, x] = 1
    thick = (ndimage.gaussian_filter(line, 2) > 0.02).astype(float)[..., None]
    span = np.percentile(found, 99, axis=(0, 1)) - np.percentile(found, 5, axis=(0, 1))
    return _levels(found + 8 * ndimage.gaussian_filter(thick, (1, 1, 0)) * span, texture)


def _levels(image: np.ndarray, texture: Texture) -> np.ndarray:
    return np.clip(np.rint(image), 0, texture.limit).astype(texture.dtype)


DEFECTS: dict[str, tuple[str, Callable[[np.ndarray, Texture], np.ndarray]]] = {
    "blur of 2 px": ("focus", blurred(2.0)),
    "blur of 3 px": ("focus", blurred(3.0)),
    "blur of 6 px": ("focus", blurred(6.0)),
    "a third of nuclei saturated": ("saturation", saturated(0.33)),
    "most of nuclei saturated": ("saturation", saturated(0.8)),
    "empty": ("empty", emptied),
    "bubble": ("bubble", bubble),
    "debris": ("debris", debris),
}
REQUIRED = ("focus", "saturation", "empty")


class Score(NamedTuple):
    """How a defect was found: counts of fields."""

    found: int
    planted: int
    flagged: int

    @property
    def recall(self) -> float:
        """Share of the planted that got its verdict."""
        return self.found / self.planted

    @property
    def precision(self) -> float:
        """Share of that verdict's fields that were planted."""
        return self.found / self.flagged if self.flagged else float("nan")


def numbers_of(fields: list[np.ndarray]) -> np.ndarray:
    """What the device measures, [field, column]."""
    rows = []
    for image in fields:
        scaled = jnp.asarray(image.astype(np.float32) / np.iinfo(image.dtype).max)[None]
        rows.append(np.asarray(expose(scaled, scaled))[0])
    return np.stack(rows)


def score(texture: Texture, good: np.ndarray, defect: str) -> tuple[Score, int]:
    """Spoil every fifth field, and judge the plate.

    Returns:
        The score, and good fields that got any verdict.
    """
    wanted, spoil = DEFECTS[defect]
    is_bad = np.arange(len(texture.fields)) % SPOILED == 2
    numbers = good.copy()
    spoiled = [spoil(texture.fields[i], texture) for i in np.flatnonzero(is_bad)]
    numbers[is_bad] = numbers_of(spoiled)
    keys = pl.DataFrame(
        {
            "Metadata_Plate": "P",
            "Metadata_Well": "A01",
            "Metadata_Site": np.arange(1, len(is_bad) + 1, dtype=np.int32),
            "Metadata_Timepoint": np.int32(1),
        }
    ).select(key.name for key in FIELD_KEYS)
    columns = exposure_columns(texture.stains)
    table = keys.hstack(pl.DataFrame(numbers, schema=dict.fromkeys(columns, pl.Float32)))
    fields = keys.with_columns(
        Metadata_QC_Status=pl.lit("ok"),
        Metadata_QC_Reason=pl.lit(None, pl.String),
        Metadata_Object_Count=pl.lit(50, pl.Int32),
    )
    checks = Checks(
        ("empty", "saturation", "focus", "staining", "bubble", "debris"),
        texture.nuclei,
        texture.stains[-1],
        texture.stains,
    )
    verdict = judge(table, fields=fields, checks=checks).table["Metadata_QC_Verdict"].to_numpy()
    hits = verdict == wanted
    result = Score(int((hits & is_bad).sum()), int(is_bad.sum()), int(hits.sum()))
    return result, int(((verdict != "ok") & ~is_bad).sum())


def cost(size: int = 1080, channels: int = 5) -> float:
    """Seconds to judge a field, after the first."""
    batch = jnp.asarray(RNG.random((1, size, size, channels)), jnp.float32)
    expose(batch, batch).block_until_ready()
    times = []
    for _ in range(3):
        start = time.perf_counter()
        expose(batch, batch).block_until_ready()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Print the table, a row per texture and defect, and one per defect over all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("shared", nargs="?", type=Path)
    shared = parser.parse_args().shared
    data = shared / "data" if shared else None
    if data is None:
        print("No folder of real data was given: synthetic textures alone.\n", file=sys.stderr)
    print("| texture | fields | defect | recall | precision | good fields flagged | goal .95 |")
    print("|---|---|---|---|---|---|---|")
    total: dict[str, list[Score]] = {name: [] for name in DEFECTS}
    for texture in textures(data):
        good = numbers_of(texture.fields)
        for name in DEFECTS:
            result, others = score(texture, good, name)
            total[name].append(result)
            print(_line(texture.name, len(texture.fields), name, result, others))
    for name, scores in total.items():
        summed = Score(*map(sum, zip(*scores, strict=True)))
        print(_line("**all**", "", name, summed, ""))
    print(f"\nJudging a field of 1080 x 1080 x 5: {1000 * cost():.0f} ms on {jax.devices()[0]}")


def _line(name: str, fields: object, defect: str, result: Score, others: object) -> str:
    reached = min(result.recall, result.precision) >= GOAL
    mark = ("reached" if reached else "MISSED") if DEFECTS[defect][0] in REQUIRED else "-"
    return (
        f"| {name} | {fields} | {defect} | {result.recall:.2f} | {result.precision:.2f} | {others} "
        f"| {mark} |"
    )


if __name__ == "__main__":
    main()
