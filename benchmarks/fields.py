"""Fields to measure, with the masks they are measured on: real ones, and drawn ones of any size."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import tifffile

from plates.synthetic import Phenotype, field
from plates.well import FORMATS, plate_wells
from profiler.compute.field import to_unit
from profiler.measure import COMPARTMENTS, CellLabels
from profiler.recipe import Recipe, parse_recipe
from profiler.segment.compartments import CellsConfig
from profiler.segment.segmenter import SegmentConfig, load_segmenter

STAINS = ("DNA", "RNA", "AGP", "Mito", "ER")
PHENIX = (5, 2, 3, 4, 6)  # the Phenix channels of these stains


class Case(NamedTuple):
    """One field.

    Attributes:
        name: For the tables.
        stains: Of the image's channels.
        image: 0 to 1, [height, width, channel] float32.
        labels: The masks.
        scale_max: What 1 was in the file, for Costes' thresholds.
    """

    name: str
    stains: tuple[str, ...]
    image: np.ndarray
    labels: CellLabels
    scale_max: int

    @property
    def cells(self) -> int:
        """How many there are."""
        return int(self.labels.cells.max())


def cases(shared: Path) -> Iterator[Case]:
    """All fields that are at hand; the real ones need the data folder."""
    if (shared / "data").is_dir():
        yield cellprofilers_own(shared)
        yield bioactives(shared)
        yield bbbc013(shared)
    yield drawn(Phenotype(), size=512, seed=1)


def cellprofilers_own(shared: Path) -> Case:
    """A Cell Painting field on CellProfiler's own masks, 37 cells."""
    folder = shared / "data" / "cell_painting" / "br00143976_phenix_naming"
    planes = [tifffile.imread(next(folder.glob(f"*-ch{number}sk*.tiff"))) for number in PHENIX]
    masks = shared / "reference" / "cellprofiler"
    labels = (tifffile.imread(masks / f"{name}_labels.tif") for name in COMPARTMENTS)
    image = np.stack(planes, axis=-1).astype(np.float32) / 65535
    return Case("Cell Painting, Phenix", STAINS, image, CellLabels(*labels), 65535)


def bioactives(shared: Path) -> Case:
    """A field of CDP2's bioactives on our masks."""
    path = shared / "data" / "cell_painting" / "cdp2bioactives" / "cdp2bioactives_h15.ome.tif"
    planes = np.asarray(tifffile.imread(path, series=0))
    raw = np.moveaxis(planes.reshape(-1, *planes.shape[-2:])[: len(STAINS)], 0, -1)
    return _segmented("Cell Painting, CDP2", STAINS, raw)


def bbbc013(shared: Path) -> Case:
    """A well of BBBC013 on our masks."""
    folder = shared / "data" / "bbbc013" / "images"
    names = [next(folder.glob(f"Channel{channel}-25-C-01*")) for channel in (2, 1)]
    raw = np.stack([tifffile.imread(name) for name in names], axis=-1)
    return _segmented("BBBC013, C01", ("DNA", "GFP"), raw)


def drawn(phenotype: Phenotype, *, size: int, seed: int) -> Case:
    """A synthetic field on its true masks, its stains repeated to five with noise of their own."""
    made = field(phenotype, size=size, seed=seed)
    rng = np.random.default_rng(seed)
    raw = made.images[..., [0, 2, 1, 2, 1]].astype(np.float32)
    raw[..., 3:] = rng.poisson(raw[..., 3:])
    cytoplasm = np.where(made.nuclei > 0, 0, made.cells)
    image = (raw / 65535).astype(np.float32)
    cells = int(made.cells.max())
    labels = CellLabels(made.nuclei, made.cells, cytoplasm)
    return Case(f"synthetic, {size} px, {cells} cells", STAINS, image, labels, 65535)


def write_plate(
    folder: Path, *, wells: int, sites: int, size: int, n_cells: float, distinct: int = 16
) -> list[int]:
    """Write a plate of five stains as uint16 TIFFs, `{well}_s{site}_{stain}.tif`.

    Args:
        folder: Made if need be.
        wells: How many, row by row of a 384-well plate.
        sites: Fields in a well.
        size: Height and width of a field in pixels.
        n_cells: In a field, on average.
        distinct: Fields that are drawn; they are repeated over the plate in turn, each as files
            of its own, since drawing 3,456 would take longer than measuring them.

    Returns:
        Nuclei that were drawn in each field, in the order of the plate.
    """
    folder.mkdir(parents=True, exist_ok=True)
    count = wells * sites
    made = [_encoded(size, n_cells, seed) for seed in range(min(distinct, count))]
    places = [
        (well, site) for well in plate_wells(FORMATS[384])[:wells] for site in range(1, sites + 1)
    ]
    for i, (well, site) in enumerate(places):
        for stain, data in zip(STAINS, made[i % len(made)].files, strict=True):
            (folder / f"{well}_s{site}_{stain}.tif").write_bytes(data)
    return [made[i % len(made)].nuclei for i in range(count)]


def drawn_nuclei(*, size: int, n_cells: float, seed: int) -> np.ndarray:
    """The true nuclei of a field of `write_plate`, [height, width]."""
    return field(Phenotype(n_cells=n_cells), size=size, seed=seed).nuclei


class _Encoded(NamedTuple):
    nuclei: int
    files: list[bytes]


def _encoded(size: int, n_cells: float, seed: int) -> _Encoded:
    case = drawn(Phenotype(n_cells=n_cells), size=size, seed=seed)
    raw = np.round(case.image * 65535).astype(np.uint16)
    files = []
    for plane in np.moveaxis(raw, -1, 0):
        buffer = io.BytesIO()
        options = {"compression": "zlib", "compressionargs": {"level": 1}, "predictor": True}
        tifffile.imwrite(buffer, plane, photometric="minisblack", metadata=None, **options)
        files.append(buffer.getvalue())
    return _Encoded(int(case.labels.nuclei.max()), files)


def five_stains(name: str, *, max_cells: int = 512) -> Recipe:
    """The full set of features on five stains, for the plates above and for accelerators."""
    return parse_recipe({
        "name": name,
        "images": {
            "reader": "pattern",
            "pattern": r"(?P<well>[A-P]\d\d)_s(?P<site>\d+)_(?P<channel>\w+)\.tif",
            "channels": {stain: stain for stain in STAINS},
        },
        "segment": {"nuclei": "DNA", "cells": "RNA", "gap_px": 1.5, "max_cells": max_cells},
    })  # fmt: skip


def _segmented(name: str, stains: tuple[str, ...], raw: np.ndarray) -> Case:
    image = np.asarray(to_unit(raw))
    config = SegmentConfig(cells_channel=1, cells=CellsConfig(), max_cells=1024)
    found = load_segmenter(config).segment(jnp.asarray(image[None]))
    labels = CellLabels(*(np.asarray(getattr(found, n.lower())[0]) for n in COMPARTMENTS))
    return Case(name, stains, image, labels, int(np.iinfo(raw.dtype).max))
