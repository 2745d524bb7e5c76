"""What `plates.convert` notes in an OME-Zarr field that the specification has no place for.

    plate_profiler_missing    [[0, 1, 0], ...]    places along t, c, z where there was no image
    plate_profiler_metadata   {"channel_name": ["BP445/45", null], "z_um": [12.5, 14.5], ...}

Of the metadata each entry is a column of the plane table, and has a value for each step of one
axis (`plates.readers.noted`). What is null for every step is left out.
"""

from collections.abc import Mapping

from plates.readers.noted import AXIS
from plates.readers.ome_zarr_said import Said, is_number
from plates.readers.reader import METADATA

MISSING, KEPT = "plate_profiler_missing", "plate_profiler_metadata"
KINDS = {True: (is_number, "numbers"), False: (lambda value: isinstance(value, str), "names")}


def missing(said: Said, *, axes: int) -> set[tuple[int, ...]]:
    """Places along the leading axes at which there is no plane.

    Raises:
        BadPlate: It is no list of such places.
    """
    found = said.values.get(MISSING, [])
    if not isinstance(found, list) or not all(_is_place(place, axes=axes) for place in found):
        raise said.wrong(MISSING, f"a list of places of {axes} whole numbers")
    return {tuple(place) for place in found}


def _is_place(place: object, *, axes: int) -> bool:
    return isinstance(place, list) and len(place) == axes and all(type(i) is int for i in place)


def kept(said: Said, *, sizes: Mapping[str, int]) -> dict[str, list[str | float | None]]:
    """Columns of the plane table that were noted, each with a value a step of its `AXIS`.

    Args:
        said: Attributes of a field.
        sizes: Of the axes there are.

    Raises:
        BadPlate: A column has another number of values, or values of another kind.
    """
    noted = said.part(KEPT)
    for name in noted.values.keys() & AXIS.keys():
        values, count = noted.values[name], sizes.get(AXIS[name], 1)
        is_right, what = KINDS[METADATA[name].is_numeric()]
        is_known = isinstance(values, list) and len(values) == count
        if not is_known or not all(value is None or is_right(value) for value in values):
            raise noted.wrong(name, f"{count} {what}, or null where one is not known")
    return {name: noted.values[name] for name in AXIS if name in noted.values}
