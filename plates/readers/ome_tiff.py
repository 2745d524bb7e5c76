"""OME-TIFF: many planes a file, many files a plate; the index is OME-XML.

The XML stands in a `.companion.ome` file or at the start of each `.ome.tif`. The well of an image
is what its Plate element says; without one, the only part of the image's or the file's name
that is a well (`screen1_h15.ome.tif`), and its images are then that well's sites. Beside a well,
`s1` or `f1` is the site's number; files that differ in `w2`, `z03` or `t4` are no sites.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple, TypeAlias

import polars as pl
import tifffile

from plates.address import page_of
from plates.errors import BadPlate
from plates.readers import ome
from plates.readers.folder import indexes, inside, is_there, plate_name
from plates.readers.mirror import are_equal, opened
from plates.readers.reader import PlaneRow, Reader, table
from plates.readers.safe_xml import parse_xml, read_xml, well_in
from plates.remote import RemoteFile
from plates.well import parse_well

COMPANION = "*.companion.ome"
TIFF = ("*.ome.tif", "*.ome.tiff", "*.ome.tf2", "*.ome.btf")
IMAGES = ("*.tif", "*.tiff", "*.png", "*.tf2", "*.btf")
WORDS = re.compile(r"[^A-Za-z0-9]+")
WELL = re.compile(r"[A-Za-z]{1,2}\d{1,2}")
NUMBERED = re.compile(r"(?:(?:[sfwztcp]|ch)\d+)+", re.IGNORECASE)  # site, field, wave, z, time...
SITE = ("s", "f")
AT_ONCE = 16  # headers read: on a network drive nearly all of the time is waiting
MOST_SITES = 999_999  # larger numbers are dates
WRITTEN_OUT = re.compile(r"[A-Z]{1,2}\d\d")  # C03, which is a channel's number less often than c3
EXAMPLE = r".+_(?P<well>[A-Z]\d\d)_[sf]?(?P<site>\d+)_(?P<channel>[^_]+)\.ome\.tif"
ADVICE = (
    'Read their names: in [images] of the recipe, reader = "pattern" and a pattern such as '
    f"'{EXAMPLE}'."
)


class _Index(NamedTuple):
    """One OME-XML, the file it stands in, and its UUID, or "" where it has none."""

    path: Path
    images: dict[str, ome.OmeImage]
    wells: dict[str, ome.OmeWell]
    uuid: str = ""


class _Site(NamedTuple):
    """An image that only a name places: UUID of its file, number in it, the file, channels.

    Numbers are those that the file's name has beside the well: s10 is ("s", 10).
    """

    uuid: str
    number: int
    path: Path
    channels: frozenset[str]
    numbers: frozenset[tuple[str, int]]


_Sites: TypeAlias = dict[tuple[str, str], list[_Site]]  # of each plate and well
_Places: TypeAlias = dict[tuple[Path, int], tuple[str, str, int]]  # plate, well, site of an image


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
            to no well, a well has two copies of a file, or two of its files are channels,
            planes or times of one field.
    """
    found = list(_indexes(source))
    places = _named_places(found)
    return table(row for index in found for row in _planes(index, places=places))


def _indexes(source: Path) -> Iterator[_Index]:
    """Companions first; then those files that no index before has named."""
    named: set[Path] = set()
    companions = indexes(source, COMPANION)
    for path, header in chain(((path, None) for path in companions), _headers(source, named)):
        index = read_index(path, header=header)
        files = {page.file for image in index.images.values() for page in image.pages}
        named |= {_file(index, name) for name in files}
        yield index


def _headers(source: Path, named: set[Path]) -> Iterator[tuple[Path, bytes]]:
    """Header of every OME-TIFF that is not named when its turn comes, some read ahead."""
    waiting = (path for path in indexes(source, *TIFF) if path not in named)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        while some := list(islice(waiting, AT_ONCE)):
            read = [pool.submit(_header, opened(path), path=path) for path in some]
            for path, header in zip(some, read, strict=True):
                if path not in named:
                    yield path, header.result()


def read_index(path: Path, *, header: bytes | None = None) -> _Index:
    """Read the OME-XML of a companion file or of an OME-TIFF.

    Args:
        path: The file.
        header: The XML, where it was read.

    Raises:
        BadPlate: There is none, it is damaged, or it leads to a companion that is not there.
    """
    if path.suffix == ".ome":
        root = read_xml(path)
    else:
        root = parse_xml(
            _header(opened(path), path=path) if header is None else header, path=str(path)
        )
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


def _header(image: AbstractContextManager[Path | RemoteFile], *, path: Path) -> bytes:
    with image as file:
        try:
            with tifffile.TiffFile(file) as tiff:  # type: ignore[arg-type]  # any open file will do
                tag = tiff.pages.first.tags.get(270)
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


