"""OME-TIFF: real files against tifffile's own reading of them, companions, and wells in names."""

import re
import shutil
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import tifffile

from plates.errors import BadPlate
from plates.pixels import read_plane
from plates.readers import scan
from plates.readers.ome_tiff import read_index


def test_real_scenes_against_tifffile(data_folder):
    path = data_folder / "cell_painting/cdp2bioactives/cdp2bioactives_h15.ome.tif"
    planes = scan(path.parent)
    assert planes.equals(scan(path))
    with tifffile.TiffFile(path) as file:
        scenes = [series.asarray() for series in file.series]  # [channel, height, width]
    assert len(scenes) == 6
    assert len(planes) == 30
    assert planes.select("plate", "well").unique().rows() == [("cdp2bioactives", "H15")]
    for row in planes.iter_rows(named=True):
        channel = int(row["channel"].removeprefix("C:"))
        np.testing.assert_array_equal(
            read_plane(row["path"]).pixels, scenes[row["site"] - 1][channel]
        )


@pytest.mark.parametrize(
    ("name", "sizes", "channels", "waves", "pixel", "step", "objective"),
    [
        # It says 5 time points, and names the pages of 6.
        ("20241003_experiment_488_7_640_3_1", {"C": 2, "Z": 1, "T": 6}, ("Channel1", "Channel2"),
         (525.0, 680.0), 0.16, None, "100x/1.49"),
        ("c3_z33", {"C": 3, "Z": 33, "T": 1}, ("Conf640", "Conf561", "Conf405"),
         (650.0, 580.0, 460.0), 0.0649555549, 0.5, "100x"),
    ],
)  # fmt: skip
def test_real_companions(data_folder, name, sizes, channels, waves, pixel, step, objective):
    path = data_folder / f"vendor/ome-tiff/{name}.companion.ome"
    (image,) = read_index(path).images.values()
    assert image.channels == channels
    assert image.wavelengths == waves
    assert (image.pixel_size_um, image.z_step_um) == (pixel, step)
    assert (image.objective, image.magnification) == (objective, 100.0)
    # Against the text itself: every TiffData element names one page of one file.
    text = path.read_text()
    said = re.findall(r"<TiffData([^>]*)>\s*<UUID FileName=\"([^\"]*)\"", text)
    expected = set()
    for attributes, file in said:
        number = {k: int(v) for k, v in re.findall(r'(\w+)="(\d+)"', attributes)}
        place = (number.get(f"First{axis}", 0) for axis in "CZT")
        expected.add((*place, file, number.get("IFD", 0)))
    assert {tuple(page) for page in image.pages} == expected
    assert len(image.pages) == np.prod(list(sizes.values()))


def test_real_companions_name_no_well(data_folder):
    with pytest.raises(BadPlate, match=r"does not say which well image 1 \(2024.*\) belongs to"):
        scan(data_folder / "vendor/ome-tiff")


def test_a_name_with_two_wells_names_none(data_folder, tmp_path):
    shutil.copy(data_folder / "vendor/ome-tiff/c3_z33.companion.ome", tmp_path)  # C03 or Z33?
    message = r"image 1 \(c3_z33\).* is a well \(it could be C03 or Z33\)\. .* name the file like"
    with pytest.raises(BadPlate, match=message):
        scan(tmp_path)


@pytest.mark.parametrize(
    ("name", "well"),
    [
        ("exp_B02_s1", "B02"), ("exp_B02_S01", "B02"), ("b2_f3_w1_z12_t1_c2", "B02"),
        ("P01_H12", "H12"), ("exp_C03_s1", "C03"), ("AF48_w1", "AF48"), ("plate1_s1", "S01"),
    ],
)  # fmt: skip
def test_numbers_beside_a_well(tmp_path, name, well):
    tifffile.imwrite(tmp_path / f"{name}.ome.tif", np.zeros((4, 6), np.uint8))
    assert scan(tmp_path)["well"].to_list() == [well]


@pytest.mark.parametrize(
    ("name", "wells"), [("C03_S01", "C03 or S01"), ("c3_s1", "C03 or S01"), ("B2_D4", "B02 or D04")]
)
def test_two_wells_in_a_name(tmp_path, name, wells):
    tifffile.imwrite(tmp_path / f"{name}.ome.tif", np.zeros((4, 6), np.uint8))
    with pytest.raises(BadPlate, match=rf"is a well \(it could be {wells}\)\. Export it with"):
        scan(tmp_path)


