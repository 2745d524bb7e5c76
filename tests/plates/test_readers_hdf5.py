"""HDF5 plates of our own and CellH5: what is in them, and links that lead elsewhere."""

import subprocess
import sys
from contextlib import suppress

import h5py
import numpy as np
import pytest

from plates.errors import BadImage, BadPlate
from plates.pixels import is_unchanged, read_plane
from plates.readers import scan


def test_cellh5(trees, tmp_path):
    home = trees["cellh5"](tmp_path / "x")
    planes = scan(home)
    found = set(planes.select("plate", "well", "site", "channel", "z", "timepoint").iter_rows())
    assert found == {("H1", "B03", 2, c, 1, t) for c in ("rfp", "gfp") for t in (1, 2, 3)}
    with h5py.File(home / "p.ch5") as store:
        whole = store["/sample/0/plate/H1/experiment/B3/position/2/image/channel"][:]
    for row in planes.iter_rows(named=True):
        expected = whole[["rfp", "gfp"].index(row["channel"]), row["timepoint"] - 1, 0]
        np.testing.assert_array_equal(read_plane(row["path"]).pixels, expected)


def test_cellh5_without_names(trees, tmp_path):
    home = trees["cellh5"](tmp_path / "x")
    with h5py.File(home / "p.ch5", "r+") as store:
        del store["definition"]
    assert scan(home)["channel"].unique().sort().to_list() == ["C0", "C1"]


def test_cellh5_with_a_well_that_is_none(trees, tmp_path):
    home = trees["cellh5"](tmp_path / "x")
    with h5py.File(home / "p.ch5", "r+") as store:
        store.move("/sample/0/plate/H1/experiment/B3", "/sample/0/plate/H1/experiment/0037")
    with pytest.raises(BadPlate, match=r"'0037' is not a well.* Rename the experiment"):
        scan(home)


def test_cellh5_without_images(trees, tmp_path):
    home = trees["cellh5"](tmp_path / "x")
    with h5py.File(home / "p.ch5", "r+") as store:
        del store["/sample/0/plate/H1/experiment/B3/position/2/image"]
    with pytest.raises(BadPlate, match="is no complete CellH5 file"):
        scan(home)


def test_links_to_other_files_are_not_followed(trees, tmp_path):
    home = trees["cellh5"](tmp_path / "x")
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as store:
        store["position/1/image/channel"] = np.zeros((1, 1, 1, 4, 6), np.uint16)
    with h5py.File(home / "p.ch5", "r+") as store:
        store["/sample/0/plate/H1/experiment/C4"] = h5py.ExternalLink(str(secret), "/")
        store["/sample/0/plate/H1/link"] = h5py.SoftLink("/sample")
    planes = scan(home)
    assert planes["well"].unique().to_list() == ["B03"]
    name = "/sample/0/plate/H1/experiment/C4/position/1/image/channel"
    with pytest.raises(BadImage, match="is not in the file itself") as caught:
        read_plane(f"{home}/p.ch5#dataset={name}&index=0.0.0")
    assert caught.value.code == "missing_plane"


def test_pixels_in_other_files_are_not_read(tmp_path):
    raw = tmp_path / "secret"
    raw.write_bytes(bytes(48))
    with h5py.File(tmp_path / "a.h5", "w") as store:
        options = {"shape": (1, 4, 6), "dtype": np.uint16}
        store.create_dataset("x", external=[(str(raw), 0, 48)], **options)
    with pytest.raises(BadImage, match="the pixels of /x lie in another file") as caught:
        read_plane(f"{tmp_path}/a.h5#dataset=/x&index=0")
    assert caught.value.code == "unreadable"


def test_own_plate_of_a_later_version(trees, tmp_path):
    home = trees["hdf5"](tmp_path / "x")
    (path,) = home.glob("*.h5")
    with h5py.File(path, "r+") as store:
        store.attrs["version"] = 3
    with pytest.raises(
        BadPlate, match=r"^\S+ is a plate of version 3; this release reads 1 and 2\. Update"
    ):
        scan(home)


