"""The whole stage: every table, in any order of rows, and a note for what cannot be made."""

import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from plates.errors import BadLayout, UnknownName
from profiler.phenotype import Clustering, Phenotypes, Settings, find_phenotypes
from profiler.profile.labels import find_labels
from tests.phenotype.conftest import FEATURES, make_plate

QUICK = Settings(
    wells=Clustering("kmeans", (4,), n_resamples=3),
    cells=Clustering("kmeans", (2,), n_resamples=2, most_rows=1_000),
)
COLUMNS = {
    "map": "UMAP_1 UMAP_2 Cluster Novelty Novelty_p_value Novelty_q_value Novelty_p_value_by_count",
    "clusters": "Cluster n_wells n_compounds stability silhouette log2_count_ratio features z",
    "enrichment": "Cluster kind label n_in n_label n_cluster n_total odds_ratio p_value q_value "
    "p_value_by_count",
    "neighbours": "rank neighbour_compound neighbour_concentration cosine rank_by_count",
    "subpopulations": "subpopulation n_cells share expected_share log2_ratio p_value q_value "
    "p_value_by_count",
    "kinds": "subpopulation n_sampled stability features z",
    "mechanisms": "known predicted cosine is_right rule predicted_by_count status",
}
KEYS = {
    "map": ["Metadata_Plate", "Metadata_Well"],
    "subpopulations": ["Metadata_Plate", "Metadata_Well"],
    "neighbours": ["Metadata_Compound", "Metadata_Concentration"],
    "mechanisms": ["Metadata_Compound", "Metadata_Concentration"],
}


def cells_of(plate: pl.DataFrame) -> pl.DataFrame:
    """Thirty cells around the profile of each well."""
    random = np.random.default_rng(1)
    many = plate.select("Metadata_Plate", "Metadata_Well", *FEATURES)
    names = {"Metadata_Site": pl.lit(1), "Metadata_ObjectNumber": pl.int_range(pl.len())}
    cells = pl.concat([many] * 30).with_columns(**names)
    return cells.with_columns(pl.col(name) + random.normal(size=cells.height) for name in FEATURES)


@pytest.fixture(scope="module")
def whole() -> Phenotypes:
    plate = make_plate()
    return find_phenotypes(plate, cells=cells_of(plate).lazy(), settings=QUICK)


@pytest.mark.parametrize("name", COLUMNS)
def test_every_table_is_as_docs_say(whole, name):
    table = getattr(whole, name)
    assert table.columns == KEYS.get(name, []) + COLUMNS[name].split()
    assert table.height
    assert not table.select(KEYS.get(name, pl.first())).null_count().sum_horizontal().item()


def test_notes_say_what_was_chosen_and_how_well_it_does(whole):
    codes = [note.code for note in whole.notes]
    assert codes == ["stable", "all_known", "accuracy", "stable"]
    assert "4 clusters of wells (kmeans, n_clusters 4" in whole.notes[0].text
    assert "of 18 right; by cell count alone" in whole.notes[2].text


def test_how_cells_lie_tells_no_kinds_apart():
    """Profiles keep one direction of a texture; an eighth of a turn of a cell makes it another."""
    names = [[f"Cells_Texture_Entropy_DNA_{i}_0{k}_256" for k in range(4)] for i in range(20)]
    plate = make_plate().rename({old: new[2] for old, new in zip(FEATURES, names, strict=True)})
    random = np.random.default_rng(2)
    cells = cells_of(make_plate())
    level = {old: 8 * cells[old].to_numpy()[:, None] for old in FEATURES}  # integers add exactly
    textures = [np.rint(level[old] + 9 * random.normal(size=(cells.height, 4))) for old in FEATURES]
    turn = np.arange(4) + random.integers(4, size=cells.height)[:, None]

    def kinds(textures: list[np.ndarray]) -> pl.DataFrame:
        columns = {
            name: values[:, k]
            for of_scale, values in zip(names, textures, strict=True)
            for k, name in enumerate(of_scale)
        }
        lying = cells.drop(FEATURES).with_columns(**columns)
        found = find_phenotypes(plate, cells=lying, settings=QUICK)
        assert found.kinds["features"][0][0].count("_") == 5
        return found.subpopulations

    turned = [np.take_along_axis(values, turn % 4, axis=1) for values in textures]
    assert kinds(turned).equals(kinds(textures))


def test_order_does_not_matter(whole):
    plate = make_plate()
    shuffled = find_phenotypes(
        plate.sample(fraction=1, shuffle=True, seed=1),
        cells=cells_of(plate).sample(fraction=1, shuffle=True, seed=2),
        settings=QUICK,
    )
    for name in COLUMNS:
        assert getattr(shuffled, name).equals(getattr(whole, name)), name
    assert shuffled.notes == whole.notes