def channel_files(home, name: str) -> dict[tuple, np.ndarray]:
    """A file for each of 2 wells, 2 sites and 2 channels."""
    planes = {}
    for place in product(("B02", "B03"), (1, 2), ("DAPI", "GFP")):
        pixels = np.random.default_rng(len(planes)).integers(0, 60_000, (4, 6), dtype=np.uint16)
        well, site, channel = place
        tifffile.imwrite(
            home / f"{name.format(well, site, channel)}.ome.tif", pixels,
            metadata={"axes": "YX", "Channel": {"Name": channel}},
        )  # fmt: skip
        planes[place] = pixels
    return planes


@pytest.mark.parametrize("name", ["exp_{}_{:03d}_{}", "exp_{}_s{}_{}"])
def test_a_file_for_each_channel_is_no_site(tmp_path, name):
    expected = channel_files(tmp_path, name)
    message = (
        rf"{name.format('B02', 1, 'DAPI')}\.ome\.tif has DAPI and .*"
        rf"{name.format('B02', 1, 'GFP')}\.ome\.tif has GFP, both in "
        r"well B02: with a file for each channel, files are no fields\. .* reader = \"pattern\" and"
    )
    with pytest.raises(BadPlate, match=message) as refused:
        scan(tmp_path)
    pattern = re.search(r"such as '(.*)'\.$", str(refused.value))
    assert pattern
    planes = scan(tmp_path, pattern=pattern[1])  # what the message advises
    assert len(planes) == len(expected)
    for *place, path in planes.select("well", "site", "channel", "path").iter_rows():
        np.testing.assert_array_equal(read_plane(path).pixels, expected[tuple(place)])


def test_sites_of_different_channels_that_share_one(tmp_path):
    for site, names in enumerate((["DAPI", "GFP"], ["DAPI", "Cy5"])):
        tifffile.imwrite(
            tmp_path / f"B02_{site}.ome.tif", np.zeros((2, 4, 6), np.uint8),
            metadata={"axes": "CYX", "Channel": {"Name": names}},
        )  # fmt: skip
    assert scan(tmp_path).select("site", "channel").rows() == [
        (1, "DAPI"), (1, "GFP"), (2, "Cy5"), (2, "DAPI")]  # fmt: skip


def test_stack_in_one_file(trees, tmp_path):
    planes = scan(trees["ome-tiff"](tmp_path / "P5"))
    assert planes.select("plate", "well", "site").unique().rows() == [("P5", "B03", 1)]
    found = set(planes.select("channel", "z", "z_um", "pixel_size_um").iter_rows())
    assert found == {(c, z, 2.0 * (z - 1), 0.5) for c in ("DNA", "ER") for z in (1, 2, 3)}
    stack = tifffile.imread(tmp_path / "P5/screen_b03.ome.tif")
    for row in planes.iter_rows(named=True):
        expected = stack[["DNA", "ER"].index(row["channel"]), row["z"] - 1]
        np.testing.assert_array_equal(read_plane(row["path"]).pixels, expected)


def test_plate_in_a_companion(trees, tmp_path):
    planes = scan(trees["ome-tiff, companion"](tmp_path / "x"))
    assert planes.select("plate", "well", "site", "channel", "wavelength_nm").rows() == [
        ("Comp1", "A01", 1, "DAPI", 450.0), ("Comp1", "A01", 1, "GFP", None),
        ("Comp1", "B12", 1, "DAPI", 450.0), ("Comp1", "B12", 1, "GFP", None),
    ]  # fmt: skip
    assert planes["pixel_size_um"].unique().to_list() == [0.65]  # 650 nm
    assert planes.filter(channel="DAPI")["time_s"].to_list() == [0.0, 0.0]
    both = tifffile.imread(tmp_path / "x/well-B12.ome.tif")
    np.testing.assert_array_equal(read_plane(planes["path"][3]).pixels, both[1])


