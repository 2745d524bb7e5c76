"""OME-Zarr plates (NGFF, HCS), versions 0.4 (Zarr 2) and 0.5 (Zarr 3), here or in a store.

    plate.zarr/<row>/<column>/<field>/<level>       arrays with axes such as t, c, z, y, x

The first, full-size level of each field is read. Metadata is read directly and with several
requests at a time; only pixels need the zarr package.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from plates.address import is_remote, item_of
from plates.errors import BadPlate
from plates.readers.folder import inside
from plates.readers.reader import PlaneRow, Reader, check_field, table
from plates.remote import read_json
from plates.well import parse_well

VERSIONS = ("0.4", "0.5")
REQUESTS = 16  # at a time: a plate has thousands of small files of metadata
UNITS = {  # in um and s
    "nanometer": 1e-3, "micrometer": 1.0, "millimeter": 1e3, "meter": 1e6,
    "millisecond": 1e-3, "second": 1.0, "minute": 60.0, "hour": 3600.0,
}  # fmt: skip
MISSING = "plate_profiler_missing"  # attribute of `plates.convert`: planes that were not there


class _Field(NamedTuple):
    well: str
    site: int
    acquisition: str
    home: str


class _Array(NamedTuple):
    """A field's full-size array: size of each axis in order, and its step in um or s if known."""

    path: str
    sizes: dict[str, int]
    steps: dict[str, float | None]


def matches(source: Path | str) -> bool:
    """Whether it is an OME-Zarr plate, or a folder with one."""
    return bool(_plates(source))


def scan(source: Path | str) -> pl.DataFrame:
    """List every plane of one or more plates.

    Returns:
        One row per plane; `path` names array and place.

    Raises:
        BadPlate: The metadata is damaged, of an unknown version, or leads out of the plate.
    """
    return table(row for home in _plates(source) for row in _planes(home))


def _plates(source: Path | str) -> list[str]:
    """The folder itself, or those below it that end in .zarr."""
    home = str(source).rstrip("/")
    try:
        if "plate" in _attributes(home):
            return [home]
        below = [] if is_remote(home) or not Path(home).is_dir() else Path(home).glob("*.zarr")
        return sorted(str(path) for path in below if "plate" in _attributes(str(path)))
    except BadPlate:
        return [home] if home.endswith(".zarr") else []  # `scan` says what is wrong with it


def _attributes(folder: str) -> dict[str, Any]:
    """OME's attributes of a group, whichever version of Zarr it is."""
    if (found := read_json(folder, "zarr.json")) is not None:
        return found.get("attributes", {}).get("ome", {})
    return read_json(folder, ".zattrs") or {}


def _planes(home: str) -> Iterator[PlaneRow]:
    attributes = _attributes(home)
    plate = attributes.get("plate")
    if not isinstance(plate, dict):
        raise BadPlate(f"{home} has no 'plate' in its attributes: it is no OME-Zarr plate.")
    version = plate.get("version", attributes.get("version", VERSIONS[0]))
    if version not in VERSIONS:
        raise BadPlate(
            f"{home} is an OME-Zarr plate of version {version!r}. Known: {', '.join(VERSIONS)}. "
            "Convert it with a tool of its maker."
        )
    name = plate.get("name") or home.rpartition("/")[2].removesuffix(".zarr").removesuffix(".ome")
    wells = [_below(home, well.get("path")) for well in _list(plate, "wells", home=home)]
    with ThreadPoolExecutor(REQUESTS) as pool:
        fields = [field for found in pool.map(partial(_fields, home), wells) for field in found]
        has_several = len({field.acquisition for field in fields}) > 1
        read = partial(_field_planes, plate=str(name), has_several=has_several)
        for rows in pool.map(read, fields):
            yield from rows


def _list(attributes: dict[str, Any], name: str, *, home: str) -> list[dict[str, Any]]:
    found = attributes.get(name)
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise BadPlate(f"{home}: {name!r} is {str(found)[:80]}, expected a list. Write it again.")
    return found


def _below(home: str, name: object) -> str:
    inside(Path(), str(name or ""), index=Path(home))
    return f"{home}/{name}"