def test_wells_without_profile_are_on_the_table_but_not_on_the_map(plate):
    lacking = plate.with_columns(
        pl.when(pl.col("Metadata_Well") != "H12").then(pl.col(FEATURES)).name.keep()
    )
    found = find_phenotypes(lacking, settings=QUICK)
    assert found.map.height == 96
    assert found.map.filter(Metadata_Well="H12").row(0)[2:] == (None,) * 7
    assert found.map["UMAP_1"].null_count() == 1


def test_the_unknown_far_from_everything_known_is_novel():
    plate = make_plate()
    unknown = pl.col("Metadata_Compound").is_in(["c0", "c17"])
    asked = plate.with_columns(
        pl.when(~unknown).then("Metadata_MOA").alias("Metadata_MOA"),
        *(
            pl.when(pl.col("Metadata_Compound") == "c17").then(40.0).otherwise(pl.col(name))
            .alias(name)
            for name in FEATURES[:5]
        ),
    )  # fmt: skip
    found = find_phenotypes(asked, settings=QUICK)
    novel = found.map.filter(pl.col("Novelty_q_value") <= 0.05)["Metadata_Well"].to_list()
    assert novel == asked.filter(Metadata_Compound="c17")["Metadata_Well"].to_list()
    assert "4 of 8 wells are unlike every known phenotype" in found.notes[1].text


def bare(n_wells: int) -> pl.DataFrame:
    return make_plate().select("Metadata_Plate", "Metadata_Well", *FEATURES).head(n_wells)


def test_without_a_plate_map_there_are_clusters_and_a_map():
    found = find_phenotypes(bare(40), cells=cells_of(bare(40)), settings=QUICK)
    assert found.map["Cluster"].null_count() == 0
    assert found.map["Novelty"].null_count() == 40
    assert found.clusters["n_compounds"].null_count() == found.clusters.height
    missing = (found.enrichment, found.neighbours, found.mechanisms, found.subpopulations)
    assert missing == (None,) * 4
    codes = {note.code for note in found.notes}
    assert {"no_labels", "no_novelty", "no_compounds", "few_cells"} <= codes


@pytest.mark.parametrize("n_wells", [0, 1, 9])
def test_few_wells_make_nothing_but_notes(n_wells):
    found = find_phenotypes(bare(n_wells))
    assert found[:8] == (None,) * 8
    assert [note.code for note in found.notes] == ["few_wells", "no_compounds", "no_cells"]
    assert f"{n_wells} well" in found.notes[0].text


def test_one_compound_has_no_neighbours(plate):
    found = find_phenotypes(plate.head(24), settings=QUICK)
    assert found.neighbours is None
    assert "few_compounds" in {note.code for note in found.notes}


def test_profiles_that_are_all_null_or_all_the_same_are_no_error(plate):
    null = plate.with_columns(pl.lit(None, dtype=pl.Float64).alias(name) for name in FEATURES)
    assert find_phenotypes(null).map is None
    same = plate.with_columns(pl.lit(1.5).alias(name) for name in FEATURES)
    found = find_phenotypes(same)
    assert found.map["Cluster"].to_list() == [1] * 96
    assert found.map["UMAP_1"].null_count() == 96
    assert found.notes[0].code == "one_cluster"


def test_a_plate_map_without_mechanisms_has_neighbours(plate):
    found = find_phenotypes(plate.drop("Metadata_MOA"), settings=QUICK)
    assert found.neighbours.height
    assert found.mechanisms is found.accuracy is None
    assert "no_mechanisms" in {note.code for note in found.notes}


def test_a_well_that_is_there_twice_is_refused(plate):
    with pytest.raises(BadLayout, match=r"Well A01 of plate P1 has several rows"):
        find_phenotypes(pl.concat([plate, plate.head(1)]))


def test_labels_are_found_by_their_usual_names(plate):
    named = plate.rename({"Metadata_MOA": "Metadata_MoA"}).with_columns(
        Metadata_Gene_Target=pl.lit("TUBB"), Metadata_Target=pl.lit(None, dtype=pl.String)
    )
    assert find_labels(named, None) == {"compound": "Metadata_Compound", "MOA": "Metadata_MoA"}
    assert find_labels(named, {"gene": "Metadata_Gene_Target"}) == {"gene": "Metadata_Gene_Target"}
    with pytest.raises(UnknownName, match=r"no column called 'Metadata_Gen_Target'. Did you mean"):
        find_labels(named, {"gene": "Metadata_Gen_Target"})


def test_the_room_is_imported_without_jax_umap_and_scikit_learn():
    code = "import sys, profiler.phenotype; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert not {"jax", "umap", "sklearn"} & loaded
