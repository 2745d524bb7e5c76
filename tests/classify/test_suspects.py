"""A list of suspects that was mended by hand is never lost; one that was not is replaced."""

import json

import polars as pl
import pytest

from profiler.classify.model import read_model, write_model
from profiler.classify.suspects import as_csv, last_name, name_of, write_list


def table(*labels):
    return as_csv(pl.DataFrame({"Label": labels}))


@pytest.fixture
def model(tmp_path):
    return tmp_path / "mine.safetensors"


def note(model, name):
    model.with_suffix(".json").write_text(json.dumps({"suspects": name}))


def test_an_untouched_list_is_replaced(model, tmp_path):
    first, second = table("a"), table("b")
    path, said = write_list(model, first, last=last_name(model))
    assert (path.name, said) == ("mine.suspects.csv", None)
    note(model, name_of(first))
    assert write_list(model, second, last=last_name(model)) == (path, None)
    assert path.read_bytes() == second
    assert [p.name for p in tmp_path.glob("*.csv")] == ["mine.suspects.csv"]


def test_mended_lists_are_kept_one_beside_the_other(model):
    path, _ = write_list(model, table("a"), last=None)
    note(model, name_of(table("a")))
    for number, name in (("1", "mine.suspects.old.csv"), ("2", "mine.suspects.old-2.csv")):
        path.write_bytes(table("mended", number))
        _, said = write_list(model, table("b"), last=last_name(model))
        assert (
            said == f"{path} was changed since it was written: it is kept as {path.parent / name}."
        )
        assert (path.parent / name).read_bytes() == table("mended", number)
        assert path.read_bytes() == table("b")
        note(model, name_of(table("b")))


def test_a_list_of_which_nothing_is_noted_is_kept_if_it_differs(model):
    path, _ = write_list(model, table("a"), last=None)
    assert write_list(model, table("a"), last=None)[1] is None
    model.with_suffix(".json").write_text("{cut short")
    assert last_name(model) is None
    assert "old.csv" in str(write_list(model, table("b"), last=last_name(model))[1])
    assert path.read_bytes() == table("b")


def test_the_card_of_a_classifier_notes_its_list(trained, tmp_path):
    written = trained.with_suffix(".suspects.csv").read_bytes()
    assert last_name(trained) == name_of(written) == read_model(trained).card.suspects
    model = read_model(trained)
    for name in ("stains", "suspects"):  # cards from before there was such a field
        old = tmp_path / f"{name}.safetensors"
        write_model(
            old, model._replace(card=model.card.__class__(**vars(model.card) | {name: None}))
        )
        said = json.loads(old.with_suffix(".json").read_text())
        del said[name]
        old.with_suffix(".json").write_text(json.dumps(said))
        assert getattr(read_model(old).card, name) is None