@pytest.mark.parametrize("order", ["XYZCT", "XYCZT", "XYTZC", "XYZTC", "XYCTZ", "XYTCZ"])
def test_every_order_of_pages_against_tifffile(tmp_path, order):
    sizes = {"T": 2, "C": 3, "Z": 2}
    axes = order[:1:-1]  # tifffile writes what is last in memory first
    shape = tuple(sizes[axis] for axis in axes)
    stack = np.arange(12, dtype=np.uint16).reshape(*shape, 1, 1) + np.zeros((4, 6), np.uint16)
    tifffile.imwrite(tmp_path / "A1.ome.tif", stack, metadata={"axes": f"{axes}YX"})
    planes = scan(tmp_path)
    for row in planes.iter_rows(named=True):
        at = {"T": row["timepoint"] - 1, "C": int(row["channel"][1:]), "Z": row["z"] - 1}
        expected = stack[tuple(at[axis] for axis in axes)]
        np.testing.assert_array_equal(read_plane(row["path"]).pixels, expected)
    assert len(planes) == len(list(product(*map(range, shape))))


def test_several_files_of_a_well_are_its_sites(tmp_path):
    for name in ("B03_first", "B03_second", "B04_first"):
        tifffile.imwrite(tmp_path / f"{name}.ome.tif", np.zeros((4, 6), np.uint8))
    assert scan(tmp_path).select("well", "site").rows() == [("B03", 1), ("B03", 2), ("B04", 1)]


