"""The same plates and real ones as others read them: lxml, ome-types, tifffile, bioio, zarr."""

import re
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import tifffile

from plates.convert import convert
from plates.pixels import read_plane
from plates.readers import scan


def places(planes: pl.DataFrame) -> set[tuple]:
    names = planes.with_columns(pl.col("path").map_elements(_name, return_dtype=pl.String))
    return set(names.select("path", "well", "site", "channel", "z", "timepoint").iter_rows())


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def well_of(row: str | None, column: str | None) -> str:
    return f"{' ABCDEFGH'[int(row or 0)]}{int(column or 0):02d}"


def test_harmony_against_lxml(plate):
    etree = pytest.importorskip("lxml.etree")
    root = etree.parse(plate("harmony") / "Images/Index.xml").getroot()
    found = set()
    for image in root.iterfind("{*}Images/{*}Image"):
        said = {etree.QName(child).localname: child.text for child in image}
        well = well_of(said["Row"], said["Col"])
        numbers = int(said["FieldID"]), f"ch{said['ChannelID']}", int(said["PlaneID"])
        found.add((said["URL"], well, *numbers, int(said["TimepointID"]) + 1))
    assert places(scan(plate("harmony"))) == found


def voyager_records(home: Path, etree: Any) -> set[tuple]:
    (index,) = home.rglob("MeasurementData.mlf")
    found = set()
    for record in etree.parse(index).iterfind(".//{*}MeasurementRecord"):
        said = {etree.QName(name).localname: value for name, value in record.attrib.items()}
        if said["Type"] == "IMG":
            well = well_of(said["Row"], said["Column"])
            numbers = int(said["FieldIndex"]), f"C{int(said['Ch']):02d}", int(said["ZIndex"])
            found.add((record.text, well, *numbers, int(said["TimePoint"])))
    return found


def test_cellvoyager_against_lxml(plate, data_folder):
    etree = pytest.importorskip("lxml.etree")
    for home in (plate("cellvoyager"), data_folder / "vendor/CV8000"):
        assert places(scan(home)) == voyager_records(home, etree)


def test_real_settings_and_detail_against_lxml(data_folder):
    """Pixel size from the .mrf, objective and magnification from the .mes, for each channel."""
    etree = pytest.importorskip("lxml.etree")
    home = data_folder / "vendor/CV8000"
    planes = scan(home)
    (detail,), (settings,) = home.rglob("*.mrf"), home.rglob("*.mes")
    said = {}
    for path, tag in ((detail, "MeasurementChannel"), (settings, "Channel")):
        for element in etree.parse(path).iterfind(f".//{{*}}{tag}"):
            values = {etree.QName(n).localname: v for n, v in element.attrib.items()}
            said.setdefault(int(values["Ch"]), {}).update(values)
    facts = ("channel", "pixel_size_um", "magnification", "objective")
    for channel, pixel, power, objective in planes.select(facts).unique().iter_rows():
        own = said[int(channel.removeprefix("C"))]
        assert pixel == float(own["HorizontalPixelDimension"])
        assert (power, objective) == (float(own["Magnification"]), own["Objective"])


def test_incell_against_lxml(plate):
    etree = pytest.importorskip("lxml.etree")
    found = set()
    for image in etree.parse(plate("incell") / "plate.xdce").iterfind(".//Image"):
        at = {name: int(value) + 1 for name, value in image.find("Identifier").attrib.items()}
        well = well_of(
            image.find("Well/Row").get("number"), image.find("Well/Column").get("number")
        )
        numbers = at["field_index"], f"w{at['wave_index']}", at["z_index"], at["time_index"]
        found.add((image.get("filename"), well, *numbers))
    assert places(scan(plate("incell"))) == found


def test_ome_tiff_against_ome_types_and_tifffile(plate):
    ome_types = pytest.importorskip("ome_types")
    planes = scan(plate("ome-tiff"))
    for path in sorted(plate("ome-tiff").iterdir()):
        own = planes.filter(pl.col("path").str.starts_with(str(path)))
        (image,) = ome_types.from_tiff(path).images
        pixels = image.pixels
        sizes = (pixels.size_t, pixels.size_c, pixels.size_z)
        assert sizes == tuple(own[name].n_unique() for name in ("timepoint", "channel", "z"))
        names = [channel.name for channel in pixels.channels]
        assert own["channel"].unique().sort().to_list() == names
        assert own["pixel_size_um"].unique().to_list() == [pixels.physical_size_x]
        waves = [channel.emission_wavelength for channel in pixels.channels]
        assert own["wavelength_nm"].unique().sort().to_list() == waves
        with tifffile.TiffFile(path) as file:
            (series,) = file.series
            all_planes = series.asarray()
        for row in own.iter_rows(named=True):
            at = row["timepoint"] - 1, names.index(row["channel"]), row["z"] - 1
            np.testing.assert_array_equal(read_plane(row["path"]).pixels, all_planes[at])


