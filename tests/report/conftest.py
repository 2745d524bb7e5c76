"""Run folders as the engine writes them, with numbers made up but true to an assay.

Columns 1 and 12 hold the controls; every other row of wells is one compound in ten doses.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from plates.well import well_name
from profiler.report import display_limits, stain_colours, thumbnail, write_thumbnail
from profiler.store.places import well_path
from profiler.store.tables import scan_table, write_table

READOUT = "Nuclei_Intensity_MeanIntensity_GFP"
COMPOUNDS = (  # name, EC50 in µM (None: no effect), is it toxic
    ("wortmannin", 0.012, False),
    ("LY294002", 5.0, False),
    ("PI-103", 0.11, False),
    ("staurosporine", 0.3, True),
    ("rapamycin", None, False),
    ("<script>alert('x')</script> & Söhne", 1.4, False),
    ("caffeine", None, False),
    ("BEZ235", 0.04, False),
)
DOSES = [10.0 / 3**step for step in range(9, -1, -1)]
LOW, HIGH = 0.8, 6.2
PICTURED = ("A01", "B01", "A12", "A02", "A09", "D10", "F11", "G05")  # hits: A09, D10, F11


def response(dose: float, ec50: float | None) -> float:
    return LOW if ec50 is None else LOW + (HIGH - LOW) / (1 + (ec50 / dose) ** 1.3)


def well_rows(plate: str, random: np.random.Generator) -> list[dict]:
    rows = []
    for row, (compound, ec50, toxic) in enumerate(COMPOUNDS):
        for column in range(12):
            role = {0: "negative", 11: "positive"}.get(column, "treatment")
            dose = DOSES[column - 1] if role == "treatment" else None
            level = {"negative": LOW, "positive": HIGH}.get(role) or response(dose, ec50)
            shrink = 0.8 * dose / (dose + 0.5) if toxic and dose else 0.0
            rows.append(
                {
                    "Metadata_Plate": plate,
                    "Metadata_Well": well_name(row=row, column=column),
                    "Metadata_Compound": compound if dose else role.replace("negative", "DMSO"),
                    "Metadata_Role": role,
                    "Metadata_Concentration": dose,
                    "Metadata_Unit": "µM" if dose else None,
                    "Metadata_QC_FieldsOk": 2,
                    "Metadata_QC_FieldsFailed": 0,
                    "Metadata_QC_Status": "ok",
                    "Metadata_Object_Count": int(random.normal(180, 14) * (1 - shrink)),
                    "Cells_AreaShape_Area": random.normal(900, 40),
                    READOUT: level * random.normal(1, 0.05),
                }
            )
    return rows


def spoil(rows: list[dict]) -> list[dict]:
    """C05 failed, D09 has no cells, F07 was never imaged."""
    spoilt = {"C05": ("failed", None), "D09": ("no_cells", 0), "F07": ("not_imaged", None)}
    for row in rows:
        if row["Metadata_Well"] in spoilt:
            status, cells = spoilt[row["Metadata_Well"]]
            row.update({"Metadata_QC_Status": status, "Metadata_Object_Count": cells})
            row.update({READOUT: None, "Cells_AreaShape_Area": None})
    return rows


def field_rows(wells: list[dict], random: np.random.Generator) -> list[dict]:
    codes = {
        "C05": (
            "unreadable",
            "C05_s1_w1.tif ends after 512 of 819200 bytes; <b>copy it</b> again.",
        ),
        "D09": ("no_cells", "No nucleus was found."),
    }
    rows = []
    for well in wells:
        if well["Metadata_QC_Status"] == "not_imaged":
            continue
        status, reason = codes.get(well["Metadata_Well"], ("ok", None))
        cells = (well["Metadata_Object_Count"] or 0) // 2
        for site in (1, 2):
            rows.append(
                {
                    "Metadata_Plate": well["Metadata_Plate"],
                    "Metadata_Well": well["Metadata_Well"],
                    "Metadata_Site": site,
                    "Metadata_QC_Status": status,
                    "Metadata_QC_Reason": reason,
                    "Metadata_Object_Count": cells,
                    "Metadata_Seconds": abs(random.normal(0.21, 0.02)),
                }
            )
    return rows


def hit_rows(wells: list[dict]) -> list[dict]:
    keep = ("Metadata_Plate", "Metadata_Well", "Metadata_Compound", "Metadata_Role")
    more = (
        "Metadata_Concentration",
        "Metadata_Unit",
        "Metadata_QC_Status",
        "Metadata_Object_Count",
    )
    rows = []
    for well in wells:
        value = well[READOUT]
        z = None if value is None else (value - LOW) / 0.06
        rows.append(
            {
                **{name: well[name] for name in (*keep, *more)},
                "readout_value": value,
                "readout_z": z,
                "percent_effect": None if value is None else 100 * (value - LOW) / (HIGH - LOW),
                "profile_score": None if z is None else abs(z) / 4,
                "viability": 1.0,
                "is_hit": well["Metadata_Role"] == "treatment" and z is not None and z > 12,
                "is_toxic": (well["Metadata_Object_Count"] or 0) < 80,
            }
        )
    order = sorted(rows, key=lambda row: -(row["readout_z"] or 0))
    return [{**row, "rank": rank} for rank, row in enumerate(order, start=1)]


def compound_rows() -> list[dict]:
    rows = []
    for name, ec50, toxic in sorted(COMPOUNDS, key=lambda c: (c[1] is None, c[1])):
        hit = ec50 is not None
        row = {
            "Metadata_Compound": name,
            "Metadata_Role": "treatment",
            "n_wells": 10,
            "n_hits": 6 if hit else 0,
            "score": 20 - 3 * len(rows) / 2 if hit else 0.4,
            "best_concentration": 10.0 if hit else None,
            "Metadata_Unit": "µM",
            "direction": "up" if hit else None,
            "ec50": ec50,
            "ec50_low": ec50 and ec50 * 0.8,
            "ec50_high": ec50 and ec50 * 1.3,
            "curve_status": "ok" if hit else "no_response",
            "is_hit": hit,
            "is_toxic": toxic,
            "top_features": [READOUT, "Cells_AreaShape_Area", "Nuclei_AreaShape_Area", "Cells_X"],
            "top_z": [12.5, -5.0, 2.5, 1.0],
            "rank_low": 1,
            "rank_high": 4,
            "top_share": 0.9,
        }
        rows.append({**row, "rank": len(rows) + 1})
    return rows


def curve_rows() -> list[dict]:
    shape = {"bottom": LOW, "top": HIGH, "slope": 1.3}
    none = dict.fromkeys(("bottom", "top", "slope"))
    return [
        {
            "Metadata_Compound": name,
            "Metadata_Unit": "µM",
            "readout": READOUT,
            **(shape if ec50 else none),
            "ec50": ec50,
            "ec50_low": ec50 and ec50 * 0.8,
            "ec50_high": ec50 and ec50 * 1.3,
            "r2": 0.98 if ec50 else None,
            "spearman": 0.93 if ec50 else 0.1,
            "n_wells": 10,
            "n_doses": 10,
            "status": "ok" if ec50 else "no_response",
        }
        for name, ec50, _ in COMPOUNDS
    ]


def statistic_rows(plate: str) -> list[dict]:
    numbers = {
        "n_positive": 8, "n_negative": 8, "robust_z_prime": 0.83, "ssmd": 17.3,
        "robust_ssmd": 18.0, "signal_window": 13.2, "signal_to_background": 7.7,
        "cv_negative": 0.05, "cv_positive": 0.05,
    }  # fmt: skip
    names = {READOUT: 0.811, "Cells_AreaShape_Area": -2.4, "Nuclei_AreaShape_Area": None}
    return [
        {"Metadata_Plate": plate, "readout": name, "z_prime": z, **numbers}
        for name, z in names.items()
    ]


FACTS = {
    "recipe": {"name": "translocation", "segment": {"model": "nuclei", "cells": "propagate"}},
    "versions": {"plate-profiler": "0.1.0", "jax": "0.6.0", "polars": "1.30.0"},
    "device": "cpu, 16 cores",
    "hashes": {"weights": "9f2c1a7e5b", "layout": "4be01d22aa"},
    "plates": [{"name": "P1", "folder": "/data/<i>P1</i>"}],
    "started": "2025-02-03T21:14:05",
    "seconds": 41.3,
    "summary": {"fields": 190, "failed": 2},
}


def picture(level: float, random: np.random.Generator) -> bytes:
    """Cells whose nuclei light up with the level, as the assay's do."""
    y, x = np.mgrid[:120, :120]
    nuclei, cells = (np.zeros(y.shape, np.int32) for _ in range(2))
    for label, (top, left) in enumerate(random.integers(10, 110, (9, 2)), start=1):
        distance = np.hypot(y - top, x - left)
        cells[(distance < 20) & (cells == 0)] = label
        nuclei[(distance < 9) & (cells == label)] = label
    gfp = np.where(nuclei > 0, 30 + 26 * level, np.where(cells > 0, 60, 6))
    dna = np.where(nuclei > 0, 150, 5)
    image = random.poisson(np.stack([gfp, dna], axis=-1)).astype(np.uint16)
    limits = display_limits([image, np.full((9, 9, 2), 220, np.uint16)])
    return thumbnail(image, nuclei, cells, limits=limits, colours=stain_colours(["GFP", "DNA"]))


