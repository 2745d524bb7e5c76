"""The map of the rooms in docs/flow.md, enforced."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DEVICE = {f"profiler.{name}" for name in ("shapes", "segment", "measure", "illuminate", "compute")}
DEVICE |= {"profiler.embed", "profiler.nets"}
DEVICE |= {"profiler.images", "profiler.suggest", "profiler.explain", "profiler.doctor"}
DEVICE |= {"profiler.aggregator", "profiler.encoder"}
LAPTOP = {"profiler.store", "profiler.profile", "profiler.hits", "profiler.phenotype"}
LAPTOP |= {"profiler.report", "profiler.export", "profiler.quality", "profiler.classify"}
MAY_IMPORT = {  # room -> rooms it may import, besides itself
    "plates": set(),
    "profiler.shapes": set(),
    "profiler.recipe": {"plates"},
    "profiler.amend": {"plates", "profiler.recipe"},
    "profiler.events": set(),
    "profiler.interrupt": set(),
    "profiler.request": {"plates", "profiler.profile", "profiler.recipe"},
    "profiler.nets": {"plates", "profiler.nets.cards"},
    "profiler.nets.cards": {"plates"},
    "profiler.segment": {"plates", "profiler.nets", "profiler.nets.cards", "profiler.shapes"},
    "profiler.measure": {"plates", "profiler.shapes"},
    "profiler.embed": {"plates", "profiler.classify.trust", "profiler.nets", "profiler.shapes"},
    "profiler.classify": {"plates", "profiler.classify.trust", "profiler.nets.cards"}
    | {"profiler.phenotype", "profiler.profile", "profiler.quality", "profiler.report"}
    | {"profiler.store"},
    "profiler.classify.trust": {"plates"},
    "profiler.store": {"plates"},
    "profiler.profile": {"plates", "profiler.nets.cards"},
    "profiler.hits": {"plates", "profiler.profile"},
    "profiler.phenotype": {"plates", "profiler.profile"},
    "profiler.quality": {"plates", "profiler.store"},
    "profiler.export": {"plates", "profiler.profile", "profiler.store"},
    "profiler.report": {"plates", "profiler.profile", "profiler.hits", "profiler.store"},
    "profiler.summary": {"profiler.hits"},
    "profiler.throughput": {"profiler.events", "profiler.store"},
    "profiler.illuminate": {"plates", "profiler.recipe", "profiler.shapes", "profiler.store"},
    "profiler.compute": {"plates", "profiler.embed", "profiler.events", "profiler.illuminate"}
    | {"profiler.measure", "profiler.recipe", "profiler.report", "profiler.request"}
    | {"profiler.segment", "profiler.shapes", "profiler.store", "profiler.throughput"},
    "profiler.execute": {"plates", "profiler.compute", "profiler.events", "profiler.store"},
    "profiler.cells": {"plates", "profiler.compute", "profiler.events", "profiler.execute"}
    | {"profiler.illuminate", "profiler.recipe", "profiler.request", "profiler.store"}
    | {"profiler.throughput"},
    "profiler.images": {"plates", "profiler.compute", "profiler.segment"},
    "profiler.suggest": {"plates", "profiler.compute", "profiler.images", "profiler.recipe"}
    | {"profiler.segment", "profiler.store"},
    "profiler.explain": {"plates", "profiler.compute", "profiler.embed", "profiler.illuminate"}
    | {"profiler.phenotype", "profiler.profile", "profiler.recipe", "profiler.report"}
    | {"profiler.segment", "profiler.store"},
    "profiler.aggregator": {"plates", "profiler.embed", "profiler.hits", "profiler.nets.cards"}
    | {"profiler.profile", "profiler.quality", "profiler.store"},
    "profiler.encoder": {"plates", "profiler.classify", "profiler.classify.trust"}
    | {"profiler.compute", "profiler.embed", "profiler.explain", "profiler.hits"}
    | {"profiler.profile", "profiler.quality", "profiler.recipe", "profiler.store"},
    "profiler.progress": {"profiler.events", "profiler.segment"},
    "profiler.overview": {"plates", "profiler.recipe"},
    "profiler.models": {"profiler.embed", "profiler.segment"},
    "profiler.doctor": {"plates", "profiler.compute", "profiler.segment"},
    "profiler.demo": {"plates", "profiler.events", "profiler.pipeline", "profiler.recipe"}
    | {"profiler.request", "profiler.store"},
    "profiler.watch": {"plates", "profiler.events", "profiler.interrupt", "profiler.pipeline"}
    | {"profiler.recipe", "profiler.request", "profiler.store"},
    "profiler.pipeline": {"plates", "profiler.cells", "profiler.events", "profiler.recipe"}
    | {"profiler.request", "profiler.summary"}
    | (LAPTOP - {"profiler.export"}),
}
SLOW = ("jax", "flax", "polars", "pyarrow", "numpy", "scipy", "numba", "matplotlib", "sklearn")
SLOW += ("umap", "graspologic_native")


def imports(source: str) -> set[str]:
    """Absolute module names a file imports, wherever it does."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room(module: str) -> str | None:
    """The longest prefix of a module name that is a room."""
    inside = [name for name in MAY_IMPORT if f"{module}.".startswith(f"{name}.")]
    return max(inside, key=len, default=None)


def files(name: str) -> list[Path]:
    home = ROOT / name.replace(".", "/")
    return sorted(home.rglob("*.py")) if home.is_dir() else [home.with_suffix(".py")]


@pytest.mark.parametrize("name", MAY_IMPORT)
def test_a_room_imports_only_what_the_map_allows(name):
    assert files(name)
    for file in files(name):
        used = {room(module) for module in imports(file.read_text())} - {None, name}
        assert used <= MAY_IMPORT[name], file


@pytest.mark.parametrize("name", sorted(set(MAY_IMPORT) - DEVICE))
def test_only_the_device_rooms_know_jax(name):
    for file in files(name):
        roots = {module.split(".")[0] for module in imports(file.read_text())}
        assert not {"jax", "flax", "optax"} & roots, file


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {module.split(".")[0] for module in done.stdout.split()}


def test_the_command_line_waits_for_nothing():
    assert not loaded_by("import profiler.cli") & set(SLOW)


@pytest.mark.parametrize(
    "module",
    [*sorted(LAPTOP), "profiler.pipeline", "profiler.store.query", "profiler.progress"],
)
def test_the_stages_after_the_cells_load_no_jax(module):
    assert "jax" not in loaded_by(f"import {module}")


def test_no_file_is_longer_than_its_ceiling():
    long = {
        p: n
        for p in (*files("plates"), *files("profiler"))
        if (n := len(p.read_text().splitlines())) > 400
    }
    assert not long
