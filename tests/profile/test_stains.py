"""Stains of vectors: what a run's settings tell, several runs, and what is refused."""

import pytest

from plates.errors import BadModel
from profiler.profile.stains import check_stains, shared_stains, stains_of

CHANNELS = {"DNA": "C01", "GFP": "C02"}
OTHERS = {"GFP": "C02", "DNA": "C01"}


def settings(channels, chosen=()):
    return {"images": {"channels": channels}, "embed": {"channels": list(chosen)}}


def test_all_stains_unless_some_are_chosen():
    assert stains_of(settings(CHANNELS)) == ("DNA", "GFP")
    assert stains_of(settings(OTHERS)) == ("GFP", "DNA")
    assert stains_of(settings(CHANNELS, ["GFP"])) == ("GFP",)
    assert stains_of({"images": {"channels": CHANNELS}}) == ("DNA", "GFP")  # before [embed] was
    assert stains_of({}) is None


def test_several_runs_share_stains_and_their_order():
    same = {"a": settings(CHANNELS), "b": settings(OTHERS, ["DNA", "GFP"]), "old": {}}
    assert shared_stains(same) == ("DNA", "GFP")
    assert shared_stains({"old": {}}) is None
    other = {"a": settings(CHANNELS), "b": settings(OTHERS)}  # equal as dictionaries
    with pytest.raises(BadModel, match=r"another order: DNA, GFP in a; GFP, DNA in b\. Run all"):
        shared_stains(other)


def test_another_order_is_refused_and_the_unknown_is_not():
    check_stains(("DNA", "GFP"), ["DNA", "GFP"], what="it", where="here")
    check_stains(None, ("DNA",), what="it", where="here")
    check_stains(("DNA",), None, what="it", where="here")
    message = (
        r"here has embeddings of the stains GFP, DNA, in this order, and it was trained on those "
        r'of DNA, GFP: .* \[embed\] channels = \["DNA", "GFP"\], or train on cells of this one'
    )
    with pytest.raises(BadModel, match=message):
        check_stains(("DNA", "GFP"), ("GFP", "DNA"), what="it", where="here")
