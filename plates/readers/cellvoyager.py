"""Yokogawa CellVoyager (CV7000, CV8000).

The folder holds one TIFF per plane and `MeasurementData.mlf`, an XML index of them, with
`MeasurementDetail.mrf` (pixel sizes, shading images) and a `.mes` file (channels). We trust the
index and never parse file names.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import polars as pl

from plates.errors import BadPlate
from plates.readers.folder import indexes, inside, is_there, plate_name
from plates.readers.reader import PlaneRow, Reader, table
from plates.readers.safe_xml import as_number, read_xml, well_in, whole

INDEX = "MeasurementData.mlf"
VERSION = "1.0"
DETAIL = "MeasurementDetail.mrf"
NUMBERS = ("Row", "Column", "FieldIndex", "Ch", "ZIndex", "TimePoint")
BAND = re.compile(r"BP(\d+)/\d+")  # a band-pass filter: its centre and width in nm


class _Channel(NamedTuple):
    channel_name: str | None = None
    wavelength_nm: float | None = None
    pixel_size_um: float | None = None
    magnification: float | None = None
    objective: str | None = None
    flat_field: str | None = None


def matches(source: Path) -> bool:
    """Whether there is an index near the top."""
    return bool(indexes(source, INDEX))


def scan(source: Path) -> pl.DataFrame:
    """List every plane of one or more measurements.

    Returns:
        One row per TIFF, channels `C01`, `C02`, ...; records of errors (autofocus that failed
        and the like) are no planes.

    Raises:
        BadPlate: The index is damaged, or names files outside its folder.
    """
    return table(row for index in indexes(source, INDEX) for row in _planes(index))


def _planes(index: Path) -> Iterator[PlaneRow]:
    home = index.parent
    detail = read_xml(home / DETAIL) if (home / DETAIL).is_file() else ET.Element("none")
    channels = _channels(home, detail)
    plate = _plate(detail) or plate_name(home)
    root = read_xml(index)
    _check_version(root, index=index)
    images = [r for r in root.iter("MeasurementRecord") if r.get("Type") == "IMG"]
    times = [_seconds(image.get("Time")) for image in images]
    start = min((time for time in times if time is not None), default=0.0)
    for image, time in zip(images, times, strict=True):
        number = {n: whole(image.get(n), what=n, path=index) for n in NUMBERS}
        yield PlaneRow(
            plate=plate,
            well=well_in(index, row=str(number["Row"]), column=str(number["Column"])),
            site=number["FieldIndex"],
            channel=f"C{number['Ch']:02d}",
            z=number["ZIndex"],
            timepoint=number["TimePoint"],
            path=str(inside(home, image.text or "", index=index)),
            z_um=as_number(image.get("Z")),
            time_s=None if time is None else time - start,
            **channels.get(number["Ch"], _Channel())._asdict(),
        )


def _check_version(root: ET.Element, *, index: Path) -> None:
    """Another version may count planes in another way: do not guess."""
    version = root.get("Version", VERSION)
    if version.partition(".")[0] != VERSION.partition(".")[0]:
        raise BadPlate(
            f"{index} is of the unknown version {version!r}; known is {VERSION}. Export the "
            "measurement in that version, or read the file names with a pattern."
        )


def _plate(detail: ET.Element) -> str | None:
    plate = detail.find("MeasurementSamplePlate")
    return plate.get("Name") if plate is not None else None


def _seconds(time: str | None) -> float | None:
    try:
        return datetime.fromisoformat(time).timestamp() if time else None
    except ValueError:
        return None


def _channels(home: Path, detail: ET.Element) -> dict[int, _Channel]:
    """What the detail and the settings say of each channel; either may be missing."""
    channels = {}
    settings = {c.get("Ch"): c for c in _settings(home, detail).iter("Channel")}
    for measured in detail.iter("MeasurementChannel"):
        number = whole(measured.get("Ch"), what="Ch", path=home / DETAIL)
        setting = settings.get(measured.get("Ch"), ET.Element("none"))
        shading = measured.get("ShadingCorrectionSource")
        band = BAND.fullmatch(setting.get("Acquisition") or "")
        profile = inside(home, shading, index=home / DETAIL) if shading else None
        channels[number] = _Channel(
            channel_name=setting.get("Fluorophore") or setting.get("Acquisition"),
            wavelength_nm=float(band[1]) if band else None,
            pixel_size_um=as_number(measured.get("HorizontalPixelDimension")),
            magnification=as_number(setting.get("Magnification")),
            objective=setting.get("Objective"),
            flat_field=str(profile) if profile and is_there(profile) else None,
        )
    return channels


def _settings(home: Path, detail: ET.Element) -> ET.Element:
    name = detail.get("MeasurementSettingFileName")
    path = inside(home, name, index=home / DETAIL) if name else None
    return read_xml(path) if path and is_there(path) else ET.Element("none")


CELLVOYAGER = Reader("cellvoyager", f"Yokogawa's {INDEX}", matches, scan)
