"""OME-Zarr plates (NGFF, HCS), versions 0.4 (Zarr 2) and 0.5 (Zarr 3), here or in a store.

    plate.zarr/<row>/<column>/<field>/<level>       arrays with axes such as t, c, z, y, x

The first, full-size level of each field is read. Metadata is read directly and with several
requests at a time; only pixels need the zarr package.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from plates.address import is_remote, item_of, without_slash
from plates.errors import BadPlate
from plates.readers.folder import inside
from plates.readers.mirror import is_mirror
from plates.readers.noted import AXIS, profile_of
from plates.readers.ome_zarr_kept import kept, missing
from plates.readers.ome_zarr_said import Said, array_shape, said_in
from plates.readers.reader import PlaneRow, Reader, check_field, table
from plates.well import parse_well

VERSIONS = ("0.4", "0.5")
REQUESTS = 16  # at a time: a plate has thousands of small files of metadata
MOST_DIGITS = 9  # of the name of a field that is its number
UNITS = {  # in um and s
    "nanometer": 1e-3, "micrometer": 1.0, "millimeter": 1e3, "meter": 1e6,
    "millisecond": 1e-3, "second": 1.0, "minute": 60.0, "hour": 3600.0,
}  # fmt: skip


class _Field(NamedTuple):
    plate: str
    well: str
    name: str
    acquisition: str
    home: str
    site: int = 0


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
        BadPlate: The metadata is damaged, of an unknown version, or leads out of the plate; or the
            plates lie in a folder of a store.
    """
    plates = _plates(source)
    if is_mirror():  # whose metadata are empty files
        raise BadPlate(
            f"{source} is a folder in a store with OME-Zarr plates in it, which are read one by "
            f"one. Give the address of one, such as {plates[0]}."
        )
    return table(row for home in plates for row in _planes(home))


def _plates(source: Path | str) -> list[str]:
    """The folder itself, or those below it that end in .zarr."""
    home = without_slash(source)
    if _is_plate(home):
        return [home]
    below = [] if is_remote(home) or not Path(home).is_dir() else Path(home).glob("*.zarr")
    return sorted(str(path) for path in below if _is_plate(str(path)))


def _is_plate(home: str) -> bool:
    try:
        return "plate" in said_in(home).values
    except BadPlate as reason:
        why = reason.__cause__
        if isinstance(why, OSError) and not isinstance(why, PermissionError):
            # A store that cannot be asked has not said that it is none.
            raise BadPlate(f"{home} cannot be read: {why}.") from why
        return home.endswith(".zarr")  # `scan` says what is wrong with it


def _planes(home: str) -> Iterator[PlaneRow]:
    attributes = said_in(home)
    if not isinstance(attributes.values.get("plate"), dict):
        raise BadPlate(f"{home} has no 'plate' in its attributes: it is no OME-Zarr plate.")
    plate = attributes.part("plate")
    version = plate.values.get("version", attributes.values.get("version", VERSIONS[0]))
    if version not in VERSIONS:
        raise BadPlate(
            f"{home} is an OME-Zarr plate of version {version!r}. Known: {', '.join(VERSIONS)}. "
            "Convert it with a tool of its maker."
        )
    folder = home.rstrip(":/").rpartition("/")[2]
    name = plate.text("name") or folder.removesuffix(".zarr").removesuffix(".ome")
    wells = [_below(home, well.text("path")) for well in plate.parts("wells")]
    with ThreadPoolExecutor(REQUESTS) as pool:
        fields = _with_sites(list(pool.map(partial(_fields, home), wells)))
        has_several = len({field.acquisition for field in fields}) > 1
        read = partial(_field_planes, plate=name, has_several=has_several)
        for rows in pool.map(read, fields):
            yield from rows


def _below(home: str, name: str) -> str:
    inside(Path(), name, index=Path(home))
    return f"{home}/{name}"


def _fields(plate: str, home: str) -> list[_Field]:
    """Fields of a well, as it lists them."""
    try:
        well = parse_well("".join(home.removeprefix(plate).strip("/").split("/")))
    except BadPlate as reason:
        raise BadPlate(f"{plate}: {reason} Write its metadata again.") from reason
    named = [
        (image.text("path"), image.text("acquisition") or "0")
        for image in _listed(home).part("well").parts("images")
    ]
    return [_Field(plate, well, name, cycle, _below(home, name)) for name, cycle in named]


def _with_sites(wells: list[list[_Field]]) -> list[_Field]:
    """Number the fields of a plate from 1, all by their names, or all by their order.

    Their own numbers are their sites, unless a name is none or cycles share a well: then fields
    of different names show one site.
    """
    fields = [field for well in wells for field in well]
    are_numbers = all(f.name.isdecimal() and len(f.name) <= MOST_DIGITS for f in fields)
    if not are_numbers or any(len(_by_cycle(well)) > 1 for well in wells):
        return [field for well in wells for field in _in_order(well)]
    starts_at_zero = any(int(field.name) == 0 for field in fields)
    return [field._replace(site=int(field.name) + starts_at_zero) for field in fields]


