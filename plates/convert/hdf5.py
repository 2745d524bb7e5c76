"""Writing a plate as `plates.readers.hdf5` describes it."""

from pathlib import Path

import h5py
import polars as pl

from plates.convert.disk import Disk
from plates.convert.stack import Stack, along, channels_of, known
from plates.imageset import FieldKey
from plates.readers import hdf5 as own


class Hdf5Plate:
    """A plate as `plates.readers.hdf5` describes it."""

    def __init__(self, path: Path, rows: pl.DataFrame):
        self.disk = Disk(path)
        self.file = h5py.File(self.disk, "w")
        channels = channels_of(rows)
        said = self.file.attrs
        said["format"], said["version"] = own.FORMAT, own.VERSION
        said["plate"] = rows["plate"][0]
        said["channels"] = channels["channel"].to_list()
        said["channel_names"] = channels["channel_name"].fill_null("").to_list()
        said["wavelengths_nm"] = channels["wavelength_nm"].fill_null(float("nan")).to_numpy()

    def add(self, key: FieldKey, stack: Stack) -> None:
        """Write a field."""
        group = self.file.create_group(f"{key.well}/{key.site}")
        chunk = (1, 1, 1, *stack.images.shape[-2:])
        options = {"chunks": chunk, "compression": "gzip", "compression_opts": 1, "shuffle": True}
        images = group.create_dataset(own.IMAGES, data=stack.images, **options)
        group.create_dataset(own.HAS_PLANE, data=stack.has_plane)
        for column in ("pixel_size_um", "magnification", "objective"):
            if (value := known(stack.rows, column)) is not None:
                images.attrs[column] = value
        for axis, column in (("z", "z_um"), ("timepoint", "time_s")):
            if (values := along(stack.rows, axis, column)) is not None:
                images.attrs[column] = values
        self.disk.check()

    def finish(self) -> None:
        """Write what HDF5 still holds."""
        self.file.close()
        self.disk.sync()

    def close(self) -> None:
        """Let go of the file, whole or not."""
        self.file.close()
        self.disk.close()