def write_run(folder: Path, plates: list[str]) -> Path:
    random = np.random.default_rng(7)
    wells = [row for plate in plates for row in spoil(well_rows(plate, random))]
    tables = {
        "fields": field_rows(wells, random),
        "wells": wells,
        "statistics": [row for plate in plates for row in statistic_rows(plate)],
        "curves": curve_rows(),
        "hits": hit_rows(wells),
        "compounds": compound_rows(),
    }
    for level, rows in tables.items():
        parameters = {"readout": READOUT} if level == "hits" else {}
        frame = pl.DataFrame(rows, infer_schema_length=None)
        write_table(folder / f"{level}.parquet", frame, level=level, parameters=parameters)
    (folder / "run.json").write_text(json.dumps(FACTS), encoding="utf-8")
    for well in wells:
        if well["Metadata_Well"] in PICTURED and well["Metadata_Plate"] == plates[0]:
            png = picture(well[READOUT], random)
            write_thumbnail(folder, plates[0], well["Metadata_Well"], picture=png)
    return folder


def activity_rows() -> list[dict]:
    """One dose of each compound: those with an effect are active."""
    rows = []
    for i, (name, ec50, _) in enumerate(COMPOUNDS):
        q = 0.001 * (i + 1) if ec50 else 0.4
        numbers = {"mean_average_precision": 1 - q, "p_value": q / 2, "q_value": q, "status": "ok"}
        key = {"Metadata_Compound": name, "Metadata_Role": "treatment", "Metadata_Unit": "µM"}
        rows.append({**key, "Metadata_Concentration": 10.0, "n_wells": 1, **numbers})
    return rows