def _in_order(well: list[_Field]) -> Iterator[_Field]:
    """Pair the first fields of all cycles, the second ones and so on."""
    cycles = _by_cycle(well)
    if len({len(fields) for fields in cycles.values()}) > 1:
        counts = [f"{len(fields)} of acquisition {cycle}" for cycle, fields in cycles.items()]
        raise BadPlate(
            f"{well[0].plate}: well {well[0].well} lists {' and '.join(counts)}: as acquisitions "
            "are paired field by field in that order, fields of different places would be taken "
            "for one. In its metadata list only fields that every acquisition has, or write a "
            "plate for each acquisition."
        )
    for fields in cycles.values():
        yield from (field._replace(site=i) for i, field in enumerate(fields, start=1))


def _by_cycle(well: list[_Field]) -> dict[str, list[_Field]]:
    cycles: dict[str, list[_Field]] = {}
    for field in well:
        cycles.setdefault(field.acquisition, []).append(field)
    return cycles


def _listed(home: str) -> Said:
    """Attributes of a group that the plate or a well lists, so it must be there."""
    said = said_in(home)
    if not said.values:
        raise BadPlate(
            f"The plate's metadata lists {home}, which is not there or has no attributes. Copy the "
            "plate again, or take out of its lists what was left out."
        )
    return said


def _field_planes(field: _Field, *, plate: str, has_several: bool) -> list[PlaneRow]:
    said = _listed(field.home)
    array = _array(said, home=field.home)
    leading = list(array.sizes)[:-2]
    labels = _channels(said, array.sizes.get("c", 1))
    prefix = f"a{field.acquisition}_" if has_several else ""
    absent, noted = missing(said, axes=len(leading)), _noted(said, field, sizes=array.sizes)
    rows = []
    for index in product(*(range(array.sizes[axis]) for axis in leading)):
        if index in absent:
            continue
        at = {"t": 0, "c": 0, "z": 0} | dict(zip(leading, index, strict=True))
        row = PlaneRow(
            plate=plate, well=field.well, site=field.site, channel=prefix + labels[at["c"]],
            z=at["z"] + 1, timepoint=at["t"] + 1, path=item_of(array.path, *index),
            pixel_size_um=array.steps.get("x"), z_um=_times(at["z"], array.steps.get("z")),
            time_s=_times(at["t"], array.steps.get("t")),
        )  # fmt: skip
        rows.append(row._replace(**{name: noted[name][at[AXIS[name]]] for name in noted}))
    return rows


def _noted(said: Said, field: _Field, *, sizes: Mapping[str, int]) -> dict[str, list[Any]]:
    """What `plates.convert` noted, profiles by their addresses."""
    noted: dict[str, list[Any]] = dict(kept(said, sizes=sizes))
    names = noted.get("flat_field", [])
    addresses = [None if name is None else profile_of(field.plate, name) for name in names]
    return noted | ({"flat_field": addresses} if names else {})


def _times(count: int, step: float | None) -> float | None:
    return None if step is None else count * step


def _array(said: Said, *, home: str) -> _Array:
    scales = said.parts("multiscales")
    datasets = scales[0].parts("datasets") if scales else []
    if not datasets:
        raise said.wrong("multiscales", "a list of objects with 'datasets'")
    dataset, axes = datasets[0], scales[0].parts("axes")
    path = _below(home, dataset.text("path"))
    names, shape = [axis.text("name") for axis in axes], array_shape(path)
    if not isinstance(shape, list) or not _fits(shape, names):
        raise BadPlate(
            f"{path} has the shape {shape} and the axes {', '.join(names)}; expected any of t, c, "
            "z and then y, x, and one number for each. Is the plate complete?"
        )
    check_field(shape[:-2], path=path)
    scale = _scale((dataset, scales[0]), axes=len(names))
    units = [UNITS.get(axis.text("unit")) for axis in axes]
    steps = {n: u and s and u * s for n, u, s in zip(names, units, scale, strict=True)}
    return _Array(path, dict(zip(names, shape, strict=True)), steps)


def _fits(shape: list[Any], names: list[str]) -> bool:
    is_known = names[-2:] == ["y", "x"] and set(names[:-2]) <= set("tcz")
    is_once = len(set(names)) == len(names) == len(shape)
    return is_known and is_once and all(type(size) is int and size > 0 for size in shape)


def _scale(parts: tuple[Said, ...], *, axes: int) -> list[float] | list[None]:
    """Size of a step along each axis, in its unit; unknown where nothing says so."""
    steps = [step for part in parts for step in part.some("coordinateTransformations")]
    scales = [s.numbers("scale", count=axes) for s in steps if s.text("type") == "scale"]
    return [prod(along) for along in zip(*scales, strict=True)] if scales else [None] * axes


def _channels(said: Said, size: int) -> list[str]:
    labels = [channel.text("label") for channel in said.part("omero").some("channels")][:size]
    labels += [""] * (size - len(labels))
    return [
        label if label and labels.count(label) == 1 else f"C{i}" for i, label in enumerate(labels)
    ]


OME_ZARR = Reader(
    "ome-zarr", f"an OME-Zarr plate of version {' or '.join(VERSIONS)}", matches, scan
)
