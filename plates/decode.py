"""The bytes of one image file -> one plane of greys, or a coded reason why not.

The rule: what the file shows must be one grey picture of 8 or 16 bit integers or 32 bit floats.
A palette is applied first (its 16-bit entries keep the upper 8 bits, as in every viewer). Red,
green and blue that agree in every pixel are one grey; if they differ anywhere it is a colour
image. Transparency is ignored only where all is opaque. White-is-zero integers are inverted.
"""

import io
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import numpy as np
import tifffile
from jaxtyping import Shaped, UInt8
from PIL.PngImagePlugin import PngImageFile

from plates.errors import BadImage

DEPTHS = ("uint8", "uint16", "float32")
PNG_START = b"\x89PNG"
MOST_PNG = 1 << 28  # pixels: 16,384 x 16,384; a file of a few kB can claim more
TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
NPY_START = b"\x93NUMPY"  # how a plane travels that came out of an array; see `plates.pixels`

Grey: TypeAlias = Shaped[np.ndarray, "height width"]
Colour: TypeAlias = Shaped[np.ndarray, "height width sample"]


def decode(data: bytes, *, path: str) -> Grey:
    """Decode a TIFF, PNG or NPY held in memory.

    Args:
        data: The whole file.
        path: Where it came from, for messages.

    Returns:
        The plane, [height, width], uint8, uint16 or float32 in native byte order.

    Raises:
        BadImage: `empty_file`, `unreadable`, `several_pages`, `wrong_bit_depth`,
            `colour_image`, `not_finite` or `too_large`.
    """
    if not data:
        raise BadImage(f"{path} is empty (0 bytes). Copy it again.", code="empty_file")
    return _decoded(lambda: _plane(data, path=path), path=path)


def decode_page(file: io.IOBase, *, page: int, size: int, path: str) -> Grey:
    """Decode one page of an open TIFF without reading the others.

    Args:
        file: Open at any position.
        page: Counted from 0, pyramids and thumbnails included.
        size: Bytes of the file.
        path: Where it came from, for messages.

    Raises:
        BadImage: As `decode`; `missing_page` if the file has fewer pages.
        OSError: The file cannot be read: of damaged bytes tifffile says otherwise.
    """
    if not size:
        raise BadImage(f"{path} is empty (0 bytes). Copy it again.", code="empty_file")
    page_of = partial(_page, file, page=page, size=size, path=path)
    return _decoded(page_of, path=path, passed_on=(BadImage, OSError))


def _decoded(
    decode: Callable[[], Grey],
    *,
    path: str,
    passed_on: tuple[type[Exception], ...] = (BadImage,),
) -> Grey:
    try:
        plane = decode()
    except passed_on:
        raise
    except Exception as reason:  # decoders raise anything at all on damaged bytes
        raise _refused(
            f"is damaged: {reason}. Copy it again from the microscope.",
            path=path,
            code="unreadable",
        ) from reason
    return _checked(plane, path=path)


def _plane(data: bytes, *, path: str) -> Grey:
    if data.startswith(PNG_START):
        return _png(data, path=path)
    if data.startswith(TIFF_STARTS):
        return _tiff(data, path=path)
    if data.startswith(NPY_START):
        return np.load(io.BytesIO(data), allow_pickle=False)
    raise _refused(
        f"is neither TIFF nor PNG (it starts with {data[:4]!r}). Export it as TIFF; "
        "formats such as JPEG change intensities.",
        path=path,
        code="unreadable",
    )


def _refused(sentence: str, *, path: str, code: str) -> BadImage:
    return BadImage(f"{path} {sentence}", code=code)


def _checked(plane: Grey, *, path: str) -> Grey:
    _check_depth(plane.dtype, bits=plane.dtype.itemsize * 8, path=path)
    plane = np.ascontiguousarray(plane)  # tifffile and Pillow give native byte order
    if plane.dtype.kind == "f" and not (is_finite := np.isfinite(plane)).all():
        raise _refused(
            f"has {(~is_finite).sum()} pixels that are NaN or infinite. Export it without masking "
            "or as integers.",
            path=path,
            code="not_finite",
        )
    return plane


def _check_depth(dtype: np.dtype | None, *, bits: int, path: str) -> None:
    if dtype is None or dtype.name not in DEPTHS or bits != dtype.itemsize * 8:
        raise _refused(
            f"has {bits}-bit pixels of type {dtype or 'unknown'}. Expected {', '.join(DEPTHS)}; "
            "export it as 16-bit grey.",
            path=path,
            code="wrong_bit_depth",
        )


def _tiff(data: bytes, *, path: str) -> Grey:
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        pages = [page.aspage() for page in file.pages]
        pages = [page for page in pages if not page.is_reduced]  # pyramids and thumbnails
        if len(pages) != 1:
            raise _several(len(pages), path=path)
        return _tiff_page(pages[0], size=len(data), path=path)


def _page(file: io.IOBase, *, page: int, size: int, path: str) -> Grey:
    with tifffile.TiffFile(file) as tiff:  # type: ignore[arg-type]  # any open file will do
        try:
            found = tiff.pages[page].aspage()
        except IndexError as reason:
            raise _refused(
                f"has {len(tiff.pages)} pages, fewer than its index says. Copy it again from "
                "the microscope.",
                path=path,
                code="missing_page",
            ) from reason
        return _tiff_page(found, size=size, path=path)


