"""Batches: order, padding, failures that ride along, and threads that end."""

import re
import threading
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tifffile

import plates.loader as loader
from plates.errors import BadPlate, UnknownName
from plates.imageset import FieldKey, image_sets
from plates.loader import PixelFormat, batches, expected_format
from plates.pixels import read_file, read_plane
from plates.readers import scan

CHANNELS = {"DNA": "DNA", "ER": "ER"}
FORMAT = PixelFormat(4, 6, np.dtype("uint16"))


def pixels(well: int, channel: int) -> np.ndarray:
    return np.full((4, 6), 100 * well + channel, np.uint16)


@pytest.fixture
def plate(tmp_path) -> Path:
    """Five wells, A01 to A05, of two channels whose every pixel says which they are."""
    for well in range(1, 6):
        for number, channel in enumerate(CHANNELS, 1):
            tifffile.imwrite(tmp_path / f"p_A{well:02d}_s1_{channel}.tif", pixels(well, number))
    return tmp_path


@pytest.fixture
def sets(plate) -> pl.DataFrame:
    return image_sets(scan(plate), channels=CHANNELS)


def load(sets, *, size=2, **options):
    options = {"channels": CHANNELS, "pixel_format": FORMAT, **options}
    return list(batches(sets, size=size, **options))


def key(well: int) -> FieldKey:
    return FieldKey("p", f"A{well:02d}", 1)


def loader_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if loader.THREAD_NAME in thread.name]


