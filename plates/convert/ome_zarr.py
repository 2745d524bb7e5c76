"""Writing a plate as OME-Zarr: version 0.4 (Zarr 2) or 0.5 (Zarr 3).

Channels are labelled as the plane table calls them, so that a recipe fits the new plate too. What
the specification has no place for is noted beside: see `plates.readers.ome_zarr_kept`.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from plates.convert.stack import Stack, along, channels_of, known, noted
from plates.imageset import FieldKey
from plates.readers.flatfield import FlatField
from plates.readers.noted import PROFILES, size_name
from plates.readers.ome_zarr_kept import KEPT, MISSING
from plates.remote import zarr_package
from plates.well import well_position

WRITING = 4  # planes at a time


class ZarrPlate:
    """A plate as OME-Zarr 0.4 (Zarr 2) or 0.5 (Zarr 3) has it."""

    def __init__(self, path: Path, rows: pl.DataFrame, *, version: str):
        self.path, self.version, self.zarr = path, version, zarr_package()
        self.channels = channels_of(rows)
        self.wells: dict[str, list[int]] = {}
        self.name = rows["plate"][0]

    def add(self, key: FieldKey, stack: Stack) -> None:
        """Write a field."""
        sites = self.wells.setdefault(_well_path(key.well), [])
        sites.append(key.site)
        where = f"{_well_path(key.well)}/{key.site}"
        group = self._group(where, _multiscales(stack, self.channels, version=self.version))
        self._write(group, "0", stack.images, axes=[*"tczyx"])

    def shade(self, name: str, profile: FlatField) -> None:
        """Write a shading profile for images of one size."""
        self._group(PROFILES, {})
        size = size_name(profile.foreground.shape)
        self._write(self._group(name, {}), size, np.stack(profile), axes=["surface", "y", "x"])

    def _write(self, group: Any, name: str, planes: np.ndarray, *, axes: list[str]) -> None:
        leading = planes.shape[:-2]
        array = group.create_array(
            name,
            shape=planes.shape,
            dtype=planes.dtype,
            chunks=(*(1 for _ in leading), *planes.shape[-2:]),
            # A chunk that is not there is then one that was lost.
            config={"write_empty_chunks": True},
            **({"dimension_names": axes} if self.version == "0.5" else {}),
        )

        def write(place: tuple[int, ...]) -> None:
            array[place] = planes[place]

        # Of several chunks given to it at once, zarr goes on to write some after one has failed.
        with ThreadPoolExecutor(WRITING) as pool:
            list(pool.map(write, np.ndindex(*leading)))

    def finish(self) -> None:
        """Write the groups above the fields."""
        rows = sorted({path.split("/")[0] for path in self.wells}, key=lambda r: (len(r), r))
        columns = sorted({path.split("/")[1] for path in self.wells})
        for row in rows:
            self._group(row, {})
        for path, sites in self.wells.items():
            images = [{"path": str(site), "acquisition": 0} for site in sites]
            self._group(path, {"well": {"images": images, "version": self.version}})
        wells = [
            {"path": p, "rowIndex": rows.index(r), "columnIndex": columns.index(c)}
            for p in self.wells
            for r, c in [p.split("/")]
        ]
        plate = {
            "name": self.name,
            "version": self.version,
            "rows": [{"name": row} for row in rows],
            "columns": [{"name": column} for column in columns],
            "wells": wells,
            "field_count": max(map(len, self.wells.values()), default=0),
            "acquisitions": [{"id": 0}],
        }
        self._group("", {"plate": plate})

    def close(self) -> None:
        """Nothing is open between two fields."""

    def _group(self, path: str, attributes: dict[str, Any]) -> Any:
        group = self.zarr.open_group(
            self.path / path, mode="a", zarr_format=3 if self.version == "0.5" else 2
        )
        if attributes and self.version == "0.5":
            attributes = {"ome": {"version": self.version, **attributes}}
        group.attrs.update(attributes)
        return group


def _well_path(well: str) -> str:
    letters = well.rstrip("0123456789")
    return f"{letters}/{well_position(well).column + 1:02d}"


def _multiscales(stack: Stack, channels: list[str], *, version: str) -> dict[str, Any]:
    pixel = known(stack.rows, "pixel_size_um")
    step, lapse = _step(stack.rows, "z", "z_um"), _step(stack.rows, "timepoint", "time_s")
    um = {"unit": "micrometer"}
    axes = [
        {"name": "t", "type": "time", **({"unit": "second"} if lapse else {})},
        {"name": "c", "type": "channel"},
        {"name": "z", "type": "space", **(um if step else {})},
        *({"name": name, "type": "space", **(um if pixel else {})} for name in "yx"),
    ]
    scale = [lapse or 1.0, 1.0, step or 1.0, pixel or 1.0, pixel or 1.0]
    dataset = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": scale}]}
    return {
        "multiscales": [{"version": version, "axes": axes, "datasets": [dataset]}],
        "omero": {
            "channels": [
                {"label": channel, "color": "FFFFFF", "window": _window(stack.images[:, i])}
                for i, channel in enumerate(channels)
            ]
        },
        MISSING: np.argwhere(~stack.has_plane).tolist(),
        KEPT: _metadata(stack.rows, channels),
    }


def _metadata(rows: pl.DataFrame, channels: list[str]) -> dict[str, list[Any]]:
    """What the specification has no place for, by column; see `plates.readers.ome_zarr_kept`."""
    values = noted(rows, channels)
    if len(set(values.get("pixel_size_um", []))) == 1:
        del values["pixel_size_um"]  # the scale says so
    return values


def _step(rows: pl.DataFrame, axis: str, column: str) -> float | None:
    """The distance along an axis, if it is everywhere the same."""
    at = along(rows, axis, column)
    gaps = np.diff([] if None in at else np.array(at))
    return float(gaps[0]) if len(gaps) and np.allclose(gaps, gaps[0]) and gaps[0] > 0 else None


def _window(pixels: np.ndarray) -> dict[str, float]:
    """What viewers are to show as black and as full, which the specification asks for."""
    start, end = float(pixels.min()), float(pixels.max())
    if pixels.dtype.kind == "f":
        return {"min": start, "max": end, "start": start, "end": end}
    return {"min": 0.0, "max": float(np.iinfo(pixels.dtype).max), "start": start, "end": end}
