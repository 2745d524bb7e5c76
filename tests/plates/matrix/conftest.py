"""A plate of 2 wells x 2 sites x 2 channels x 2 planes x 2 times, as each vendor lays it out.

The writers follow the vendors' documentation and share nothing with the readers.
"""

from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pytest
import tifffile

WELLS, PAIR = ("B03", "C11"), (1, 2)
PIXEL_UM, STEP_UM, LAPSE_S, POWER = 0.325, 2.0, 60.0, 20.0
WAVES = (456.0, 525.0)
GUID = "66923EBB-9960-4952-8955-D1721D112EE2"


class Place(NamedTuple):
    """One plane of the grid; all numbers from 1."""

    well: str
    site: int
    channel: int
    z: int
    time: int

    @property
    def row(self) -> int:
        return "ABCDEFGH".index(self.well[0]) + 1

    @property
    def column(self) -> int:
        return int(self.well[1:])

    @property
    def number(self) -> int:
        """Tells the planes apart, whatever order they are written in."""
        return self.row * 10_000 + self.site * 1000 + self.channel * 100 + self.z * 10 + self.time


GRID = [Place(*place) for place in product(WELLS, PAIR, PAIR, PAIR, PAIR)]


def plane(place: Place) -> np.ndarray:
    return np.full((4, 6), place.number, np.uint16) + np.arange(6, dtype=np.uint16)


def tiffs(home: Path, name: Callable[[Place], str], description: str | None = None) -> None:
    for place in GRID:
        path = home / name(place)
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(path, plane(place), metadata=None, description=description)


def imagexpress(home: Path) -> None:
    said = {"spatial-calibration-x": PIXEL_UM, "spatial-calibration-units": "um",
            "_MagSetting_": "20X Plan Apo", "_IllumSetting_": "DAPI"}  # fmt: skip
    props = "".join(f'<prop id="{name}" type="x" value="{v}"/>' for name, v in said.items())
    tiffs(
        home,
        lambda p: (
            f"2023-02-21/7/TimePoint_{p.time}/ZStep_{p.z}/"
            f"s_{p.well}_s{p.site}_w{p.channel}{GUID}.tif"
        ),
        f"<MetaData>{props}</MetaData>",
    )


def exported(home: Path) -> None:
    tiffs(home, lambda p: f"TimePoint_{p.time}/ZStep_{p.z}/7_{p.well}_s{p.site}_w{p.channel}.TIF")
    (home / "7.HTD").write_text(
        '"HTSInfoFile", Version 1.0\n"WaveName1", "DAPI"\n"WaveName2", "GFP"\n'
    )


def harmony(home: Path) -> None:
    def name(p: Place) -> str:
        return (
            f"r{p.row:02d}c{p.column:02d}f{p.site:02d}p{p.z:02d}-ch{p.channel}sk{p.time}fk1fl1.tiff"
        )

    tiffs(home / "Images", name)
    images = "".join(
        f"<Image Version='1'><URL>{name(p)}</URL><Row>{p.row}</Row><Col>{p.column}</Col>"
        f"<FieldID>{p.site}</FieldID><PlaneID>{p.z}</PlaneID>"
        f"<TimepointID>{p.time - 1}</TimepointID><ChannelID>{p.channel}</ChannelID>"
        f"<PositionZ Unit='m'>{(p.z - 1) * 2e-6}</PositionZ>"
        f"<MeasurementTimeOffset Unit='s'>{(p.time - 1) * LAPSE_S}</MeasurementTimeOffset></Image>"
        for p in GRID
    )
    entries = "".join(
        f"<Entry ChannelID='{c}'><ChannelName>{dye}</ChannelName><ObjectiveNA>1</ObjectiveNA>"
        f"<ImageResolutionX Unit='m'>{PIXEL_UM * 1e-6}</ImageResolutionX><ObjectiveMagnification>"
        f"20</ObjectiveMagnification><MainEmissionWavelength>{wave}</MainEmissionWavelength></Entry>"
        for c, dye, wave in zip(PAIR, ("DAPI", "GFP"), WAVES, strict=True)
    )
    (home / "Images/Index.xml").write_text(
        "<EvaluationInputData xmlns='43B2A954-E3C3-47E1-B392-6635266B0DD3/HarmonyV7'>"
        f"<Plates><Plate><Name>M</Name></Plate></Plates><Maps><Map>{entries}</Map></Maps><Images>{images}</Images>"
        "</EvaluationInputData>"
    )


