"""Small wells whose every number is known, and the files they say they came from."""

from hashlib import blake2b
from pathlib import Path

import polars as pl
import pytest

from plates.imageset import FieldKey
from plates.pixels import FileStamp
from profiler.store.run import RunFacts
from profiler.store.wells import WellTables

AREA = "Nuclei_AreaShape_Area"
FOCUS = "Image_ImageQuality_FocusScore_OrigDNA"
RATIO = "Cells_Intensity_Ratio_GFP"


def stamp(path: Path) -> FileStamp:
    """What the loader records of a file."""
    if not path.exists():
        return FileStamp(str(path), -1, -1, "")
    content = path.read_bytes()
    digest = blake2b(content, digest_size=16).hexdigest()
    return FileStamp(str(path), len(content), path.stat().st_mtime_ns, digest)


def cells(plate: str, well: str, *, sites: int, per_site: int) -> pl.DataFrame:
    """Cells whose area is 100 * site + object number, and one ratio that is NaN."""
    rows = [
        (plate, well, site, 1, number, number == 1, 0.9, 100.0 * site + number, float("nan"))
        for site in range(1, sites + 1)
        for number in range(1, per_site + 1)
    ]
    schema = {
        "Metadata_Plate": pl.String,
        "Metadata_Well": pl.String,
        "Metadata_Site": pl.Int32,
        "Metadata_Timepoint": pl.Int32,
        "Metadata_ObjectNumber": pl.Int32,
        "Metadata_QC_TouchesBorder": pl.Boolean,
        "Metadata_QC_Confidence": pl.Float32,
        AREA: pl.Float32,
        RATIO: pl.Float32,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def fields(plate: str, well: str, *, sites: int, per_site: int) -> pl.DataFrame:
    """One row per field: "ok", or "no_cells" with a reason."""
    status, reason = ("ok", None) if per_site else ("no_cells", "Nothing above the background")
    sure = 0.9 if per_site else None
    rows = [
        (plate, well, site, 1, status, reason, per_site, 0, sure, 0.5 * site, 0.25 * site)
        for site in range(1, sites + 1)
    ]
    schema = {
        "Metadata_Plate": pl.String,
        "Metadata_Well": pl.String,
        "Metadata_Site": pl.Int32,
        "Metadata_Timepoint": pl.Int32,
        "Metadata_QC_Status": pl.String,
        "Metadata_QC_Reason": pl.String,
        "Metadata_Object_Count": pl.Int32,
        "Metadata_Object_Doubtful": pl.Int32,
        "Metadata_Object_Confidence": pl.Float32,
        "Metadata_Seconds": pl.Float32,
        "Metadata_Seconds_Measure": pl.Float32,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def images(plate: str, well: str, *, sites: int) -> pl.DataFrame:
    """One feature of each field, 10 * site."""
    rows = [(plate, well, site, 1, 10.0 * site) for site in range(1, sites + 1)]
    schema = {
        "Metadata_Plate": pl.String,
        "Metadata_Well": pl.String,
        "Metadata_Site": pl.Int32,
        "Metadata_Timepoint": pl.Int32,
        FOCUS: pl.Float32,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


@pytest.fixture
def make_well():
    """A function that makes a well, of the image files given or of none."""

    def make(plate="P1", well="B03", *, sites=2, per_site=3, files=None) -> WellTables:
        files = files or {FieldKey(plate, well, site): () for site in range(1, sites + 1)}
        return WellTables(
            plate,
            well,
            cells(plate, well, sites=sites, per_site=per_site),
            fields(plate, well, sites=sites, per_site=per_site),
            images(plate, well, sites=sites),
            {key: tuple(stamp(Path(path)) for path in paths) for key, paths in files.items()},
        )

    return make


@pytest.fixture
def make_files(tmp_path):
    """A function that writes two channels of two fields and returns their paths by field."""

    def make(plate="P1", well="B03", *, folder="images"):
        home = tmp_path / folder
        home.mkdir(exist_ok=True)
        files = {}
        for site in (1, 2):
            paths = [home / f"{plate}_{well}_{site}_{channel}.tif" for channel in ("DNA", "GFP")]
            for path in paths:
                path.write_bytes(f"pixels of {path.name}".encode())
            files[FieldKey(plate, well, site)] = tuple(map(str, paths))
        return files

    return make


@pytest.fixture
def make_facts():
    """A function that makes the facts of a run."""

    def make(
        recipe="translocation", *, min_area=25, weights="w1", plates=("P1",), **segment
    ) -> RunFacts:
        return RunFacts(
            recipe=recipe,
            settings={"segment": {"min_area": min_area, "model": "nuclei"} | segment},
            packages={"numpy": "2.0"},
            device="cpu",
            weights=weights,
            layout=None,
            plates=plates,
        )

    return make
