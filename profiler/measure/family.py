"""What a feature family is. Read this file to add one.

A family is measurements that share one pass over the pixels. It is written for one field, twice:
`cpu` in numpy or numba, `jax` in traceable JAX for accelerators, and the same tests run on both.
To add one, bind a `FeatureFamily` to a name in any module and put "module:attribute" in the
recipe; if it takes options, bind a function that returns one, `def texture(*, scales=(3, 5, 10))`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import combinations
from typing import Any

COMPARTMENTS = ("Nuclei", "Cells", "Cytoplasm")
IMAGE = "Image"  # the whole field, measured as one object


class Over(Enum):
    """What a kernel is called with; it is called once for each.

    `objects` are one compartment's label image, packed; a `signal` is one channel seen through
    objects (`signal.objects`). `cpu.Objects` and `device.Objects` say what they hold.
    """

    OBJECTS = "each compartment: kernel(objects)"
    CHANNEL = "each compartment and channel: kernel(signal)"
    PAIR = "each compartment and pair of channels: kernel(first, second), two signals"
    CELL = "each channel, across compartments: kernel(nuclei, cells, cytoplasm), three signals"


Kernel = Callable[..., Sequence[Any]]


@dataclass(frozen=True)
class FeatureFamily:
    """Measurements that share one pass over the pixels.

    A kernel returns one [cell] array per feature, in the order of `features`: a NamedTuple, or a
    [feature, cell] matrix. It need not care for absent cells or division by zero: the driver
    makes rows of absent labels, and all numbers that are not finite, NaN.

    Attributes:
        group: Second part of the column names ("Intensity").
        over: What the kernels are called with.
        features: Rest of the names. The channels' stains are appended, or go where
            braces say: "Contrast_{}_3_00_256", "K_{0}_{1}", "K_{1}_{0}".
        cpu: Kernel for numpy arrays.
        jax: Kernel for traced arrays, pure and of fixed shapes; `cpu` itself if that is written
            for both. None: an accelerator's batch goes to the host for this family.
        compartments: Where it is measured; with `IMAGE`, the whole field too, as one object in
            one row. `Over.CELL` families have columns for Cells, unless they name one other.
        choose: From the stains to measure, those that it takes; None: all.
        needs_px: Smallest height and width of a field that it can be measured in.
        about: Definitions, units, sources, and when a feature is NaN.
    """

    group: str
    over: Over
    features: tuple[str, ...]
    cpu: Kernel
    jax: Kernel | None
    compartments: tuple[str, ...] = COMPARTMENTS
    choose: Callable[[tuple[str, ...]], tuple[str, ...]] | None = None
    needs_px: int = 1
    about: str = field(default="", repr=False, compare=False)

    @property
    def reported_for(self) -> tuple[str, ...]:
        """The compartments that have columns of this family."""
        is_of_cells = self.over is Over.CELL and self.compartments == COMPARTMENTS
        return ("Cells",) if is_of_cells else self.compartments

    def picks(self, channels: dict[str, int]) -> tuple[tuple[str, ...], ...]:
        """The channels of each call, as stains.

        Pairs are in alphabetical order, as in JUMP's tables, so that a column's name does not
        depend on the recipe's order of channels.
        """
        stains = tuple(channels) if self.choose is None else self.choose(tuple(channels))
        match self.over:
            case Over.OBJECTS:
                return ((),)
            case Over.PAIR:
                return tuple(combinations(sorted(stains), 2))
            case _:
                return tuple((stain,) for stain in stains)

    def column(self, feature: str, stains: tuple[str, ...]) -> str:
        """Name a feature as CellProfiler does, without its compartment.

        >>> family = FeatureFamily("Texture", Over.CHANNEL, (), tuple, None)
        >>> family.column("Contrast_{}_3_00_256", ("DNA",)), family.column("Mean", ("DNA",))
        ('Texture_Contrast_DNA_3_00_256', 'Texture_Mean_DNA')
        """
        if "{" in feature:
            return f"{self.group}_{feature.format(*stains)}"
        return "_".join((self.group, feature, *stains))
