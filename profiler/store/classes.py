"""The classes of a run's cells, one file per well beside its cells: which are there and whole."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from plates.errors import BadRun
from profiler.store.mirror import address_of
from profiler.store.places import Well, stored, well_path, well_paths
from profiler.store.tables import Footer, read_footers, scan_checked

CLASSES = "classes"  # the folder
LEVEL = "cell_classes"
SAME = ("model", "coverage")  # what all wells have alike


def identity(footer: Footer) -> str:
    """Name the content of a cell file by its footer: written anew, it is another."""
    text = json.dumps(footer.parameters, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def classes_path(out: Path, well: Well) -> Path:
    """Name the file of a well's classes."""
    return well_path(out, *well, table=CLASSES)


def has_classes(out: Path) -> bool:
    """Whether any well has classes; reads nothing but folder listings."""
    return any((out / CLASSES).glob("*/*.parquet"))


def scan_classes(out: Path) -> pl.LazyFrame:
    """Open the classes of all cells lazily: footers are read now, rows when collected.

    Raises:
        BadRun: There are none yet, some wells lack them, they are of several classifiers, or of
            cells that have been computed anew since.
    """
    wells = stored(out)
    paths = well_paths(out, wells, table=CLASSES)
    lacking = [well for well, path in paths.items() if not path.is_file()]
    if not wells or len(lacking) == len(wells):
        raise BadRun(f"{_name(out)} has no {LEVEL} yet. {_remedy(out)}")
    if lacking:
        raise BadRun(_told(out, lacking, of=wells, what="have no classes"))
    made = dict(zip(wells, read_footers(paths.values()), strict=True))
    cells = read_footers(well_paths(out, wells, table="cells").values())
    _check_alike(out, made)
    old = [
        well
        for (well, footer), own in zip(made.items(), cells, strict=True)
        if footer.parameters.get("cells") != identity(own)
    ]
    if old:
        raise BadRun(_told(out, old, of=wells, what="have classes of earlier cells"))
    plates, names = zip(*wells, strict=True)
    keys = {"Metadata_Plate": plates, "Metadata_Well": names}
    return scan_checked(list(paths.values()), keys=keys)


def _check_alike(out: Path, made: Mapping[Well, Footer]) -> None:
    by_maker: dict[tuple, list[Well]] = {}
    for well, footer in made.items():
        if footer.level != LEVEL:
            named = f"{' '.join(well)} in {_name(out)}"
            raise BadRun(f"The classes of {named} are a table of {footer.level}.")
        by_maker.setdefault(tuple(footer.parameters[name] for name in SAME), []).append(well)
    if len(by_maker) > 1:
        odd = min(by_maker.values(), key=len)
        raise BadRun(_told(out, odd, of=list(made), what="have classes of another classifier"))


def _told(out: Path, odd: list[Well], *, of: list[Well], what: str) -> str:
    first = " ".join(odd[0])
    return (
        f"{len(odd)} of {len(of)} wells of {_name(out)} {what}, such as {first}. {_remedy(out)} "
        "Only wells that need it are classified again."
    )


def _remedy(out: Path) -> str:
    return f"Make them with: profiler classify {_name(out)} --model MODEL.safetensors."


def _name(out: Path) -> Path | str:
    """What a person calls a run folder: its address, of one in a store."""
    return address_of(out) or out
