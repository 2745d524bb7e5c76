"""Enrichment: against scipy's Fisher test, calibrated under shuffled labels, compounds as units."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import false_discovery_control, fisher_exact, kstest

from profiler.phenotype import enrichment

RANDOM = np.random.default_rng(3)


def wells_of(clusters, compounds, mechanisms=None, counts=None) -> tuple[pl.DataFrame, pl.Series]:
    table = pl.DataFrame(
        {
            "Metadata_Plate": "P",
            "Metadata_Compound": compounds,
            "Metadata_MOA": mechanisms or [None] * len(compounds),
        },
        schema_overrides={"Metadata_MOA": pl.String},
    )
    if counts is not None:
        table = table.with_columns(Metadata_Object_Count=pl.Series(counts))
    return table, pl.Series("Cluster", clusters, dtype=pl.Int64)


def test_agrees_with_fisher_of_scipy():
    clusters = RANDOM.integers(1, 5, 80).tolist()
    compounds = [f"c{i}" for i in RANDOM.integers(0, 6, 80)]
    wells, labels = wells_of(clusters, compounds)
    found = enrichment(wells, clusters=labels, kinds={"compound": "Metadata_Compound"})
    every = []
    for cluster in range(1, 5):
        for compound in sorted(set(compounds)):
            inside, own = np.array(clusters) == cluster, np.array(compounds) == compound
            table = [[(a & b).sum() for b in (own, ~own)] for a in (inside, ~inside)]
            every.append((cluster, compound, *fisher_exact(table, alternative="greater")))
    q = false_discovery_control([p for *_, p in every])
    expected = {(c, name): (odds, p, q) for (c, name, odds, p), q in zip(every, q, strict=True)}
    assert found.height == sum(odds > 0 for *_, odds, _ in every)
    for line in found.iter_rows(named=True):
        odds, p, q = expected[line["Cluster"], line["label"]]
        assert line["odds_ratio"] == pytest.approx(odds)
        assert line["p_value"] == pytest.approx(p)
        assert line["q_value"] == pytest.approx(q)


def test_a_compound_counts_once_for_its_mechanism_however_many_wells_it_has():
    """Six replicates of one compound are no evidence; six compounds are."""
    clusters = [1] * 6 + [2] * 6
    alone = wells_of(clusters, ["a"] * 6 + list("bcdefg"), ["m"] * 6 + ["n"] * 6)
    found = enrichment(alone[0], clusters=alone[1], kinds={"MOA": "Metadata_MOA"})
    first = found.filter(label="m").row(0, named=True)
    assert (first["n_in"], first["n_label"], first["n_cluster"], first["n_total"]) == (1, 1, 1, 7)
    assert first["p_value"] == pytest.approx(1 / 7)
    many = wells_of(clusters, list("hijklm") + list("bcdefg"), ["m"] * 6 + ["n"] * 6)
    found = enrichment(many[0], clusters=many[1], kinds={"MOA": "Metadata_MOA"})
    assert found.filter(label="m")["p_value"].item() == pytest.approx(1 / 924)  # 12 choose 6


def test_a_compound_is_in_every_cluster_with_half_of_a_doses_wells():
    wells, labels = wells_of(
        [1, 1, 2, 2, 2, 1], ["a", "a", "a", "a", "b", "b"], ["m"] * 4 + ["n"] * 2
    )
    dosed = wells.with_columns(Metadata_Concentration=pl.Series([1.0, 1.0, 9.0, 9.0, 1.0, 1.0]))
    found = enrichment(dosed, clusters=labels, kinds={"MOA": "Metadata_MOA"})
    assert found.select("Cluster", "label", "n_in", "n_total").rows() == [
        (1, "m", 1, 2),
        (1, "n", 1, 2),
        (2, "m", 1, 2),
        (2, "n", 1, 2),
    ]


def test_shuffled_labels_are_found_by_chance_only():
    """Discrete p-values: at no level are they more often below than the level says."""
    clusters = np.repeat([1, 2, 3], 40)
    p_values = []
    for _ in range(200):
        compounds = RANDOM.permutation([f"c{i}" for i in range(12)] * 10).tolist()
        wells, labels = wells_of(clusters.tolist(), compounds)
        found = enrichment(wells, clusters=labels, kinds={"compound": "Metadata_Compound"})
        p_values.append(found.filter(Cluster=1, label="c0")["p_value"].sum() or 1.0)
    assert kstest(p_values, "uniform", alternative="greater").pvalue > 0.001
    assert np.mean(np.array(p_values) <= 0.3) > 0.1


def test_beside_it_is_what_as_many_wells_of_that_cell_count_would_give():
    counts = [10] * 5 + [100] * 15  # the toxic ones are the cluster
    wells, labels = wells_of([1] * 5 + [2] * 15, ["a"] * 5 + ["b"] * 15, counts=counts)
    kinds = {"compound": "Metadata_Compound"}
    toxic = enrichment(wells, clusters=labels, kinds=kinds).filter(label="a")
    assert toxic["p_value_by_count"].item() == toxic["p_value"].item() < 1e-4
    even = wells.with_columns(Metadata_Object_Count=pl.Series([97, 80, 120] * 6 + [97, 97]))
    same = enrichment(even, clusters=labels, kinds=kinds).filter(label="a")
    assert same["p_value"].item() < 1e-4 < 0.1 < same["p_value_by_count"].item()
    without = wells.drop("Metadata_Object_Count")
    assert enrichment(without, clusters=labels, kinds=kinds)["p_value_by_count"].null_count() == 2


def test_wells_without_cluster_or_label_do_not_count():
    wells, labels = wells_of([1, 1, 2, None, 2], ["a", "a", "b", "a", None])
    found = enrichment(wells, clusters=labels, kinds={"compound": "Metadata_Compound"})
    assert found.select("label", "n_in", "n_label", "n_total").rows() == [
        ("a", 2, 2, 3),
        ("b", 1, 1, 3),
    ]


def test_all_in_one_cluster_is_no_enrichment():
    wells, labels = wells_of([1] * 4, list("aabb"))
    found = enrichment(wells, clusters=labels, kinds={"compound": "Metadata_Compound"})
    assert found["p_value"].to_list() == [1.0, 1.0]
    assert found["odds_ratio"].to_list() == [None, None]


def test_no_clusters_no_rows():
    wells, labels = wells_of([None, None], ["a", "b"])
    found = enrichment(wells, clusters=labels, kinds={"compound": "Metadata_Compound"})
    assert found.height == 0
    assert found.columns[-1] == "p_value_by_count"
