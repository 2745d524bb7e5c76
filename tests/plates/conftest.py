"""Small plates as each microscope lays them out, so that every reader meets every other's."""

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile

import plates.remote as remote

HEIGHT, WIDTH = 4, 6


@pytest.fixture(autouse=True)
def _no_array_of_another_test():
    """Stores in memory are made anew under the same address, which no store outside is."""
    remote._open_remote_array.cache_clear()


@pytest.fixture
def store(monkeypatch):
    """Put a folder into fsspec's store in memory."""
    fsspec = pytest.importorskip("fsspec")
    monkeypatch.setattr(remote, "PAUSE_S", 0)
    memory = fsspec.filesystem("memory")

    def store(home, name="plate"):
        memory.put(str(home), f"/bucket/{name}", recursive=True)
        return f"memory://bucket/{name}"

    yield store
    if memory.exists("/bucket"):
        memory.rm("/bucket", recursive=True)


@pytest.fixture
def fetched(monkeypatch):
    """Bytes of each request to fsspec's store in memory."""
    fsspec = pytest.importorskip("fsspec")
    counts, system = [], type(fsspec.filesystem("memory"))
    whole = system.cat_file

    def counting(self, path, **options):
        found = whole(self, path, **options)
        counts.append(len(found))
        return found

    monkeypatch.setattr(system, "cat_file", counting)
    return counts


def pixels(*place: int) -> np.ndarray:
    """A plane that no other place has."""
    return np.random.default_rng((1, *place)).integers(0, 60_000, (HEIGHT, WIDTH), dtype=np.uint16)


def write_tiff(path: Path, *place: int, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, pixels(*place), metadata=None, **options)
    return path


def harmony_index(images: str, *, version: int = 5, maps: str = "", plate: str = "BR7") -> str:
    home = (
        "43B2A954-E3C3-47E1-B392-6635266B0DD3" if version > 6 else "http://www.perkinelmer.com/PEHH"
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?>'
        f'<EvaluationInputData xmlns="{home}/HarmonyV{version}" Version="1"><User>me</User>'
        f"<Plates><Plate><PlateID>x</PlateID><Name>{plate}</Name><PlateRows>16</PlateRows>"
        '<Well id="0203" /></Plate></Plates>'
        '<Wells><Well><id>0203</id><Row>2</Row><Col>3</Col><Image id="a" /></Well></Wells>'
        f"<Maps><Map>{maps}</Map></Maps><Images>{images}</Images></EvaluationInputData>"
    )


CHANNEL = (
    "<ChannelName>{name}</ChannelName><ImageResolutionX Unit='m'>5.98E-07</ImageResolutionX>"
    "<MainEmissionWavelength Unit='nm'>{wave}</MainEmissionWavelength>"
    "<ObjectiveMagnification Unit=''>20</ObjectiveMagnification>"
    "<ObjectiveNA Unit=''>1</ObjectiveNA>"
)


def harmony_image(
    row: int, col: int, field: int, plane: int, channel: int, *, more: str = ""
) -> str:
    url = f"r{row:02d}c{col:02d}f{field:02d}p{plane:02d}-ch{channel}sk1fk1fl1.tiff"
    return (
        f"<Image Version='1'><id>{row:02d}{col:02d}K1F{field}P{plane}R{channel}</id>"
        f"<State>Ok</State><URL>{url}</URL><Row>{row}</Row><Col>{col}</Col>"
        f"<FieldID>{field}</FieldID><PlaneID>{plane}</PlaneID><TimepointID>0</TimepointID>"
        f"<ChannelID>{channel}</ChannelID><FlimID>1</FlimID>"
        f"<PositionZ Unit='m'>{(plane - 1) * 2e-6}</PositionZ>"
        f"<MeasurementTimeOffset Unit='s'>{field * 1.5}</MeasurementTimeOffset>{more}</Image>"
    )


