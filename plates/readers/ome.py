"""OME-XML: which image, channel, z and time lies on which page of which file.

Source: the OME model, 2016-06 (docs.openmicroscopy.org, "OME-TIFF specification");
checked against tifffile's own reading of the same files in tests/plates/test_readers_ome_tiff.py.
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from itertools import product
from math import prod
from pathlib import Path
from typing import NamedTuple

from plates.errors import BadPlate
from plates.readers.reader import check_field, power
from plates.readers.safe_xml import as_number, whole
from plates.table import as_count

MICRONS = {"nm": 1e-3, "µm": 1.0, "μm": 1.0, "um": 1.0, "mm": 1e3, "cm": 1e4, "m": 1e6}
SECONDS = {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}


class OmePage(NamedTuple):
    """Where one plane of an image lies; all numbers from 0."""

    channel: int
    z: int
    time: int
    file: str | None  # None: the file that holds the XML
    page: int


class OmeImage(NamedTuple):
    """One image (a field of view) of an OME-XML.

    Attributes:
        name: As written, perhaps empty.
        channels: Name of each channel, `C0`, `C1`, ... where it has none or two share it.
        wavelengths: Emission of each in nm.
        pixel_size_um: Width of a pixel.
        z_step_um: Distance of two planes.
        time_step_s: From one time point to the next.
        objective: Its model, else its ID.
        magnification: As said, else as the objective's name tells.
        times: Seconds of each (channel, z, time) that says so.
        pages: Where the planes lie.
    """

    name: str
    channels: tuple[str, ...]
    wavelengths: tuple[float | None, ...]
    pixel_size_um: float | None
    z_step_um: float | None
    time_step_s: float | None
    objective: str | None
    magnification: float | None
    times: dict[tuple[int, int, int], float]
    pages: tuple[OmePage, ...]


class OmeWell(NamedTuple):
    """Where an image lies on a plate: position from 0, and which of the well's fields, from 1."""

    plate: str
    row: int
    column: int
    site: int


def images(root: ET.Element, *, path: Path) -> dict[str, OmeImage]:
    """Every image of an OME-XML, by its ID, in order.

    Raises:
        BadPlate: A number is missing or impossible, an image has no planes, or two have one ID.
    """
    objectives = {o.get("ID"): o for o in root.iter("Objective")}
    found: dict[str, OmeImage] = {}
    for number, image in enumerate(root.iterfind("Image")):
        key = image.get("ID", str(number))
        if key in found:
            raise BadPlate(f"{path}: two images have the ID {key}. Export it again.")
        found[key] = _image(image, objectives, path=path)
    return found


def wells(root: ET.Element, *, path: Path) -> dict[str, OmeWell]:
    """Image ID -> where it lies, for images that a plate names.

    Raises:
        BadPlate: A number is missing or impossible, or an image lies in two places.
    """
    found = {}
    for plate in root.iterfind("Plate"):
        name = plate.get("Name") or plate.get("ID") or ""
        for well in plate.iterfind("Well"):
            row, column = (_count(well, tag, path=path) for tag in ("Row", "Column"))
            for site, sample in enumerate(well.iterfind("WellSample"), start=1):
                reference = sample.find("ImageRef")
                if reference is None:
                    continue
                key = reference.get("ID", "")
                if key in found:
                    raise BadPlate(f"{path}: image {key} lies in two places. Export it again.")
                found[key] = OmeWell(name, row, column, site)
    return found


def _image(image: ET.Element, objectives: dict, *, path: Path) -> OmeImage:
    pixels = image.find("Pixels")
    if pixels is None:
        raise BadPlate(f"{path}: image {image.get('ID')} has no Pixels. Export it again.")
    settings = image.find("ObjectiveSettings")
    objective = None if settings is None else objectives.get(settings.get("ID"))
    channels = list(pixels.iterfind("Channel"))
    pages = tuple(_pages(pixels, path=path))
    if not pages:
        raise BadPlate(
            f"{path}: image {image.get('ID')} has no TiffData, so it is not known where its planes "
            "are. Export it again, as OME-TIFF."
        )
    return OmeImage(
        name=image.get("Name", ""),
        channels=_channel_names(channels, at_least=max((p.channel for p in pages), default=0) + 1),
        wavelengths=tuple(as_number(c.get("EmissionWavelength")) for c in channels),
        pixel_size_um=_quantity(pixels, "PhysicalSizeX", units=MICRONS, default="µm"),
        z_step_um=_quantity(pixels, "PhysicalSizeZ", units=MICRONS, default="µm"),
        time_step_s=_quantity(pixels, "TimeIncrement", units=SECONDS, default="s"),
        objective=_objective(objective),
        magnification=None if objective is None else _magnification(objective),
        times=dict(_times(pixels)),
        pages=pages,
    )