def replicate_rows() -> list[dict]:
    values = [0.9, 0.8, 0.7, 0.62, 0.1, None, -0.2, 0.31]
    return [
        {
            "Metadata_Compound": name,
            "Metadata_Concentration": 10.0,
            "n_wells": 4,
            "correlation": value,
            "threshold": 0.5,
            "p_value": 0.1,
            "is_replicating": None if value is None else value > 0.5,
        }
        for (name, _, _), value in zip(COMPOUNDS, values, strict=True)
    ]


def position_rows(plate: str) -> list[dict]:
    axes = {"row": "ABCDEFGH", "column": [f"{i:02d}" for i in range(1, 13)], "run": ["1"]}
    return [
        {
            "Metadata_Plate": plate,
            "readout": READOUT,
            "axis": axis,
            "position": name,
            "n_wells": 12,
            "effect": 0.25 * i - 1,
            "share": 0.125,
            "p_value": 0.03,
            "trend": 0.5,
        }
        for axis, names in axes.items()
        for i, name in enumerate(names)
    ]


def cluster_of(well: dict) -> int | None:
    """Controls are 1 and 2; treated wells are none in the first row, else 3."""
    role = {"negative": 1, "positive": 2}.get(well["Metadata_Role"])
    return role or (None if well["Metadata_Well"].startswith("A") else 3)


