"""Molecular Devices ImageXpress: MetaXpress's own folders, and plates exported with an .HTD file.

    Plate/2023-02-21/1334/[TimePoint_2/][ZStep_3/]Name_E08_s2_w2<GUID>.tif      its own
    Plate/TimePoint_1/[ZStep_3/]9987_B02_s1_w1.TIF with 9987.HTD                exported

Thumbnails (`_thumb`) are no planes. What lies beside the ZStep folders, or in ZStep_0, is a
projection of them; it is taken only where a channel has no steps of its own.

Fields that the .HTD states and of which no image is there are listed as files that are missing.
"""

import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from itertools import chain, product
from pathlib import Path
from typing import NamedTuple, TypeAlias

import polars as pl
import tifffile

from plates.errors import BadPlate
from plates.readers.folder import image_files, indexes, number_in, plate_name
from plates.readers.htd import Htd, read_htd
from plates.readers.mirror import is_mirror, opened
from plates.readers.reader import PlaneRow, Reader, power, table
from plates.readers.safe_xml import as_number, parse_xml
from plates.remote import RemoteFile
from plates.well import parse_well

GUID = r"[0-9A-F]{8}(?:-[0-9A-F]{4}){3}-[0-9A-F]{12}"
# The first part that can be the well is: `_s12` could be one, too.
NAME = re.compile(
    r"(?i).+?_(?P<well>[A-Z]{1,2}\d{2})(?:_s(?P<site>\d+?))?(?:_w(?P<wave>\d+?))?"
    rf"(?P<thumb>_thumb)?(?P<guid>{GUID})?\.tiff?"
)
HTD = "*.htd"
AT_ONCE = 16  # headers read: on a network drive nearly all of the time is waiting

_Wave: TypeAlias = tuple[str, int]  # plate, number
_Shared: TypeAlias = tuple[str, str, int]  # plate, well, number of the wave


class _File(NamedTuple):
    plate: str
    well: str
    site: int
    wave: int
    timepoint: int
    step: int
    path: Path


class _Header(NamedTuple):
    """What a well's first image of a channel says of itself."""

    channel_name: str | None = None
    wavelength_nm: float | None = None
    pixel_size_um: float | None = None
    magnification: float | None = None
    objective: str | None = None


def matches(source: Path) -> bool:
    """Whether there is an .HTD file near the top, or an image named with a GUID anywhere."""
    if indexes(source, HTD):
        return True
    try:
        return source.is_dir() and any(_guid(path) for path in image_files(source))
    except BadPlate:
        return False


def _guid(path: Path) -> bool:
    found = NAME.fullmatch(path.name)
    return bool(found and found["guid"])


def scan(source: Path) -> pl.DataFrame:
    """List every plane of one or more plates.

    Returns:
        One row per plane, channels `w1`, `w2`, ... with their names; the planes of a well or site
        that the .HTD states are listed whether they are there or not. What images say of
        themselves is read from the first of each plate, well and channel: an objective may be
        changed between wells, and `plates.readers.reader.checked` refuses such a plate. Of a
        plate in a store it is read from one image of each well and of each channel.

    Raises:
        BadPlate: No image has such a name, or an .HTD chooses a well that cannot be.
    """
    home = source.parent if source.is_file() else source
    files = _files(image_files(home))
    if not files:
        raise BadPlate(
            f"{source} holds no image named as MetaXpress does (..._B02_s1_w1.TIF, with or without "
            "a GUID). Give the folder of the plate, or a pattern for its file names."
        )
    taken = _without_projections(files)
    stated = [(plate_name(path.parent), read_htd(path)) for path in indexes(home, HTD)]
    names = {(plate, number): name for plate, htd in stated for number, name in htd.waves}
    headers = _headers(taken)
    listed = chain(taken, _missing(taken, dict.fromkeys(stated)))
    return table(_row(f, headers.get(_shared(f), _Header()), names=names) for f in listed)


def _files(paths: list[Path]) -> list[_File]:
    """Files that are planes or projections, told by their names and folders."""
    folders = {path.parent for path in paths}
    plates = {folder: plate_name(folder) for folder in folders}
    times = {folder: _folder_number(folder, "timepoint", default=1) for folder in folders}
    steps = {folder: _folder_number(folder, "zstep", default=0) for folder in folders}
    named = [(path, found) for path in paths if (found := NAME.fullmatch(path.name))]
    return [
        _File(
            plate=plates[path.parent],
            well=parse_well(found["well"]),
            site=number_in(found["site"] or "1", path=path),
            wave=number_in(found["wave"] or "1", path=path),
            timepoint=times[path.parent],
            step=steps[path.parent],
            path=path,
        )
        for path, found in named
        if not found["thumb"]
    ]


def _folder_number(folder: Path, name: str, *, default: int) -> int:
    for part in reversed(folder.parts):
        if found := re.fullmatch(rf"(?i){name}_(\d+)", part):
            return number_in(found[1], path=folder)
    return default


