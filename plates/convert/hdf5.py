"""Writing a plate as `plates.readers.hdf5` describes it."""

from pathlib import Path

import h5py
import numpy as np
import polars as pl

from plates.convert.disk import Disk
from plates.convert.stack import Stack, channels_of, noted
from plates.imageset import FieldKey
from plates.readers import hdf5 as own
from plates.readers.flatfield import FlatField
from plates.readers.noted import size_name
from plates.readers.reader import METADATA

GZIP = {"compression": "gzip", "compression_opts": 1, "shuffle": True}


class Hdf5Plate:
    """A plate as `plates.readers.hdf5` describes it."""

    def __init__(self, path: Path, rows: pl.DataFrame):
        self.disk = Disk(path)
        self.file = h5py.File(self.disk, "w")
        self.channels = channels_of(rows)
        said = self.file.attrs
        said["format"], said["version"] = own.FORMAT, own.VERSION
        said["plate"] = rows["plate"][0]
        said["channels"] = self.channels

    def add(self, key: FieldKey, stack: Stack) -> None:
        """Write a field."""
        group = self.file.create_group(f"{key.well}/{key.site}")
        chunk = (1, 1, 1, *stack.images.shape[-2:])
        images = group.create_dataset(own.IMAGES, data=stack.images, chunks=chunk, **GZIP)
        group.create_dataset(own.HAS_PLANE, data=stack.has_plane)
        for column, values in noted(stack.rows, self.channels).items():
            unknown = float("nan") if METADATA[column].is_numeric() else ""
            images.attrs[column] = [unknown if value is None else value for value in values]
        self.disk.check()

    def shade(self, name: str, profile: FlatField) -> None:
        """Write a shading profile for images of one size."""
        surfaces = np.stack(profile)
        path = f"{name}/{size_name(profile.foreground.shape)}"
        self.file.create_dataset(path, data=surfaces, chunks=(1, *surfaces.shape[1:]), **GZIP)
        self.disk.check()

    def finish(self) -> None:
        """Write what HDF5 still holds."""
        self.file.close()
        self.disk.sync()

    def close(self) -> None:
        """Let go of the file, whole or not."""
        self.file.close()
        self.disk.close()