def write_harmony(home: Path, *, version: int = 5, index: str = "Index.idx.xml") -> Path:
    """Well B03, 2 fields, 2 planes, 2 channels; channel facts in each image, or in a map."""
    facts = {
        c: CHANNEL.format(name=name, wave=wave)
        for c, name, wave in ((1, "DAPI", 456), (2, "Mito", 706))
    }
    images, in_map = "", version > 5
    for field in (1, 2):
        for plane in (1, 2):
            for channel in (1, 2):
                more = "" if in_map else facts[channel]
                images += harmony_image(2, 3, field, plane, channel, more=more)
                name = f"r02c03f{field:02d}p{plane:02d}-ch{channel}sk1fk1fl1.tiff"
                write_tiff(home / "Images" / name, field, channel, plane)
    maps = "".join(f"<Entry ChannelID='{c}'>{facts[c]}</Entry>" for c in facts) if in_map else ""
    (home / "Images" / index).write_text(harmony_index(images, version=version, maps=maps))
    return home


def write_cellvoyager(home: Path) -> Path:
    bts = 'xmlns:bts="http://www.yokogawa.co.jp/BTS/BTSSchema/1.0"'
    records = '<bts:MeasurementRecord bts:Type="ERR" bts:Column="1">no</bts:MeasurementRecord>'
    for channel in (1, 2):
        name = f"p_A02_T0001F001L01A01Z01C{channel:02d}.tif"
        write_tiff(home / name, channel)
        records += (
            f'<bts:MeasurementRecord bts:Type="IMG" bts:Time="2023-09-18T13:58:4{channel}.5+02:00" '
            'bts:Column="2" bts:Row="1" bts:TimePoint="1" bts:FieldIndex="1" bts:ZIndex="1" '
            f'bts:Z="1.5" bts:Ch="{channel}">{name}</bts:MeasurementRecord>'
        )
    (home / "MeasurementData.mlf").write_text(
        f'<?xml version="1.0"?><bts:MeasurementData bts:Version="1.0" {bts}>{records}'
        "</bts:MeasurementData>"
    )
    return home


def write_imagexpress(home: Path) -> Path:
    for wave in (1, 2):
        guid = f"_w{wave}66923EBB-9960-4952-8955-D1721D112EE{wave}.tif"
        write_tiff(home / "2023-02-21/7" / f"p_E08_s1{guid}", wave)
        write_tiff(home / "2023-02-21/7" / f"p_E08_s1_w{wave}_thumb{guid[3:]}", wave, 9)
    return home


def write_exported(home: Path) -> Path:
    write_tiff(home / "TimePoint_1/9987_B02_s1_w1.TIF", 1)
    (home / "9987.HTD").write_bytes(b'"HTSInfoFile", Version 1.0\r\n"WaveName1", "DAPI"\r\n\xb5')
    return home


def write_incell(home: Path) -> Path:
    images = ""
    for wave, dye in enumerate(("DAPI", "FITC")):
        name = f"B - 03(fld 1 wv {dye} - {dye}).tif"
        write_tiff(home / name, wave)
        images += (
            f'<Image filename="{name}" thumbnail="t.jpg" acquisition_time_ms="{1500 * wave}.0">'
            '<Well label="B - 3"><Row number="2"/><Column number="3"/></Well>'
            '<FocusPosition unit="um" z="12.5"/>'
            f'<Identifier field_index="0" time_index="0" wave_index="{wave}" z_index="0"/></Image>'
        )
    (home / "plate.xdce").write_text(
        '<?xml version="1.0"?><ImageStack UUID="u"><AutoLeadAcquisitionProtocol>'
        '<ObjectiveCalibration magnification="20" pixel_width="0.325" pixel_height="0.325" '
        'objective_name="Nikon_20X_Plan Apo" numerical_aperture="0.75"/><Wavelengths>'
        '<Wavelength index="0"><EmissionFilter name="DAPI" wavelength="455"/></Wavelength>'
        '<Wavelength index="1"><EmissionFilter name="535_50"/></Wavelength>'
        "</Wavelengths></AutoLeadAcquisitionProtocol>"
        f'<Images number="2">{images}</Images></ImageStack>'
    )
    return home


