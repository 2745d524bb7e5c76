"""Whole plates, else whole wells, are held out; what cannot be tested honestly is refused."""

import numpy as np
import pytest

from profiler.classify.parts import Examples, folds_of, level_to_hold_out
from profiler.classify.trust.few import SharedGroups

CLASSES = ("flat", "round")


def examples(labels, plates, wells):
    places = np.array(plates), np.array([f"{p} {w}" for p, w in zip(plates, wells, strict=True)])
    return Examples(np.zeros((len(labels), 1)), np.array(labels), *places)


TWO_PLATES = examples([0, 1] * 4, ["P1"] * 4 + ["P2"] * 4, ["A01", "A01", "A02", "A02"] * 2)
ONE_PLATE = examples([0, 1] * 4, ["P1"] * 8, ["A01"] * 2 + ["A02"] * 2 + ["A03"] * 4)
LONELY = examples([0, 0, 0, 1, 1], ["P1", "P2", "P2", "P1", "P1"], ["A01"] * 3 + ["B01", "B02"])
ONE_WELL = examples([0, 0, 1, 1], ["P1"] * 4, ["A01", "A02", "B07", "B07"])


@pytest.mark.parametrize(
    ("given", "is_mixed", "level"),
    [
        (TWO_PLATES, False, "plates"),
        (TWO_PLATES, True, "wells"),
        (ONE_PLATE, False, "wells"),
        (LONELY, True, "wells"),
        (ONE_WELL, True, "cells"),
    ],
)
def test_level(given, is_mixed, level):
    assert level_to_hold_out(given, classes=CLASSES, is_mixed=is_mixed) == level


def test_a_class_of_one_plate_is_refused_by_name():
    message = r"1 classes have cells of one plate only: round \(P1\)\..*--mixed-plates"
    with pytest.raises(SharedGroups, match=message):
        level_to_hold_out(LONELY, classes=CLASSES, is_mixed=False)
    with pytest.raises(SharedGroups, match=r"one well only: round \(P1 B07\)"):
        level_to_hold_out(ONE_WELL, classes=CLASSES, is_mixed=False)


@pytest.mark.parametrize("level", ["plates", "wells", "cells"])
def test_groups_stay_whole_and_every_cell_is_apart_once(level):
    folds = folds_of(TWO_PLATES, parts=5, seed=0, level=level)
    groups = TWO_PLATES.groups(level)
    assert sorted(np.concatenate([apart for _, apart in folds.parts])) == list(range(8))
    for seen, apart in folds.parts:
        assert not set(groups[seen]) & set(groups[apart])


def test_without_a_level_the_coarsest_that_can_is_taken():
    assert folds_of(TWO_PLATES, parts=3, seed=0).level == "plates"
    assert folds_of(ONE_WELL, parts=3, seed=0).level == "cells"