def _without_projections(files: list[_File]) -> list[_File]:
    """Leave step 0 out where there are others; it is their projection."""
    stacked = {file[:5] for file in files if file.step}
    return [file for file in files if file.step or file[:5] not in stacked]


def _missing(files: list[_File], stated: Iterable[tuple[str, Htd]]) -> set[_File]:
    """What was to be imaged, but is not there.

    A wave is missed only at the times and steps at which some field has it, since plates may skip
    a wave at some times, and a time point of which nothing is there may be still to come.
    """
    there = {file[:5] for file in files}
    missing = set()
    for plate, htd in stated:
        own = [file for file in files if file.plate == plate]
        found = {file.site for file in own}
        sites = htd.sites if found <= htd.sites else found  # else numbered in another way
        for well, site, like in product(htd.wells, sites, _examples(own)):
            file = like._replace(well=well, site=site)
            if file[:5] not in there:
                missing.add(file._replace(path=_path_like(like.path, well, site)))
    return missing


def _examples(files: list[_File]) -> list[_File]:
    """A file for each wave, time and step, without projections of waves that have steps."""
    found = {(file.wave, file.timepoint, file.step): file for file in reversed(files)}
    stacked = {kind[:2] for kind in found if kind[2]}
    return [file for kind, file in found.items() if kind[2] or kind[:2] not in stacked]


def _path_like(path: Path, well: str, site: int) -> Path:
    """What the image of another field would be called; nobody knows its GUID."""
    found = NAME.fullmatch(path.name)
    if not found:
        return path
    site_part = f"_s{site}" if found["site"] or site > 1 else ""
    wave_part = f"_w{found['wave']}" if found["wave"] else ""
    return path.with_name(
        f"{path.name[: found.start('well')]}{well}{site_part}{wave_part}{path.suffix}"
    )


def _row(file: _File, header: _Header, *, names: Mapping[_Wave, str]) -> PlaneRow:
    name = names.get((file.plate, file.wave)) or header.channel_name
    header = header._replace(channel_name=name)
    return PlaneRow(
        plate=file.plate, well=file.well, site=file.site, channel=f"w{file.wave}",
        z=file.step or 1, timepoint=file.timepoint, path=str(file.path), **header._asdict(),
    )  # fmt: skip


def _headers(files: list[_File]) -> dict[_Shared, _Header]:
    """What images of one plate, well and wave share, each read from the first of them."""
    first: dict[_Shared, Path] = {}
    for file in files:
        first.setdefault(_shared(file), file.path)
    if is_mirror():
        some = _sample(first)
        return _shared_out(dict(zip(some, _read(some.values()), strict=True)), over=first)
    return dict(zip(first, _read(first.values()), strict=True))


def _read(paths: Iterable[Path]) -> list[_Header]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(_header, map(opened, paths)))


def _sample(first: Mapping[_Shared, Path]) -> dict[_Shared, Path]:
    """One image of each well and of each wave: every request to a store is waited for."""
    seen: set[tuple[str, str | int]] = set()
    sample = {}
    for (plate, well, wave), path in first.items():
        if not {(plate, well), (plate, wave)} <= seen:
            sample[plate, well, wave] = path
            seen |= {(plate, well), (plate, wave)}
    return sample


def _shared_out(
    read: Mapping[_Shared, _Header], *, over: Iterable[_Shared]
) -> dict[_Shared, _Header]:
    """What a sample says of all: names and wavelengths are a wave's, the objective is a well's."""
    of_wave = {(plate, wave): header for (plate, _, wave), header in reversed([*read.items()])}
    of_well = {(plate, well): header for (plate, well, _), header in reversed([*read.items()])}
    return {
        (plate, well, wave): of_well[plate, well]._replace(
            channel_name=of_wave[plate, wave].channel_name,
            wavelength_nm=of_wave[plate, wave].wavelength_nm,
        )
        for plate, well, wave in over
    } | dict(read)


def _shared(file: _File) -> _Shared:
    return file.plate, file.well, file.wave


def _header(image: AbstractContextManager[Path | RemoteFile]) -> _Header:
    """Read the calibration that MetaXpress writes into an image; nothing if there is none.

    Raises:
        OSError: A store cannot be asked: all its plates would seem to have no pixel size.
    """
    with image as file:
        try:
            with tifffile.TiffFile(file) as tiff:  # type: ignore[arg-type]  # any open file will do
                description = tiff.pages.first.description
            root = parse_xml(description, path=str(file))
        except Exception:  # the loader will say what is wrong with the file
            return _Header()
    said = {p.get("id"): p.get("value") for p in root.iter() if p.tag in ("prop", "custom-prop")}
    is_um = said.get("spatial-calibration-units") in ("um", "µm")
    objective = said.get("_MagSetting_")
    return _Header(
        channel_name=said.get("_IllumSetting_"),
        wavelength_nm=as_number(said.get("wavelength")),
        pixel_size_um=as_number(said.get("spatial-calibration-x")) if is_um else None,
        magnification=power(objective),
        objective=objective,
    )


IMAGEXPRESS = Reader(
    "imagexpress", "an .HTD file, or images that MetaXpress named with a GUID", matches, scan
)
