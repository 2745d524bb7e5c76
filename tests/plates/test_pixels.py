"""Files to planes: round trips, greys in disguise, and every way a file can be bad."""

import hashlib
import io
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy import ndimage

from plates import decode as decoding
from plates.address import page_of
from plates.errors import BadImage, UnknownName
from plates.pixels import FileStamp, is_unchanged, project, read_file, read_plane

RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (40, 30), dtype=np.uint8)
WORDS = RNG.integers(0, 65536, (40, 30), dtype=np.uint16)
FLOATS = RNG.normal(size=(40, 30)).astype(np.float32)
RAMP = np.arange(256, dtype=np.uint16) * 257


@pytest.fixture
def tiff(tmp_path):
    def tiff(*planes, **options):
        path = tmp_path / "a.tif"
        with tifffile.TiffWriter(
            path, **{k: options.pop(k) for k in ("byteorder",) if k in options}
        ) as file:
            for plane in planes:
                file.write(plane, **{"photometric": "minisblack", "metadata": None, **options})
        return path

    return tiff


@pytest.fixture
def png(tmp_path):
    def png(image: Image.Image, **options):
        path = tmp_path / "a.png"
        image.save(path, **options)
        return path

    return png


def refused(path, *, code: str, message: str | None = None):
    with pytest.raises(BadImage, match=message) as caught:
        read_plane(path)
    assert caught.value.code == code
    assert str(path) in str(caught.value)


