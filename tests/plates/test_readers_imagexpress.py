"""ImageXpress: real trees of both kinds, against what the file names say to the eye."""

import re
from collections import Counter

import numpy as np
import pytest
import tifffile

import plates.remote as remote
from plates.errors import BadImage, BadPlate
from plates.pixels import read_plane
from plates.readers import scan, unused_images

GUID = "66923EBB-9960-4952-8955-D1721D112EE2"


def test_projections_give_way_to_steps(data_folder):
    home = data_folder / "vendor/ImageXpress/Projection-Mix"
    planes = scan(home)
    assert planes["plate"].unique().to_list() == ["Projection-Mix"]
    # w1 and w2 have steps and a projection, w3 a projection alone, w4 step 1 alone (of 2 kept).
    counts = Counter(planes.select("channel", "z").iter_rows())
    assert counts == {
        ("w1", 1): 4, ("w1", 2): 4, ("w2", 1): 4, ("w2", 2): 4, ("w3", 1): 4, ("w4", 1): 4,
    }  # fmt: skip
    steps = {(row["channel"], "ZStep" in row["path"]) for row in planes.iter_rows(named=True)}
    assert steps == {("w1", True), ("w2", True), ("w3", False), ("w4", True)}
    for row in planes.iter_rows(named=True):
        name = row["path"].rpartition("/")[2]
        assert name.startswith(f"Projection-Mix_{row['well']}_s{row['site']}_{row['channel']}")
    unused = {path.name for path in unused_images(home, planes)}
    assert all("_thumb" in name or re.search("_s._w[12]", name) for name in unused)


def test_calibration_is_what_the_images_say(data_folder):
    planes = scan(data_folder / "vendor/ImageXpress/Projection-Mix")
    said = planes.select(
        "channel_name", "wavelength_nm", "pixel_size_um", "magnification", "objective"
    )
    # By eye from the ImageDescription of Projection-Mix_E08_s2_w2.
    assert said.unique().rows() == [("FITC_05", 536.0, 1.3668, 20.0, "20X Plan Apo Lambda")]


def test_without_wavelengths_in_the_names(data_folder):
    planes = scan(data_folder / "vendor/ImageXpress/SingleChannel")
    found = set(planes.select("well", "site", "z", "channel").iter_rows())
    assert found == {(w, s, z, "w1") for w in ("E07", "E08") for s in (1, 2) for z in (1, 2)}


def test_time_points(data_folder):
    planes = scan(data_folder / "vendor/ImageXpress/1well-3C-2S-Zmix-T")
    found = Counter(planes.select("well", "site", "channel", "timepoint").iter_rows())
    assert found == {
        ("C07", s, c, t): 1 for s in (1, 2) for c in ("w1", "w2", "w3") for t in (1, 2)
    }
    names = set(planes.select("channel", "channel_name", "magnification").iter_rows())
    assert names == {("w1", "FITC", 4.0), ("w2", "Cy3", 4.0), ("w3", "Texas Red", 4.0)}


def test_several_plates_in_one_folder(data_folder):
    planes = scan(data_folder / "vendor/ImageXpress")
    assert planes.group_by("plate").len().sort("plate").rows() == [
        ("1well-3C-2S-Zmix-T", 12), ("Projection-Mix", 24), ("SingleChannel", 8)]  # fmt: skip


def test_exported(data_folder):
    planes = scan(data_folder / "vendor/ImageXpress_exported")
    # Name of each wave as the .HTD has it, and what each folder holds besides ZStep_0.
    assert planes.group_by("plate", "channel", "channel_name").len().sort(
        "plate", "channel"
    ).rows() == [
        ("9987_Plate_3420", "w1", "DAPI", 1), ("9987_Plate_3434", "w1", "DAPI", 8),
        ("9987_Plate_3434", "w2", "FITC", 8), ("9987_Plate_3434", "w3", "Texas Red", 8),
        ("9987_Plate_3435", "w1", "DAPI", 8), ("9987_Plate_3435", "w2", "FITC", 8),
    ]  # fmt: skip
    assert not any("ZStep_0" in path for path in planes["path"])
    times = planes.filter(plate="9987_Plate_3435")["timepoint"].unique().sort()
    assert times.to_list() == [1, 2]
    assert planes["pixel_size_um"].unique().to_list() == [1.3672]
    assert planes["objective"].unique().to_list() == ["40X Plan Apo Lambda"]
    assert read_plane(planes["path"][3]).pixels.shape == (256, 256)


