"""Runs whose vectors are of other networks, opened together: the message, and what is left."""

import polars as pl
import pytest

from plates.errors import BadRun
from profiler.store.compare import of_one_network
from profiler.store.run import Run, RunFacts

CELLS = pl.LazyFrame({"Cells_A": [1.0], "Embedding_0000": [2.0], "Embedding_0001": [3.0]})
WELLS = CELLS.with_columns(Embedding_Set_0000=pl.lit(1.0))


def run(name: str, embedder: str | None, aggregator: str | None = None) -> Run:
    summary = {"aggregator": aggregator} if aggregator else {}
    facts = RunFacts("r", {}, {}, "cpu", "w", None, (name,), embedder=embedder, summary=summary)
    return Run(None, name, facts)  # type: ignore[arg-type]


def opened(frame: pl.LazyFrame, *runs: Run, features: str = "same") -> list[list[str]]:
    frames = {each.name: frame for each in runs}
    found = of_one_network(frames, runs, features=features)
    return [each.collect_schema().names() for each in found.values()]


def test_one_network_is_one_screen():
    assert opened(CELLS, run("a", "x"), run("b", "x")) == [CELLS.collect_schema().names()] * 2


@pytest.mark.parametrize("features", ["same", "all"])
def test_another_networks_numbers_are_other_numbers(features):
    message = "Embedding_0000 is another number in run a than in b: the vectors of cells .* x and y"
    with pytest.raises(BadRun, match=message):
        opened(CELLS, run("a", "x"), run("b", "y"), features=features)


def test_common_leaves_them_out():
    found = opened(CELLS, run("a", "x"), run("b", "y"), features="common")
    assert found == [["Cells_A"], ["Cells_A"]]


def test_aggregators_are_networks_of_their_own():
    runs = run("a", "x", "s"), run("b", "x", "t")
    with pytest.raises(BadRun, match="Embedding_Set_0000 .* vectors of wells"):
        opened(WELLS, *runs)
    assert opened(WELLS, *runs, features="common")[0] == CELLS.collect_schema().names()


def test_a_run_without_vectors_is_no_other_network():
    frames = {"a": CELLS, "b": CELLS.select("Cells_A")}
    found = of_one_network(frames, (run("a", "x"), run("b", None)), features="all")
    assert found["a"].collect_schema().names() == CELLS.collect_schema().names()
