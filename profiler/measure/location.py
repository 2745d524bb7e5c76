"""Where each object is, and where its intensity is."""

from typing import Any, NamedTuple

from profiler.measure.family import FeatureFamily, Over


class Center(NamedTuple):
    """An object's centroid, in pixels from the centre of the image's first pixel.

    Source: CellProfiler 4.2.8, IdentifyPrimaryObjects; the same numbers as AreaShape's.

    Attributes:
        Center_X: Mean column.
        Center_Y: Mean row.
        Center_Z: 0 in a plane.
    """

    Center_X: Any
    Center_Y: Any
    Center_Z: Any


class Intensity(NamedTuple):
    """Where an object's intensity is, in pixels from the centre of the image's first pixel.

    Source: CellProfiler 4.2.8, MeasureObjectIntensity.

    Attributes:
        CenterMassIntensity_X: Mean column, weighted by intensity; NaN where all of it is 0.
        CenterMassIntensity_Y: Mean row, likewise.
        CenterMassIntensity_Z: 0 in a plane; NaN likewise.
        MaxIntensity_X: Column of the brightest pixel; of several, the first in raster order,
            where CellProfiler's choice depends on how the image happens to sort.
        MaxIntensity_Y: Row of the brightest pixel.
        MaxIntensity_Z: 0 in a plane.
    """

    CenterMassIntensity_X: Any
    CenterMassIntensity_Y: Any
    CenterMassIntensity_Z: Any
    MaxIntensity_X: Any
    MaxIntensity_Y: Any
    MaxIntensity_Z: Any


def center(objects: Any) -> Center:
    """Locate every object; on the CPU or traced."""
    y, x = objects.boxes[:2] + objects.centre
    return Center(x, y, x - x)


def intensity(signal: Any) -> Intensity:
    """Locate every object's intensity; on the CPU or traced."""
    y, x = signal.objects.boxes[:2] + signal.centre
    width = signal.objects.labels.shape[1]
    across, down = signal.brightest % width, signal.brightest // width
    return Intensity(x, y, x - x, across, down, down - down)


LOCATION = (
    FeatureFamily(
        "Location",
        Over.OBJECTS,
        Center._fields,
        cpu=center,
        jax=center,
        compartments=("Nuclei",),
        about=Center.__doc__ or "",
    ),
    FeatureFamily(
        "Location",
        Over.CHANNEL,
        Intensity._fields,
        cpu=intensity,
        jax=intensity,
        compartments=("Nuclei",),
        about=Intensity.__doc__ or "",
    ),
)
