"""Consistency by label: against copairs, several labels, labels as text, gaps."""

import numpy as np
import polars as pl
import pytest

from plates.errors import UnknownName
from profiler.hits.precision.consistency import consistency, label_precision

TARGET, COMPOUND = "Metadata_Target", "Metadata_Compound"


@pytest.fixture(scope="module")
def compounds() -> pl.DataFrame:
    """60 compounds with one to three of eight targets; A and B show."""
    random = np.random.default_rng(0)
    targets = [
        sorted(set(random.choice(list("ABCDEFGH"), random.integers(1, 4)).tolist()))
        for _ in range(60)
    ]
    effect = {name: random.normal(size=20) for name in "AB"}
    values = [
        sum((effect[name] for name in names if name in effect), random.normal(size=20))
        for names in targets
    ]
    keys = pl.DataFrame({COMPOUND: [f"C{i:02d}" for i in range(60)], TARGET: targets})
    return keys.hstack(pl.DataFrame(np.array(values), schema=[f"Cells_F{i}" for i in range(20)]))


@pytest.mark.filterwarnings("ignore")
def test_against_copairs(compounds):
    multilabel = pytest.importorskip("copairs.map.multilabel")
    meta = compounds.select(COMPOUND, TARGET).to_pandas()
    meta[TARGET] = compounds[TARGET].to_list()
    values = compounds.select(pl.col("^Cells_.*$")).to_numpy()
    theirs = multilabel.average_precision(
        meta, values, [TARGET], [], [], [TARGET], TARGET, progress_bar=False
    )
    ours = label_precision(compounds, labels=TARGET)
    both = ours.join(pl.from_pandas(theirs), on=[COMPOUND, TARGET], validate="1:1")
    assert both.height == ours.height == len(theirs)
    precision = both["average_precision"], both["average_precision_right"]
    np.testing.assert_allclose(*precision, atol=1e-9)
    np.testing.assert_array_equal(both["n_matches"], both["n_pos_pairs"])
    np.testing.assert_array_equal(both["n_matches"] + both["n_others"], both["n_total_pairs"])


def test_labels_that_show_are_found(compounds):
    found = consistency(compounds, labels=TARGET)
    assert found.height == 8
    assert set(found.filter(pl.col("q_value") <= 0.05)[TARGET]) == {"A", "B"}
    assert found["n_compounds"].sum() == compounds[TARGET].list.len().sum()


def test_labels_as_text_and_in_any_order(compounds):
    text = compounds.with_columns(pl.col(TARGET).list.join(" | ") + "|")
    shuffled = text.sample(fraction=1, shuffle=True, seed=1)
    assert consistency(shuffled, labels=TARGET).equals(consistency(compounds, labels=TARGET))


def test_rows_without_a_label_or_profile_take_no_part(compounds):
    nothing = compounds.head(3).with_columns(pl.lit(None, dtype=pl.List(pl.String)).alias(TARGET))
    empty = compounds.head(2).with_columns(pl.col("^Cells_.*$") * 0)
    more = pl.concat([compounds, nothing, empty])
    assert consistency(more, labels=TARGET).equals(consistency(compounds, labels=TARGET))


def test_rows_of_one_compound_are_kept_apart(compounds):
    twice = pl.concat([compounds, compounds])
    found = label_precision(twice, labels=TARGET, apart=[COMPOUND])
    once = label_precision(compounds, labels=TARGET)
    assert (found["n_matches"] == 2 * once["n_matches"].gather(
        np.repeat(np.arange(once.height), 2))).all()  # fmt: skip


def test_a_label_of_one_compound_has_no_match():
    table = pl.DataFrame({COMPOUND: ["a", "b"], TARGET: [["X"], ["Y"]], "Cells_F": [1.0, -1.0]})
    found = consistency(table, labels=TARGET)
    assert found.select("status", "p_value").rows() == [("no_match", None)] * 2


def test_no_labels_at_all(compounds):
    assert consistency(compounds.clear(), labels=TARGET).height == 0
    with pytest.raises(UnknownName, match="no column called 'Metadata_MoA'"):
        consistency(compounds, labels="Metadata_MoA")
