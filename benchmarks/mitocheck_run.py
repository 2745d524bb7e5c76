r"""MitoCheck through the commands: crops as a plate, a table of labels, `train classifier`.

    python -m benchmarks.mitocheck_run ../shared [--work FOLDER]

What a user would do, and nothing of the benchmarks' own: 2,616 crops of 16 expert classes (CC BY
4.0) are written as fields of one plate, a well for each of the 60 movies; `profiler run` finds,
outlines and measures nuclei; the nucleus nearest to the middle of its crop takes the crop's class;
`profiler train classifier` learns from that table and holds whole wells, so movies, out. Then a
fifth of the labels are given another class, and the list of suspects is looked at. No setting was
chosen here. With --work, the run is kept, and an interrupted one goes on.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import tifffile

import profiler
from benchmarks.mitocheck import Cells, read
from plates.well import well_at
from profiler.classify.judge import Scores
from profiler.classify.train import Trained, TrainRequest, train_classifier
from profiler.pipeline import run
from profiler.progress import draw
from profiler.recipe import load_recipe
from profiler.request import Request

COLUMNS = 12  # of the plate
NEAR_PX = 12.0  # a nucleus further from the middle of its crop is another one
WRONG = 0.2
SEED = 0
KEYS = [f"Metadata_{name}" for name in ("Plate", "Well", "Site", "ObjectNumber")]
RECIPE = """
[images]
channels = { DNA = "DNA" }

[segment]
nuclei = "DNA"
cells = "DNA"
method = "ring"
ring_px = [0.0, 5.0]
diameter_px = "auto"

[measure]
families = [
  "AreaShape", "Location", "Intensity", "Texture", "Granularity", "RadialDistribution",
  "RadialZernike",
]
"""


def write_plate(cells: Cells, folder: Path) -> pl.DataFrame:
    """Write every crop as a field; one row for each, with its class."""
    folder.mkdir(parents=True, exist_ok=True)
    movies, well_of = np.unique(cells.movies, return_inverse=True)
    places = (divmod(number, COLUMNS) for number in range(len(movies)))
    wells = [well_at(row=str(1 + row), column=str(1 + column)) for row, column in places]
    sites, rows = dict.fromkeys(wells, 0), []
    for crop, label, number in zip(cells.crops, cells.labels, well_of, strict=True):
        well = wells[number]
        sites[well] += 1
        path = folder / f"mitocheck_{well}_s{sites[well]}_DNA.tif"
        if not path.exists():
            tifffile.imwrite(path, crop[..., 0])
        rows.append((well, sites[well], cells.classes[label]))
    names = ["Metadata_Well", "Metadata_Site", "Phenotype"]
    return pl.DataFrame(rows, schema=names, orient="row")


def labelled(out: Path, crops: pl.DataFrame, *, side: int) -> pl.DataFrame:
    """The nucleus nearest to the middle of each crop, with the crop's class."""
    cells = profiler.open(out).cells
    places = [f"Nuclei_Location_Center_{axis}" for axis in "XY"]
    middle = (side - 1) / 2
    away = sum(((pl.col(each) - middle) ** 2 for each in places), start=pl.lit(0.0)).sqrt()
    found = cells.select(*KEYS, away.alias("away")).collect()
    nearest = found.filter(pl.col("away") <= NEAR_PX).sort("away")
    nearest = nearest.unique(["Metadata_Well", "Metadata_Site"], keep="first")
    types = {"Metadata_Site": found.schema["Metadata_Site"]}
    both = nearest.join(crops.cast(types), on=["Metadata_Well", "Metadata_Site"])  # pyright: ignore[reportArgumentType]
    return both.select(*KEYS, "Phenotype").sort(KEYS)


def spoilt(labels: pl.DataFrame) -> pl.DataFrame:
    """Some labels given another class at random, with what they were."""
    random = np.random.default_rng(SEED)
    classes, codes = np.unique(labels["Phenotype"].to_numpy(), return_inverse=True)
    is_wrong = random.random(len(codes)) < WRONG
    given = (codes + is_wrong * random.integers(1, len(classes), len(codes))) % len(classes)
    return labels.with_columns(Truth="Phenotype", Phenotype=pl.Series(classes[given]))


def taught(labels: pl.DataFrame, out: Path, work: Path, name: str) -> Trained:
    """`profiler train classifier` on a table of labels."""
    table = work / f"{name}.csv"
    labels.write_csv(table)
    request = TrainRequest(table, (out,), work / f"{name}.safetensors", "Phenotype")
    *_, told = train_classifier(request)
    assert isinstance(told, Trained)
    return told


def line(scores: Scores) -> str:
    """The row of the table."""
    return (
        f"| {scores.f1_weighted:.3f} | {scores.f1_macro:.3f} | {scores.accuracy:.1%} | "
        f"{scores.error_before:.3f} / {scores.error:.3f} | {scores.covered:.3f} |"
    )


def suspects_line(labels: pl.DataFrame, told: Trained) -> str:
    """How many of the wrong labels are listed, and how many of the list are wrong."""
    is_wrong = labels.select(*KEYS, wrong=pl.col("Truth") != pl.col("Phenotype"))
    listed = told.suspects.join(is_wrong, on=KEYS, maintain_order="left")["wrong"]
    total = int(is_wrong["wrong"].sum())
    first = listed.head(total // 2)
    return (
        f"{WRONG:.0%} wrong labels: {total}; {listed.len()} suspects hold "
        f"{listed.sum() / total:.0%} of them, {listed.mean():.0%} of the list is wrong, of its "
        f"first {first.len()} {first.mean():.0%}."
    )


def report(cells: Cells, work: Path) -> Iterator[str]:
    """Run the plate, teach twice, and say how that went."""
    plate, out, recipe = work / "plate", work / "run", work / "recipe.toml"
    crops = write_plate(cells, plate)
    recipe.write_text(RECIPE)
    start = time.perf_counter()
    draw(run(Request(plates=(plate,), out=out, recipe=load_recipe(recipe))))
    seconds = time.perf_counter() - start
    labels = labelled(out, crops, side=cells.crops.shape[1])
    yield (
        f"{len(crops):,} crops of {len(np.unique(cells.movies))} movies; a nucleus in the middle "
        f"of {labels.height:,} ({labels.height / len(crops):.1%}); {seconds:.0f} s for what was "
        "not there yet\n"
    )
    yield "| weighted F1 | macro F1 | right | calibration error | in their set (.9) |"
    yield "|---|---|---|---|---|"
    clean = taught(labels, out, work, "clean")
    yield line(clean.scores)
    wrong = spoilt(labels)
    misled = taught(wrong.drop("Truth"), out, work, "wrong")
    yield f"\n{suspects_line(wrong, misled)}\n"
    yield "| class | cells | recall | F1 |"
    yield "|---|---|---|---|"
    for row in clean.scores.by_class.iter_rows(named=True):
        yield f"| {row['Class']} | {row['Cells']} | {row['Recall']:.2f} | {row['F1']:.2f} |"


def main() -> None:
    """Print what the commands make of MitoCheck."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shared", type=Path, nargs="?", default=Path("../shared"))
    parser.add_argument("--work", type=Path, help="folder that keeps the plate and the run")
    args = parser.parse_args()
    folder = args.shared / "data" / "mitocheck" / "crops"
    if not folder.is_dir():
        parser.exit(message=f"{folder} is not there; nothing to learn from.\n")
    with tempfile.TemporaryDirectory() as scratch:
        for each in report(read(folder), args.work or Path(scratch)):
            print(each, flush=True)


if __name__ == "__main__":
    main()
