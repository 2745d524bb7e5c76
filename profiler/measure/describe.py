"""What every feature is, as Markdown: the text of docs/features.md."""

import inspect
from collections.abc import Iterator

from profiler.measure.families import FAMILIES
from profiler.measure.family import IMAGE, FeatureFamily, Over
from profiler.measure.plan import Entry

# Where our numbers are not those of another program on the same pixels and masks: what, the
# other program, and why. benchmarks/feature_parity.py prints them all.
EXCEPTIONS = (
    (
        "Location_MaxIntensity_X, _Y",
        "both",
        "Of several brightest pixels we take the first in raster order; theirs depends on how the "
        "image happens to sort. Any of them is right.",
    ),
    (
        "RadialDistribution_FracAtD, _MeanFrac, _RadialCV",
        "CellProfiler",
        "Where several pixels are farthest from the edge we take the first in raster order, as "
        "cp_measure does; CellProfiler takes whichever its sort leaves last (10 of the 111 "
        "objects of its reference field). Any of them is right.",
    ),
    (
        "AreaShape_CentralMoment_0_1, _1_0",
        "both",
        "0 by definition, and here; theirs is what rounding leaves.",
    ),
    (
        "AreaShape_Orientation",
        "CellProfiler",
        "Where only the variances in x and y are equal, 4.2.8 has the other sign, which "
        "scikit-image has corrected since. Ours is right.",
    ),
    (
        "Correlation_RWC",
        "cp_measure",
        "CellProfiler ranks the pixels of all objects of a compartment together, and so do we; "
        "cp_measure ranks each object's alone. Ours is right by CellProfiler's definition.",
    ),
    (
        "Correlation_Costes",
        "cp_measure",
        "CellProfiler finds one pair of thresholds for the whole field, and so do we; cp_measure "
        "one for each object. Ours is right by CellProfiler's definition.",
    ),
    (
        "Correlation_Overlap, _K, _Manders",
        "cp_measure",
        "Pixels at exactly the threshold of 15%: CellProfiler compares in float32, and so do we; "
        "cp_measure in float64.",
    ),
    (
        "Neighbors_FirstClosestObjectNumber and the like",
        "cp_measure",
        "cp_measure 0.3 counts an object as its own closest; ours equals CellProfiler's.",
    ),
    (
        "Neighbors",
        "CellProfiler",
        "It also looks at border objects that it has dropped from the labels, which nobody else "
        "can see.",
    ),
    (
        "Granularity of a black object",
        "both",
        "Theirs divide by 2.2e-16; ours is null.",
    ),
    (
        "Texture without a pair of pixels at a scale",
        "CellProfiler",
        "It writes 0; ours is null, as cp_measure's.",
    ),
    (
        "Correlation of a black or constant channel",
        "CellProfiler",
        "Where a sum to divide by is 0, it writes 0 in some fields and nan in others; ours is "
        "null.",
    ),
)


SECTIONS = ("Attributes:", "Args:", "Returns:", "Raises:")  # of a docstring


def describe() -> str:
    """Document every family, and where its numbers are not those of another program.

    Returns:
        Markdown: a table of the families, their definitions, and the exceptions.
    """
    rows = [_row(name, entry) for name, entry in FAMILIES.items()]
    parts = (
        "# Features\n",
        "Columns are `{Nuclei|Cells|Cytoplasm|Image}_{Group}_{Feature}[_{Channel}...]`, named as",
        "CellProfiler and JUMP name them; A and B stand for channels. A recipe chooses families by",
        "name (`[measure] families`) and sets their options (`[measure.options]`). Numbers are",
        "float32, and null where a feature is undefined.\n",
        _table(("family", "group", "measured in", "features", "options"), rows),
        *(_section(name, entry) for name, entry in FAMILIES.items()),
        "\n## Where our numbers differ\n",
        "On the same pixels and masks, from CellProfiler 4.2.8 or cp_measure 0.3 with",
        "`legacy=True`; `python -m benchmarks.feature_parity ../shared` prints how often.\n",
        _table(("feature", "from", "why, and which is right"), EXCEPTIONS),
    )
    return "\n".join(parts) + "\n"


def families_of(entry: Entry) -> tuple[FeatureFamily, ...]:
    """The families of an entry of the registry, with their default options."""
    made = entry() if callable(entry) else entry
    return made if isinstance(made, tuple) else (made,)


def _row(name: str, entry: Entry) -> tuple[str, ...]:
    families = families_of(entry)
    groups = ", ".join(dict.fromkeys(family.group for family in families))
    places = ", ".join(dict.fromkeys(p for family in families for p in family.reported_for))
    counts = [f"{len(f.features)}{_per(f)}" for f in families if f.reported_for != (IMAGE,)]
    counts += [f"{len(f.features)}{_per(f)} of Image" for f in families if IMAGE in f.reported_for]
    return name, groups, places, " + ".join(dict.fromkeys(counts)), _options(entry)


def _per(family: FeatureFamily) -> str:
    match family.over:
        case Over.OBJECTS:
            return ""
        case Over.PAIR:
            return " a pair of channels"
        case _:
            return " a channel"


def _options(entry: Entry) -> str:
    if not callable(entry):
        return "-"
    options = inspect.signature(entry).parameters.values()
    return ", ".join(f"`{option.name} = {_toml(option.default)}`" for option in options)


def _toml(value: object) -> str:
    return str(list(value) if isinstance(value, tuple) else value)


def _section(name: str, entry: Entry) -> str:
    lines = [f"\n## {name}"]
    for about in dict.fromkeys(family.about for family in families_of(entry)):
        lines += ["", *_paragraphs(about)]
    return "\n".join(lines)


def _paragraphs(about: str) -> Iterator[str]:
    """Turn a docstring into Markdown: names become lists, what is raised is left out."""
    section = ""
    for line in inspect.cleandoc(about).splitlines():
        bare = line.strip()
        if bare in SECTIONS:
            section = bare
            if section == "Args:":
                yield "Options:\n"
        elif section in ("Attributes:", "Args:"):
            is_new = line.startswith("    ") and not line.startswith("     ")
            name, _, meaning = bare.partition(": ")
            yield f"- `{name}`: {meaning}" if is_new else f"  {bare}".rstrip()
        elif not section:
            yield bare


def _table(header: tuple[str, ...], rows: object) -> str:
    lines = [header, ("---",) * len(header), *rows]  # type: ignore[misc]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
