"""CellProfiler-style features of MitoCheck's nuclei, measured by the engine's own `measure`.

    python -m benchmarks.mitocheck_features ../shared --cache FOLDER

Data: `data/mitocheck/crops` (CC BY 4.0), 64 x 64 crops around one nucleus each, folder = expert
class. The central nucleus is what Otsu's threshold of the smoothed crop leaves around its middle,
pieces within four pixels of one another being one; `Cells` is that with a ring of eight pixels,
so that the sister of an anaphase and fragments around are seen too.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from scipy import ndimage
from skimage import filters, io, segmentation

from profiler.measure import CellLabels, measure_batch, plan_measurement

CROPS = Path("data", "mitocheck", "crops")
FAMILIES = (
    "AreaShape",
    "Intensity",
    "Texture",
    "Granularity",
    "RadialDistribution",
    "RadialZernike",
)
RING_PX = 8
GAP_PX = 2  # pieces of one nucleus lie within twice this
BATCH = 64
PLACES = "_Location_|_Center_|_BoundingBox(Min|Max)imum_"  # where in the crop: an accident


class Crops(NamedTuple):
    """Every crop at hand, sorted by class and file.

    Attributes:
        names: File names, unique.
        movies: The movie each is from: never on both sides of a split.
        phenotypes: Its expert class.
        images: Grey levels, [crop, height, width] uint8.
    """

    names: np.ndarray
    movies: np.ndarray
    phenotypes: np.ndarray
    images: np.ndarray


def read_crops(shared: Path) -> Crops:
    """Read every crop of `shared/data/mitocheck`."""
    files = sorted((shared / CROPS).glob("*/*.png"))
    movies = ["___".join(file.name.split("___")[:2]) for file in files]
    return Crops(
        np.array([file.name for file in files]),
        np.array(movies),
        np.array([file.parent.name for file in files]),
        np.stack([io.imread(file) for file in files]),
    )


def central_nucleus(image: np.ndarray) -> np.ndarray:
    """Mask of the nucleus in the middle of a crop, all its fragments with it."""
    smooth = filters.gaussian(image.astype(np.float32), 1)
    mask = smooth > filters.threshold_otsu(smooth)
    pieces, _ = ndimage.label(ndimage.binary_dilation(mask, iterations=GAP_PX))
    rows, columns = np.indices(image.shape)  # pyright: ignore
    away = np.hypot(rows - image.shape[0] / 2 + 0.5, columns - image.shape[1] / 2 + 0.5)
    nearest = pieces.flat[np.where(mask, away, np.inf).argmin()]
    return mask & (pieces == nearest)


def compartments(images: np.ndarray) -> CellLabels:
    """Nucleus, nucleus with a ring, and the ring: label 1 in each crop."""
    nuclei = np.stack([central_nucleus(image) for image in images]).astype(np.int32)
    cells = np.stack([segmentation.expand_labels(one, RING_PX) for one in nuclei])
    return CellLabels(nuclei, cells, cells - nuclei)


def measure_crops(crops: Crops) -> pl.DataFrame:
    """One row per crop: Metadata_File, Metadata_Movie, Metadata_Phenotype, then features."""
    plan = plan_measurement(families=FAMILIES, stains=("DNA",), max_cells=1, backend="cpu")
    rows = []
    for start in range(0, len(crops.images), BATCH):
        images = crops.images[start : start + BATCH]
        table = measure_batch(images[..., None] / np.float32(255), compartments(images), plan=plan)
        rows.append(np.asarray(table.features)[:, 0])
    features = pl.DataFrame(np.concatenate(rows), schema=list(plan.columns))
    keys = pl.DataFrame(
        {
            "Metadata_File": crops.names.tolist(),
            "Metadata_Movie": crops.movies.tolist(),
            "Metadata_Phenotype": crops.phenotypes.tolist(),
        }
    )
    kept = features.select(pl.exclude(f"^.*({PLACES}).*$")).fill_nan(None)
    return keys.hstack(kept)


def features_of(shared: Path, cache: Path) -> pl.DataFrame:
    """`measure_crops` of every crop, kept in `cache/mitocheck_features.parquet`."""
    kept = cache / "mitocheck_features.parquet"
    if not kept.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        measure_crops(read_crops(shared)).write_parquet(kept)
    return pl.read_parquet(kept)


def main() -> None:
    """Measure, and say what the table holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shared", type=Path)
    parser.add_argument("--cache", type=Path, required=True, help="folder to keep the table in")
    args = parser.parse_args()
    if not (args.shared / CROPS).is_dir():
        parser.exit(message=f"{args.shared} holds no {CROPS}; nothing to measure.\n")
    table = features_of(args.shared, args.cache)
    empty = [x for x in table.columns if table[x].null_count() == table.height]
    print(
        f"{table.height} crops, {table['Metadata_Movie'].n_unique()} movies, "
        f"{table['Metadata_Phenotype'].n_unique()} classes, {table.width - 3} features, "
        f"{len(empty)} undefined throughout"
    )


if __name__ == "__main__":
    main()