def test_own_plate_of_version_1(tmp_path):
    with h5py.File(tmp_path / "p.h5", "w") as store:
        store.attrs.update({"format": "plate-profiler", "version": 1, "plate": "P"})
        store.attrs["channels"] = ["a", "b"]
        store.attrs["channel_names"] = ["DAPI", ""]
        store.attrs["wavelengths_nm"] = [450.0, np.nan]
        images = store.create_dataset("B03/2/images", data=np.ones((1, 2, 2, 4, 6), np.uint16))
        images.attrs["pixel_size_um"], images.attrs["magnification"] = 0.5, 20
        images.attrs["objective"], images.attrs["z_um"] = "20x/1", [0.0, 2.0]
        store["B03/2/has_plane"] = np.ones((1, 2, 2), bool)
    facts = ["channel", "channel_name", "wavelength_nm", "z_um", "pixel_size_um", "magnification",
             "objective", "time_s", "flat_field"]  # fmt: skip
    assert scan(tmp_path).select(facts).rows() == [
        (channel, name, wave, z_um, 0.5, 20.0, "20x/1", None, None)
        for channel, name, wave in (("a", "DAPI", 450.0), ("b", None, None))
        for z_um in (0.0, 2.0)
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.pop("has_plane"), "Unable to .*open object|has_plane"),
        (lambda f: f["images"].attrs.update({"z_um": [1.0, 2.0]}), "z_um has the .*2.*expected 3"),
        (lambda f: f["images"].attrs.update({"z_um": [1.0]}), "z_um has the .*1.*, expected 3"),
        (lambda f: f.file.attrs.update({"channels": ["a", "b", "c"]}), "2 channels, but 3 are"),
        (lambda f: f["images"].attrs.update({"z_um": "low"}), "isnan"),
        (lambda f: f.move("images", "i") or f.update({"images": np.ones((1, 2, 4, 6))}),
         r"images is \(1, 2, 4, 6\), and its has_plane \(1, 2, 3\)"),
    ],
)  # fmt: skip
def test_own_plate_that_is_damaged(trees, tmp_path, change, message):
    home = trees["hdf5"](tmp_path / "x")
    (path,) = home.glob("*.h5")
    with h5py.File(path, "r+") as store:
        change(store["B03/1"])
    with pytest.raises(BadPlate, match=rf"is damaged: .*({message}).* Convert the plate again"):
        scan(home)


def test_own_plate_with_a_group_that_is_no_well(trees, tmp_path):
    home = trees["hdf5"](tmp_path / "x")
    (path,) = home.glob("*.h5")
    with h5py.File(path, "r+") as store:
        store.move("B03", "Q99")
    with pytest.raises(BadPlate, match=rf"{path.name}: 'Q99' is not a well\. .* Convert the plate"):
        scan(home)


def test_stamps(trees, tmp_path):
    home = trees["hdf5"](tmp_path / "x")
    path = scan(home)["path"][0]
    stamp = read_plane(path).stamp
    (file,) = home.glob("*.h5")
    assert (stamp.bytes, stamp.mtime_ns) == (file.stat().st_size, file.stat().st_mtime_ns)
    assert is_unchanged(stamp, path)
    file.touch()
    assert is_unchanged(stamp, path)  # later, but the same pixels
    with h5py.File(file, "r+") as store:
        store["B03/1/images"][...] = 7
    assert not is_unchanged(stamp, path)
    file.unlink()
    assert not is_unchanged(stamp, path)


@pytest.mark.parametrize("kind", ["hdf5", "cellh5"])
def test_more_planes_than_there_can_be(trees, tmp_path, kind):
    home = trees[kind](tmp_path / "x")
    (path,) = home.iterdir()
    stack = "/sample/0/plate/H1/experiment/B3/position/2/image/channel"
    name = "/B03/1/has_plane" if kind == "hdf5" else stack
    with h5py.File(path, "r+") as store:
        shape = (10**4, 10**4, 1) + (() if kind == "hdf5" else (4, 6))
        del store[name]
        store.create_dataset(name, shape=shape, dtype="u1", chunks=(1,) * len(shape))
    with pytest.raises(BadPlate, match=r"one field has 100,000,000 planes; more than 1,000,000"):
        scan(home)


@pytest.mark.parametrize("name", ["R&D", "plate #2", "A&index=3", "ü 50%"])
def test_cellh5_whatever_its_plate_is_called(tmp_path, name):
    with h5py.File(tmp_path / "p.ch5", "w") as store:
        home = f"/sample/0/plate/{name}/experiment/B3/position/1/image/channel"
        store[home] = np.arange(48, dtype=np.uint16).reshape(2, 1, 1, 4, 6)
    planes = scan(tmp_path)
    assert planes["plate"].to_list() == [name] * 2
    np.testing.assert_array_equal(
        read_plane(planes["path"][1]).pixels, np.arange(24, 48).reshape(4, 6)
    )


def test_damage_anywhere_in_a_file_is_a_coded_field(trees, tmp_path):
    """H5py reads past the end of some, and says so by a ValueError."""
    path = trees["cellh5"](tmp_path / "x") / "p.ch5"
    planes, good = scan(path)["path"], path.read_bytes()
    for start in range(0, min(len(good), 1600), 8):
        path.write_bytes(good[:start] + b"\xa5" * 8 + good[start + 8 :])
        with suppress(BadImage):  # any other error would end a run
            read_plane(planes[0])


WRITE = """
import sys, h5py
file = h5py.File(sys.argv[1], "w")
file.attrs["format"] = "plate-profiler"
file.flush()
print(flush=True)
sys.stdin.read()
"""


def test_a_file_that_is_being_written_is_not_called_damaged(tmp_path):
    words = [sys.executable, "-c", WRITE, str(tmp_path / "p.h5")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        with pytest.raises(
            BadPlate, match=r"p\.h5 is locked: another program is writing it.* Wait"
        ):
            scan(tmp_path)
        writer.communicate(timeout=60)