def _planes(index: _Index, *, places: _Places) -> Iterator[PlaneRow]:
    for number, (key, image) in enumerate(index.images.items()):
        if place := index.wells.get(key):
            row, column = str(place.row + 1), str(place.column + 1)
            well, site = well_in(index.path, row=row, column=column), place.site
            plate = place.plate
        else:
            plate, well, site = places[index.path, number]
        yield from _rows(index, image, plate=plate, well=well, site=site)


def _named_places(found: list[_Index]) -> _Places:
    """Where the images are that only a name places: sites as numbered there, else counted."""
    sites: _Sites = {}
    for index in found:
        for number, (key, image) in enumerate(index.images.items()):
            if key not in index.wells:
                well = _named_well(image.name, index.path, number=number)
                channels, numbers = frozenset(image.channels), _numbers(index.path.name, well=well)
                own = _Site(index.uuid, number, index.path, channels, numbers)
                there = sites.setdefault((plate_name(index.path.parent), well), [])
                _check_field(there, own, well=well)
                there.append(own)
    counted = {plate for plate, well in sites if not _is_numbered(sites, plate=plate)}
    return {
        (own.path, own.number): (plate, well, count if plate in counted else _said_site(own) or 0)
        for (plate, well), there in sites.items()
        for count, own in enumerate(there, 1)
    }


def _is_numbered(sites: _Sites, *, plate: str) -> bool:
    """Whether every file of a plate is one field, and its name says which."""
    every = [own for (of, _), there in sites.items() if of == plate for own in there]
    is_one_each = len({own.path for own in every}) == len(every)
    return is_one_each and all(_said_site(own) is not None for own in every)


def _said_site(own: _Site) -> int | None:
    said = [number for letter, number in own.numbers if letter in SITE]
    return said[0] if len(said) == 1 and said[0] <= MOST_SITES else None


def _check_field(there: list[_Site], own: _Site, *, well: str) -> None:
    """Hold an image against those of its well: it must be a field of its own.

    Raises:
        BadPlate: Another file there is the same one, or files of the well are channels, planes
            or times of its fields and no fields.
    """
    for other in there:
        if other.path == own.path:
            continue
        is_like = own.uuid and (other.uuid, other.number) == (own.uuid, own.number)
        # Some write one UUID always.
        if is_like and are_equal(other.path, own.path):
            raise BadPlate(
                f"{other.path} and {own.path} are copies of one file, which would be two fields "
                f"of well {well}. Remove one."
            )
        if own.channels.isdisjoint(other.channels):
            said = [f"{x.path} has {', '.join(sorted(x.channels))}" for x in (other, own)]
            raise BadPlate(
                f"{' and '.join(said)}, both in well {well}: with a file for each channel, files "
                f"are no fields. {ADVICE}"
            )
        if differ := sorted(x for x in own.numbers ^ other.numbers if x[0] not in SITE):
            words = ", ".join(f"{letter}{number}" for letter, number in differ)
            raise BadPlate(
                f"{other.path} and {own.path}, both in well {well}, differ in {words}: with a file "
                "for each channel, plane (group z) or time (group timepoint), files are no "
                f"fields. {ADVICE}"
            )


def _numbers(name: str, *, well: str) -> frozenset[tuple[str, int]]:
    """What a file's name numbers, but for the word that is its well (F01 in F01_f1)."""
    words = WORDS.split(name)
    wells = [word for word in words if _as_well(word) == well]
    if wells:
        words.remove(min(wells, key=lambda x: (_is_number(x), not WRITTEN_OUT.fullmatch(x))))
    said = [pair for x in words if _is_number(x) for pair in re.findall(r"(\D+)(\d+)", x.lower())]
    return frozenset((letter, int(number)) for letter, number in said)


def _is_number(word: str) -> bool:
    return NUMBERED.fullmatch(word) is not None


def _named_well(name: str, path: Path, *, number: int) -> str:
    stem = path.name.partition(".")[0]
    found = [_wells(WORDS.split(text)) for text in (name, stem)]
    for wells in found:
        if len(wells) == 1:
            return wells.pop()
    several = " or ".join(sorted(set().union(*found)))
    raise BadPlate(
        f"{path} does not say which well image {number + 1} ({name or 'unnamed'}) belongs to: it "
        "has no Plate element, and no single part of its name or the image's is a well"
        f"{f' (it could be {several})' if several else ''}. Export it with its plate, or name the "
        "file like screen1_B03.ome.tif."
    )


def _wells(words: Iterable[str]) -> set[str]:
    """Wells among the words of a name; what may number something else counts beside no other."""
    every = {word: well for word in words if (well := _as_well(word))}
    sure = {word for word in every if not _is_number(word)}
    sure = sure or {word for word in every if WRITTEN_OUT.fullmatch(word)} or set(every)
    return {every[word] for word in sure}


def _as_well(word: str) -> str | None:
    try:
        return parse_well(word) if WELL.fullmatch(word) else None
    except BadPlate:
        return None


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