def map_rows(wells: list[dict], random: np.random.Generator) -> list[dict]:
    rows = []
    for well in wells:
        x, y = random.normal(size=2) if well[READOUT] is not None else (None, None)
        names = ("Metadata_Plate", "Metadata_Well")
        place = {"UMAP_1": x, "UMAP_2": y, "Cluster": cluster_of(well), "Novelty": random.random()}
        rows.append({**{n: well[n] for n in names}, **place, "Novelty_q_value": 0.5})
    return rows


def enrichment_rows() -> list[dict]:
    found = [(1, "MOA", "none", 16), (3, "MOA", "PI3K", 40), (3, "MOA", "mTOR", 20)]
    found += [(3, "compound", f"compound {i}", 9) for i in range(7)]
    size = {1: 16, 3: 70}
    counts = {"n_label": 44, "n_total": 96, "p_value": 0.001}
    return [
        {"Cluster": c, "kind": kind, "label": label, "n_in": n, "n_cluster": size[c], **counts,
         "odds_ratio": 5.0, "q_value": 0.01 if label == "PI3K" else 0.2}
        for c, kind, label, n in found
    ]  # fmt: skip


def consistency_rows() -> list[dict]:
    counts = {
        "n_labelled": 3,
        "n_compounds": 2,
        "n_left_out": 0,
        "n_sets": 99,
        "compared": "active",
    }
    found = [("MOA", "mTOR", 0.4, 0.3, "ok"), ("MOA", "PI3K", 0.9, 0.01, "ok")]
    found += [("target", "<i>AKT</i>", None, None, "none_active")]
    return [
        {"kind": kind, "label": label, **counts, "mean_average_precision": precision,
         "chance_precision": 0.2, "p_value": q, "q_value": q, "status": status}
        for kind, label, precision, q, status in found
    ]  # fmt: skip


def subpopulation_rows(wells: list[dict]) -> list[dict]:
    """Two kinds of cells; the second is rarer where B10 is."""
    rows = []
    for well in wells:
        is_shifted = well["Metadata_Well"] == "B10"
        for kind, share in ((1, 0.9 if is_shifted else 0.75), (2, 0.1 if is_shifted else 0.25)):
            key = {n: well[n] for n in ("Metadata_Plate", "Metadata_Well")}
            rows.append(
                {**key, "subpopulation": kind, "n_cells": int(200 * share), "share": share,
                 "expected_share": 0.75 if kind == 1 else 0.25, "p_value": 0.5,
                 "log2_ratio": share - 0.5, "q_value": 0.001 if is_shifted else 0.9}
            )  # fmt: skip
    return rows


def consensus_rows() -> list[dict]:
    """Each compound at two doses, by four features; the higher dose is further out."""
    random = np.random.default_rng(5)
    names = ["Nuclei_Intensity_MeanIntensity_DNA", READOUT, "Cells_AreaShape_Area", "Cells_Texture"]
    roles = [(name, "treatment") for name, _, _ in COMPOUNDS] + [("DMSO", "negative")]
    return [
        {"Metadata_Compound": name, "Metadata_Role": role, "Metadata_Concentration": dose,
         "Metadata_Unit": "µM", "Metadata_Replicate_Count": 2,
         **dict(zip(names, (dose * random.normal(size=4)).tolist(), strict=True))}
        for name, role in roles
        for dose in (0.1, 10.0)
    ]  # fmt: skip


