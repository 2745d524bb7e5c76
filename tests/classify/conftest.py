"""Runs whose every cell is planted: its class is known, and plates differ in gain and offset."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest

from plates.imageset import FieldKey
from profiler.report.thumbnail import thumbnail, write_thumbnail
from profiler.store.run import RunFacts, claim
from profiler.store.tables import write_table
from profiler.store.wells import WellTables, write_well

KEYS = ("Metadata_Plate", "Metadata_Well", "Metadata_Site", "Metadata_ObjectNumber")
TIMEPOINT = "Metadata_Timepoint"
FEATURES = [f"Cells_Planted_F{i}" for i in range(8)] + [f"Embedding_{i:04d}" for i in range(4)]
PLACES = ["Nuclei_Location_Center_X", "Nuclei_Location_Center_Y"]
CLASSES = {"normal": None, "moved": 0, "dying": 1, "strange": 9}  # the feature that tells it
SHIFT = 6.0
MAP = {  # compound: role, wells, and what its cells are
    "DMSO": ("negative", 8, {"normal": 0.95, "moved": 0.05}),
    "Mover": ("treatment", 4, {"normal": 0.3, "moved": 0.7}),
    "Killer": ("treatment", 4, {"normal": 0.4, "dying": 0.6}),
    "Strange": ("treatment", 2, {"normal": 0.2, "strange": 0.8}),
    "Idle": ("treatment", 6, {"normal": 0.95, "moved": 0.05}),
}
SIDE = 200  # of a field, in pixels


class Planted(NamedTuple):
    """A run, and the class of each of its cells."""

    out: Path
    truth: pl.DataFrame

    def labels(self, *, classes=("normal", "moved", "dying"), every=3, keys=KEYS) -> pl.DataFrame:
        """A label table: each `every`th cell of these classes."""
        some = self.truth.filter(pl.col("Label").is_in(classes)).gather_every(every)
        return some.select(*keys, "Label")


def compounds() -> list[tuple[str, str, str]]:
    """Well, compound and role of a plate of 24 wells."""
    names = [f"{row}{column:02d}" for row in "ABCD" for column in range(1, 7)]
    held = [(name, role) for name, (role, wells, _) in MAP.items() for _ in range(wells)]
    order = np.random.default_rng(7).permutation(24)
    return [(names[i], *held[j]) for j, i in enumerate(order)]


def _cells(plate: str, well: str, compound: str, *, time: int, count: int, random) -> pl.DataFrame:
    mix = MAP[compound][2]
    label = random.choice(list(mix), size=count, p=list(mix.values()))
    values = random.normal(size=(count, len(FEATURES)))
    for i, name in enumerate(label):
        if CLASSES[name] is not None:
            values[i, CLASSES[name]] += SHIFT
    gain = np.random.default_rng(len(plate) + ord(plate[-1])).uniform(0.5, 4, len(FEATURES))
    values = values * gain + 10 * gain
    places = random.uniform(0, SIDE, (count, 2))
    return pl.DataFrame(
        {
            "Metadata_Plate": [plate] * count,
            "Metadata_Well": [well] * count,
            "Metadata_Site": pl.Series([1] * count, dtype=pl.Int32),
            "Metadata_Timepoint": pl.Series([time] * count, dtype=pl.Int32),
            "Metadata_ObjectNumber": pl.Series(range(1, count + 1), dtype=pl.Int32),
            "Metadata_QC_TouchesBorder": [i % 10 == 9 for i in range(count)],
            "Metadata_QC_Confidence": pl.Series([0.9] * count, dtype=pl.Float32),
            "Label": label,
        }
    ).hstack(pl.DataFrame(np.hstack([places, values]).astype(np.float32), [*PLACES, *FEATURES]))


def _fields(plate: str, well: str, count: int, *, times: int) -> pl.DataFrame:
    row = {"Metadata_Plate": plate, "Metadata_Well": well, "Metadata_Site": 1}
    last = {"Metadata_QC_Status": "ok", "Metadata_Object_Count": count}
    return pl.DataFrame([row | {"Metadata_Timepoint": t} | last for t in range(1, times + 1)])


def plant(
    folder: Path,
    *,
    plates=("P1",),
    seed=0,
    count=30,
    embedder="a" * 64,
    has_map=True,
    has_pictures=False,
    lacks=(),
    times=1,
    stains=("DNA", "GFP"),
) -> Planted:
    """Write a run folder with cells, wells and fields, as if its stages had run.

    Compounds act at the last time point: before, every cell is as in DMSO.
    """
    out, random = folder, np.random.default_rng(seed)
    settings = {"profile": {"exclude_border": True, "exclude_bad_fields": True}}
    settings |= {"images": {"channels": {name: name for name in stains}}, "embed": {}}
    claim(out, facts=RunFacts("planted", settings, {}, "cpu", None, None, tuple(plates)))
    truth, wells, fields = [], [], []
    for plate in plates:
        for well, compound, role in compounds():
            made = {"count": count, "random": random}
            cells = pl.concat(
                _cells(plate, well, compound if t == times else "DMSO", time=t, **made)
                for t in range(1, times + 1)
            )
            truth.append(cells)
            field = _fields(plate, well, count, times=times)
            empty = field.select(pl.all().first()).select(field.columns[:4]).clear()
            read = {FieldKey(plate, well, 1, t): () for t in range(1, times + 1)}
            tables = WellTables(plate, well, cells.drop("Label", *lacks), field, empty, read)
            write_well(out, tables, computed_by="made", embedder=embedder)
            fields.append(field)
            wells += [(plate, well, t, compound, role, 1.0) for t in range(1, times + 1)]
            if has_pictures:
                _write_picture(out, plate, well, cells)
    table = pl.concat(fields).with_columns(pl.col(pl.Int64).cast(pl.Int32))
    write_table(out / "fields.parquet", table, level="fields", parameters={})
    if has_map:
        keys, said = ["Metadata_Plate", "Metadata_Well"], ["Metadata_Compound", "Metadata_Role"]
        names = [*keys, TIMEPOINT, *said, "Metadata_Concentration"]
        frame = pl.DataFrame(
            wells, schema=names, schema_overrides={TIMEPOINT: pl.Int32}, orient="row"
        )
        frame = frame if times > 1 else frame.drop(TIMEPOINT)
        write_table(out / "wells.parquet", frame, level="wells", parameters={})
    return Planted(out, pl.concat(truth))


def _write_picture(out: Path, plate: str, well: str, cells: pl.DataFrame) -> None:
    """A field that is black but for a bright pixel where each cell is."""
    image = np.zeros((SIDE, SIDE, 1))
    x, y = (cells[name].round().cast(pl.Int64).clip(0, SIDE - 1).to_numpy() for name in PLACES)
    image[y, x] = 1.0
    limits = np.array([[0.0, 1.0]])
    picture = thumbnail(image, None, None, limits=limits, colours=("#31d17c",))
    write_thumbnail(out, plate, well, picture=picture)


@pytest.fixture(scope="session")
def planted(tmp_path_factory) -> Planted:
    """Two plates; copy the run before changing anything."""
    return plant(tmp_path_factory.mktemp("planted") / "run", plates=("P1", "P2"))


@pytest.fixture(scope="session")
def one_plate(tmp_path_factory) -> Planted:
    """One plate with pictures, which no classifier has seen."""
    folder = tmp_path_factory.mktemp("planted") / "next"
    return plant(folder, plates=("N7",), seed=5, has_pictures=True)


@pytest.fixture(scope="session")
def trained(planted, tmp_path_factory) -> Path:
    """A classifier of the two plates' normal, moved and dying cells."""
    from profiler.classify.train import TrainRequest, train_classifier

    folder = tmp_path_factory.mktemp("trained")
    planted.labels().write_csv(folder / "labels.csv")
    list(
        train_classifier(
            TrainRequest(folder / "labels.csv", [planted.out], folder / "mine.safetensors")
        )
    )
    return folder / "mine.safetensors"


@pytest.fixture
def plant_run(tmp_path):
    """A function that plants a run below the test's own folder."""
    return lambda name="run", **options: plant(tmp_path / name, **options)