def test_names(trees, tmp_path):
    home = trees["imagexpress"](tmp_path / "screen")
    (home / f"2023-02-21/7/q_AF48_s12_w1{GUID}.tif").touch()
    planes = scan(home)
    assert planes["plate"].unique().to_list() == ["screen"]
    assert planes.select("well", "site", "channel").rows() == [
        ("E08", 1, "w1"), ("E08", 1, "w2"), ("AF48", 12, "w1")]  # fmt: skip
    assert planes["pixel_size_um"].null_count() == 3  # no header says it, and none is made up


def test_names_of_waves_belong_to_their_plate(trees, tmp_path):
    for plate, name in (("P1", b"DAPI"), ("P2", b"Hoechst")):
        home = trees["imagexpress, exported"](tmp_path / plate)
        (home / "9987.HTD").write_bytes(b'"WaveName1", "%s"' % name)
    assert scan(tmp_path).select("plate", "channel_name").rows() == [
        ("P1", "DAPI"), ("P2", "Hoechst")]  # fmt: skip


def test_htd_without_images(tmp_path):
    (tmp_path / "x.HTD").touch()
    with pytest.raises(BadPlate, match=r"holds no image named as MetaXpress does"):
        scan(tmp_path)


def test_imaged_twice(trees, tmp_path):
    home = trees["imagexpress"](tmp_path / "screen")
    (home / "2023-02-21/7").rename(home / "2023-02-21/6")
    trees["imagexpress"](home)
    with pytest.raises(BadPlate, match=r"E08, site 1, channel w1.* has two files: .*/6/.*/7/"):
        scan(home)


def calibrated(path, *, pixel_um: float, objective: str) -> None:
    said = {"spatial-calibration-x": pixel_um, "spatial-calibration-units": "um"}
    props = "".join(f'<prop id="{name}" value="{value}"/>' for name, value in said.items())
    text = f'<MetaData>{props}<custom-prop id="_MagSetting_" value="{objective}"/></MetaData>'
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, np.zeros((4, 6), np.uint16), description=text, metadata=None)


def test_wells_of_two_magnifications(tmp_path):
    home = tmp_path / "P1/TimePoint_1"
    for well, wave, size, objective in (
        ("B02", 1, 0.65, "10X Plan Apo"), ("B03", 1, 0.325, "20X Plan Apo"),
        ("B02", 2, 0.65, "10X Plan Apo"),
    ):  # fmt: skip
        calibrated(home / f"x_{well}_s1_w{wave}.TIF", pixel_um=size, objective=objective)
    (tmp_path / "P1/x.HTD").touch()
    message = r"w1 mixes magnifications: pixels of 0\.325 um \(well B03, .* 0\.65 um \(well B02, "
    with pytest.raises(BadPlate, match=message):
        scan(tmp_path / "P1")
    (home / "x_B03_s1_w1.TIF").unlink()
    assert scan(tmp_path / "P1")["magnification"].to_list() == [10.0, 10.0]


def test_a_well_whose_header_cannot_be_read_is_told_nothing(tmp_path):
    home = tmp_path / "P1/TimePoint_1"
    calibrated(home / "x_B02_s1_w1.TIF", pixel_um=0.65, objective="10X Plan Apo")
    (home / "x_B03_s1_w1.TIF").write_bytes(b"II*\0 broken")
    (tmp_path / "P1/x.HTD").write_text('"WaveName1", "DAPI"')
    assert scan(tmp_path / "P1").select("well", "channel_name", "pixel_size_um").rows() == [
        ("B02", "DAPI", 0.65), ("B03", "DAPI", None)]  # fmt: skip