def phenotype_rows() -> dict[str, list[dict]]:
    top = {"features": ["Nuclei_AreaShape_Area", READOUT], "z": [5.5, -4.25]}
    size = {"n_compounds": 3, "silhouette": 0.3, **top}
    key = {"Metadata_Compound": "wortmannin", "Metadata_Concentration": 10.0}
    near = {"neighbour_compound": "PI-103", "neighbour_concentration": 1.0, "cosine": 0.91}
    score = {"n_treatments": 8, "n_right": 5, "accuracy": 0.625, "accuracy_by_count": None}
    known = {"known": "PI3K", "predicted": "mTOR", "rule": "not_same_compound"}
    return {
        "clusters": [
            {"Cluster": c, "n_wells": n, "stability": 0.75, **size} for c, n in ((1, 16), (3, 70))
        ],
        "enrichment": enrichment_rows(),
        "kinds": [{"subpopulation": k, "n_sampled": 100, "stability": 0.8, **top} for k in (1, 2)],
        "consistency": consistency_rows(),
        "consensus": consensus_rows(),
        "neighbours": [{**key, "rank": 1, **near}],
        "mechanisms": [{**key, **known, "cosine": 0.8, "is_right": False}],
        "accuracy": [{"rule": known["rule"], **score, "chance": 0.25, "p_value": 0.004}],
    }


def cell_rows(plate: str, well: str) -> list[dict]:
    """A grid of 25 cells in a field of 120 by 120; the area grows with the number."""
    return [
        {
            "Metadata_Plate": plate, "Metadata_Well": well, "Metadata_Site": 1,
            "Metadata_ObjectNumber": i + 1, "Metadata_QC_TouchesBorder": False,
            "Nuclei_Location_Center_X": 12.0 + 24 * (i % 5),
            "Nuclei_Location_Center_Y": 12.0 + 24 * (i // 5),
            READOUT: 1.0, "Cells_AreaShape_Area": float(i), "Nuclei_AreaShape_Area": 5.0,
        }
        for i in range(25)
    ]  # fmt: skip


def add_phenotypes(folder: Path, plates: list[str]) -> Path:
    """Give a run the tables of the stages that say more than statistics and ranks."""
    random = np.random.default_rng(11)
    wells = scan_table(folder / "wells.parquet").collect().rows(named=True)
    tables = {
        "activity": activity_rows(),
        "replicates": replicate_rows(),
        "positions": [row for plate in plates for row in position_rows(plate)],
        "map": map_rows(wells, random),
        "subpopulations": subpopulation_rows(wells),
        **phenotype_rows(),
    }
    for level, rows in tables.items():
        frame = pl.DataFrame(rows, infer_schema_length=None)
        write_table(folder / f"{level}.parquet", frame, level=level, parameters={})
    for well in ("A01", "A09"):
        cells = pl.DataFrame(cell_rows(plates[0], well))
        write_table(well_path(folder, plates[0], well), cells, level="cells", parameters={})
    return folder


@pytest.fixture(scope="session")
def rich_run(tmp_path_factory) -> Path:
    """A finished run of two plates with every table there is; not to be written to."""
    plates = ["P1", "P<2>"]
    return add_phenotypes(write_run(tmp_path_factory.mktemp("runs") / "rich", plates), plates)


@pytest.fixture
def rich_copy(rich_run, tmp_path) -> Path:
    """The same, to be changed."""
    return Path(shutil.copytree(rich_run, tmp_path / "copy"))


@pytest.fixture(scope="session")
def fake_run(tmp_path_factory) -> Path:
    """A finished run of one plate; not to be written to but by `write_report`."""
    return write_run(tmp_path_factory.mktemp("runs") / "kinase-screen", ["P1"])


@pytest.fixture
def run_copy(fake_run, tmp_path) -> Path:
    """The same, to be changed."""
    return Path(shutil.copytree(fake_run, tmp_path / "copy"))


@pytest.fixture(scope="session")
def two_plates(tmp_path_factory) -> Path:
    """A finished run of two plates."""
    return write_run(tmp_path_factory.mktemp("runs") / "two", ["P1", "P<2>"])


@pytest.fixture(scope="session")
def rewrite() -> Callable:
    """Replace a table of a run: `rewrite(run, "hits", frame, readout="x")`."""

    def replace(run: Path, level: str, frame: pl.DataFrame, **parameters: object) -> None:
        write_table(run / f"{level}.parquet", frame, level=level, parameters=parameters)

    return replace