def cellvoyager(home: Path) -> None:
    def name(p: Place) -> str:
        place = f"T{p.time:04d}F{p.site:03d}L01A0{p.channel}Z{p.z:02d}C{p.channel:02d}"
        return f"M_{p.well}_{place}.tif"

    tiffs(home, name)
    space = 'xmlns:bts="http://www.yokogawa.co.jp/BTS/BTSSchema/1.0" bts:Version="1.0"'
    records = "".join(
        f'<bts:MeasurementRecord bts:Type="IMG" bts:Time="2023-09-18T13:{p.time:02d}:00+02:00" '
        f'bts:Column="{p.column}" bts:Row="{p.row}" bts:TimePoint="{p.time}" '
        f'bts:FieldIndex="{p.site}" bts:ZIndex="{p.z}" bts:Z="{(p.z - 1) * STEP_UM}" '
        f'bts:Ch="{p.channel}">{name(p)}</bts:MeasurementRecord>'
        for p in GRID
    )
    measured = "".join(
        f'<bts:MeasurementChannel bts:Ch="{c}" bts:HorizontalPixelDimension="{PIXEL_UM}"/>'
        for c in PAIR
    )
    settings = "".join(
        f'<bts:Channel bts:Ch="{c}" bts:Fluorophore="{dye}" bts:Acquisition="BP{wave:.0f}/45" '
        'bts:Magnification="20" bts:Objective="20x v2"/>'
        for c, dye, wave in zip(PAIR, ("DAPI", "GFP"), WAVES, strict=True)
    )
    for file, text in {
        "MeasurementData.mlf": f"<bts:MeasurementData {space}>{records}</bts:MeasurementData>",
        "MeasurementDetail.mrf": f'<bts:MeasurementDetail {space} bts:MeasurementSettingFileName='
        f'"s.mes">{measured}</bts:MeasurementDetail>',
        "s.mes": f"<bts:MeasurementSetting {space}><bts:ChannelList>{settings}</bts:ChannelList>"
        "</bts:MeasurementSetting>",
    }.items():  # fmt: skip
        (home / file).write_text(f'<?xml version="1.0"?>{text}')


def incell(home: Path) -> None:
    def name(p: Place) -> str:
        return f"{p.well[0]} - {p.well[1:]}(fld {p.site} wv {p.channel} z {p.z} time {p.time}).tif"

    tiffs(home, name)
    images = "".join(
        f'<Image filename="{name(p)}" acquisition_time_ms="{(p.time - 1) * LAPSE_S * 1000}">'
        f'<Well label="x"><Row number="{p.row}"/><Column number="{p.column}"/></Well>'
        f'<FocusPosition unit="um" z="{(p.z - 1) * STEP_UM}"/><Identifier '
        f'field_index="{p.site - 1}" time_index="{p.time - 1}" wave_index="{p.channel - 1}" '
        f'z_index="{p.z - 1}"/></Image>'
        for p in GRID
    )
    (home / "plate.xdce").write_text(
        "<ImageStack><AutoLeadAcquisitionProtocol><ObjectiveCalibration magnification='20' "
        f"pixel_width='{PIXEL_UM}' objective_name='Nikon 20X'/><Wavelengths>"
        "<Wavelength index='0'><EmissionFilter name='DAPI' wavelength='456'/></Wavelength>"
        "<Wavelength index='1'><EmissionFilter name='525_50'/></Wavelength></Wavelengths>"
        f"</AutoLeadAcquisitionProtocol><Images>{images}</Images></ImageStack>"
    )


