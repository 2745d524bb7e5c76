"""Cells classified per second, files read and written, beside scikit-learn in memory.

    python -m benchmarks.classify_speed [--cells 100000] [--features 1000] [--wells 50]

A plate of drawn numbers is written as a run folder, a classifier is trained on a few hundred of its
cells, and every cell gets class, probabilities, set and novelty, written well by well. Beside it,
in turn and on as many threads: pandas reads the same files, a scikit-learn pipeline (robust scaler,
logistic regression fitted to the same vectors) predicts probabilities, and pandas writes them; no
sets, no novelty. Both must agree on the class of 99.9% of the cells before anything is timed.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
from sklearn.linear_model import LogisticRegression

from plates.imageset import FieldKey
from plates.well import FORMATS, plate_wells
from profiler.classify.model import read_model
from profiler.classify.run import classify_cells
from profiler.classify.scale import CLIP
from profiler.classify.train import TrainRequest, train_classifier
from profiler.store.classes import scan_classes
from profiler.store.places import well_path
from profiler.store.run import RunFacts, claim
from profiler.store.wells import WellTables, write_well

KEYS = ["Metadata_Plate", "Metadata_Well", "Metadata_Site", "Metadata_ObjectNumber"]
CLASSES = ("round", "flat", "bright", "split")
LABELLED = 800
PLATE = "P1"


def write_plate(out: Path, *, wells: list[str], cells: int, features: int) -> pl.DataFrame:
    """Write a run folder of drawn cells, and return their keys and classes."""
    random, truth = np.random.default_rng(0), []
    claim(out, facts=RunFacts("speed", {}, {}, "cpu", None, None, (PLATE,)))
    names = [f"Cells_Drawn_F{i:04d}" for i in range(features)]
    for well in wells:
        code = random.integers(0, len(CLASSES), cells)
        values = random.normal(size=(cells, features)).astype(np.float32)
        values[np.arange(cells), code] += 5
        keys = pl.DataFrame(
            {
                KEYS[0]: [PLATE] * cells,
                KEYS[1]: [well] * cells,
                KEYS[2]: pl.Series([1] * cells, dtype=pl.Int32),
                "Metadata_Timepoint": pl.Series([1] * cells, dtype=pl.Int32),
                KEYS[3]: pl.Series(range(1, cells + 1), dtype=pl.Int32),
                "Metadata_QC_TouchesBorder": [False] * cells,
            }
        )
        field = {KEYS[0]: PLATE, KEYS[1]: well, KEYS[2]: 1, "Metadata_Timepoint": 1}
        row = pl.DataFrame([field | {"Metadata_QC_Status": "ok", "Metadata_Object_Count": cells}])
        frame, empty = keys.hstack(pl.DataFrame(values, names)), row.select(list(field)).clear()
        tables = WellTables(PLATE, well, frame, row, empty, {FieldKey(PLATE, well, 1): ()})
        write_well(out, tables, computed_by="drawn")
        truth.append(keys.select(KEYS).with_columns(Label=pl.Series([CLASSES[i] for i in code])))
    return pl.concat(truth)


def theirs(out: Path, wells: list[str], model: LogisticRegression, features: list[str]) -> list:
    """Read, scale by the plate's median and MAD, predict and write, all in memory."""
    files = [well_path(out, PLATE, well) for well in wells]
    table = pd.concat([pd.read_parquet(path) for path in files], ignore_index=True)
    values = table[features].to_numpy()
    centre = np.median(values, axis=0)
    spread = 1.4826 * np.median(np.abs(values - centre), axis=0)
    found = model.predict_proba(np.clip((values - centre) / spread, -CLIP, CLIP))
    pd.DataFrame(found, columns=model.classes_).to_parquet(out / "theirs.parquet")
    return model.classes_[found.argmax(axis=1)].tolist()


def main() -> None:
    """Print one row for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--features", type=int, default=1000)
    parser.add_argument("--wells", type=int, default=50)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "run")
        wells = plate_wells(FORMATS[384])[: args.wells]
        each = args.cells // len(wells)
        truth = write_plate(out, wells=wells, cells=each, features=args.features)
        labels, path = Path(folder, "labels.csv"), Path(folder, "mine.safetensors")
        truth.gather_every(max(1, truth.height // LABELLED)).write_csv(labels)
        list(train_classifier(TrainRequest(labels, [out], path)))
        model = read_model(path)
        reference = LogisticRegression()
        reference.classes_ = np.array(model.card.classes)
        reference.coef_ = model.learnt.linear.weights.T
        reference.intercept_ = model.learnt.linear.bias

        start = time.perf_counter()
        cells = sum(event.cells for event in classify_cells(out, model, coverage=0.9))
        ours_s = time.perf_counter() - start
        found = scan_classes(out).sort(KEYS).collect()
        start = time.perf_counter()
        other = theirs(out, wells, reference, model.card.features)
        theirs_s = time.perf_counter() - start

        both = truth.with_columns(Other=pl.Series(other)).sort(KEYS)
        agreed = (found["Class"] == both["Other"]).mean()
        assert agreed >= 0.999, f"only {agreed:.1%} of the classes agree"
        right = (found["Class"] == both["Label"]).mean()
    print(f"{cells:,} cells of {args.features} features in {len(wells)} wells; {right:.1%} right\n")
    print("| | seconds | cells a second |")
    print("|---|---|---|")
    print(f"| `profiler classify`: classes, sets, novelty | {ours_s:.1f} | {cells / ours_s:,.0f} |")
    print(f"| pandas and scikit-learn: classes | {theirs_s:.1f} | {cells / theirs_s:,.0f} |")


if __name__ == "__main__":
    main()
