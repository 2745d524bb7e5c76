"""What every feature is, as Markdown: the text of docs/features.md."""

import inspect
from collections.abc import Iterator

from profiler.measure.differences import DIFFERENCES
from profiler.measure.families import FAMILIES
from profiler.measure.family import IMAGE, FeatureFamily, Over
from profiler.measure.plan import Entry

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
        _table(("feature", "from", "why, and which is right"), (row[:3] for row in DIFFERENCES)),
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
