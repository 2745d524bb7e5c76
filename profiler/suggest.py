"""Which fields to correct by hand, so that a network learns most from the least work."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import tifffile

from plates.errors import BadImage, BadModel, BadPlate
from plates.pixels import project, read_plane
from plates.table import read_table
from profiler.compute.field import keep_compiled_programs, segment_config
from profiler.compute.pictures import write_labels
from profiler.images import FOLDER, check_folder, find_labels
from profiler.recipe import Recipe, parse_recipe
from profiler.segment.compartments import CellsConfig
from profiler.segment.doubt import Doubt, doubt
from profiler.segment.label_files import SUFFIXES, files_by_name
from profiler.segment.segmenter import SegmentConfig, Segmenter, load_segmenter
from profiler.store.atomic import replacing
from profiler.store.home import open_run
from profiler.store.objects import run_address
from profiler.store.places import safe_name, stored, well_path
from profiler.store.run import FACTS, Run
from profiler.store.tables import read_footer

LIST = "suggestions.csv"
COLUMNS = pl.Schema(
    {"image": pl.String, "objects": pl.Int64, "doubt": pl.Float64, "look_at": pl.String}
)
PARTS = ("images", "labels")
USABLE = ("ok", "no_cells", "too_many_cells")


class Looked(NamedTuple):
    """One field was looked at.

    Attributes:
        name: Which.
        doubt: Roughly how many of its objects are wrong; None if it could not be read.
        fields: How many are looked at.
        problem: Why it could not be read.
    """

    name: str
    doubt: float | None
    fields: int
    problem: str | None = None


class Fewer(NamedTuple):
    """Fewer fields were written than asked for.

    Attributes:
        written: How many were.
        asked: How many were asked for.
        certain: How many of those looked at were left out as none of their objects is doubtful.
        shared: How many others were left out as they lie in the well of one that was written.
    """

    written: int
    asked: int
    certain: int
    shared: int

    @property
    def sentence(self) -> str:
        """What a person should know of it."""
        are = "fields are" if self.written != 1 else "field is"
        said = f"{self.written} {are} written, not {self.asked}: "
        if not self.certain + self.shared:
            return f"{said}no more could be looked at."
        return (
            f"{said}of the others looked at, {self.certain} show nothing doubtful, and "
            f"{self.shared} lie in a well of which another is written."
        )


@dataclass(frozen=True)
class Wanted:
    """What to suggest.

    Attributes:
        fields: How many to write, at most.
        sample: How many to look at, at most: each is segmented six times.
        model: Network to judge by; by default the run's own, or "nuclei".
        seed: Decides which fields the sample holds.
    """

    fields: int = 10
    sample: int = 200
    model: str | None = None
    seed: int = 0


class _Source(NamedTuple):
    """A field: its name, the place it should share with no other suggestion, its z-stack."""

    name: str
    place: str
    files: tuple[str, ...]


def suggest(where: Path, out: Path, *, wanted: Wanted = Wanted()) -> Iterator[Looked | Fewer]:
    """Write the fields that a segmenter is least sure of, with labels to correct.

    A field without doubt is never written: its labels would be what the network says already.

    Fields of which `out` already holds an image or labels are left out and left alone, so that
    going on with a better network adds others.

    Args:
        where: A run, in a folder or a store, whose images must still be where they were; or a
            folder of images.
        out: Gets `images/` and `labels/` (TIFFs of the same names, as `profiler train segmenter`
            reads them, and napari and Fiji open them), and `suggestions.csv`; what a person added
            to it stays.
        wanted: How many, and by which network.

    Yields:
        `Looked` for each field, and `Fewer` in the end if so.

    Raises:
        BadPlate: There is no field to look at that is not suggested already, or nothing doubtful
            in any; or `out` is no folder, or its list of suggestions is one no more.
        BadImage: None of the fields can be read.
        BadModel: Whole cells are asked for in a run, whose nuclear stain is shown.
        BadRun: The run cannot be read.
    """
    for part in PARTS:
        check_folder(out / part)
    _listed(out / LIST)
    keep_compiled_programs()
    run = _opened(where)
    sources, config, how = _run(run) if run else _folder(where)
    known = _held(out)
    fresh = [source for source in sources if source.name not in known]
    if not fresh:
        raise BadPlate(
            f"All {len(sources)} fields of {run.name if run else where} are in {out} already. "
            "Train on them, or name another folder."
        )
    judge = replace(config, model=wanted.model or config.model, cells=CellsConfig())
    segmenter = load_segmenter(judge)  # of nuclei alone, doubtful ones above all
    if segmenter.card.nucleus_px is not None and run:
        raise BadModel(
            f"The model {judge.model!r} finds whole cells, and suggestions from a run show its "
            "nuclear stain. Give a folder with images of the cell stain instead of the run."
        )
    sample = _sample(fresh, wanted)
    doubts: dict[_Source, float] = {}
    problems: list[BadImage] = []
    for source in sample:
        try:
            doubts[source] = _doubt(segmenter, source, how)[1].total
        except BadImage as problem:
            problems.append(problem)
            yield Looked(source.name, None, len(sample), str(problem))
            continue
        yield Looked(source.name, doubts[source], len(sample))
    if not doubts:
        raise BadImage(
            f"None of the {len(sample)} fields looked at can be read: {problems[0]}",
            code=problems[0].code,
        )
    doubtful = _doubtful(doubts, model=judge.model)
    most = _most(doubtful, wanted.fields)
    for source in most:  # looked at again: all labels would fill the memory
        _write(out, source.name, *_doubt(segmenter, source, how))
    if len(most) < wanted.fields:
        certain, shared = len(doubts) - len(doubtful), len(doubtful) - len(most)
        yield Fewer(len(most), wanted.fields, certain, shared)


def _held(out: Path) -> set[str]:
    """Names of what was suggested before, or labelled by hand, in files of any kind."""
    files = (path for part in PARTS for path in (out / part).glob("*"))
    return {path.stem for path in files if path.suffix.lower() in SUFFIXES}


def _doubt(segmenter: Segmenter, source: _Source, how: str) -> tuple[np.ndarray, Doubt]:
    plane = project([read_plane(path).pixels for path in source.files], how=how)
    return plane, doubt(partial(find_labels, segmenter, name=source.name), plane)


def _folder(folder: Path) -> tuple[list[_Source], SegmentConfig, str]:
    sources = [
        _Source(name, name, (str(path),))
        for name, path in files_by_name(folder, wanted=FOLDER).items()
    ]
    return sources, SegmentConfig(diameter_px="auto"), "none"


def _opened(where: Path) -> Run | None:
    """The run, with its cells at hand; None for a folder of images."""
    address = run_address(where)
    if address is None and not (where / FACTS).is_file():
        return None
    run = open_run(where, address or str(where))
    run.fetch("cells")
    return run


def _run(run: Run) -> tuple[list[_Source], SegmentConfig, str]:
    recipe = parse_recipe(dict(run.facts.settings), where=f"{run.name}/{FACTS}")
    sources = [
        source
        for plate, well in stored(run.folder)
        for source in _fields(run.folder, recipe, plate=plate, well=well)
    ]
    return sources, segment_config(recipe), recipe.images.projection


def _fields(out: Path, recipe: Recipe, *, plate: str, well: str) -> Iterator[_Source]:
    """The usable fields of a well, with the files of its nuclear stain.

    Raises:
        BadPlate: The stains have stacks of different depth, so that the files cannot be told apart.
    """
    footer = read_footer(well_path(out, plate, well)).parameters
    stains = list(recipe.images.channels)
    nuclei = stains.index(recipe.segment.nuclei)
    usable = {
        (row["Metadata_Site"], row["Metadata_Timepoint"])
        for row in footer["fields"]
        if row["Metadata_QC_Status"] in USABLE
    }
    for site, time, stamps in footer["inputs"]:
        if (site, time) in usable:
            depth, odd = divmod(len(stamps), len(stains))
            if odd:
                raise BadPlate(
                    f"{plate} {well} site {site}: {len(stamps)} files for {len(stains)} stains; "
                    "suggestions need as many z planes of each. Give a folder of images instead."
                )
            files = tuple(path for path, *_ in stamps[nuclei * depth : (nuclei + 1) * depth])
            place = f"{safe_name(plate)}_{well}"
            yield _Source(f"{place}_{site}" + f"_t{time}" * (time > 1), place, files)


def _sample(sources: Sequence[_Source], wanted: Wanted) -> list[_Source]:
    if len(sources) <= wanted.sample:
        return list(sources)
    rng = np.random.default_rng(wanted.seed)
    return [sources[i] for i in np.sort(rng.choice(len(sources), wanted.sample, replace=False))]


def _doubtful(doubts: dict[_Source, float], *, model: str) -> dict[_Source, float]:
    """Those of which anything is in doubt.

    Raises:
        BadPlate: There is none.
    """
    doubtful = {source: doubt for source, doubt in doubts.items() if doubt > 0}
    if not doubtful:
        raise BadPlate(
            f"There is nothing doubtful in any of the {len(doubts)} fields looked at: the model "
            f"{model!r} says the same of each in every view, so correcting them would teach it "
            "little. Nothing was written. Label by hand fields in which you see it err."
        )
    return doubtful


def _most(doubts: dict[_Source, float], fields: int) -> list[_Source]:
    """The most doubtful, one of a well: its other fields would teach the same."""
    ordered = sorted(doubts, key=lambda source: (-doubts[source], source.name))
    chosen: dict[str, _Source] = {}
    for source in ordered:
        chosen.setdefault(source.place, source)
    return list(chosen.values())[:fields]


def _write(out: Path, name: str, plane: np.ndarray, found: Doubt) -> None:
    """Both files at once, as near as can be: training refuses an image or labels alone."""
    with replacing(out / "images" / f"{name}.tif") as draft:
        tifffile.imwrite(draft, plane, compression="zlib")
        write_labels(out / "labels" / f"{name}.tif", found.labels.astype(np.int32))
    _append(out / LIST, name, found)


def _append(path: Path, name: str, found: Doubt) -> None:
    """Add a row: the field, how much of it is doubtful, and its objects, the worst first."""
    worst = found.ids[np.argsort(-found.objects, kind="stable")][: int(np.ceil(found.total))]
    look_at = " ".join(map(str, worst.tolist()))
    row = pl.DataFrame(
        [(name, len(found.ids), round(found.total, 2), look_at)], schema=COLUMNS, orient="row"
    )
    rows = pl.concat([_listed(path), row], how="diagonal")
    with replacing(path) as draft:
        rows.write_csv(draft)


def _listed(path: Path) -> pl.DataFrame:
    """The list of earlier suggestions, as a person may have left it; empty where there is none.

    Columns beyond `COLUMNS` are kept as text. A spreadsheet may have put semicolons between cells
    and a comma in a number.

    Raises:
        BadPlate: It cannot be read, or is no such list.
    """
    if not path.is_file():
        return pl.DataFrame(schema=COLUMNS)
    table = read_table(path, error=BadPlate)
    try:
        return table.with_columns(pl.col("doubt").str.replace(",", ".")).cast(COLUMNS)
    except pl.exceptions.PolarsError as error:
        raise BadPlate(
            f"{path} is no list of suggestions any more: {error}. Its columns are "
            f"{', '.join(table.columns)}; expected {', '.join(COLUMNS)} (objects and doubt are "
            "numbers), and any others after them. Restore it, or move it elsewhere."
        ) from error
