"""Conventions, held for every public function: options by keyword, docstrings, annotations."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import FunctionType, ModuleType

import pytest

import plates
import profiler

MOST_PARAMETERS = 7
POSITIONAL = 4  # data comes first, and there is never much of it
EXTRAS = {"ray": "ray"}  # packages that whole modules are about -> the extra that brings them


def modules() -> Iterator[str]:
    for package in (plates, profiler):
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            yield info.name


def imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        extra = EXTRAS[error.name]
        pytest.skip(f"{name} needs {error.name}: pip install 'plate-profiler[{extra}]'")


def functions(name: str) -> list[FunctionType]:
    module = imported(name)
    found = [f for n, f in vars(module).items() if not n.startswith("_") and inspect.isfunction(f)]
    return [f for f in found if f.__module__ == name]


@pytest.mark.parametrize("name", sorted(modules()))
def test_public_functions_keep_the_conventions(name):
    assert imported(name).__doc__, f"{name} has no docstring"
    for function in functions(name):
        where = f"{name}.{function.__name__}"
        assert function.__doc__, f"{where} has no docstring"
        if name.startswith("profiler.cli."):  # typer's own convention: every parameter is an option
            continue
        parameters = inspect.signature(function).parameters.values()
        positional = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        assert len(parameters) <= MOST_PARAMETERS, f"{where} has {len(parameters)} parameters"
        assert len(positional) <= POSITIONAL, f"{where} takes {len(positional)} by position"
        assert all(p.annotation is not p.empty for p in parameters), f"{where} lacks annotations"


def test_the_public_surface_is_one_function():
    assert profiler.__all__ == ["open"]
