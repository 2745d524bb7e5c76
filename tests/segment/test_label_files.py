"""Label files: large ones are read, damaged ones named, whatever the decoder says."""

import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from plates.errors import BadImage, BadPlate
from profiler.segment.label_files import files_by_name, left_out, read_labels

RNG = np.random.default_rng(0)
LABELS = np.kron(RNG.integers(0, 400, (30, 30)), np.ones((10, 10))).astype(np.uint16)
MANY = 13_400  # pixels each way: more than Pillow opens


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "packbits"])
@pytest.mark.parametrize("layout", [{}, {"rowsperstrip": 50}, {"tile": (64, 64)}])
def test_tiffs_are_read_and_those_cut_short_are_named(tmp_path, compression, layout):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, LABELS, compression=compression, **layout)
    np.testing.assert_array_equal(read_labels(path), LABELS)
    path.write_bytes(path.read_bytes()[: int(0.6 * path.stat().st_size)])
    with pytest.raises(BadImage, match=r"a\.tif cannot be read: .*copy or export it again") as told:
        read_labels(path)
    assert told.value.code == "unreadable"


@pytest.mark.parametrize("share", [0.6, 0.1, 0.0])
def test_pngs_are_read_and_those_cut_short_are_named(tmp_path, share):
    path = tmp_path / "a.png"
    Image.fromarray(LABELS).save(path)
    np.testing.assert_array_equal(read_labels(path), LABELS)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(BadImage, match=r"a\.png cannot be read"):
        read_labels(path)


def test_a_png_of_more_pixels_than_pillow_opens_is_read(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(large_png(MANY))
    with pytest.raises(Image.DecompressionBombError), Image.open(path):
        pass
    labels = read_labels(path)
    assert labels.shape == (MANY, MANY)
    assert np.flatnonzero(labels[0]).tolist() == [7]
    assert not labels[1].any()


def large_png(side: int) -> bytes:
    """A PNG of one bit a pixel, written by hand, of which the first row's eighth is 1."""
    row = b"\0" + bytes(-(-side // 8))
    first = row[:1] + b"\1" + row[2:]
    size = side.to_bytes(4, "big")
    parts = (
        (b"IHDR", size + size + b"\1\0\0\0\0"),
        (b"IDAT", zlib.compress(first + row * (side - 1))),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
        for kind, data in parts
    )


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_what_a_file_holds_counts_not_its_ending(tmp_path, ending):
    Image.fromarray(LABELS).save(tmp_path / "a.png")
    path = (tmp_path / "a.png").rename(tmp_path / f"b.{ending}")
    np.testing.assert_array_equal(read_labels(path), LABELS)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(BadImage, match=r"none\.tif cannot be read"):
        read_labels(tmp_path / "none.tif")


def test_files_of_other_endings_are_told_but_for_hidden_ones(tmp_path):
    for name in ("b.jpg", "a.txt", ".hidden", "c.TIF", "d.png"):
        (tmp_path / name).touch()
    (tmp_path / "folder").mkdir()
    assert left_out(tmp_path) == ["a.txt", "b.jpg"]
    assert left_out(tmp_path / "nowhere") == []


def test_a_file_in_place_of_a_folder_is_called_one(tmp_path):
    (tmp_path / "a.tif").touch()
    with pytest.raises(BadPlate, match=r"a\.tif is a file\. Give a folder"):
        files_by_name(tmp_path / "a.tif", wanted="Give a folder.")
    with pytest.raises(BadPlate, match=r"There is no folder .*b\.tif\. Give a folder"):
        files_by_name(tmp_path / "b.tif", wanted="Give a folder.")