def write_empty(home, *names: str, channel: str | None = "DNA") -> None:
    metadata = {"axes": "YX"} | ({"Channel": {"Name": channel}} if channel else {})
    for name in names:
        tifffile.imwrite(home / f"{name}.ome.tif", np.zeros((4, 6), np.uint8), metadata=metadata)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["B03_z01", "B03_z02"], "z1, z2"), (["B03_t1", "B03_t2"], "t1, t2"),
        (["B03_p1", "B03_p2"], "p1, p2"), (["B03_c1", "B03_c2"], "c1, c2"),
        (["B03_ch1", "B03_ch2"], "ch1, ch2"), (["B03_w1", "B03_w2"], "w1, w2"),
        (["B03_s1_W1", "B03_s1_W2"], "w1, w2"), (["B03_s1z1", "B03_s1z2"], "z1, z2"),
        (["B03", "B03_z2"], "z2"), (["C03_c3", "C03_c4"], "c3, c4"),
        (["B03_0.5uM_t9", "B03_0.5uM_t10"], "t9, t10"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("channel", ["DNA", None])
def test_planes_in_files_of_their_own_are_no_sites(tmp_path, names, words, channel):
    write_empty(tmp_path, *names, "D05_z1", channel=channel)
    with pytest.raises(BadPlate) as refused:
        scan(tmp_path)
    said = str(refused.value)
    assert all(f"{name}.ome.tif" in said for name in names)
    assert f"both in well {names[0][:3]}, differ in {words}: with a file for each channel" in said
    assert 'reader = "pattern" and a pattern such as' in said


@pytest.mark.parametrize(
    "expected",
    [
        {"B03_s10": 10, "B03_s2": 2, "B04_s10": 10},
        {"B03_f10_z1": 10, "B03_F02_z1": 2, "B04_s3_z2": 3},
        {"F01_f1": 1, "F01_f7": 7, "B03_f7": 7},
        {"B03_1.5uM_s4": 4, "B03_1.5uM_s3": 3},
        {"B03_s10": 1, "B03_s2": 2, "B04_x": 1},  # one says nothing
        {"B03_s1_f10": 1, "B03_s1_f2": 2},  # two numbers
        {"B03_s20241003": 1, "B03_s20241004": 2},
        {"plate1_s1": 1, "plate1_s2": 1},  # the wells S01 and S02
    ],
)
def test_sites_are_as_numbered_where_every_file_says(tmp_path, expected):
    write_empty(tmp_path, *expected)
    found = scan(tmp_path).select("path", "site").iter_rows()
    assert {Path(path).name.partition(".ome")[0]: site for path, site in found} == expected


def test_numbers_of_one_plate_do_not_depend_on_another(tmp_path):
    for plate, names in (("P1", ("B03_s10", "B03_s2")), ("P2", ("B03_s10", "B03_b"))):
        (tmp_path / plate).mkdir()
        write_empty(tmp_path / plate, *names)
    found = scan(tmp_path).select("plate", "site").rows()
    assert found == [("P1", 2), ("P1", 10), ("P2", 1), ("P2", 2)]


def test_two_files_of_one_site_are_refused(tmp_path):
    write_empty(tmp_path, "B03_s1_a", "B03_s1_b")
    with pytest.raises(BadPlate, match=r"site 1, .* has two files: .*s1_a.* and .*s1_b"):
        scan(tmp_path)


def test_a_file_of_several_fields_is_counted(data_folder, tmp_path):
    source = data_folder / "cell_painting/cdp2bioactives/cdp2bioactives_h15.ome.tif"
    shutil.copy(source, tmp_path / "screen_h15_s4.ome.tif")
    assert scan(tmp_path)["site"].unique().sort().to_list() == [1, 2, 3, 4, 5, 6]


def test_a_stray_ome_tiff_does_not_take_a_plate_over(trees, tmp_path):
    home = trees["pattern"](tmp_path / "p")
    tifffile.imwrite(home / "overview.ome.tif", np.zeros((4, 6), np.uint8))
    assert scan(home)["channel"].to_list() == ["DNA"]


def test_header_that_cannot_be_read(trees, tmp_path):
    home = trees["ome-tiff"](tmp_path / "p")
    (home / "other_C04.ome.tif").write_bytes(b"II*\0 broken")
    with pytest.raises(BadPlate, match=r"The header of .*other_C04\.ome\.tif cannot be read"):
        scan(home)


def test_images_that_no_companion_names(trees, tmp_path):
    home = trees["ome-tiff, companion"](tmp_path / "x")
    (home / "well-C03.ome.tif").write_bytes((home / "well-A1.ome.tif").read_bytes())
    with pytest.raises(BadPlate, match=r"well-C03\.ome\.tif has no OME-XML in its header, and no"):
        scan(home)


def test_an_image_of_a_companion_without_its_planes(trees, tmp_path):
    home = trees["ome-tiff, companion"](tmp_path / "x")
    index = home / "plate.companion.ome"
    text, count = re.subn(r"<TiffData.*?</TiffData>", "", index.read_text(), count=1)
    assert count == 1
    index.write_text(text)
    with pytest.raises(BadPlate, match=r"companion\.ome: image Image:0 has no TiffData"):
        scan(home)


def test_companion_that_leads_elsewhere(trees, tmp_path):
    home = trees["ome-tiff, companion"](tmp_path / "x")
    index = home / "plate.companion.ome"
    index.write_text(index.read_text().replace("well-A1", "../../secret"))
    with pytest.raises(BadPlate, match=r"'../../secret\.ome\.tif', which is not below its folder"):
        scan(home)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("XYCZT", "XYZQT", "DimensionOrder is 'XYZQT', expected XY and then"),
        ('SizeZ="1"', 'SizeZ="x"', "SizeZ of Pixels is 'x', expected a whole number"),
        ('PlaneCount="2"', 'PlaneCount="-1"', "PlaneCount of TiffData is '-1', expected a whole"),
        ('PlaneCount="2"', 'FirstC="?"', "FirstC of TiffData is"),
        ('SizeT="1"', 'SizeT="999999"', "one field has 1,999,998 planes; more than"),
        ('SizeT="1"', 'SizeT="9999999999"', "SizeT of Pixels is '9999999999', expected a whole"),
        ('PlaneCount="2"', 'FirstC="9999999999"', "FirstC of TiffData is '9999999999', expected"),
        ('Row="1"', 'Row="77"', "Row 78, column 12 is on no plate"),
        ('SizeC="2"', 'SizeC="1"', "TiffData has 2 planes, but the sizes of its Pixels are for 1"),
        ('SizeZ="1"', 'SizeZ="0"', "TiffData has 2 planes, but the sizes of its Pixels are for 0"),
        ('PlaneCount="2"', 'PlaneCount="0"', "image Image:0 has no TiffData, so it is not known"),
        ('<Image ID="Image:1"', '<Image ID="Image:0"', "two images have the ID Image:0"),
        ('<ImageRef ID="Image:1"', '<ImageRef ID="Image:0"', "image Image:0 lies in two places"),
    ],
)
def test_impossible_numbers(trees, tmp_path, old, new, message):
    home = trees["ome-tiff, companion"](tmp_path / "x")
    index = home / "plate.companion.ome"
    assert old in index.read_text()
    index.write_text(index.read_text().replace(old, new))
    with pytest.raises(BadPlate, match=message):
        scan(home)