def test_every_field_in_order_and_padded(sets):
    loaded = load(sets)
    assert [batch.keys for batch in loaded] == [(key(1), key(2)), (key(3), key(4)), (key(5),)]
    for batch in loaded:
        assert batch.images.shape == (2, 4, 6, 2)
        assert batch.images.dtype == np.uint16
        assert batch.failures == ()
    for well in range(1, 6):
        image = loaded[(well - 1) // 2].images[(well - 1) % 2]
        np.testing.assert_array_equal(image[..., 0], pixels(well, 1))
        np.testing.assert_array_equal(image[..., 1], pixels(well, 2))
    assert not loaded[-1].images[1].any()


@pytest.mark.parametrize("size", [1, 3, 5, 64])
def test_sizes(sets, size):
    loaded = load(sets, size=size)
    assert [k for batch in loaded for k in batch.keys] == [key(well) for well in range(1, 6)]
    assert all(batch.images.shape == (size, 4, 6, 2) for batch in loaded)


def test_channels_follow_the_order_asked_for(sets):
    (batch,) = load(sets, size=5, channels=("ER",))
    assert batch.images[:, 0, 0, 0].tolist() == [102, 202, 302, 402, 502]
    (batch,) = load(sets, size=5, channels=["ER", "DNA"])
    assert batch.images[0, 0, 0].tolist() == [102, 101]


def test_order_of_the_sets_is_kept_even_if_the_first_are_slow(sets, monkeypatch):
    order = [4, 2, 5, 1, 3]
    sets = sets[[well - 1 for well in order]]

    def slow_at_first(path):
        time.sleep(0.05 if "A04" in path or "A02" in path else 0)
        return read_file(path)

    monkeypatch.setattr(loader, "read_file", slow_at_first)
    (batch,) = load(sets, size=5)
    assert batch.keys == tuple(key(well) for well in order)
    assert batch.images[:, 0, 0, 0].tolist() == [401, 201, 501, 101, 301]


def test_inputs_are_stamped(sets, plate):
    (batch,) = load(sets, size=5)
    assert list(batch.inputs) == [key(well) for well in range(1, 6)]
    paths = [plate / "p_A03_s1_DNA.tif", plate / "p_A03_s1_ER.tif"]
    assert batch.inputs[key(3)] == tuple(read_file(str(path))[1] for path in paths)


def write(plane, *, photometric="minisblack"):
    return lambda path: tifffile.imwrite(path, plane, photometric=photometric)


def cut(path: Path):
    path.write_bytes(path.read_bytes()[:-7])


BREAK = {  # code -> (what happens to well A02's ER file, what the message says, stamped files)
    "missing_channel": (Path.unlink, "well A02, site 1 has no image of ER, which other fields", 1),
    "empty_file": (lambda path: path.write_bytes(b""), r"is empty \(0 bytes\)", 2),
    "unreadable": (cut, "is truncated|is damaged", 2),
    "wrong_shape": (
        write(np.zeros((6, 4), np.uint16)),
        r"is 6 x 4 pixels \(height x width\), but the plate's images are 4 x 6",
        2,
    ),
    "wrong_bit_depth": (
        write(np.zeros((4, 6), np.uint8)),
        "has uint8 pixels, but the plate's images have uint16",
        2,
    ),
    "colour_image": (write(np.arange(72, dtype=np.uint16).reshape(4, 6, 3), photometric="rgb"),
                     "is a colour image", 2),
    "several_pages": (write(np.zeros((2, 4, 6), np.uint16)), "holds a stack", 2),
    "not_finite": (write(np.full((4, 6), np.nan, np.float32)), "NaN or infinite", 2),
}  # fmt: skip


@pytest.mark.parametrize("code", BREAK)
def test_one_bad_file_fails_its_field_alone(plate, code):
    harm, message, stamped = BREAK[code]
    harm(plate / "p_A02_s1_ER.tif")
    loaded = load(image_sets(scan(plate), channels=CHANNELS))
    assert loaded[0].keys == (key(1),)
    (failure,) = loaded[0].failures
    assert (failure.key, failure.code) == (key(2), code)
    assert re.search(message, failure.message)
    assert not loaded[0].images[1].any()
    assert len(loaded[0].inputs[key(2)]) == stamped
    assert [k for batch in loaded for k in batch.keys] == [key(well) for well in (1, 3, 4, 5)]


def test_file_that_goes_after_the_scan(sets, plate):
    (plate / "p_A02_s1_DNA.tif").unlink()
    (failure,) = load(sets)[0].failures
    assert failure.code == "missing_file"
    assert "A02_s1_DNA.tif is not there" in failure.message


def test_the_other_files_of_a_failed_field_are_stamped(sets, plate):
    cut(plate / "p_A02_s1_DNA.tif")
    batch = load(sets)[0]
    assert [Path(stamp.path).name for stamp in batch.inputs[key(2)]] == [
        "p_A02_s1_DNA.tif", "p_A02_s1_ER.tif"]  # fmt: skip


def test_a_batch_of_failures_alone(sets, plate):
    (plate / "p_A05_s1_ER.tif").write_bytes(b"")
    last = load(sets)[-1]
    assert last.keys == ()
    assert [failure.key for failure in last.failures] == [key(5)]
    assert last.images.shape == (2, 4, 6, 2)
    assert not last.images.any()


def test_failures_are_in_order(sets, plate):
    for well in (1, 3, 4):
        (plate / f"p_A{well:02d}_s1_ER.tif").write_bytes(b"")
    (batch,) = load(sets, size=5)
    assert [failure.key for failure in batch.failures] == [key(1), key(3), key(4)]
    assert batch.keys == (key(2), key(5))
    assert batch.images[:2, 0, 0, 0].tolist() == [201, 501]


@pytest.mark.parametrize(("projection", "expected"), [("max", 9), ("mean", 4)])
def test_stacks_are_projected(tmp_path, projection, expected):
    for z, value in ((1, 0), (2, 9), (3, 3)):
        tifffile.imwrite(tmp_path / f"p_A01_s1_z{z}_DNA.tif", np.full((4, 6), value, np.uint16))
    sets = image_sets(scan(tmp_path), channels={"DNA": "DNA"})
    (batch,) = load(sets, channels=["DNA"], projection=projection)
    assert (batch.images[0] == expected).all()
    assert len(batch.inputs[key(1)]) == 3
    (batch,) = load(sets, channels=["DNA"], projection="none")
    assert batch.failures[0].code == "several_planes"


def settled(read: list, expected: int) -> int:
    """How many were read in the end: once as many as expected are, and a moment after."""
    deadline = time.monotonic() + 30
    while len(read) < expected and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.05)
    return len(read)


def test_reads_only_so_far_ahead(sets, monkeypatch):
    read = []

    def counted(path):
        read.append(path)
        return read_file(path)

    monkeypatch.setattr(loader, "read_file", counted)
    batch = batches(sets, channels=CHANNELS, pixel_format=FORMAT, size=1, ahead=2)
    next(batch)
    assert settled(read, 2 * (1 + 2)) == 2 * (1 + 2)  # the one in hand and two more, of two files
    next(batch)
    assert settled(read, 2 * (2 + 2)) == 2 * (2 + 2)
    batch.close()
    assert len(read) == 2 * (2 + 2)


def test_threads_end_with_the_last_batch(sets):
    load(sets)
    assert loader_threads() == []


def test_threads_end_when_the_caller_stops_early(sets):
    batch = batches(sets, channels=CHANNELS, pixel_format=FORMAT, size=1)
    next(batch)
    assert loader_threads()
    batch.close()
    assert loader_threads() == []


