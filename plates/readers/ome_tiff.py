"""OME-TIFF: many planes a file, many files a plate; the index is OME-XML.

The XML stands in a `.companion.ome` file or at the start of each `.ome.tif`. The well of an image
is what its Plate element says; without one, the only part of the image's or the file's name
that is a well (`screen1_h15.ome.tif`), and its images are then that well's sites.
"""

import filecmp
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeAlias

import polars as pl
import tifffile

from plates.address import page_of
from plates.errors import BadPlate
from plates.readers import ome
from plates.readers.folder import indexes, inside, is_there, plate_name
from plates.readers.reader import PlaneRow, Reader, table
from plates.readers.safe_xml import parse_xml, read_xml, well_in
from plates.well import parse_well

COMPANION = "*.companion.ome"
TIFF = ("*.ome.tif", "*.ome.tiff", "*.ome.tf2", "*.ome.btf")
IMAGES = ("*.tif", "*.tiff", "*.png", "*.tf2", "*.btf")
WORDS = re.compile(r"[^A-Za-z0-9]+")
WELL = re.compile(r"[A-Za-z]{1,2}\d{1,2}")


class _Index(NamedTuple):
    """One OME-XML, the file it stands in, and its UUID, or "" where it has none."""

    path: Path
    images: dict[str, ome.OmeImage]
    wells: dict[str, ome.OmeWell]
    uuid: str = ""


# (plate, well) -> its images that only a name places: UUID of the file, number in it, the file.
_Sites: TypeAlias = dict[tuple[str, str], list[tuple[str, int, Path]]]


def matches(source: Path) -> bool:
    """Whether there is a companion file near the top, or most images there are OME-TIFFs."""
    if indexes(source, COMPANION):
        return True
    found = len(indexes(source, *TIFF))
    return found > 0 and 2 * found > len(indexes(source, *IMAGES))


def scan(source: Path) -> pl.DataFrame:
    """List every plane of a plate of OME-TIFFs, reading their headers.

    Returns:
        One row per plane; `path` names file and page.

    Raises:
        BadPlate: A header cannot be read, or names files outside its folder, an image belongs
            to no well, or a well has two copies of a file.
    """
    sites: _Sites = {}
    found = _indexes(source)
    return table(row for index in found for row in _planes(index, sites=sites))


def _indexes(source: Path) -> Iterator[_Index]:
    """Companions first; then those files that no index before has named."""
    named: set[Path] = set()
    for path in (*indexes(source, COMPANION), *indexes(source, *TIFF)):
        if path in named:
            continue
        index = read_index(path)
        files = {page.file for image in index.images.values() for page in image.pages}
        named |= {_file(index, name) for name in files}
        yield index


def read_index(path: Path) -> _Index:
    """Read the OME-XML of a companion file or of an OME-TIFF.

    Raises:
        BadPlate: There is none, it is damaged, or it leads to a companion that is not there.
    """
    root = read_xml(path) if path.suffix == ".ome" else parse_xml(_header(path), path=str(path))
    if root.tag != "OME":
        raise BadPlate(f"{path} holds no OME-XML, but {root.tag}. Export it as OME-TIFF again.")
    if (elsewhere := root.find("BinaryOnly")) is not None:
        _check_companion(elsewhere.get("MetadataFile", ""), path=path)
        return _Index(path, {}, {})
    if path.suffix != ".ome":
        _forget_own_name(root, path=path)
    found = ome.images(root, path=path), ome.wells(root, path=path)
    return _Index(path, *found, uuid=_uuid(root.get("UUID")))


def _check_companion(name: str, *, path: Path) -> None:
    """A companion names the files beside it, so one that is there was read before them."""
    if not is_there(inside(path.parent, name, index=path)):
        raise BadPlate(
            f"{path} says that its companion {name} tells what is in it, but there is no such file "
            "beside it. Copy it, too."
        )


def _forget_own_name(root: ET.Element, *, path: Path) -> None:
    """A renamed file still calls itself as before: what it says of itself is of the file at hand.

    That is what has the file's own UUID or, where one of the two UUIDs lacks, a name that is the
    only one and not there.
    """
    own, said = _uuid(root.get("UUID")), list(root.iter("UUID"))
    names = {element.get("FileName", "") for element in said}
    mine = [element for element in said if own and _uuid(element.text) == own]
    unsure = [element for element in said if not (own and _uuid(element.text))]
    if unsure and len(names) == 1 and all(names):
        mine += [] if is_there(inside(path.parent, *names, index=path)) else unsure
    for element in mine:
        element.attrib.pop("FileName", None)


