"""The whole room on real profiles: mechanisms of action by the nearest other compound."""

import numpy as np
import polars as pl

from profiler.profile import consensus, phenotype_features, process

TREATMENT = ["Metadata_Compound", "Metadata_Concentration"]
STEPS = [
    {"step": "normalise", "reference": "negative"},
    {"step": "select", "steps": ["drop_na_columns"]},
    {"step": "correct", "method": "compress"},
    {
        "step": "normalise",
        "method": "spherize",
        "reference": "negative",
        "within": [],
        "options": {"ridge": 1.0},
    },
]


def test_neighbours_share_mechanisms(real_profiles, data_folder):
    columns = [*TREATMENT, "Metadata_MOA"]
    path = data_folder / "bbbc021_profiles" / "BBBC021_v1_moa.csv"
    role = pl.when(pl.col("Metadata_Compound") == "DMSO").then(pl.lit("negative"))
    wells = real_profiles.with_columns(Metadata_Role=role.otherwise(pl.lit("treatment")))
    features = phenotype_features(x for x in wells.columns if not x.startswith("Metadata_"))
    found = process(wells, features=features, steps=STEPS)
    assert found.selected.height == 632
    assert found.profiles.width == wells.width - (516 - len(features))

    profiles = consensus(found.selected, features=found.features, how="mean")
    known = profiles.join(pl.read_csv(path, new_columns=columns), on=TREATMENT)
    known = known.filter(pl.col("Metadata_Role") == "treatment")
    assert known.height == 103
    rows = known.select(found.features).to_numpy()
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    compound, mechanism = known["Metadata_Compound"].to_numpy(), known["Metadata_MOA"].to_numpy()
    nearest = np.where(compound[:, None] == compound, -np.inf, rows @ rows.T).argmax(axis=1)
    assert (mechanism[nearest] == mechanism).sum() >= 90  # plain scaling: 84