def test_what_waits_is_not_read_when_the_caller_stops(sets, monkeypatch):
    read = []

    def slow(path):
        time.sleep(0.02)
        read.append(path)
        return read_file(path)

    monkeypatch.setattr(loader, "read_file", slow)
    monkeypatch.setattr(loader, "WORKERS", 1)
    batch = batches(sets, channels=CHANNELS, pixel_format=FORMAT, size=1, ahead=4)
    next(batch)
    batch.close()
    assert len(read) < 10  # at least the last of five fields


def test_nothing_starts_before_the_first_batch_is_asked_for(sets):
    waiting = batches(sets, channels=CHANNELS, pixel_format=FORMAT, size=1)
    assert loader_threads() == []
    waiting.close()


def test_a_bug_is_raised_not_recorded(sets, monkeypatch):
    def broken(path):
        raise ZeroDivisionError

    monkeypatch.setattr(loader, "read_file", broken)
    with pytest.raises(ZeroDivisionError):
        load(sets)
    assert loader_threads() == []


def test_no_fields(sets):
    assert load(sets.clear()) == []


@pytest.mark.parametrize("options", [{"size": 0}, {"size": 1, "ahead": 0}])
def test_sizes_refused_at_once(sets, options):
    with pytest.raises(ValueError, match="both must be 1 or more"):
        batches(sets, channels=CHANNELS, pixel_format=FORMAT, **options)


def test_unknown_names_refused_at_once(sets):
    with pytest.raises(UnknownName, match="no projection called 'maxx'"):
        batches(sets, channels=CHANNELS, pixel_format=FORMAT, size=1, projection="maxx")
    with pytest.raises(UnknownName, match="no stain in the image sets called 'DNAA'"):
        batches(sets, channels=["DNAA"], pixel_format=FORMAT, size=1)


def test_expected_format_is_the_most_common(sets, plate):
    write(np.zeros((9, 9), np.float32))(plate / "p_A01_s1_DNA.tif")
    (plate / "p_A02_s1_DNA.tif").write_bytes(b"")
    (plate / "p_A03_s1_DNA.tif").unlink()
    assert expected_format(sets, channels=CHANNELS) == FORMAT


def test_expected_format_looks_at_the_stains_asked_for(sets, plate):
    for well in range(1, 6):
        write(np.zeros((9, 8), np.uint8))(plate / f"p_A{well:02d}_s1_ER.tif")
    assert expected_format(sets, channels=["ER"]) == PixelFormat(9, 8, np.dtype("uint8"))


def test_expected_format_goes_on_if_the_sample_is_broken(sets, plate, monkeypatch):
    monkeypatch.setattr(loader, "SAMPLE", 2)
    (plate / "p_A01_s1_DNA.tif").write_bytes(b"")
    (plate / "p_A05_s1_ER.tif").write_bytes(b"")
    assert expected_format(sets, channels=CHANNELS) == FORMAT


def test_sample_is_spread(sets, monkeypatch):
    read = []

    def counted(path):
        read.append(path)
        return read_plane(path)

    monkeypatch.setattr(loader, "SAMPLE", 3)
    monkeypatch.setattr(loader, "read_plane", counted)
    expected_format(sets, channels=["DNA"])
    assert [Path(path).name[2:5] for path in read] == ["A01", "A03", "A05"]


def test_no_file_can_be_read(sets, plate):
    for path in plate.iterdir():
        path.write_bytes(b"")
    with pytest.raises(
        BadPlate, match=r"None of the plate's 10 image files can be read: .* is empty"
    ):
        expected_format(sets, channels=CHANNELS)


def test_no_file_at_all(sets):
    with pytest.raises(BadPlate, match=r"None of the plate's 0 image files.* name no file"):
        expected_format(sets.clear(), channels=CHANNELS)


def test_bbbc013(data_folder):
    channels = {"GFP": "Channel1", "DNA": "Channel2"}
    sets = image_sets(scan(data_folder / "bbbc013/images"), channels=channels)
    pixel_format = expected_format(sets, channels=channels)
    assert pixel_format == PixelFormat(640, 640, np.dtype("uint8"))
    loaded = list(batches(sets, channels=channels, pixel_format=pixel_format, size=36))
    assert [len(batch.keys) for batch in loaded] == [36, 36, 24]
    assert not any(batch.failures for batch in loaded)
    path = data_folder / "bbbc013/images/Channel2-96-H-12.tif"
    np.testing.assert_array_equal(loaded[-1].images[23, ..., 1], tifffile.imread(path))