@pytest.fixture
def asked(monkeypatch):
    """Ranges that were asked of fsspec's store in memory, by address."""
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    whole, asked = type(memory).cat_file, []

    def counted(self, path, start=None, end=None, **options):
        asked.append((path, start, end))
        return whole(self, path, start=start, end=end, **options)

    monkeypatch.setattr(type(memory), "cat_file", counted)
    yield asked
    if memory.exists("/bucket"):
        memory.rm("/bucket", recursive=True)


def in_store(home) -> str:
    fsspec = pytest.importorskip("fsspec")
    fsspec.filesystem("memory").put(str(home), "/bucket/P1", recursive=True)
    return "memory://bucket/P1"


def plate_of(home, wells: dict[str, tuple[float, str]], *, waves=(1, 2, 3), sites=(1, 2)) -> None:
    (home / "TimePoint_1").mkdir(parents=True)
    (home / "x.HTD").touch()
    for well, (size, objective) in wells.items():
        for wave in waves:
            for site in sites:
                path = home / f"TimePoint_1/x_{well}_s{site}_w{wave}.TIF"
                calibrated(path, pixel_um=size, objective=objective)


def test_in_a_store_one_image_of_each_well_and_wave_is_looked_at(tmp_path, asked):
    low = (0.65, "10X Plan Apo")
    plate_of(tmp_path / "P1", dict.fromkeys(("B02", "B03", "B04"), low))
    here = scan(tmp_path / "P1")
    there = scan(in_store(tmp_path / "P1"))
    looked = [path.rpartition("/")[2] for path, start, _ in asked if start is not None]
    assert sorted(looked) == [  # 3 wells + 3 waves - 1, of 18 images, one request each
        "x_B02_s1_w1.TIF", "x_B02_s1_w2.TIF", "x_B02_s1_w3.TIF", "x_B03_s1_w1.TIF",
        "x_B04_s1_w1.TIF"]  # fmt: skip
    assert len(asked) == 5 + 3  # whether it is a Zarr of either version, and the .HTD
    # The objective is a well's, and what a wave is called is the same in all wells.
    facts = ["well", "channel", "site", "pixel_size_um", "magnification", "objective"]
    facts += ["channel_name", "wavelength_nm"]
    assert there.select(facts).equals(here.select(facts))
    assert there["pixel_size_um"].null_count() == 0


def test_a_store_that_fails_is_not_a_plate_without_pixel_sizes(tmp_path, asked, monkeypatch):
    plate_of(tmp_path / "P1", {"B02": (0.65, "10X")}, waves=(1,), sites=(1,))
    address = in_store(tmp_path / "P1")

    def refused(address, **options):
        raise OSError("the store is away")

    monkeypatch.setattr(remote, "read_remote", refused)
    with pytest.raises(BadPlate, match=r"memory://bucket/P1 cannot be read: the store is away"):
        scan(address)


def test_mixed_magnifications_in_a_store(tmp_path, asked):
    wells = {"B02": (0.65, "10X"), "B03": (0.65, "10X"), "B04": (0.325, "20X")}
    plate_of(tmp_path / "P1", wells)
    message = (
        r"w1 mixes magnifications: pixels of 0\.325 um \(well B04, memory://bucket/P1/TimePoint_1/"
        r"x_B04_s1_w1\.TIF\) and of 0\.65 um \(well B03, memory:"
    )
    with pytest.raises(BadPlate, match=message):
        scan(in_store(tmp_path / "P1"))


