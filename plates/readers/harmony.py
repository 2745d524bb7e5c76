"""PerkinElmer / Revvity Harmony: Operetta, Operetta CLS and Opera Phenix.

`Images/Index.idx.xml` (Harmony 3 and 4) or `Images/Index.xml` (later) lists every image. What holds
for a whole channel stands in each image up to version 5 and in a map of channels since; we look
in the image first. Flat-field profiles are in that map, see `plates.readers.harmony_profile`.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl

from plates.errors import BadPlate
from plates.readers.folder import indexes, inside, plate_name
from plates.readers.harmony_profile import is_given
from plates.readers.reader import PlaneRow, Reader, table
from plates.readers.safe_xml import as_number, namespace, read_xml, text, well_in, whole

INDEXES = ("Index.xml", "Index.idx.xml")  # the first where a folder has both
DEPTH = 3  # a batch of the Cell Painting Gallery: images/<plate>/Images/Index.xml
VERSIONS = (3, 4, 5, 6, 7)
VERSION = re.compile(r"HarmonyV(\d+)$")
MICRO = 1e6
PROFILE = "FlatfieldProfile"

Said = Mapping[str, str | None]


def matches(source: Path) -> bool:
    """Whether there is an index near the top."""
    return bool(_indexes(source))


def scan(source: Path) -> pl.DataFrame:
    """List every plane of one or more measurements.

    Returns:
        One row per image, channels `ch1`, `ch2`, ... with their names. Images that the
        microscope planned but did not write have no file in the index, and no row.

    Raises:
        BadPlate: An index is damaged, of an unknown version, or names files outside its folder.
    """
    return table(row for index in _indexes(source) for row in _planes(index))


def _indexes(source: Path) -> list[Path]:
    found = indexes(source, *INDEXES, depth=DEPTH)
    by_folder = {path.parent: path for path in reversed(sorted(found, key=_preference))}
    return sorted(by_folder.values())


def _preference(path: Path) -> int:
    return [name.lower() for name in INDEXES].index(path.name.lower())


def _planes(index: Path) -> Iterator[PlaneRow]:
    _check_version(index)
    root = read_xml(index)
    plate = _plate(root) or plate_name(index.parent)
    channels = {channel: _lit(facts) for channel, facts in channel_facts(root).items()}
    for image in root.iterfind("Images/Image"):
        said = {child.tag: child.text for child in image}
        if said.get("URL"):
            yield _row(said, channels.get(said.get("ChannelID"), {}), plate=plate, index=index)


def _check_version(index: Path) -> None:
    """Another version may count planes or name files in another way: do not guess."""
    try:
        name = namespace(index.read_bytes())
    except Exception:  # `read_xml` says what is wrong with the file
        return
    found = VERSION.search(name)
    if not found or int(found[1]) not in VERSIONS:
        raise BadPlate(
            f"{index} is of an unknown version (its namespace is {name!r}). Known: HarmonyV"
            f"{', HarmonyV'.join(map(str, VERSIONS))}. Export the measurement in one of these, "
            "or read the file names with reader = 'pattern' and pattern = 'phenix'."
        )


def _plate(root: ET.Element) -> str | None:
    plate = root.find("Plates/Plate")
    return None if plate is None else text(plate, "Name") or text(plate, "PlateID")


def channel_facts(root: ET.Element) -> dict[str | None, dict[str, str | None]]:
    """Channel id -> what the map says of it; several maps may each say a part."""
    channels: dict[str | None, dict[str, str | None]] = {}
    for entry in root.iter("Entry"):
        said = channels.setdefault(entry.get("ChannelID"), {})
        said.update({child.tag: child.text for child in entry})
    return channels


def _lit(facts: Said) -> Said:
    """What is said of a channel, without a profile that says nothing."""
    is_lit = is_given(facts.get(PROFILE))
    return {tag: said for tag, said in facts.items() if tag != PROFILE or is_lit}


def _row(own: Said, shared: Said, *, plate: str, index: Path) -> PlaneRow:
    said = {**shared, **own}

    def count(tag: str) -> int:
        return whole(said.get(tag), what=tag, path=index)

    def number(tag: str, *, scale: float = 1.0) -> float | None:
        value = as_number(said.get(tag))
        return None if value is None else value * scale

    magnification = number("ObjectiveMagnification")
    channel = count("ChannelID")
    return PlaneRow(
        plate=plate,
        well=well_in(index, row=str(count("Row")), column=str(count("Col"))),
        site=count("FieldID"),
        channel=f"ch{channel}",
        z=count("PlaneID"),
        timepoint=count("TimepointID") if said.get("TimepointID") else 1,
        path=str(_file(said.get("URL") or "", index=index)),
        channel_name=said.get("ChannelName"),
        wavelength_nm=number("MainEmissionWavelength"),
        pixel_size_um=number("ImageResolutionX", scale=MICRO),
        magnification=magnification,
        objective=_objective(magnification, number("ObjectiveNA")),
        z_um=number("PositionZ", scale=MICRO),
        time_s=number("MeasurementTimeOffset"),
        flat_field=f"{index}#channel={channel}" if PROFILE in shared else None,
    )


def _objective(magnification: float | None, aperture: float | None) -> str | None:
    return f"{magnification:g}x/{aperture:g}" if magnification and aperture else None


def _file(url: str, *, index: Path) -> Path:
    if url.lower().startswith("http"):
        raise BadPlate(
            f"{index} names {url}, an image in Harmony's own archive. Export the measurement "
            "with its images."
        )
    return inside(index.parent, url, index=index)


HARMONY = Reader("harmony", f"Harmony's {' or '.join(INDEXES)}", matches, scan)