def _channel_names(channels: list[ET.Element], *, at_least: int) -> tuple[str, ...]:
    names = [c.get("Name") or c.get("Fluor") or "" for c in channels]
    names += [""] * (at_least - len(names))
    return tuple(
        name if name and names.count(name) == 1 else f"C{i}" for i, name in enumerate(names)
    )


def _objective(objective: ET.Element | None) -> str | None:
    if objective is None:
        return None
    return objective.get("Model") or objective.get("ID", "").removeprefix("Objective:") or None


def _magnification(objective: ET.Element) -> float | None:
    said = objective.get("NominalMagnification") or objective.get("CalibratedMagnification")
    return as_number(said) or power(_objective(objective))


def _quantity(
    element: ET.Element, tag: str, *, units: Mapping[str, float], default: str
) -> float | None:
    """A number in the unit that an attribute beside it names."""
    value, unit = as_number(element.get(tag)), units.get(element.get(f"{tag}Unit", default))
    return None if value is None or unit is None else value * unit


def _times(pixels: ET.Element) -> Iterator[tuple[tuple[int, int, int], float]]:
    for plane in pixels.iterfind("Plane"):
        time = _quantity(plane, "DeltaT", units=SECONDS, default="s")
        c, z, t = (as_count(plane.get(axis, "0")) for axis in ("TheC", "TheZ", "TheT"))
        if time is not None and c is not None and z is not None and t is not None:
            yield (c, z, t), time


def _pages(pixels: ET.Element, *, path: Path) -> Iterator[OmePage]:
    sizes = {axis: _count(pixels, f"Size{axis}", path=path) for axis in "CZT"}
    stated = prod(sizes.values())
    channels = list(pixels.iterfind("Channel"))
    samples = sum(_count(c, "SamplesPerPixel", path=path, default="1") for c in channels)
    if channels and samples == sizes["C"]:  # red, green and blue lie on one page
        sizes["C"] = len(channels)
    order = _order(pixels, path=path)
    check_field(sizes.values(), path=path)
    planes = list(_in_order(order, sizes))
    position = {tuple(plane[axis] for axis in "CZT"): i for i, plane in enumerate(planes)}
    for data in pixels.iterfind("TiffData"):
        first = {axis: _count(data, f"First{axis}", path=path, default="0") for axis in "CZT"}
        start = position.get(tuple(first.values()))
        every = "1" if data.get("IFD") else str(len(planes))
        count = _count(data, "PlaneCount", path=path, default=every)
        if data.get("PlaneCount") and count > stated:
            raise BadPlate(
                f"{path}: TiffData has {count} planes, but the sizes of its Pixels are for "
                f"{stated}. Export it again."
            )
        # Some writers name one more than the sizes say; the page is the better witness.
        named = [first] if start is None else planes[start : start + count]
        uuid = data.find("UUID")
        file = None if uuid is None else uuid.get("FileName")
        first_page = _count(data, "IFD", path=path, default="0")
        for page, plane in enumerate(named, start=first_page):
            yield OmePage(plane["C"], plane["Z"], plane["T"], file, page)


def _order(pixels: ET.Element, *, path: Path) -> str:
    order = pixels.get("DimensionOrder", "")
    if sorted(order) != sorted("XYZCT") or order[:2] != "XY":
        raise BadPlate(
            f"{path}: DimensionOrder is {order!r}, expected XY and then Z, C and T in some order. "
            "Export it again."
        )
    return order[2:]


def _in_order(order: str, sizes: dict[str, int]) -> Iterator[dict[str, int]]:
    """Every plane, the first axis of the order changing fastest."""
    slow_first = order[::-1]
    for index in product(*(range(sizes[axis]) for axis in slow_first)):
        yield dict(zip(slow_first, index, strict=True))


def _count(element: ET.Element, name: str, *, path: Path, default: str = "") -> int:
    return whole(element.get(name, default), what=f"{name} of {element.tag}", path=path)