def test_a_header_behind_the_pixels_costs_a_second_request(tmp_path, asked, data_folder):
    home = data_folder / "vendor/ImageXpress_exported/9987_Plate_3434"
    there, here = scan(in_store(home)), scan(home)
    ranges = [(path, end - start) for path, start, end in asked if start is not None]
    images = len({path for path, _ in ranges})
    assert images == there.select("plate", "well").n_unique() + there["channel"].n_unique() - 1
    assert len(ranges) == 2 * images
    assert max(size for _, size in ranges) <= 1 << 14
    for column in ("pixel_size_um", "magnification", "channel_name"):
        assert set(there[column].drop_nulls()) == set(here[column].drop_nulls()) != set()


def test_images_in_a_store_that_cannot_be_read_are_told_nothing(tmp_path, asked):
    plate_of(tmp_path / "P1", {"B02": (0.65, "10X"), "B03": (0.65, "10X")}, waves=(1,), sites=(1,))
    path = tmp_path / "P1/TimePoint_1/x_B03_s1_w1.TIF"
    path.write_bytes(b"II*\0\xff\xff\xff\x7f")  # what it says lies far behind its end
    (tmp_path / "P1/TimePoint_1/x_B04_s1_w1.TIF").touch()
    there = scan(in_store(tmp_path / "P1"))
    assert there.select("well", "pixel_size_um").rows() == [
        ("B02", 0.65), ("B03", None), ("B04", None)]  # fmt: skip
    sizes = {(tmp_path / "P1/TimePoint_1/x_B03_s1_w1.TIF").stat().st_size}
    assert {end for p, start, end in asked if "B03" in p} == sizes  # a store refuses more


@pytest.mark.parametrize("folder", ["", "P1", "batch/P1"])
def test_names_of_waves_wherever_the_plate_is_found(trees, tmp_path, folder):
    trees["imagexpress, exported"](tmp_path / folder)
    assert scan(tmp_path)["channel_name"].to_list() == ["DAPI"]


def export(home, htd: str, *names: str) -> None:
    """A plate as MetaXpress exports it, with a copy of its .HTD in the folder of each time."""
    for name in names:
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(path, np.zeros((4, 6), np.uint16))
    for folder in {home, *(path.parent for path in home.rglob("*.TIF"))}:
        (folder / "p.HTD").write_text(htd)


# Of A01, A03 and B02 with 3 of a grid of 2 x 2 sites.
CHOSEN = (
    '"HTSInfoFile", Version 1.0\n"TimePoints", 2\n"XWells", 3\n"YWells", 2\n'
    '"WellsSelection1", TRUE, FALSE, TRUE\n"WellsSelection2", FALSE, TRUE, FALSE\n'
    '"Sites", TRUE\n"XSites", 2\n"YSites", 2\n"SiteSelection1", TRUE, FALSE\n'
    '"SiteSelection2", TRUE, TRUE\n"NWavelengths", 3\n"WaveName1", "DAPI"\n'
    '"WaveName2", "Cy5, far"\n'
)


def test_what_the_htd_states_and_is_not_there(tmp_path):
    home = tmp_path / "P9"
    whole = [f"TimePoint_1/p_{w}_s{s}_w1.TIF" for w in ("A01", "B02") for s in (1, 2, 3)]
    export(home, CHOSEN, *whole[:-1], "TimePoint_1/p_A01_s1_w2.TIF", "TimePoint_2/p_A01_s1_w1.TIF")
    planes = scan(home)
    # Wave 1 was taken twice, wave 2 once, and wave 3 nowhere.
    expected = {
        (well, site, wave, time): f"TimePoint_{time}/p_{well}_s{site}_{wave}.TIF"
        for well in ("A01", "A03", "B02") for site in (1, 2, 3)
        for wave, time in (("w1", 1), ("w1", 2), ("w2", 1))
    }  # fmt: skip
    found = planes.select("well", "site", "channel", "timepoint", "path").rows()
    assert {row[:4]: row[4].removeprefix(f"{home}/") for row in found} == expected
    assert len(planes) == len(expected)
    assert set(planes.select("channel", "channel_name").rows()) == {
        ("w1", "DAPI"), ("w2", "Cy5, far")}  # fmt: skip
    (gone,) = planes.filter(well="B02", site=3, channel="w1", timepoint=1)["path"]
    with pytest.raises(BadImage, match="is not there") as refused:
        read_plane(gone)
    assert refused.value.code == "missing_file"
    assert unused_images(home, planes) == []