def test_real_companions_against_ome_types(data_folder):
    ome_types = pytest.importorskip("ome_types")
    from plates.readers.ome_tiff import read_index

    for path in sorted((data_folder / "vendor/ome-tiff").glob("*.companion.ome")):
        (theirs,) = ome_types.from_xml(path.read_text()).images
        (ours,) = read_index(path).images.values()
        assert list(ours.channels) == [channel.name for channel in theirs.pixels.channels]
        assert ours.pixel_size_um == theirs.pixels.physical_size_x
        assert {page[:4] for page in map(tuple, ours.pages)} == {
            (b.first_c, b.first_z, b.first_t, b.uuid.file_name)
            for b in theirs.pixels.tiff_data_blocks
        }


@pytest.mark.parametrize("kind", ["ome-zarr", "ome-zarr, 0.5"])
def test_ome_zarr_against_bioio(plate, kind):
    bioio = pytest.importorskip("bioio_ome_zarr")
    planes = scan(plate(kind))
    for well, site in product(("B03", "C11"), (1, 2)):
        field = bioio.Reader(str(plate(kind) / f"{well[0]}/{int(well[1:])}/{site}"))
        own = planes.filter(well=well, site=site)
        assert field.dims.order == "TCZYX"
        assert own["channel"].unique().sort().to_list() == list(field.channel_names)
        assert own["pixel_size_um"].unique().to_list() == [field.physical_pixel_sizes.X]
        everything = field.data
        for row in own.iter_rows(named=True):
            at = row["timepoint"] - 1, field.channel_names.index(row["channel"]), row["z"] - 1
            np.testing.assert_array_equal(read_plane(row["path"]).pixels, everything[at])


@pytest.mark.parametrize("kind", ["ome-zarr", "ome-zarr, 0.5"])
def test_the_zarr_plates_are_as_the_specification_says(plate, kind):
    """The plates of these tests are no invention: a model of the specification takes them."""
    models = pytest.importorskip("ome_zarr_models")
    zarr = pytest.importorskip("zarr")
    opened = models.open_ome_zarr(zarr.open_group(plate(kind), mode="r"))
    assert type(opened).__name__ == "HCS"
    wells = {well.path for well in opened.ome_attributes.plate.wells}
    assert wells == {"B/3", "C/11"}


@pytest.mark.parametrize("to", ["ome-zarr", "ome-zarr-0.4"])
def test_what_is_converted_is_as_the_specification_says(plate, grid, tmp_path, to):
    """Our own writer, by the specification's model and by bioio's reading of every pixel."""
    models = pytest.importorskip("ome_zarr_models")
    bioio = pytest.importorskip("bioio_ome_zarr")
    zarr = pytest.importorskip("zarr")
    list(convert(plate("harmony"), tmp_path, to=to))
    opened = models.open_ome_zarr(zarr.open_group(tmp_path / "M.zarr", mode="r"))
    assert type(opened).__name__ == "HCS"
    for well, site in product(("B03", "C11"), (1, 2)):
        field = bioio.Reader(str(tmp_path / "M.zarr" / f"{well[0]}/{well[1:]}/{site}"))
        assert field.dims.order == "TCZYX"
        assert (field.physical_pixel_sizes.X, field.physical_pixel_sizes.Z) == (0.325, 2.0)
        for t, c, z in product((1, 2), repeat=3):
            expected = grid.pixels(grid.place(well, site, c, z, t))
            np.testing.assert_array_equal(field.data[t - 1, c - 1, z - 1], expected)


def test_metaxpress_headers_against_tifffile(data_folder):
    """Calibration of the real images by tifffile's own reading of MetaMorph's metadata."""
    home = data_folder / "vendor/ImageXpress"
    planes = scan(home)
    for (plate, channel), own in planes.group_by("plate", "channel"):
        with tifffile.TiffFile(own["path"][0]) as file:
            info = (file.metaseries_metadata or {})["PlaneInfo"]
        assert own["pixel_size_um"][0] == info["spatial-calibration-x"], (plate, channel)
        assert own["channel_name"][0] == info["_IllumSetting_"]
        assert own["objective"][0] == info["_MagSetting_"]


def test_exported_waves_against_their_htd(data_folder):
    for htd in (data_folder / "vendor/ImageXpress_exported").rglob("*.HTD"):
        lines = htd.read_bytes().decode("latin-1").splitlines()
        pairs = (re.fullmatch(r'"WaveName(\d+)", "(.*)"', line.strip()) for line in lines)
        names = {f"w{found[1]}": found[2] for found in pairs if found}
        planes = scan(htd.parent)
        assert planes.select("channel", "channel_name").unique().rows() != []
        for channel, name in planes.select("channel", "channel_name").unique().iter_rows():
            assert name == names[channel]