def _uuid(text: str | None) -> str:
    return (text or "").strip().lower()


def _header(path: Path) -> bytes:
    try:
        with tifffile.TiffFile(path) as file:
            tag = file.pages.first.tags.get(270)
            description = None if tag is None else tag.value
    except Exception as reason:  # tifffile raises anything at all on damaged bytes
        raise BadPlate(
            f"The header of {path} cannot be read: {reason}. Copy it again, or move it away."
        ) from reason
    if description is None:
        raise BadPlate(
            f"{path} has no OME-XML in its header, and no companion file beside it names it. Copy "
            "its companion, too, or move it away."
        )
    return description.encode() if isinstance(description, str) else description


def _file(index: _Index, name: str | None) -> Path:
    return inside(index.path.parent, name, index=index.path) if name else index.path


def _planes(index: _Index, *, sites: _Sites) -> Iterator[PlaneRow]:
    for number, (key, image) in enumerate(index.images.items()):
        place = index.wells.get(key)
        if place:
            row, column = str(place.row + 1), str(place.column + 1)
            well, site = well_in(index.path, row=row, column=column), place.site
            plate = place.plate
        else:
            plate = plate_name(index.path.parent)
            well = _named_well(image.name, index.path, number=number)
            site = _next_site(sites.setdefault((plate, well), []), index, number, well=well)
        yield from _rows(index, image, plate=plate, well=well, site=site)


def _next_site(there: list[tuple[str, int, Path]], index: _Index, number: int, *, well: str) -> int:
    """Count an image among those of its well, unless another file there is the same one."""
    for uuid, other, path in there:
        is_like = index.uuid and (uuid, other) == (index.uuid, number)
        if is_like and filecmp.cmp(path, index.path, shallow=False):  # some write one UUID always
            raise BadPlate(
                f"{path} and {index.path} are copies of one file, which would be two fields of "
                f"well {well}. Remove one."
            )
    there.append((index.uuid, number, index.path))
    return len(there)


def _named_well(name: str, path: Path, *, number: int) -> str:
    stem = path.name.partition(".")[0]
    for text in (name, stem):
        found = set(_wells(WORDS.split(text)))
        if len(found) == 1:
            return found.pop()
    raise BadPlate(
        f"{path} does not say which well image {number + 1} ({name or 'unnamed'}) belongs to: it "
        "has no Plate element, and no single part of its name or the image's is a well. Export "
        "it with its plate, or name the file like screen1_B03.ome.tif."
    )


def _wells(words: Iterable[str]) -> Iterator[str]:
    for word in words:
        try:
            if WELL.fullmatch(word):
                yield parse_well(word)
        except BadPlate:
            continue


def _rows(
    index: _Index, image: ome.OmeImage, *, plate: str, well: str, site: int
) -> Iterator[PlaneRow]:
    start = min(image.times.values(), default=0.0)
    for page in image.pages:
        wavelengths = image.wavelengths
        yield PlaneRow(
            plate=plate,
            well=well,
            site=site,
            channel=image.channels[page.channel],
            z=page.z + 1,
            timepoint=page.time + 1,
            path=page_of(_file(index, page.file), page.page),
            wavelength_nm=wavelengths[page.channel] if page.channel < len(wavelengths) else None,
            pixel_size_um=image.pixel_size_um,
            magnification=image.magnification,
            objective=image.objective,
            z_um=None if image.z_step_um is None else page.z * image.z_step_um,
            time_s=_time(image, page, start=start),
        )


def _time(image: ome.OmeImage, page: ome.OmePage, *, start: float) -> float | None:
    """Since the image's first plane: as its planes say, or else the step from time to time."""
    if not image.times:
        return None if image.time_step_s is None else page.time * image.time_step_s
    time = image.times.get((page.channel, page.z, page.time))
    return None if time is None else time - start


OME_TIFF = Reader("ome-tiff", f"OME-TIFF ({TIFF[0]}) or {COMPANION}", matches, scan)