BINARY_ONLY = (
    '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><BinaryOnly '
    'MetadataFile="{name}" UUID="urn:uuid:1"/></OME>'
)
OWN, OTHER = (f"urn:uuid:11111111-2222-3333-4444-55555555555{i}" for i in range(2))


def write_named(path, *, says: str, uuid: str = OWN, own: str = OWN) -> None:
    """An OME-TIFF of two channels, filled with 1 and 2, whose XML calls its file by some name."""
    data = "".join(
        f'<TiffData FirstC="{c}" IFD="{c}" PlaneCount="1"><UUID FileName="{says}">{uuid}</UUID>'
        "</TiffData>"
        for c in range(2)
    )
    text = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'
        f'{f" UUID={chr(34)}{own}{chr(34)}" if own else ""}><Image ID="Image:0"><Pixels '
        'ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="6" SizeY="4" SizeZ="1" '
        f'SizeC="2" SizeT="1"><Channel ID="Channel:0:0" Name="DNA"/><Channel ID="Channel:0:1" '
        f'Name="GFP"/>{data}</Pixels></Image></OME>'
    )
    with tifffile.TiffWriter(path, ome=False) as tiff:
        for c in range(2):
            pixels = np.full((4, 6), c + 1, np.uint16)
            tiff.write(pixels, description=None if c else text, metadata=None)


@pytest.mark.parametrize(
    ("uuid", "own"), [(OWN, OWN), (OWN.upper(), OWN), (OWN, ""), ("", OWN), ("", "")]
)
def test_a_renamed_file_is_itself(tmp_path, uuid, own):
    name = r"C:\old\export1.ome.tif" if uuid == own == OWN else "export1.ome.tif"
    write_named(tmp_path / "plate_B03.ome.tif", says=name, uuid=uuid, own=own)
    planes = scan(tmp_path)
    means = [float(read_plane(path).pixels.mean()) for path in planes["path"]]
    assert planes.with_columns(mean=np.array(means)).select("well", "channel", "mean").rows() == [
        ("B03", "DNA", 1.0), ("B03", "GFP", 2.0)]  # fmt: skip


def test_copies_under_other_names_are_each_themselves(tmp_path):
    for name in ("plate_B03.ome.tif", "plate_B04.ome.tif"):
        write_named(tmp_path / name, says="plate_B03.ome.tif")
    files = scan(tmp_path).select("well", "path").rows()
    assert {(well, path.rpartition("plate_")[2][:3]) for well, path in files} == {
        ("B03", "B03"), ("B04", "B04")}  # fmt: skip


def test_copies_in_one_well_are_refused(tmp_path):
    for name in ("plate_B03.ome.tif", "plate_B03 copy.ome.tif"):
        write_named(tmp_path / name, says="plate_B03.ome.tif")
    with pytest.raises(BadPlate, match=r"B03 copy\.ome\.tif and .*B03\.ome\.tif are copies of one"):
        scan(tmp_path)
    (tmp_path / "plate_B03 copy.ome.tif").unlink()
    write_named(tmp_path / "plate_B03_2.ome.tif", says="x.ome.tif")  # another file, one UUID
    assert scan(tmp_path)["site"].unique().sort().to_list() == [1, 2]


def test_sites_are_counted_plate_by_plate(trees, tmp_path):
    for plate in ("P1", "P2"):
        trees["ome-tiff"](tmp_path / plate)
    assert scan(tmp_path).select("plate", "well", "site").unique().sort("plate").rows() == [
        ("P1", "B03", 1), ("P2", "B03", 1)]  # fmt: skip


def test_another_file_that_is_lost_is_not_taken_for_this_one(tmp_path):
    write_named(tmp_path / "plate_B03.ome.tif", says="other.ome.tif", uuid=OTHER)
    assert scan(tmp_path)["path"][0] == f"{tmp_path}/other.ome.tif#page=0"


def test_pixels_without_their_companion(trees, tmp_path):
    home = trees["ome-tiff, companion"](tmp_path / "x")
    text = BINARY_ONLY.format(name="plate.companion.ome")
    for path in home.glob("*.ome.tif"):
        stack = tifffile.imread(path)
        tifffile.imwrite(path, stack, description=text, metadata=None, ome=False)
    assert len(scan(home)) == 4
    (home / "plate.companion.ome").unlink()
    with pytest.raises(
        BadPlate, match=r"well-A1\.ome\.tif says that its companion plate\.companion"
    ):
        scan(home)
