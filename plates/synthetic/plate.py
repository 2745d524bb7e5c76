"""A synthetic plate on disk: images, plate map and truth."""

import json
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import tifffile

from plates.errors import BadPlate
from plates.synthetic.design import PlateDesign, WellPlan, plan
from plates.synthetic.field import CHANNELS, Field, field, mean_ratio
from plates.well import well_position

PLATE_MAP = "platemap.csv"
TRUTH = "truth.json"
LABELS = "truth"  # folder


class PlateTruth(NamedTuple):
    """What was planted on a plate.

    Attributes:
        plate: Name of the plate.
        compounds: One row per compound screened: `compound, is_hit, phenotype, ec50, efficacy,
            hill, unit`; `ec50`, `efficacy` and `hill` are null where `is_hit` is false.
        wells: One row per well, row by row: `well, compound, role, concentration, phenotype,
            effect` (0 to 1), `translocation` (0 to 1), `ratio` (expected nuclear over
            cytoplasmic GFP of a cell), `cells_expected` (nuclei in all its fields),
            `count_factor` and `brightness_factor` (the plate effect, in the numbers before),
            and `cells` (nuclei that were drawn).
    """

    plate: str
    compounds: pl.DataFrame
    wells: pl.DataFrame


def write_plate(
    folder: Path | str, design: PlateDesign, *, save_labels: bool = False
) -> PlateTruth:
    """Draw a plate and write it as a microscope would, with plate map and truth.

    Args:
        folder: Made if need be; may hold an earlier version of the same plate.
        design: What to draw.
        save_labels: Also write the true label images.

    Returns:
        What was planted. The folder holds `{plate}_{well}_s{site}_{channel}.tif` (uint16,
        compressed), `platemap.csv`, `truth.json` (the same as what is returned, written last)
        and, if wanted, `truth/{plate}_{well}_s{site}_{nuclei,cells}.tif` (int32).

    Raises:
        BadRecipe: The cells do not fit into the fields; nothing was written.
        BadPlate: The folder holds images of another plate, or cannot be written.
    """
    folder = Path(folder)
    wells = plan(design)
    try:
        _check_folder(folder, design, wells)
        (folder / LABELS if save_labels else folder).mkdir(parents=True, exist_ok=True)
        (folder / TRUTH).unlink(missing_ok=True)
        cells = _write_fields(folder, design, wells, save_labels=save_labels)
        _plate_map(design, wells).write_csv(folder / PLATE_MAP)
        truth = PlateTruth(design.plate, _compounds(design), _wells(design, wells, cells))
        _write_truth(folder / TRUTH, truth)
    except OSError as reason:
        raise BadPlate(
            f"The synthetic plate {design.plate!r} cannot be written to {folder}: "
            f"{reason.strerror}. What is there is incomplete: it has no {TRUTH}."
        ) from reason
    return truth


def read_truth(folder: Path | str) -> PlateTruth:
    """Read back what `write_plate` planted.

    Raises:
        BadPlate: The folder has no `truth.json`, so is no complete synthetic plate.
    """
    path = Path(folder) / TRUTH
    if not path.is_file():
        raise BadPlate(
            f"{folder} has no {TRUTH}: it is no synthetic plate, or one whose writing was "
            "interrupted. Write it again with plates.synthetic.write_plate."
        )
    found = json.loads(path.read_text(encoding="utf-8"))
    tables = (
        pl.DataFrame(found[name], infer_schema_length=None) for name in PlateTruth._fields[1:]
    )
    return PlateTruth(found["plate"], *tables)


def image_name(design: PlateDesign, *, well: str, site: int, channel: str) -> str:
    """File name of one plane.

    >>> image_name(PlateDesign(), well="B03", site=1, channel="DNA")
    'demo_B03_s1_DNA.tif'
    """
    return f"{design.plate}_{well}_s{site}_{channel}.tif"


def _check_folder(folder: Path, design: PlateDesign, wells: list[WellPlan]) -> None:
    expected = {
        image_name(design, well=well.well, site=site, channel=channel)
        for well in wells
        for site in range(1, design.sites + 1)
        for channel in CHANNELS
    }
    others = sorted(path.name for path in folder.glob("*.tif") if path.name not in expected)
    if others:
        raise BadPlate(
            f"{folder} holds {len(others)} image(s) that are not of plate {design.plate!r} as "
            f"designed, such as {others[0]}; nothing was written. Take an empty folder."
        )


def _write_fields(
    folder: Path, design: PlateDesign, wells: list[WellPlan], *, save_labels: bool
) -> list[int]:
    """Draw and write all fields, several at a time; return the cells of every well."""

    def write(well: WellPlan) -> int:
        total = 0
        for site in range(1, design.sites + 1):
            drawn = field(well.phenotype, size=design.size, seed=_seed(design, well, site))
            planes = zip(CHANNELS, np.moveaxis(drawn.images, -1, 0), strict=True)
            _write_planes(folder, design, (well.well, site), planes)
            if save_labels:
                labels = (("nuclei", drawn.nuclei), ("cells", drawn.cells))
                _write_planes(folder / LABELS, design, (well.well, site), labels)
            total += _count(drawn)
        return total

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(write, wells))


def _seed(design: PlateDesign, well: WellPlan, site: int) -> int:
    """One seed per field, of its place alone: no field depends on another."""
    place = (design.seed, *well_position(well.well), site)
    return int(np.random.SeedSequence(place).generate_state(1)[0])


def _count(drawn: Field) -> int:
    return len(drawn.truth.ratio)


def _write_planes(
    folder: Path,
    design: PlateDesign,
    place: tuple[str, int],
    planes: Iterable[tuple[str, np.ndarray]],
) -> None:
    well, site = place
    for channel, plane in planes:
        name = image_name(design, well=well, site=site, channel=channel)
        tifffile.imwrite(
            folder / name,
            plane,
            photometric="minisblack",
            compression="zlib",
            compressionargs={"level": 1},
            predictor=True,
            metadata=None,
        )


def _plate_map(design: PlateDesign, wells: list[WellPlan]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "well_position": [well.well for well in wells],
            "compound": [well.compound.name for well in wells],
            "role": [well.role for well in wells],
            "concentration": [well.concentration for well in wells],
            "unit": [design.unit] * len(wells),
        }
    )


def _compounds(design: PlateDesign) -> pl.DataFrame:
    rows = [
        {
            "compound": compound.name,
            "is_hit": compound.is_hit,
            "phenotype": compound.phenotype,
            "ec50": None if compound.ec50 is None else float(compound.ec50),
            "efficacy": float(compound.efficacy) if compound.is_hit else None,
            "hill": float(compound.hill) if compound.is_hit else None,
            "unit": design.unit,
        }
        for compound in design.compounds
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


def _wells(design: PlateDesign, wells: list[WellPlan], cells: list[int]) -> pl.DataFrame:
    rows = [
        {
            "well": well.well,
            "compound": well.compound.name,
            "role": well.role,
            "concentration": well.concentration,
            "phenotype": well.compound.phenotype,
            "effect": well.effect,
            "translocation": well.phenotype.translocation,
            "ratio": mean_ratio(well.phenotype),
            "cells_expected": design.sites * well.phenotype.n_cells,
            "count_factor": well.count_factor,
            "brightness_factor": well.brightness_factor,
            "cells": drawn,
        }
        for well, drawn in zip(wells, cells, strict=True)
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


def _write_truth(path: Path, truth: PlateTruth) -> None:
    content = {
        "plate": truth.plate,
        "channels": CHANNELS,
        "compounds": truth.compounds.to_dicts(),
        "wells": truth.wells.to_dicts(),
    }
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")
