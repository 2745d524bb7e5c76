"""Label images on disk: found by name, read, and checked to be labels at all."""

from pathlib import Path

import numpy as np
import tifffile
from PIL.PngImagePlugin import PngImageFile
from scipy import ndimage

from plates.errors import BadImage, BadPlate

SUFFIXES = (".tif", ".tiff", ".png")
PNG_START = b"\x89PNG"
SPECK = 0.1  # share of the largest piece of a label below which another is stray pixels

NUMBER = (
    "Number the separate objects (in Fiji: Connected Components Labeling) and save again; those "
    "that touch must be parted first."
)


def files_by_name(folder: Path, *, wanted: str) -> dict[str, Path]:
    """Find the images of a folder by their names without endings, in the order of names.

    Hidden files are left out: macOS puts one, `._name.tif`, beside each file on a foreign drive.

    Args:
        folder: Where they lie.
        wanted: What is expected there, as a sentence, for the error.

    Returns:
        Paths by name; bytes of a name that are no UTF-8 are written out in it.

    Raises:
        BadPlate: There is no such folder, no image in it, or two of one name.
    """
    if not folder.is_dir():
        found = f"{folder} is a file" if folder.exists() else f"There is no folder {folder}"
        raise BadPlate(f"{found}. {wanted}")
    paths = sorted(path for path in folder.iterdir() if _is_image(path))
    if not paths:
        raise BadPlate(f"{folder} holds no images; expected files ending in {', '.join(SUFFIXES)}.")
    files: dict[str, Path] = {}
    for path in paths:
        name = path.stem.encode("utf-8", "backslashreplace").decode()
        if name in files:
            raise BadPlate(
                f"{folder} holds several images called {name!r} with different endings, and "
                "label images are told apart by name alone. Rename one."
            )
        files[name] = path
    return files


def _is_image(path: Path) -> bool:
    is_hidden = path.name.startswith(".")
    return path.suffix.lower() in SUFFIXES and not is_hidden and not path.is_dir()


def left_out(folder: Path) -> list[str]:
    """Names of the files of a folder that are no images by their endings, hidden ones aside."""
    if not folder.is_dir():
        return []
    files = (path for path in folder.iterdir() if path.is_file())
    others = (path.name for path in files if path.suffix.lower() not in SUFFIXES)
    return sorted(name for name in others if not name.startswith("."))


def read_labels(path: Path) -> np.ndarray:
    """Read what a label file holds, whatever its type and however large it is.

    Raises:
        BadImage: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            is_png = file.read(len(PNG_START)) == PNG_START
        return _png(path) if is_png else tifffile.imread(path)
    except Exception as reason:  # decoders raise anything at all on damaged bytes
        raise BadImage(
            f"{path} cannot be read: {reason}. Expected a whole TIFF or PNG; copy or export it "
            "again.",
            code="unreadable",
        ) from reason


def _png(path: Path) -> np.ndarray:
    # Not Image.open: it refuses more than 179 million pixels, and label images may have them.
    with PngImageFile(path) as image:
        return np.asarray(image)


def why_no_labels(raw: np.ndarray, *, ignore: int | None = None) -> str | None:
    """Say, as a sentence, why pixels cannot be labels; None where they can.

    Args:
        raw: From `read_labels`.
        ignore: Value of pixels where nobody has looked.
    """
    if raw.ndim != 2:
        return (
            f"it has {raw.ndim} axes {raw.shape}, as colour images and stacks do; labels are one "
            "plane of whole numbers, one for each object."
        )
    if np.issubdtype(raw.dtype, np.floating) and _is_whole(raw):
        return (
            f"its pixels are {raw.dtype}, if of whole values: labels are integers. Save them as "
            'such: in Python labels.astype("uint16"), in Fiji Image > Type > 16-bit, without '
            '"Scale when converting" (Edit > Options > Conversions).'
        )
    if not np.issubdtype(raw.dtype, np.integer):
        return (
            f"its pixels are {raw.dtype}; labels are whole numbers, one for each object. {NUMBER}"
        )
    ids = np.unique(raw[raw != 0] if ignore is None else raw[(raw != 0) & (raw != ignore)])
    if ids.size and (ids[0] < 0 or ids[-1] > np.iinfo(np.int32).max):
        return f"its labels run from {ids[0]} to {ids[-1]}; expected 1 to 2147483647."
    return _why_a_mask(raw == ids[0], int(ids[0])) if ids.size == 1 else None


def in_places(labels: np.ndarray) -> int:
    """Count labels that lie in several separate places, stray pixels aside.

    Args:
        labels: 0 and up, [height, width]. Places are apart by background.
    """
    is_object = labels > 0
    pieces = np.empty(labels.shape, np.int32)
    ndimage.label(is_object, np.ones((3, 3)), output=pieces)
    most = int(pieces.max(initial=0)) + 1
    pairs, area = np.unique(
        labels[is_object].astype(np.int64) * most + pieces[is_object], return_counts=True
    )
    if not pairs.size:
        return 0
    _, owner = np.unique(pairs // most, return_inverse=True)
    largest = np.zeros(owner[-1] + 1)
    np.maximum.at(largest, owner, area)
    return int((np.bincount(owner[area >= SPECK * largest[owner]]) > 1).sum())


def _is_whole(raw: np.ndarray) -> bool:
    return bool(np.isfinite(raw).all() and (raw == np.floor(raw)).all())


def _why_a_mask(only: np.ndarray, label: int) -> str | None:
    pieces = np.empty(only.shape, np.int32)
    ndimage.label(only, np.ones((3, 3)), output=pieces)
    area = np.bincount(pieces.ravel())[1:]
    places = int((area >= SPECK * area.max()).sum())
    if places < 2:
        return None
    return (
        f"its only label, {label}, lies in {places} separate places: a mask, not labels. {NUMBER}"
    )