def write_scanr(home: Path) -> Path:
    for z in (0, 1):
        write_tiff(home / f"data/A2--W00002--P00003--Z0000{z}--T00000--DAPI.tif", z)
        write_tiff(home / f"data/--W00014--P00001--Z0000{z}--T00000--DAPI.tif", z, 1)
    said = {"plate name": "S1 µ", "conversion factor um/pixel": "0.645", "Columns": "12"}
    values = "".join(f"<U16><Name>{n}</Name><Val>{v}</Val></U16>" for n, v in said.items())
    text = f'<?xml version="1.0"?><LVData><Cluster><Name>set</Name>{values}</Cluster></LVData>'
    (home / "experiment_descriptor.xml").write_bytes(text.encode("latin-1"))
    return home


OME = '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">{}</OME>'


def write_ome_tiff(home: Path) -> Path:
    home.mkdir(parents=True, exist_ok=True)
    stack = np.stack([[pixels(c, z) for z in range(3)] for c in range(2)])
    tifffile.imwrite(
        home / "screen_b03.ome.tif", stack,
        metadata={"axes": "CZYX", "Channel": {"Name": ["DNA", "ER"]}, "PhysicalSizeX": 0.5,
                  "PhysicalSizeXUnit": "µm", "PhysicalSizeZ": 2.0},
    )  # fmt: skip
    return home


def write_ome_companion(home: Path) -> Path:
    """A plate of two wells in files of their own, told by one companion."""
    images = ""
    for number, name in enumerate(("well-A1.ome.tif", "well-B12.ome.tif")):
        home.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(
            home / name, np.stack([pixels(number, c) for c in (0, 1)]), ome=False, metadata=None
        )
        data = (
            f'<TiffData PlaneCount="2"><UUID FileName="{name}">urn:uuid:{number}</UUID></TiffData>'
        )
        images += (
            f'<Image ID="Image:{number}"><Pixels ID="P:{number}" DimensionOrder="XYCZT" '
            f'Type="uint16" SizeX="{WIDTH}" SizeY="{HEIGHT}" SizeC="2" SizeZ="1" SizeT="1" '
            'PhysicalSizeX="650" PhysicalSizeXUnit="nm"><Channel ID="C:0" Name="DAPI" '
            'EmissionWavelength="450"/><Channel ID="C:1" Name="GFP"/>'
            f'{data}<Plane TheC="0" TheZ="0" TheT="0" DeltaT="2"/></Pixels></Image>'
        )
    plate = (
        '<Plate ID="Plate:0" Name="Comp1"><Well ID="W:0" Row="0" Column="0"><WellSample ID="S:0" '
        'Index="0"><ImageRef ID="Image:0"/></WellSample></Well><Well ID="W:1" Row="1" Column="11">'
        '<WellSample ID="S:1" Index="1"><ImageRef ID="Image:1"/></WellSample></Well></Plate>'
    )
    (home / "plate.companion.ome").write_text(OME.format(plate + images))
    return home