def _tiff_page(page: tifffile.TiffPage, *, size: int, path: str) -> Grey:
    if page.imagedepth != 1:
        raise _several(page.imagedepth, path=path)
    bits = page.bitspersample
    bits = bits if isinstance(bits, int) else max(bits)
    _check_depth(page.dtype, bits=bits, path=path)
    _check_complete(page, size=size, path=path)
    return _tiff_greys(page, path=path)


def _several(pages: int, *, path: str) -> BadImage:
    return _refused(
        f"holds a stack ({pages} pages). Expected one plane in a file; export each plane to a "
        "file of its own.",
        path=path,
        code="several_pages",
    )


def _check_complete(page: tifffile.TiffPage, *, size: int, path: str) -> None:
    """Refuse a file that ends early: tifffile would return zeros for what is not there."""
    chunks = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    expected = int(np.prod(page.chunked))
    is_uncompressed = page.compression == tifffile.COMPRESSION.NONE
    if is_uncompressed and not page.is_tiled:
        # Strips that lie one after the other are reported as one.
        has_all = sum(count for _, count in chunks) >= page.nbytes
    else:
        has_all = len(chunks) >= expected and all(count > 0 for _, count in chunks)
    if not has_all or any(offset + count > size for offset, count in chunks):
        raise _refused(
            f"is truncated: its {size} bytes do not hold all of its "
            f"{page.imagewidth} x {page.imagelength} pixels. Copy it again from the microscope.",
            path=path,
            code="unreadable",
        )


def _tiff_greys(page: tifffile.TiffPage, *, path: str) -> Grey:
    photometric = tifffile.PHOTOMETRIC(page.photometric)
    pixels = page.asarray(maxworkers=1)  # the loader decodes files, not strips, in parallel
    if pixels.ndim == 3:
        pixels = np.moveaxis(pixels, page.axes.index("S"), -1)
    if photometric == tifffile.PHOTOMETRIC.PALETTE and page.colormap is not None:
        return _looked_up(pixels, palette=(page.colormap >> 8).astype(np.uint8), path=path)
    if photometric == tifffile.PHOTOMETRIC.RGB:
        return _one_grey(pixels, path=path)
    if photometric not in (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.MINISWHITE):
        raise _colour(f"is a colour image ({photometric.name})", path=path)
    if pixels.ndim == 3:
        pixels = _grey_and_alpha(pixels, path=path)
    if photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        return _inverted(pixels, path=path)
    return pixels


def _looked_up(pixels: Grey, *, palette: UInt8[np.ndarray, "sample entry"], path: str) -> Grey:
    is_grey = (palette[0] == palette[1]) & (palette[1] == palette[2])
    if not (is_grey.all() or is_grey[pixels].all()):  # entries that no pixel uses do not matter
        raise _colour("is a colour image (by its palette)", path=path)
    return palette[0][pixels]


def _inverted(pixels: Grey, *, path: str) -> Grey:
    if pixels.dtype.kind == "f":
        raise _refused(
            "says that white is 0, which has no meaning for floats. Export it with black as 0.",
            path=path,
            code="wrong_bit_depth",
        )
    return np.iinfo(pixels.dtype).max - pixels


def _grey_and_alpha(pixels: Colour, *, path: str) -> Grey:
    if pixels.shape[-1] != 2:
        raise _colour(f"holds {pixels.shape[-1]} channels", path=path)
    return _one_grey(np.repeat(pixels, (3, 1), axis=-1), path=path)


def _png(data: bytes, *, path: str) -> Grey:
    # Not `Image.open`, which warns from 89 million pixels on and from 179 million refuses.
    with PngImageFile(io.BytesIO(data)) as image:
        if image.width * image.height > MOST_PNG:
            raise _refused(
                f"is a PNG of {image.width:,} x {image.height:,} pixels, and no more than "
                f"{MOST_PNG:,} are unpacked: a small file can claim any number to fill the memory. "
                "If it is an image of yours, save it as TIFF, or cut it into fields.",
                path=path,
                code="too_large",
            )
        if (pages := getattr(image, "n_frames", 1)) != 1:
            raise _several(pages, path=path)
        bits = data[24]  # in the header, which always comes first; Pillow does not tell
        if bits < 8:
            raise _refused(
                f"has {bits}-bit pixels. Expected 8 or 16 bits; save it again as 8-bit grey.",
                path=path,
                code="wrong_bit_depth",
            )
        is_grey = image.mode in ("L", "I;16") and "transparency" not in image.info
        if is_grey:
            return np.asarray(image)
        if bits > 8:  # Pillow would halve the depth without a word
            raise _colour("is a 16-bit PNG with colour or transparency", path=path)
        return _one_grey(np.asarray(image.convert("RGBA")), path=path)


def _one_grey(samples: Colour, *, path: str) -> Grey:
    """Reduce red, green and blue to the one grey that they are."""
    opaque = np.iinfo(samples.dtype).max if samples.dtype.kind == "u" else 1
    if samples.shape[-1] > 4:
        raise _colour(f"holds {samples.shape[-1]} channels", path=path)
    if samples.shape[-1] == 4 and (samples[..., 3] != opaque).any():
        raise _colour("is partly transparent", path=path)
    red, green, blue = np.moveaxis(samples[..., :3], -1, 0)
    if (red != green).any() or (green != blue).any():
        raise _colour("is a colour image", path=path)
    return red


def _colour(what: str, *, path: str) -> BadImage:
    return _refused(
        f"{what}. Expected one grey channel; export the channels to files of their own, without "
        "pseudo-colour or overlays.",
        path=path,
        code="colour_image",
    )