def scanr(home: Path) -> None:
    tiffs(
        home / "data",
        lambda p: (
            f"{p.well[0]}{p.column}--W{(p.row - 1) * 12 + p.column:05d}--P{p.site:05d}--"
            f"Z{p.z - 1:05d}--T{p.time - 1:05d}--{('DAPI', 'GFP')[p.channel - 1]}.tif"
        ),
    )
    said = {"plate name": "M", "conversion factor um/pixel": PIXEL_UM, "Columns": 12}
    values = "".join(f"<U16><Name>{n}</Name><Val>{v}</Val></U16>" for n, v in said.items())
    (home / "experiment_descriptor.xml").write_text(f"<LVData>{values}</LVData>")


def written(home: Path, lines: list[str], name: str) -> None:
    home.mkdir(parents=True, exist_ok=True)
    (home / name).write_text("\n".join(lines) + "\n")


def loaddata(home: Path, *, folder: str = "", name: str = "load.csv") -> None:
    tiffs(home, lambda p: f"{p.number}.tif")
    head = "FileName_OrigDAPI,FileName_OrigGFP,PathName_OrigDAPI,PathName_OrigGFP,"
    lines = [head + "Metadata_Well,Metadata_Site,Metadata_Z,Metadata_Timepoint"]
    for p in GRID:
        if p.channel == 1:
            files = f"{p.number}.tif,{p._replace(channel=2).number}.tif"
            lines.append(f"{files},{folder},{folder},{p.well},{p.site},{p.z},{p.time}")
    written(home, lines, name)


def samplesheet(home: Path) -> None:
    tiffs(home, lambda p: f"{p.number}.tif")
    lines = ["channel,path,well,site,plane_id,timepoint"]
    lines += [f"C{p.channel},{p.number}.tif,{p.well},{p.site},{p.z},{p.time}" for p in GRID]
    written(home, lines, "samplesheet.csv")


def gallery(home: Path) -> None:
    images = home / "images/b1/images/M/Images"
    loaddata(images, folder="/bucket/cpg/images/b1/images/M/Images")
    table = home / "workspace/load_data_csv/b1/M/load_data.csv"
    table.parent.mkdir(parents=True)
    (images / "load.csv").rename(table)


def stack(well: str, site: int, axes: str) -> np.ndarray:
    """The field's planes along some order of t, c and z."""
    sizes = [dict(zip(axes, index, strict=True)) for index in product(PAIR, repeat=3)]
    planes = [plane(Place(well, site, at["c"], at["z"], at["t"])) for at in sizes]
    return np.stack(planes).reshape(2, 2, 2, 4, 6)


def ome_tiff(home: Path) -> None:
    home.mkdir(parents=True)
    metadata = {
        "axes": "TCZYX", "Channel": {"Name": ["DAPI", "GFP"], "EmissionWavelength": list(WAVES)},
        "PhysicalSizeX": PIXEL_UM, "PhysicalSizeXUnit": "µm", "PhysicalSizeZ": STEP_UM,
        "PhysicalSizeZUnit": "µm", "TimeIncrement": LAPSE_S, "TimeIncrementUnit": "s",
    }  # fmt: skip
    for well, site in product(WELLS, PAIR):
        path = home / f"M_{well}_field{site}.ome.tif"
        tifffile.imwrite(path, stack(well, site, "tcz"), metadata=metadata)


