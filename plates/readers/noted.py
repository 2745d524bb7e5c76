"""What `plates.convert` notes of a field beside its pixels, the same in OME-Zarr and HDF5.

Columns of the plane table go along one axis of the field each. The microscope's shading profiles
are kept as arrays, evaluated for the size of the images, and a field names those of its channels:

    illumination/1/1080x1080      [surface, height, width] float32: foreground, background

`plates.readers.flatfield` says what the two surfaces are, and reads them.
"""

import re
from pathlib import Path

from plates.readers.folder import leads_out

AXIS = {
    "channel_name": "c", "wavelength_nm": "c", "pixel_size_um": "c", "magnification": "c",
    "objective": "c", "flat_field": "c", "z_um": "z", "time_s": "t",
}  # fmt: skip
PROFILES = "illumination"
PROFILE = re.compile(rf"{PROFILES}/\d{{1,6}}")
ADDRESS = re.compile(rf"(?P<file>.+?)#(?:dataset=(?P<dataset>/{PROFILES}/\d+)&)?surfaces")


def profile_name(number: int) -> str:
    """Where a plate keeps a shading profile.

    >>> profile_name(1)
    'illumination/1'
    """
    return f"{PROFILES}/{number}"


def size_name(shape: tuple[int, int]) -> str:
    """What the array of a profile is called that is for images of a height and width.

    >>> size_name((1080, 1280))
    '1080x1280'
    """
    return f"{shape[0]}x{shape[1]}"


def profile_of(plate: Path | str, name: str, *, is_dataset: bool = False) -> str:
    """A profile's address, as `plates.readers.flatfield.read_flat_field` takes it.

    Args:
        plate: The OME-Zarr plate or the HDF5 file.
        name: As a field names it.
        is_dataset: Whether it is HDF5.

    Raises:
        BadPlate: It is no name that a profile has, so it could lead anywhere.

    >>> profile_of("p.zarr", "illumination/1")
    'p.zarr/illumination/1#surfaces'
    >>> profile_of("p.h5", "illumination/1", is_dataset=True)
    'p.h5#dataset=/illumination/1&surfaces'
    """
    if not PROFILE.fullmatch(name):
        raise leads_out(name, index=Path(plate))
    return f"{plate}#dataset=/{name}&surfaces" if is_dataset else f"{plate}/{name}#surfaces"