def assert_reads(path, expected):
    pixels = read_plane(path).pixels
    assert pixels.dtype == expected.dtype
    assert pixels.dtype.isnative
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("plane", [BYTES, WORDS, FLOATS], ids=["uint8", "uint16", "float32"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize(
    "options",
    [{}, {"rowsperstrip": 7}, {"tile": (16, 16)}, {"compression": "zlib", "predictor": True},
     {"compression": "lzw"}, {"compression": "zstd", "tile": (16, 16)}],
    ids=str,
)  # fmt: skip
def test_tiff_round_trip(tiff, plane, byteorder, options):
    assert_reads(tiff(plane, byteorder=byteorder, **options), plane)


@pytest.mark.parametrize("plane", [BYTES, WORDS], ids=["uint8", "uint16"])
def test_png_round_trip(png, plane):
    assert_reads(png(Image.fromarray(plane)), plane)


def test_a_png_is_read_up_to_the_size_of_a_field_and_above_it_said_to_be_large(png, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)  # Pillow's own: it would warn and refuse
    path = png(Image.fromarray(BYTES))
    assert_reads(path, BYTES)
    monkeypatch.setattr(decoding, "MOST_PNG", BYTES.size - 1)
    said = "is a PNG of 30 x 40 pixels, and no more than 1,199 are unpacked.* save it as TIFF"
    refused(path, code="too_large", message=said)


def test_a_png_that_claims_more_than_it_holds_is_refused_before_it_is_unpacked(png):
    path = png(Image.fromarray(BYTES))
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", 60_000, 60_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    path.write_bytes(data)
    refused(path, code="too_large", message="a PNG of 60,000 x 60,000 pixels")


def test_name_does_not_decide_the_format(png, tmp_path):
    assert_reads(png(Image.fromarray(BYTES)).rename(tmp_path / "really_png.tif"), BYTES)


def test_pyramid_and_thumbnail_are_one_plane(tmp_path):
    path = tmp_path / "pyramid.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(WORDS, subifds=1, photometric="minisblack")
        file.write(WORDS[::2, ::2], subfiletype=1, photometric="minisblack")
        file.write(WORDS[::4, ::4], subfiletype=1, photometric="minisblack")
    assert_reads(path, WORDS)


@pytest.mark.parametrize(
    "order", [slice(None), slice(None, None, -1), RNG.permutation(256)], ids=["up", "down", "any"]
)
def test_grey_palette_is_applied(tiff, order):
    ramp = RAMP[order]
    path = tiff(BYTES, photometric="palette", colormap=np.stack([ramp] * 3))
    assert_reads(path, (ramp[BYTES] // 257).astype(np.uint8))
    np.testing.assert_array_equal(
        read_plane(path).pixels, np.asarray(Image.open(path).convert("L"))
    )


def test_palette_with_colours_that_no_pixel_uses(tiff):
    palette = np.stack([RAMP] * 3)
    palette[0, 255] = 0
    plane = np.minimum(BYTES, 254)
    assert_reads(tiff(plane, photometric="palette", colormap=palette), plane)
    refused(tiff(BYTES, photometric="palette", colormap=palette), code="colour_image",
            message="by its palette")  # fmt: skip


def test_green_palette_is_a_colour(tiff):
    palette = np.stack([RAMP * 0, RAMP, RAMP * 0])
    refused(tiff(BYTES, photometric="palette", colormap=palette), code="colour_image",
            message="by its palette")  # fmt: skip


def test_png_palette(png):
    image = Image.fromarray(BYTES).convert("P")
    image.putpalette(np.repeat(np.arange(256, dtype=np.uint8)[::-1], 3).tobytes())
    assert_reads(png(image), 255 - BYTES)
    image.putpalette(RNG.integers(0, 256, 768, dtype=np.uint8).tobytes())
    refused(png(image), code="colour_image", message="is a colour image. Expected one grey")


@pytest.mark.parametrize("plane", [BYTES, WORDS, FLOATS], ids=["uint8", "uint16", "float32"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_rgb_greys_are_one_grey(tiff, plane, planar):
    axis = 0 if planar == "separate" else -1
    path = tiff(np.stack([plane] * 3, axis), photometric="rgb", planarconfig=planar)
    assert_reads(path, plane)


def test_one_pixel_of_colour_is_a_colour_image(tiff):
    rgb = np.stack([WORDS] * 3, -1)
    rgb[3, 4, 2] ^= 1
    refused(
        tiff(rgb, photometric="rgb"), code="colour_image", message="export the channels to files"
    )


@pytest.mark.parametrize(("alpha", "is_read"), [(255, True), (254, False)])
def test_alpha_is_ignored_only_where_opaque(tiff, png, alpha, is_read):
    opacity = np.full_like(BYTES, 255)
    opacity[0, 0] = alpha
    rgba = np.stack([BYTES] * 3 + [opacity], -1)
    grey = rgba[..., 2:]
    for path in (
        tiff(rgba, photometric="rgb", extrasamples=["unassalpha"]),
        tiff(grey, planarconfig="contig", extrasamples=["unassalpha"]),
        png(Image.fromarray(rgba)),
        png(Image.fromarray(grey)),
    ):
        if is_read:
            assert_reads(path, BYTES)
        else:
            refused(path, code="colour_image", message="is partly transparent")


def test_transparent_grey_png(png):
    image = Image.fromarray(np.minimum(BYTES, 254))
    assert_reads(png(image, transparency=255), np.minimum(BYTES, 254))
    refused(png(Image.fromarray(BYTES), transparency=255), code="colour_image",
            message="is partly transparent")  # fmt: skip


def test_16_bit_colour_png_is_not_halved(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(imagecodecs.png_encode(np.stack([WORDS] * 3, -1)))
    refused(path, code="colour_image", message="16-bit PNG with colour or transparency")


def test_other_colours(tiff):
    rgb = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = tiff(rgb, photometric="ycbcr", compression="jpeg")
    refused(path, code="colour_image", message=r"is a colour image \(YCBCR\)")
    refused(tiff(np.stack([WORDS] * 5, -1), planarconfig="contig"), code="colour_image",
            message="holds 5 channels")  # fmt: skip
    refused(tiff(np.stack([BYTES] * 5, -1), photometric="rgb", planarconfig="contig"),
            code="colour_image", message="holds 5 channels")  # fmt: skip


def test_white_is_zero_is_inverted(tiff):
    path = tiff(BYTES, photometric="miniswhite")
    assert_reads(path, 255 - BYTES)
    np.testing.assert_array_equal(
        read_plane(path).pixels, np.asarray(Image.open(path).convert("L"))
    )
    assert_reads(tiff(WORDS, photometric="miniswhite"), 65535 - WORDS)
    refused(tiff(FLOATS, photometric="miniswhite"), code="wrong_bit_depth", message="white is 0")


@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "int16", "uint32", "int32", "float16", "float64"]
)
def test_other_depths(tiff, dtype):
    plane = (BYTES % 2).astype(dtype)
    message = f"-bit pixels of type {dtype}. Expected uint8, uint16, float32; export it as 16-bit"
    refused(tiff(plane), code="wrong_bit_depth", message=message)


def test_packed_depths(tiff, png):
    packed = tiff(WORDS >> 4, bitspersample=12)
    refused(packed, code="wrong_bit_depth", message="12-bit pixels of type uint16")
    refused(
        png(Image.fromarray(BYTES).convert("1")), code="wrong_bit_depth", message="1-bit pixels"
    )
    image = Image.fromarray(BYTES % 4).convert("P")
    refused(png(image, bits=2), code="wrong_bit_depth", message="2-bit pixels")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_not_finite(tiff, value):
    plane = FLOATS.copy()
    plane[1, 2:4] = value
    refused(tiff(plane), code="not_finite", message="has 2 pixels that are NaN or infinite")


def test_stacks(tiff, png, tmp_path):
    refused(tiff(WORDS, WORDS), code="several_pages", message=r"holds a stack \(2 pages\)")
    image = Image.fromarray(BYTES)
    path = png(image, save_all=True, append_images=[image.rotate(90)])
    refused(path, code="several_pages", message="each plane to a file of its own")


def test_empty_file(tmp_path):
    path = tmp_path / "a.tif"
    path.touch()
    refused(path, code="empty_file", message=r"is empty \(0 bytes\)\. Copy it again")


def test_missing_file(tmp_path):
    refused(tmp_path / "a.tif", code="missing_file", message="is not there")


def test_folder_is_no_file(tmp_path):
    refused(tmp_path, code="unreadable", message="cannot be read: Is a directory")


def test_other_formats(tmp_path):
    path = tmp_path / "a.tif"
    Image.fromarray(BYTES).save(path, format="jpeg")
    refused(path, code="unreadable", message=r"neither TIFF nor PNG \(it starts with b'\\xff")


@pytest.mark.parametrize(
    "options",
    [{}, {"rowsperstrip": 8}, {"tile": (16, 16)}, {"compression": "zlib", "rowsperstrip": 8},
     {"compression": "lzw", "tile": (16, 16)}],
    ids=str,
)  # fmt: skip
def test_tiff_cut_anywhere_is_never_read(tiff, options):
    path = tiff(WORDS, **options)
    whole = path.read_bytes()
    with tifffile.TiffFile(path) as file:
        starts, sizes = file.pages[0].dataoffsets, file.pages[0].databytecounts
    end = max(start + size for start, size in zip(starts, sizes, strict=True))
    for length in {*range(4, end, 37), *starts[1:], end - 1}:
        path.write_bytes(whole[:length])
        refused(path, code="unreadable", message="is truncated|is damaged")


@pytest.mark.parametrize(
    "options", [{"rowsperstrip": 8, "compression": "zlib"}, {"tile": (16, 16)}]
)
def test_tiff_with_a_hole_is_not_read_as_zeros(tiff, options):
    path = tiff(WORDS, **options)
    with tifffile.TiffFile(path, mode="r+b") as file:
        tag = file.pages[0].tags["TileByteCounts" if "tile" in options else "StripByteCounts"]
        tag.overwrite((*tag.value[:-1], 0))
    refused(path, code="unreadable", message="is truncated: its .* do not hold all of its 30 x 40")


def test_damaged_strip(tiff):
    path = tiff(WORDS, compression="zlib")
    with tifffile.TiffFile(path) as file:
        start = file.pages[0].dataoffsets[0]
    data = bytearray(path.read_bytes())
    data[start : start + 50] = bytes(50)
    path.write_bytes(data)
    refused(path, code="unreadable", message="is damaged: .* Copy it again from the microscope")


def test_png_cut_anywhere_is_never_read(png):
    path = png(Image.fromarray(WORDS))
    whole = path.read_bytes()
    for length in range(4, len(whole) - 16, 101):  # the last 12 bytes only say that it ends
        path.write_bytes(whole[:length])
        refused(path, code="unreadable", message="is damaged")


def test_stamp(tiff):
    path = tiff(WORDS)
    data, stamp = read_file(path)
    assert data == path.read_bytes()
    assert stamp == FileStamp(
        str(path),
        path.stat().st_size,
        path.stat().st_mtime_ns,
        hashlib.blake2b(data, digest_size=16).hexdigest(),
    )
    assert read_plane(str(path)).stamp == stamp


def test_digest_is_blake2b_128(tmp_path):
    (tmp_path / "a").write_bytes(b"")
    digest = read_file(tmp_path / "a")[1].digest  # as `b2sum -l 128 /dev/null` prints it
    assert digest == "cae66941d9efbd404e4d88758ea67670"


def test_projections():
    stack = [np.uint16([[0, 9]]), np.uint16([[65535, 2]]), np.uint16([[65535, 3]])]
    assert project(stack, how="max").tolist() == [[65535, 9]]
    assert project(stack, how="mean").tolist() == [[43690, 5]]  # 14 / 3 rounds up, no overflow
    assert project(stack, how="mean").dtype == np.uint16
    assert project(stack[:1], how="none").tolist() == [[0, 9]]
    assert project(stack).tolist() == [[65535, 9]]


def test_mean_of_floats_is_not_rounded():
    stack = [np.float32([[0.25]]), np.float32([[0.5]])]
    assert project(stack, how="mean") == np.float32(0.375)
    assert project(stack, how="mean").dtype == np.float32


def test_sharpest_plane():
    sharp = RNG.integers(0, 60_000, (40, 30), dtype=np.uint16)
    blurred = [ndimage.gaussian_filter(sharp, sigma) for sigma in (3, 1, 2)]
    stack = [blurred[0], blurred[1], sharp, blurred[2]]
    np.testing.assert_array_equal(project(stack, how="focus"), sharp)
    inner = slice(1, -1), slice(1, -1)  # where scipy's laplacian needs no edge either
    scores = [ndimage.laplace(plane.astype(np.float32))[inner].var() for plane in stack]
    assert np.argmax(scores) == 2
    np.testing.assert_array_equal(project(blurred, how="focus"), blurred[1])
    assert project([sharp, sharp + 1], how="focus").tolist() == sharp.tolist()  # the first of two
    assert project([np.uint8([[3]])], how="focus").tolist() == [[3]]


def test_no_projection_of_several():
    with pytest.raises(BadImage, match="has 3 z planes, and projection is 'none'") as caught:
        project([BYTES] * 3, how="none")
    assert caught.value.code == "several_planes"


def test_unknown_projection():
    with pytest.raises(UnknownName, match="no projection called 'maximum'"):
        project([BYTES], how="maximum")


def test_bbbc013_as_pillow_shows_it(data_folder):
    path = data_folder / "bbbc013/images/Channel1-01-A-01.tif"
    expected = np.asarray(Image.open(io.BytesIO(path.read_bytes())).convert("L"))
    assert_reads(path, expected)
    assert expected.shape == (640, 640)


def test_real_compressed_files(data_folder):
    for path in (data_folder / "cell_painting/br00143976_phenix_naming").glob("*.tiff"):
        assert_reads(path, tifffile.imread(path))


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"tile": (16, 16)}], ids=str)
def test_pages_of_a_stack(tiff, options):
    planes = [WORDS, WORDS[::-1], WORDS // 2]
    path = tiff(*planes, **options)
    for page, plane in enumerate(planes):
        address = page_of(path, page)
        assert_reads(address, plane)
        data, stamp = read_file(address)
        assert stamp.path == address
        assert (stamp.bytes, stamp.mtime_ns) == (path.stat().st_size, path.stat().st_mtime_ns)
        assert stamp.digest == hashlib.blake2b(data, digest_size=16).hexdigest()
    assert len({read_file(page_of(path, page))[1].digest for page in range(3)}) == 3


@pytest.mark.parametrize(
    ("page", "code", "message"),
    [(3, "missing_page", "has 3 pages, fewer than its index says"),
     (1, "wrong_bit_depth", "has 32-bit pixels"), (2, "colour_image", "is a colour image")],
)  # fmt: skip
def test_pages_are_judged_alone(tmp_path, page, code, message):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(WORDS, photometric="minisblack", metadata=None)
        file.write(WORDS.astype(np.uint32), photometric="minisblack", metadata=None)
        file.write(np.stack([BYTES, BYTES, 255 - BYTES], -1), photometric="rgb", metadata=None)
    assert_reads(page_of(path, 0), WORDS)
    refused(page_of(path, page), code=code, message=message)


def test_pages_of_what_is_no_stack(tmp_path):
    path = tmp_path / "a.tif"
    refused(page_of(path, 0), code="missing_file")
    path.touch()
    refused(page_of(path, 0), code="empty_file")
    path.write_bytes(b"rubbish")
    refused(page_of(path, 0), code="unreadable", message="is damaged")
    path.write_bytes(b"II*\0 rubbish")
    refused(page_of(path, 0), code="missing_page", message="has 0 pages, fewer than")


def test_a_truncated_page_is_never_read(tiff):
    path = tiff(WORDS, WORDS)
    with tifffile.TiffFile(path) as file:
        end = file.pages[1].dataoffsets[0] + WORDS.nbytes
    path.write_bytes(path.read_bytes()[: end - 1])
    refused(page_of(path, 1), code="unreadable", message="is truncated|is damaged")


def test_a_file_whose_name_looks_like_a_place(tmp_path):
    path = tmp_path / "plate #7.tif"
    tifffile.imwrite(path, WORDS)
    assert_reads(path, WORDS)


def test_whether_a_file_is_unchanged(tiff):
    path = tiff(WORDS)
    stamp = read_plane(path).stamp
    assert is_unchanged(stamp, str(path))
    copy = path.rename(path.with_name("copy.tif"))
    assert is_unchanged(stamp, str(copy))  # where it lies does not matter
    assert not is_unchanged(stamp, str(path))
    assert is_unchanged(stamp._replace(bytes=-1), str(path))  # it was not there, and is not
    tiff(WORDS ^ 1)
    assert not is_unchanged(stamp, str(path))


def test_whether_a_page_is_unchanged(tiff):
    path = tiff(WORDS, WORDS // 2)
    stamps = [read_plane(page_of(path, page)).stamp for page in (0, 1)]
    assert all(is_unchanged(stamp, stamp.path) for stamp in stamps)
    tiff(WORDS, WORDS // 3)
    assert [is_unchanged(stamp, stamp.path) for stamp in stamps] == [True, False]
