"""What every reader asks of a folder: its images, and the plate's name."""

import os
import re
from pathlib import Path

from plates.errors import BadPlate

IMAGE_SUFFIXES = (".tif", ".tiff", ".png")
GENERIC = re.compile(r"images?|timepoint_\d+|zstep_\d+", re.IGNORECASE)


def files_below(folder: Path) -> list[Path]:
    """Every file below a folder, sorted; hidden ones (`.DS_Store`, `._copy.tif`) left out.

    Raises:
        BadPlate: The folder, or one in it, cannot be listed.
    """

    def refuse(reason: OSError) -> None:
        raise BadPlate(
            f"The folder {reason.filename} cannot be read: {reason.strerror}. Check its "
            "permissions and that the drive is there."
        ) from reason

    found = []
    for home, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(home, name) for name in names if not name.startswith(".")]
    return sorted(found)


def image_files(folder: Path) -> list[Path]:
    """Every TIFF and PNG below a folder, sorted."""
    return [path for path in files_below(folder) if path.suffix.lower() in IMAGE_SUFFIXES]


def plate_name(folder: Path) -> str:
    """A plate's name from its folder; generic names give way to their parent's.

    >>> plate_name(Path("/screens/BR00143976/Images"))
    'BR00143976'
    """
    folder = folder.resolve()
    while GENERIC.fullmatch(folder.name) and folder.parent.name:
        folder = folder.parent
    return folder.name