def ome_zarr(home: Path, *, form: int) -> None:
    zarr = pytest.importorskip("zarr")
    version = {2: "0.4", 3: "0.5"}[form]
    own = {"version": version}

    def group(path: str, attributes: dict[str, Any]) -> None:
        said = attributes if form == 2 else {"ome": {"version": "0.5", **attributes}}
        zarr.open_group(home / path, mode="a", zarr_format=form, attributes=said)

    group("", {"plate": {**own, "name": "M", "rows": [{"name": "B"}, {"name": "C"}],
                         "columns": [{"name": "3"}, {"name": "11"}], "field_count": 2, "wells": [
        {"path": "B/3", "rowIndex": 0, "columnIndex": 0},
        {"path": "C/11", "rowIndex": 1, "columnIndex": 1}]}})  # fmt: skip
    axes = [{"name": "t", "type": "time", "unit": "second"}, {"name": "c", "type": "channel"}]
    axes += [{"name": n, "type": "space", "unit": "micrometer"} for n in "zyx"]
    scale = {"type": "scale", "scale": [LAPSE_S, 1, STEP_UM, PIXEL_UM, PIXEL_UM]}
    datasets = [{"path": "0", "coordinateTransformations": [scale]}]
    window = {"min": 0, "max": 9, "start": 0, "end": 9}
    channels = [{"label": n, "color": "FFFFFF", "window": window} for n in ("DAPI", "GFP")]
    for well in WELLS:
        place = f"{well[0]}/{int(well[1:])}"
        group(well[0], {})
        group(place, {"well": {**own, "images": [{"path": str(site)} for site in PAIR]}})
        for site in PAIR:
            image = {"multiscales": [{**own, "name": "x", "axes": axes, "datasets": datasets}]}
            group(f"{place}/{site}", {**image, "omero": {"channels": channels}})
            array = zarr.create_array(
                home / f"{place}/{site}/0", shape=(2, 2, 2, 4, 6), chunks=(1, 1, 1, 4, 6),
                dtype="uint16", zarr_format=form,
                dimension_names=list("tczyx") if form == 3 else None,
            )  # fmt: skip
            array[:] = stack(well, site, "tcz")


def hdf5(home: Path) -> None:
    home.mkdir(parents=True)
    with h5py.File(home / "M.h5", "w") as store:
        store.attrs.update({"format": "plate-profiler", "version": 1, "plate": "M"})
        store.attrs["channels"] = store.attrs["channel_names"] = ["DAPI", "GFP"]
        store.attrs["wavelengths_nm"] = WAVES
        for well, site in product(WELLS, PAIR):
            images = store.create_dataset(f"{well}/{site}/images", data=stack(well, site, "tcz"))
            images.attrs.update({"pixel_size_um": PIXEL_UM, "magnification": POWER})
            images.attrs.update({"objective": "20x", "z_um": [0, STEP_UM], "time_s": [0, LAPSE_S]})
            store[f"{well}/{site}/has_plane"] = np.ones((2, 2, 2), bool)


def cellh5(home: Path) -> None:
    home.mkdir(parents=True)
    with h5py.File(home / "M.ch5", "w") as store:
        for well, site in product(WELLS, PAIR):
            where = f"/sample/0/plate/M/experiment/{well}/position/{site}/image/channel"
            store[where] = stack(well, site, "ctz")
        names = np.array([(b"DAPI",), (b"GFP",)], dtype=[("channel_name", "S50")])
        store["/definition/image/channel"] = names


def pattern(home: Path) -> None:
    tiffs(
        home,
        lambda p: (
            f"r{p.row:02d}c{p.column:02d}f{p.site:02d}p{p.z:02d}-ch{p.channel}sk{p.time}fk1fl1.tiff"
        ),
    )


WRITERS: dict[str, Callable[[Path], None]] = {
    "loaddata": loaddata,
    "samplesheet": samplesheet,
    "gallery": gallery,
    "cellvoyager": cellvoyager,
    "harmony": harmony,
    "incell": incell,
    "scanr": scanr,
    "ome-zarr": partial(ome_zarr, form=2),
    "ome-zarr, 0.5": partial(ome_zarr, form=3),
    "hdf5": hdf5,
    "cellh5": cellh5,
    "ome-tiff": ome_tiff,
    "imagexpress": imagexpress,
    "imagexpress, exported": exported,
    "pattern": pattern,
}


class Grid(NamedTuple):
    """What is on the plates: where each plane lies, and its pixels."""

    places: tuple[Place, ...]
    pixels: Callable[[Place], np.ndarray]
    place: Callable[..., Place]
    kinds: tuple[str, ...]


@pytest.fixture(scope="session")
def grid() -> Grid:
    """The truth."""
    return Grid(tuple(GRID), plane, Place, tuple(WRITERS))


@pytest.fixture(scope="session")
def plate(tmp_path_factory) -> Callable[[str], Path]:
    """A function that writes a kind of plate, once."""
    homes: dict[str, Path] = {}

    def plate(kind: str) -> Path:
        if kind not in homes:
            homes[kind] = tmp_path_factory.mktemp("grid") / "M"
            WRITERS[kind](homes[kind])
        return homes[kind]

    return plate
