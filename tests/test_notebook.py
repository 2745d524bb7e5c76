"""The notebook in docs/ runs from top to bottom, and finds what was planted."""

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from plates.imageset import FieldKey
from profiler.pipeline import make_hits, make_profiles
from profiler.recipe import load_recipe
from profiler.store.places import stored
from profiler.store.run import RunFacts, claim
from profiler.store.tables import write_table
from profiler.store.wells import WellTables, collect_fields, write_well

NOTEBOOK = Path(__file__).parents[1] / "docs" / "hits.ipynb"
QUICK = Path(__file__).parent / "quick.toml"
CELLS = 12  # of a well
FEATURES = [
    "Nuclei_AreaShape_Area",
    "Nuclei_Intensity_MeanIntensity_DNA",
    "Nuclei_Intensity_IntegratedIntensity_DNA",
    "Cells_Intensity_MeanIntensity_GFP",
    "Cells_Texture_Entropy_GFP_3_00_256",
    "Cells_Translocation_NucleusCytoplasmRatio_GFP",
]
COMPOUNDS = ("Mover", "Idle", "Null", "Nil")


def layout() -> pl.DataFrame:
    """96 wells: 24 negative and 24 positive controls, 4 compounds x 3 doses x 4 replicates."""
    wells = [f"{row}{column:02}" for row in "ABCDEFGH" for column in range(1, 13)]
    treated = [(c, "treatment", dose) for c in COMPOUNDS for dose in (0.1, 1.0, 10.0)] * 4
    rows = [("DMSO", "negative", None)] * 24 + [("Known", "positive", 10.0)] * 24 + treated
    order = np.random.default_rng(1).permutation(96)
    columns = ("Metadata_Compound", "Metadata_Role", "Metadata_Concentration")
    table = pl.DataFrame([rows[i] for i in order], schema=list(columns), orient="row")
    return table.with_columns(
        Metadata_Well=pl.Series(wells),
        Metadata_Unit=pl.when(pl.col("Metadata_Concentration").is_not_null()).then(pl.lit("uM")),
    )


def effect(compound: str, dose: float | None) -> np.ndarray:
    shift = np.array([0.0, 0.0, 1.0, 2.0, -2.0, 3.0])
    strength = {"Known": 1.0, "Mover": (dose or 0) / (1 + (dose or 0))}.get(compound, 0.0)
    return strength * shift


def well_tables(well: str, compound: str, dose: float | None, number: int) -> WellTables:
    random = np.random.default_rng(number)
    of_well = 0.1 * random.normal(size=len(FEATURES))
    values = 10 + effect(compound, dose) + of_well + random.normal(size=(CELLS, len(FEATURES)))
    keys = {"Metadata_Plate": ["mini"] * CELLS, "Metadata_Well": [well] * CELLS}
    cells = pl.DataFrame(
        keys
        | {
            "Metadata_Site": np.ones(CELLS, np.int32),
            "Metadata_Timepoint": np.ones(CELLS, np.int32),
            "Metadata_ObjectNumber": np.arange(1, CELLS + 1, dtype=np.int32),
            "Metadata_QC_TouchesBorder": np.zeros(CELLS, bool),
        }
        | dict(zip(FEATURES, values.T.astype(np.float32), strict=True))
    )
    fields = pl.DataFrame(
        {
            "Metadata_Plate": ["mini"],
            "Metadata_Well": [well],
            "Metadata_Site": [1],
            "Metadata_Timepoint": [1],
            "Metadata_QC_Status": ["ok"],
            "Metadata_QC_Reason": [None],
            "Metadata_Object_Count": [CELLS],
            "Metadata_Seconds": [0.1],
            "Metadata_Seconds_Measure": [0.1],
        }
    )
    key = FieldKey("mini", well, 1)
    return WellTables("mini", well, cells, fields, fields.select(pl.nth(0, 1, 2, 3)), {key: ()})


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run folder as `profiler run` leaves it, from cells that are made up: no images, no JAX."""
    out, table = tmp_path_factory.mktemp("notebook") / "run", layout()
    settings = load_recipe(QUICK).model_dump(mode="json")
    settings["profile"]["exclude_bad_fields"] = False  # there are no images to judge them by
    claim(out, facts=RunFacts("demo", settings, {}, "cpu", None, None, ("mini",)))
    columns = ("Metadata_Well", "Metadata_Compound", "Metadata_Concentration")
    for number, (well, compound, dose) in enumerate(table.select(columns).iter_rows()):
        write_well(out, well_tables(well, compound, dose, number), computed_by="c1")
    fields = collect_fields(out, stored(out))
    write_table(out / "fields.parquet", fields, level="fields", parameters={})
    write_table(out / "layout.parquet", table, level="layout", parameters={})
    make_profiles(out)
    make_hits(out)
    return out


@pytest.fixture
def finished(run, tmp_path, monkeypatch) -> dict:
    """The notebook's names after its last cell."""
    monkeypatch.setenv("PROFILER_RUN", str(shutil.copytree(run, tmp_path / "run")))
    names: dict = {"__name__": "__main__"}
    for number, cell in enumerate(code_cells()):
        exec(compile(cell, f"{NOTEBOOK.name}, code cell {number + 1}", "exec"), names)
    return names


def code_cells() -> list[str]:
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def test_the_planted_compound_ranks_first(finished):
    hits = finished["hits"]
    assert set(hits["Metadata_Compound"]) == set(COMPOUNDS)
    assert hits["Metadata_Compound"][0] == finished["compound"] == "Mover"
    assert hits["is_hit"].to_list()[0]
    found = dict(finished["by_compound"].select("Metadata_Compound", "q_value").iter_rows())
    assert found["Mover"] <= 0.05 < min(found[name] for name in COMPOUNDS[1:])


def test_what_is_shown_is_the_run(finished, run, tmp_path):
    assert finished["first"].shape == (96, 4)
    written = finished["written"]
    assert (written.path.parent, written.rows, written.features) == (tmp_path, 96, 6)
    assert finished["intensities"].collect_schema().names() == [
        "Metadata_Well",
        "Nuclei_Intensity_MeanIntensity_DNA",
        "Nuclei_Intensity_IntegratedIntensity_DNA",
    ]


def test_no_output_and_no_path_of_a_machine_is_kept():
    notebook = json.loads(NOTEBOOK.read_text("utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
