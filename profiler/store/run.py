"""What made a run folder, and whether a run may go on in it."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from plates.errors import BadRun
from profiler.store.atomic import is_draft, replacing
from profiler.store.lock import NO_RESULTS
from profiler.store.schema import TABLES, VERSION

FACTS = "run.json"
BEFORE = {
    "embedder": None,
    "pixel_sizes": {},
}  # what runs from before a fact was noted would have said
PER_WELL = ("cells", "images", "cell_classes")
_FOLDERS = ("cells", "images", "classes", "explain", "thumbnails", "labels", "illumination")
_FOLDERS += ("timing",)
_BESIDE = ("layout.parquet", "index.parquet")
_FILES = (*(t.file for name, t in TABLES.items() if name not in PER_WELL), *_BESIDE)
_OURS = {FACTS, *NO_RESULTS, "report.html", *_FOLDERS, *_FILES}


@dataclass(frozen=True)
class RunFacts:
    """All that `run.json` says.

    Attributes:
        recipe: Name of the recipe.
        settings: The recipe as resolved, one table per stage.
        packages: Versions of the packages that numbers depend on.
        device: What computed the cells.
        weights: Hash of the nuclei network's weights ("+" that of the cells', where one took part),
            or null where none was used.
        embedder: Hash of the encoder's weights, or null where cells have no vectors.
        pixel_sizes: Plate -> micrometres per pixel, where the microscope says.
        layout: Hash of the plate map, or null where there is none.
        plates: Names of the plates.
        summary: What came out; empty until the run has ended.
        created: When the folder was claimed first (ISO 8601, UTC).
        updated: When this was written.
        store_version: Format of the folder.
    """

    recipe: str
    settings: Mapping[str, Any]
    packages: Mapping[str, str]
    device: str
    weights: str | None
    layout: str | None
    plates: tuple[str, ...]
    embedder: str | None = None
    pixel_sizes: Mapping[str, float] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    created: str = ""
    updated: str = ""
    store_version: str = VERSION


class Run(NamedTuple):
    """One run folder, the name it goes by beside others, and what its `run.json` says.

    Attributes:
        folder: Where its tables lie.
        name: What it goes by.
        facts: What it says of itself.
        fetch: Brings a table that is a file for each well, or "thumbnails", of a run in a store.
    """

    folder: Path
    name: str
    facts: RunFacts
    fetch: Callable[[str], None] = lambda table: None


def claim(out: Path, *, facts: RunFacts) -> RunFacts:
    """Start or go on with a run in a folder; call it where the folder is locked.

    Args:
        out: The run folder; made where absent.
        facts: What is about to run there. Settings may differ from last time: wells then
            differ in `computed_by`, and are computed again.

    Returns:
        The facts as written: `created` is that of the first claim.

    Raises:
        BadRun: As `check`; nothing was changed.
    """
    earlier = check(out, recipe=facts.recipe)
    return write_facts(out, replace(facts, created=earlier.created if earlier else _now()))


def check(out: Path, *, recipe: str) -> RunFacts | None:
    """Check that a recipe may run in a folder, without touching it.

    Returns:
        What made the folder, or None where it is new or empty.

    Raises:
        BadRun: It is no folder, holds something else, or was made by another recipe or version.
    """
    if not out.exists():
        return None
    if not (out / FACTS).is_file():
        _check_empty(out)
        return None
    facts = read_facts(out)
    if facts.recipe != recipe:
        raise BadRun(
            f"{out} was made by recipe {facts.recipe!r}, not {recipe!r}. Choose another --out, or "
            "start it afresh with --replace; nothing was changed."
        )
    return facts


def discard(out: Path) -> None:
    """Remove all that runs have made in a folder, for `--replace`; the folder stays.

    Raises:
        BadRun: It is not a run folder, or holds something no run makes; nothing was removed.
    """
    if not (out / FACTS).is_file():
        raise BadRun(f"{out} is not a run folder: it has no {FACTS}; nothing was removed.")
    check_contents(str(out), [path.name for path in _contents(out)], is_to_go=True)
    try:
        _remove(out)
    except OSError as error:
        raise BadRun(
            f"{error.filename} could not be removed ({error.strerror}), so {out} is part removed. "
            "Ask for permission to write there, and use --replace again."
        ) from error


def check_contents(where: str, names: Sequence[str], *, is_to_go: bool = False) -> None:
    """Check that a folder, here or in a store, holds a run, or nothing.

    Args:
        where: The folder, for the message.
        names: Of the files and folders in it.
        is_to_go: Whether all of it is to be removed.

    Raises:
        BadRun: It holds something else.
    """
    if FACTS not in names and names:
        raise BadRun(
            f"{where} is not empty and is not a run folder: it holds {_listed(names)} and no "
            f"{FACTS}. Choose another --out; nothing was changed."
        )
    others = [name for name in names if name not in _OURS]
    if is_to_go and others:
        raise BadRun(
            f"{where} holds {_listed(others)}, which no run makes. Move it away, or choose another "
            "--out; nothing was removed."
        )


def write_facts(out: Path, facts: RunFacts) -> RunFacts:
    """Write `run.json` whole or not at all, and return it with `updated` set to now."""
    stamped = replace(facts, updated=_now())
    with replacing(out / FACTS) as draft:
        draft.write_text(json.dumps(asdict(stamped), indent=2, allow_nan=False) + "\n", "utf-8")
    return stamped


def read_facts(out: Path) -> RunFacts:
    """Read `run.json`.

    Raises:
        BadRun: It is not there, cut short, or of another version.
    """
    path = out / FACTS
    try:
        raw = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BadRun(
            f"{out} is not a run folder: it has no {FACTS}. Give the folder that was --out of "
            "`profiler run`."
        ) from error
    except (OSError, ValueError) as error:
        raise BadRun(f"{path} cannot be read ({error}). Restore it, or use --replace.") from error
    return _facts(path, raw)


def _facts(path: Path, raw: Any) -> RunFacts:
    version = raw.get("store_version") if isinstance(raw, dict) else None
    if version is not None and version != VERSION:
        raise BadRun(
            f"{path} has store version {version}, and this program reads version {VERSION}. Use "
            "the program that wrote it, or choose another --out."
        )
    names = {column.name for column in fields(RunFacts)}
    raw = BEFORE | (raw if isinstance(raw, dict) else {})
    if raw.keys() != names:
        odd = sorted(names.symmetric_difference(raw))
        raise BadRun(
            f"{path} was edited or is of another program: {_listed(odd)} missing or unknown. "
            "Restore it, or use --replace."
        )
    return RunFacts(**{**raw, "plates": tuple(raw["plates"])})


def _check_empty(out: Path) -> None:
    if not out.is_dir():
        raise BadRun(f"{out} is a file, not a folder. Choose another --out.")
    check_contents(str(out), [path.name for path in _contents(out) if path.name not in NO_RESULTS])


def _remove(out: Path) -> None:
    for name in _FOLDERS:
        if (out / name).is_dir():
            shutil.rmtree(out / name)
    for name in (*_FILES, "report.html", FACTS):  # run.json last: until then it is a run folder
        (out / name).unlink(missing_ok=True)


def _contents(out: Path) -> list[Path]:
    return [path for path in sorted(out.iterdir()) if not is_draft(path)]


def _listed(names: Sequence[str], *, most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
