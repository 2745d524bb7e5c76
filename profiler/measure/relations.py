"""Which nucleus, cell and cytoplasm belong together, in the columns where CellProfiler says it."""

from typing import Any

from profiler.measure.family import FeatureFamily, Over

ABOUT = """CellProfiler's numbers of objects. Here one id stands for a cell's three compartments.

Source: CellProfiler 4.2.8, IdentifyPrimaryObjects, IdentifySecondaryObjects and
IdentifyTertiaryObjects.

Attributes:
    Number_Object_Number: The label.
    Parent_NucleiIncludingEdges: Label of the nucleus before those on the border were dropped:
        it is dropped before it is numbered here, so the label again.
    Parent_CellsIncludingEdges: Likewise, of the cell.
    Children_Cytoplasm_Count: 1 for a cell with cytoplasm, 0 for one without.
"""


def numbers(objects: Any) -> tuple[Any]:
    """Number every object; on the CPU or traced."""
    xp = objects.offsets.__array_namespace__()
    return (xp.arange(1, len(objects.offsets), dtype=objects.offsets.dtype),)


def children(nuclei: Any, cells: Any, cytoplasm: Any) -> tuple[Any]:
    """Count every cell's cytoplasms; on the CPU or traced."""
    del nuclei, cells
    return ((cytoplasm.objects.area > 0) * 1,)


def first(stains: tuple[str, ...]) -> tuple[str, ...]:
    """One channel will do: only the masks are looked at."""
    return stains[:1]


def _numbers(group: str, feature: str, *compartments: str) -> FeatureFamily:
    return FeatureFamily(
        group, Over.OBJECTS, (feature,), numbers, numbers, compartments=compartments, about=ABOUT
    )


def _children(compartment: str) -> FeatureFamily:
    names = ("Cytoplasm_Count{0:.0}",)  # without the channel's name
    return FeatureFamily(
        "Children", Over.CELL, names, children, children, compartments=(compartment,),
        choose=first, about=ABOUT,
    )  # fmt: skip


RELATIONS = (
    _numbers("Number", "Object_Number", "Nuclei", "Cytoplasm"),
    _numbers("Parent", "NucleiIncludingEdges", "Nuclei"),
    _numbers("Parent", "CellsIncludingEdges", "Cells"),
    _children("Nuclei"),
    _children("Cells"),
)
