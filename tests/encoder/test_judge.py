"""Scores of an encoder on what it did not learn from, against scikit-learn and by hand."""

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.preprocessing import StandardScaler

from profiler.encoder.choose import JUDGED, LABEL, TAUGHT, USE, Chosen
from profiler.encoder.judge import F1, PRECISION, STRENGTH, by_labels, by_wells, judge
from profiler.encoder.take import Taken

N = 120


def cells(labels, uses, wells=None, plates=None) -> pl.DataFrame:
    count = len(labels)
    return pl.DataFrame(
        {
            "Metadata_Plate": plates or ["P1"] * count,
            "Metadata_Well": wells or ["A01"] * count,
            "Metadata_Site": [1] * count,
            "Metadata_Timepoint": [1] * count,
            "Metadata_ObjectNumber": list(range(1, count + 1)),
            LABEL: pl.Series(labels, dtype=pl.String),
            USE: uses,
        }
    )


def test_f1_is_scikit_learns_on_the_cells_kept_apart():
    random = np.random.default_rng(3)
    codes = random.integers(0, 3, N)
    vectors = random.normal(size=(N, 5)) + codes[:, None] * [0.8, 0, 0.4, 0, 0]
    vectors[:, 4] = 7.0  # never varies
    is_judged = random.random(N) < 0.3
    unlabelled = random.random(N) < 0.2
    labels = [None if gone else "abc"[code] for code, gone in zip(codes, unlabelled, strict=True)]
    table = cells(labels, np.where(is_judged, JUDGED, TAUGHT))
    found = by_labels(table, vectors)
    taught, judged = ~is_judged & ~unlabelled, is_judged & ~unlabelled
    scale = StandardScaler().fit(vectors[taught])
    model = LogisticRegression(C=STRENGTH, max_iter=1000)
    model.fit(scale.transform(vectors[taught]), codes[taught])
    said = model.predict(scale.transform(vectors[judged]))
    for name, way in zip(F1, ("weighted", "macro"), strict=True):
        assert found[name] == pytest.approx(f1_score(codes[judged], said, average=way))


def wells_of(compounds: dict[str, str]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "Metadata_Plate": ["P1"] * len(compounds),
            "Metadata_Well": list(compounds),
            "Metadata_Compound": list(compounds.values()),
            "Metadata_Role": [
                "negative" if name == "DMSO" else "treatment" for name in compounds.values()
            ],
        }
    )


def test_replicates_that_lie_together_and_away_from_controls_score_1():
    compounds = dict(
        zip([f"A{i:02d}" for i in range(1, 9)], ["DMSO"] * 4 + list("aabb"), strict=True)
    )
    wells = wells_of(compounds)
    names = [name for name in compounds for _ in range(3)]
    random = np.random.default_rng(0)
    place = {"DMSO": [0, 0], "a": [50, 0], "b": [0, 50]}
    vectors = np.array([place[compounds[name]] for name in names]) + random.normal(size=(24, 2))
    table = cells([None] * 24, [JUDGED] * 24, names)
    assert by_wells(table, vectors, wells) == dict.fromkeys(PRECISION, 1.0)
    # Cells that were learnt from play no part.
    more = pl.concat([table, cells(["x"] * 3, [TAUGHT] * 3, ["A01"] * 3)])
    far = np.concatenate([vectors, np.full((3, 2), 1e6)])
    assert by_wells(more, far, wells) == dict.fromkeys(PRECISION, 1.0)
    swapped = vectors[[*range(15), *range(18, 21), *range(15, 18), *range(21, 24)]]
    worse = by_wells(table, swapped, wells)  # one well of each changes places
    assert worse[PRECISION[1]] < 0.6


def test_what_was_kept_apart_is_named_as_plates_or_as_wells():
    labels, uses = list("abab"), [TAUGHT, TAUGHT, JUDGED, JUDGED]
    vectors = np.array([[0.0], [1.0], [0.1], [0.9]])
    told = {}
    for kind, plates in {"plates": ["P1", "P1", "P2", "P2"], "wells": ["P1"] * 4}.items():
        table = cells(labels, uses, ["A01", "A01", "A02", "A02"], plates)
        taken = Taken(table, np.zeros((4, 8, 8, 1), np.uint16))
        chosen = Chosen(table, None, (), ())
        told[kind] = judge(chosen, taken, before=-vectors * 0, after=vectors)
    assert told["plates"].apart == ("P2",)
    assert told["wells"].apart == ("P1 A02",)
    assert told["wells"].scores["after"] == dict.fromkeys(F1, 1.0)
    assert told["wells"].scores["before"]["macro F1"] == pytest.approx(1 / 3)


def test_nothing_kept_apart_gives_no_score():
    table = cells(list("ab"), [TAUGHT, TAUGHT])
    taken = Taken(table, np.zeros((2, 8, 8, 1), np.uint16))
    found = judge(
        Chosen(table, None, (), ("Why.",)), taken, before=np.zeros((2, 1)), after=np.ones((2, 1))
    )
    assert (found.scores, found.apart, found.notes) == ({}, (), ("Why.",))


def test_where_no_crop_kept_apart_is_whole_that_is_said():
    table = cells(list("aab"), [TAUGHT, TAUGHT, JUDGED])
    taken = Taken(table.head(2), np.zeros((2, 8, 8, 1), np.uint16), ("1 of 3 cells lie so near.",))
    found = judge(
        Chosen(table, None, (), ()), taken, before=np.zeros((2, 1)), after=np.ones((2, 1))
    )
    assert found.scores == {}
    assert found.notes[0] == "1 of 3 cells lie so near."
    assert found.notes[1].startswith("There is no score: none of the cells kept apart has its crop")