def _fields(plate: str, home: str) -> list[_Field]:
    """Fields of a well; their own numbers are their sites, unless several cycles share them."""
    well = parse_well("".join(home.removeprefix(plate).strip("/").split("/")))
    images = _list(_attributes(home).get("well", {}), "images", home=home)
    cycles = [str(image.get("acquisition", 0)) for image in images]
    names = [str(image.get("path")) for image in images]
    is_numbered = len(set(cycles)) < 2 and all(name.isdecimal() for name in names)
    return [
        _Field(
            well,
            int(name) if is_numbered else cycles[: i + 1].count(cycle),
            cycle,
            _below(home, images[i].get("path")),
        )
        for i, (name, cycle) in enumerate(zip(names, cycles, strict=True))
    ]


def _field_planes(field: _Field, *, plate: str, has_several: bool) -> list[PlaneRow]:
    attributes = _attributes(field.home)
    array = _array(attributes, home=field.home)
    leading = list(array.sizes)[:-2]
    labels = _channels(attributes, array.sizes.get("c", 1))
    prefix = f"a{field.acquisition}_" if has_several else ""
    missing = {tuple(index) for index in attributes.get(MISSING, [])}
    rows = []
    for index in product(*(range(array.sizes[axis]) for axis in leading)):
        if index in missing:
            continue
        at = {"t": 0, "c": 0, "z": 0} | dict(zip(leading, index, strict=True))
        rows.append(PlaneRow(
            plate=plate, well=field.well, site=field.site, channel=prefix + labels[at["c"]],
            z=at["z"] + 1, timepoint=at["t"] + 1, path=item_of(array.path, *index),
            pixel_size_um=array.steps.get("x"), z_um=_times(at["z"], array.steps.get("z")),
            time_s=_times(at["t"], array.steps.get("t")),
        ))  # fmt: skip
    return rows


def _times(count: int, step: float | None) -> float | None:
    return None if step is None else count * step


def _array(attributes: dict[str, Any], *, home: str) -> _Array:
    scales = _list(attributes, "multiscales", home=home)
    dataset = (_list(scales[0] if scales else {}, "datasets", home=home) or [{}])[0]
    path = _below(home, dataset.get("path"))
    axes = _list(scales[0], "axes", home=home)
    names = [str(axis.get("name")) for axis in axes]
    said = read_json(path, "zarr.json") or read_json(path, ".zarray") or {}
    shape: list[int] = said.get("shape", [])
    is_counted = isinstance(shape, list) and all(isinstance(size, int) for size in shape)
    is_known = names[-2:] == ["y", "x"] and set(names[:-2]) <= set("tcz")
    if not is_counted or len(shape) != len(names) or not is_known:
        raise BadPlate(
            f"{path} has the shape {shape} and the axes {', '.join(names)}; expected any of t, c, "
            "z and then y, x, and one number for each. Is the plate complete?"
        )
    check_field(shape[:-2], path=path)
    scale = _scale((dataset, scales[0]), axes=len(names))
    units = [UNITS.get(str(axis.get("unit"))) for axis in axes]
    steps = {n: u and u * s for n, u, s in zip(names, units, scale, strict=True)}
    return _Array(path, dict(zip(names, shape, strict=True)), steps)


def _scale(parts: tuple[dict[str, Any], ...], *, axes: int) -> list[float]:
    scale = [1.0] * axes
    for step in (step for part in parts for step in part.get("coordinateTransformations", [])):
        if step.get("type") == "scale" and len(step.get("scale", [])) == axes:
            scale = [a * float(b) for a, b in zip(scale, step["scale"], strict=True)]
    return scale


def _channels(attributes: dict[str, Any], size: int) -> list[str]:
    said = attributes.get("omero", {}).get("channels", [])
    labels = [str(c.get("label") or "") for c in said if isinstance(c, dict)][:size]
    labels += [""] * (size - len(labels))
    return [
        label if label and labels.count(label) == 1 else f"C{i}" for i, label in enumerate(labels)
    ]


OME_ZARR = Reader(
    "ome-zarr", f"an OME-Zarr plate of version {' or '.join(VERSIONS)}", matches, scan
)