def test_stacks_that_are_missing_have_every_step(tmp_path):
    steps = [f"TimePoint_1/ZStep_{z}/p_A01_w1.TIF" for z in (0, 1, 2)]
    steps += ["TimePoint_1/ZStep_0/p_A01_w2.TIF", "TimePoint_1/ZStep_0/p_A03_w1.TIF"]
    htd = '"WellsSelection1", TRUE, TRUE\n"Sites", FALSE\n'
    export(tmp_path / "P9", htd, *steps)
    missing = scan(tmp_path / "P9").filter(well="A02").select("channel", "z", "path").rows()
    home = f"{tmp_path}/P9/TimePoint_1"
    assert missing == [  # w2 has a projection alone
        ("w1", 1, f"{home}/ZStep_1/p_A02_w1.TIF"), ("w1", 2, f"{home}/ZStep_2/p_A02_w1.TIF"),
        ("w2", 1, f"{home}/ZStep_0/p_A02_w2.TIF")]  # fmt: skip


@pytest.mark.parametrize(
    ("htd", "places"),
    [
        # Neither wells nor sites are stated: what is there.
        ('"WaveName1", "DAPI"\n', [("A01", 2), ("A01", 5), ("B02", 2)]),
        # Wells alone: the sites of those that are there.
        ('"WellsSelection1", true\n"WellsSelection2", FALSE,TRUE\n',
         [("A01", 2), ("A01", 5), ("B02", 2), ("B02", 5)]),
        # Two sites, which here are not 1 and 2.
        ('"WellsSelection2", FALSE, TRUE\n"SiteSelection1", TRUE, TRUE\n',
         [("A01", 2), ("A01", 5), ("B02", 2), ("B02", 5)]),
        # Wells that were not chosen, but are there.
        ('"WellsSelection1", FALSE, FALSE, FALSE\n', [("A01", 2), ("A01", 5), ("B02", 2)]),
    ],
)  # fmt: skip
def test_htd_that_states_less(tmp_path, htd, places):
    names = [f"TimePoint_1/p_{name}_w1.TIF" for name in ("A01_s2", "A01_s5", "B02_s2")]
    export(tmp_path / "P9", htd, *names)
    assert scan(tmp_path / "P9").select("well", "site").rows() == places


def test_htds_of_two_plates(tmp_path):
    for plate, chosen in (("P1", "TRUE, TRUE"), ("P2", "TRUE, FALSE")):
        htd = f'"WellsSelection1", {chosen}\n"Sites", FALSE\n'
        export(tmp_path / plate, htd, "TimePoint_1/p_A01.TIF")
    assert scan(tmp_path).select("plate", "well").rows() == [
        ("P1", "A01"), ("P1", "A02"), ("P2", "A01")]  # fmt: skip


def test_htd_with_a_well_that_cannot_be(tmp_path):
    export(tmp_path / "P9", '"WellsSelection77", TRUE\n', "TimePoint_1/p_A01_s1_w1.TIF")
    message = r"p\.HTD chooses a well that cannot be\. Row 77, column 1 is on no plate.* remove it"
    with pytest.raises(BadPlate, match=message):
        scan(tmp_path)


def test_fields_missing_of_a_plate_in_a_store(tmp_path, asked):
    export(tmp_path / "P1", CHOSEN, "TimePoint_1/p_A01_s1_w1.TIF")
    planes = scan(in_store(tmp_path / "P1"))
    assert len(planes) == 9
    assert planes["path"][-1] == "memory://bucket/P1/TimePoint_1/p_B02_s3_w1.TIF"
