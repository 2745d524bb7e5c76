"""cp_measure's full set, named as our columns: what we are compared with and timed against.

cp_measure has one function per module of CellProfiler, called per mask and channel; its options
here are those that give CellProfiler's numbers (`legacy=True`, float images from 0 to 1), and its
own numba accelerator is on where it has one.
"""

import re
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from typing import NamedTuple

import cp_measure
import numpy as np
from cp_measure.bulk import get_core_measurements, get_correlation_measurements
from cp_measure.core.measurecolocalization import get_correlation_overlap
from cp_measure.multimask.measureobjectneighbors import (
    D_ADJACENT,
    D_WITHIN,
    measureobjectneighbors,
)

from benchmarks.fields import Case
from profiler.measure import COMPARTMENTS

SCALES = (3, 5, 10)
SHAPE = ("sizeshape", "zernike", "feret")
NEIGHBORS = {"Nuclei": (1,), "Cells": (5, 0), "Cytoplasm": ()}  # pixels; 0 for adjacent


class Call(NamedTuple):
    """One call of cp_measure: whose columns it fills, which module it is, and what runs."""

    compartment: str
    module: str
    stains: tuple[str, ...]
    run: Callable[[], dict[str, np.ndarray]]


class Measured(NamedTuple):
    """What cp_measure said: columns by name, each [present cell], and seconds by module."""

    columns: dict[str, np.ndarray]
    seconds: dict[str, float]


def measure(case: Case, *, threads: int = 1) -> Measured:
    """Measure a field by all of cp_measure's functions.

    Args:
        case: The field.
        threads: Calls that may run at a time.

    Returns:
        Columns of the labels that occur in each compartment, in their order.
    """
    cp_measure.set_accelerator("numba")
    with ThreadPoolExecutor(threads) as pool:
        done = list(pool.map(_timed, _calls(case)))
    columns, seconds = {}, {}
    for call, found, spent in done:
        seconds[call.module] = seconds.get(call.module, 0.0) + spent
        for name, values in found.items():
            columns[_column(call, name)] = _of_present(np.asarray(values, float), call, case)
    return Measured(columns, seconds)


def present_rows(case: Case, compartment: str) -> np.ndarray:
    """Rows of our tables, label - 1, that occur in a compartment."""
    labels = getattr(case.labels, compartment.lower())
    return np.unique(labels[labels > 0]) - 1


def _of_present(values: np.ndarray, call: Call, case: Case) -> np.ndarray:
    """Some of its modules have rows for labels that do not occur, others none."""
    rows = present_rows(case, call.compartment)
    return values if len(values) == len(rows) else values[rows]


def _timed(call: Call) -> tuple[Call, dict, float]:
    start = time.perf_counter()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        found = call.run()
    return call, found, time.perf_counter() - start


def _calls(case: Case) -> Iterator[Call]:
    core = get_core_measurements(legacy=True)
    pairs = get_correlation_measurements() | {"overlap": get_correlation_overlap}
    planes = {stain: case.image[..., i].astype(float) for i, stain in enumerate(case.stains)}
    for compartment in COMPARTMENTS:
        labels = getattr(case.labels, compartment.lower()).astype(np.int32)
        for module in SHAPE:
            yield Call(compartment, module, (), lambda f=core[module], m=labels: f(m, None))
        for stain, plane in planes.items():
            for module in core.keys() - set(SHAPE) - {"texture"}:
                run = lambda f=core[module], m=labels, p=plane: f(m, p)  # noqa: E731
                yield Call(compartment, module, (stain,), run)
            for scale in SCALES:
                run = lambda m=labels, p=plane, s=scale: core["texture"](m, p, scale=s)  # noqa: E731
                yield Call(compartment, "texture", (stain,), run)
        for first, second in combinations(sorted(planes), 2):
            given = (planes[first], planes[second], labels)
            for module, measure_pair in pairs.items():
                scale = {"scale_max": case.scale_max} if module == "costes" else {}
                run = lambda f=measure_pair, g=given, s=scale: f(*g, **s)  # noqa: E731
                yield Call(compartment, module, (first, second), run)
        for reach in NEIGHBORS[compartment]:
            yield Call(compartment, f"neighbors_{reach}", (), _neighbors(labels, reach))


def _neighbors(labels: np.ndarray, reach: int) -> Callable[[], dict[str, np.ndarray]]:
    method = (
        {"distance_method": D_WITHIN, "distance": reach}
        if reach
        else {"distance_method": D_ADJACENT}
    )
    return lambda: measureobjectneighbors(labels, labels, **method)


def _column(call: Call, name: str) -> str:
    """CellProfiler's name of a value that cp_measure returned."""
    if call.module in SHAPE:
        return f"{call.compartment}_AreaShape_{name}"
    if call.module.startswith("neighbors"):
        suffix = call.module.removeprefix("neighbors_").replace("0", "Adjacent")
        return f"{call.compartment}_Neighbors_{name.split('_')[1]}_{suffix}"
    if len(call.stains) == 2:
        return f"{call.compartment}_{_pair(name, *call.stains)}"
    stain = call.stains[0]
    if call.module == "texture":
        feature, rest = name.split("_", 1)
        return f"{call.compartment}_Texture_{feature}_{stain}_{rest}"
    if call.module == "granularity":
        return f"{call.compartment}_{name}_{stain}"
    if call.module.startswith("radial"):
        group, feature, rest = name.split("_", 2)
        return f"{call.compartment}_{group}_{feature}_{stain}_{rest}"
    return f"{call.compartment}_{name}_{stain}"


def _pair(name: str, first: str, second: str) -> str:
    name = name.replace("Correlation_Pearson", "Correlation_Correlation")
    order = (second, first) if name.endswith("_2") else (first, second)
    return "_".join((re.sub(r"_[12]$", "", name), *order))