def write_ome_zarr(home: Path, *, version: str = "0.4") -> Path:
    """Well B03, one field, 2 channels, 2 planes, written by hand as the specification says."""
    zarr = pytest.importorskip("zarr")
    plate = {
        "version": version, "name": "Z1", "rows": [{"name": "B"}], "columns": [{"name": "3"}],
        "wells": [{"path": "B/3", "rowIndex": 0, "columnIndex": 0}],
    }  # fmt: skip
    axes = [{"name": "c", "type": "channel"}] + [
        {"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"
    ]
    scale = [{"type": "scale", "scale": [1, 3, 0.65, 0.65]}]
    image = {
        "multiscales": [{"version": version, "axes": axes, "datasets": [
            {"path": "0", "coordinateTransformations": scale}]}],
        "omero": {"channels": [{"label": "DNA"}, {"label": "ER"}]},
    }  # fmt: skip
    well = {"well": {"version": version, "images": [{"path": "0"}]}}
    form = 3 if version == "0.5" else 2
    for path, attributes in (("", {"plate": plate}), ("B", {}), ("B/3", well), ("B/3/0", image)):
        folder = home / path
        folder.mkdir(parents=True, exist_ok=True)
        if form == 2:
            (folder / ".zgroup").write_text('{"zarr_format": 2}')
            (folder / ".zattrs").write_text(json.dumps(attributes))
        else:
            ome = {"ome": {"version": version, **attributes}}
            (folder / "zarr.json").write_text(
                json.dumps({"zarr_format": 3, "node_type": "group", "attributes": ome})
            )
    stack = np.stack([[pixels(c, z) for z in range(2)] for c in range(2)])
    array = zarr.create_array(
        home / "B/3/0/0", shape=stack.shape, chunks=(1, 1, HEIGHT, WIDTH), dtype="uint16",
        zarr_format=form,
    )  # fmt: skip
    array[:] = stack
    return home


def write_cellh5(home: Path) -> Path:
    home.mkdir(parents=True, exist_ok=True)
    with h5py.File(home / "p.ch5", "w") as store:
        where = "/sample/0/plate/H1/experiment/B3/position/2/image/channel"
        stack = np.stack([[[pixels(c, t)] for t in range(3)] for c in range(2)])
        store.create_dataset(where, data=stack)
        names = np.array([(b"rfp",), (b"gfp",)], dtype=[("channel_name", "S50")])
        store.create_dataset("/definition/image/channel", data=names)
    return home


def write_loaddata(home: Path) -> Path:
    write_tiff(home / "a.tif", 1)
    (home / "load.csv").write_text("FileName_OrigDNA,Metadata_Well\na.tif,A1\n")
    return home


def write_samplesheet(home: Path) -> Path:
    for channel in (1, 2):
        write_tiff(home / f"i{channel}.tif", channel)
    (home / "samplesheet.csv").write_text(
        "channel,path,source,batch,plate,well,site,col,field_id,plane_id,row\n"
        "DNA,i1.tif,s,b,BR1,B03,2,3,2,1,2\nER,i2.tif,s,b,BR1,B03,2,3,2,1,2\n"
    )
    return home


def write_gallery(home: Path) -> Path:
    below = "images/2021_Batch1/images/BR1__2021-Measurement1/Images/r02c03f01p01-ch1sk1fk1fl1.tiff"
    write_tiff(home / below, 1)
    tables = home / "workspace/load_data_csv/2021_Batch1"
    head = "FileName_OrigDNA,PathName_OrigDNA,Metadata_Plate,Metadata_Well,Metadata_Site\n"
    old = f"/home/ubuntu/bucket/projects/cpg/{below}".rpartition("/")
    for plate, path in (("BR1", old[0]), ("BR2", old[0].replace("BR1", "BR2"))):
        (tables / plate).mkdir(parents=True)
        (tables / plate / "load_data.csv").write_text(f"{head}{old[2]},{path},{plate},B03,1\n")
    return home


def write_named(home: Path) -> Path:
    write_tiff(home / "demo_A01_s1_DNA.tif", 1)
    return home


def write_hdf5(home: Path) -> Path:
    from plates.convert import convert

    list(convert(write_ome_tiff(home.parent / "source_of_h5"), home, to="hdf5"))
    return home


TREES: dict[str, Callable[[Path], Path]] = {
    "loaddata": write_loaddata,
    "samplesheet": write_samplesheet,
    "gallery": write_gallery,
    "cellvoyager": write_cellvoyager,
    "harmony": write_harmony,
    "incell": write_incell,
    "scanr": write_scanr,
    "ome-zarr": write_ome_zarr,
    "hdf5": write_hdf5,
    "cellh5": write_cellh5,
    "ome-tiff": write_ome_tiff,
    "imagexpress": write_imagexpress,
    "pattern": write_named,
    "ome-tiff, companion": write_ome_companion,
    "imagexpress, exported": write_exported,
}


@pytest.fixture(scope="session")
def trees() -> dict[str, Callable[[Path], Path]]:
    """What writes a plate of each kind into a folder; the reader's name comes first in its key."""
    return TREES


def edit_ome(folder, change):
    """Change what an OME-Zarr group says of itself, in either version."""
    path = next(p for p in (folder / "zarr.json", folder / ".zattrs") if p.exists())
    whole = json.loads(path.read_text())
    change(whole["attributes"]["ome"] if path.name == "zarr.json" else whole)
    path.write_text(json.dumps(whole))
