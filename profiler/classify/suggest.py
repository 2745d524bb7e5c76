"""Which cells to label next, so that a classifier learns most from the least work."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from plates.errors import BadPlate, BadRecipe, lookup
from profiler.classify.content import Followed, contents_of, follow
from profiler.classify.gather import by_plate, chosen_features, drawn, usable_features
from profiler.classify.labels import (
    LABEL,
    Labelled,
    check_times,
    places_of,
    read_labelled,
)
from profiler.classify.model import Model, read_model
from profiler.classify.predict import Said, check_fits, judge_of, say
from profiler.classify.scale import plate_scale
from profiler.classify.sheet import (
    DIAMETER,
    LINE,
    PLATE,
    SITE,
    WELL,
    Entry,
    Pictures,
    as_url,
    contact_sheet,
    crops,
    page,
    pictures_of,
    placed,
)
from profiler.classify.trust.acquire import STRATEGIES, Pool, choose
from profiler.profile.stains import stains_of
from profiler.report.examples import X, Y
from profiler.store.atomic import replacing
from profiler.store.cell_keys import CONTENT, KEYS, PLACE, TIMEPOINT
from profiler.store.home import THUMBNAILS
from profiler.store.mark import FIELD_VERDICT
from profiler.store.places import well_path
from profiler.store.screen import Screen
from profiler.store.screen import open as open_screen
from profiler.store.tables import read_footers

LIST, PAGE, SHEET = "cells.csv", "cells.html", "cells.png"
AXES = 30  # main axes in which cells are diverse: more hold noise
ABOVE = 0.2  # a second class with this probability is worth a word
NEW = 0.05
CUT = "Metadata_QC_TouchesBorder"


@dataclass(frozen=True)
class Wanted:
    """What to suggest.

    Attributes:
        cells: How many.
        sample: How many to choose them from, about.
        strategy: A key of `acquire.STRATEGIES`; by default "mixed", or "diversity" without a
            classifier.
        labels: Table of cells that are labelled already, perhaps on plates of other runs, too.
        is_anywhere: Whether cells that no thumbnail shows are suggested, too, where there are
            thumbnails at all.
        seed: It alone decides what is drawn.
    """

    cells: int = 50
    sample: int = 20_000
    strategy: str | None = None
    labels: Path | None = None
    is_anywhere: bool = False
    seed: int = 0


class Suggested(NamedTuple):
    """What was written.

    Attributes:
        cells: Keys of the cells, the most wanted first; where their nuclei lie in the field, in
            pixels, where the recipe measures that; the content of their well, by which it is known
            whether they have been computed anew since; and an empty `Label`.
        notes: How they were chosen, in sentences.
    """

    cells: pl.DataFrame
    notes: tuple[str, ...]


class _Sample(NamedTuple):
    """Cells to choose from: their rows, their vectors, and those that are labelled already."""

    cells: pl.DataFrame
    vectors: np.ndarray
    labelled: np.ndarray


def suggest(
    run: Path, out: Path, *, model: Path | None = None, wanted: Wanted = Wanted()
) -> Suggested:
    """Write a list of cells to label, a page to label them on, and a sheet of their pictures.

    Cells at the border of their field and of fields that are not believed are left out, and those
    that `wanted.labels` has.

    Args:
        run: A run folder or address.
        out: Gets `cells.csv` (in the format of label tables, the label empty), `cells.html` and
            `cells.png`.
        model: Classifier whose doubts are asked; without, cells are chosen that differ.
        wanted: How many, and how.

    Raises:
        BadLabelTable: `wanted.labels` names no time points, and the run has several; or cells of
            one of its plates that it does not have, or does not find again since they were
            computed anew.
        BadRecipe: A strategy that needs a classifier, and none; or novelty that it does not know.
        BadModel: The classifier does not fit the cells.
        BadPlate: There is no cell to choose from.
        BadRun: The run has no cells, or a file cannot be read or written.
    """
    known = read_model(model) if model else None
    strategy = _strategy(wanted.strategy, known)
    screen = open_screen(run)
    screen.runs[0].fetch(THUMBNAILS)
    pictures = pictures_of(screen.runs[0].folder, screen.fields.collect())
    times = screen.fields.select(pl.col(TIMEPOINT).n_unique()).collect().item()
    labelled = None
    if wanted.labels:
        known_cells = read_labelled(wanted.labels)
        check_times(known_cells.cells.columns, times=times)
        labelled = _there(known_cells, screen)
    done = labelled.cells if labelled else None
    _check_unlabelled(out / LIST)
    sample = _sample(screen, known, pictures, done=done, wanted=wanted)
    said = say(judge_of(known, coverage=0.9), sample.vectors) if known else None
    rows = choose(strategy, _pool(sample, said), count=wanted.cells, seed=wanted.seed)
    chosen = sample.cells[rows]
    named = [key for key in KEYS if key != TIMEPOINT or times > 1]
    notes = (*_tell(sample, chosen, strategy, pictures), *(labelled.told if labelled else ()))
    table = _listed(chosen, named, screen)
    why = _why(said, known, rows)
    _write(out, table, chosen, pictures, why=why, known=known, about=notes[0])
    return Suggested(table, notes)


def _strategy(name: str | None, known: Model | None) -> str:
    name = name or ("mixed" if known else "diversity")
    lookup(STRATEGIES, kind="strategy", name=name)
    if known is None and name not in ("diversity", "random"):
        raise BadRecipe(
            f"The strategy {name!r} asks a classifier for its doubts: name one with --model, or "
            "choose diversity or random."
        )
    if name == "novelty" and known and known.learnt.odd is None:
        raise BadRecipe(
            "The classifier was trained on too few labels to say which cells are new: choose "
            "another strategy."
        )
    return name


def _sample(
    screen: Screen,
    known: Model | None,
    pictures: Pictures,
    *,
    done: pl.DataFrame | None,
    wanted: Wanted,
) -> _Sample:
    """Draw cells to choose from, and put them on their plates' scale."""
    every = screen.cells
    columns = every.collect_schema().names()
    is_usable = ~pl.col(CUT) & (
        (pl.col(FIELD_VERDICT) == "ok") if FIELD_VERDICT in columns else True
    )
    cells = every.filter(is_usable)
    is_seen = bool(pictures.views) and not wanted.is_anywhere
    if is_seen:
        shown = [{PLATE: plate, SITE: site} for plate, site in pictures.sites.items()]
        kind = pl.Struct({PLATE: pl.String, SITE: pl.Int32})
        cells = cells.filter(pl.struct(PLATE, SITE).is_in(pl.Series(shown, dtype=kind).implode()))
    if done is not None:
        cells = cells.join(done.lazy(), on=done.columns, how="anti")
    plates = every.select(pl.col(PLATE).unique().sort()).collect().to_series()
    features = known.card.features if known else chosen_features(every)
    if known:
        _check(known, screen, columns)
    scales = {p: plate_scale(every.filter(pl.col(PLATE) == p), features=features) for p in plates}
    if known is None:
        features, scales, _ = usable_features(features, scales)
    places = [name for name in (X, Y, DIAMETER) if name in columns and name not in features]
    held = drawn(cells, count=wanted.sample, seed=wanted.seed).select(*KEYS, *places, *features)
    found = placed(held.collect(engine="streaming").sort(*KEYS), pictures, only_whole=is_seen)
    found = found.filter(pl.col(LINE).is_not_null()) if is_seen else found
    vectors, has_profile, _ = by_plate(found, scales, features=features)
    if not has_profile.any():
        seen = " that a thumbnail shows whole" if is_seen else ""
        raise BadPlate(
            f"There is no cell to choose from: none{seen} is left that is whole, of a field that "
            "is believed, and not labelled yet."
            + (" Use --anywhere for cells without a picture." if is_seen else "")
        )
    old = np.zeros((0, len(features)))
    if done is not None:
        some = every.join(done.lazy(), on=done.columns, how="semi").select(*KEYS, *features)
        old, is_whole, _ = by_plate(some.collect(engine="streaming"), scales, features=features)
        old = old[is_whole]
    return _Sample(found.filter(pl.Series(has_profile)), vectors[has_profile], old)


def _check(known: Model, screen: Screen, columns: Sequence[str]) -> None:
    run = screen.runs[0]
    wells = screen.cells.select(PLATE, WELL).unique().collect().sort(PLATE, WELL)
    paths = [well_path(run.folder, *well) for well in wells.rows()]
    stains = stains_of(run.facts.settings)
    for path, footer in zip(paths, read_footers(paths), strict=True):
        made_of = {"embedder": footer.parameters.get("embedder"), "stains": stains}
        check_fits(known, columns, **made_of, where=str(path))


def _pool(sample: _Sample, said: Said | None) -> Pool:
    """The cells on their main axes, on which noise counts for less."""
    from sklearn.decomposition import PCA  # takes a second to import

    main = PCA(min(AXES, *sample.vectors.shape), random_state=0).fit(sample.vectors)
    points = main.transform(sample.vectors)
    labelled = main.transform(sample.labelled) if len(sample.labelled) else points[:0]
    if said is None:
        return Pool(points, np.ones((len(points), 1)), labelled)
    return Pool(points, said.probabilities, labelled, said.novelty)


def _why(said: Said | None, known: Model | None, rows: np.ndarray) -> list[str]:
    """What the classifier says of the cells that were chosen."""
    if said is None or known is None:
        return [""] * len(rows)
    told = []
    for row in rows:
        order = np.argsort(-said.probabilities[row])
        likely = [i for i in order[:3] if i == order[0] or said.probabilities[row, i] > ABOVE]
        text = ", ".join(
            f"{known.card.classes[i]} {said.probabilities[row, i]:.0%}" for i in likely
        )
        is_new = said.p_value is not None and bool(said.p_value[row] < NEW)
        told.append(text + "; unlike known cells" * is_new)
    return told


def _listed(chosen: pl.DataFrame, keys: Sequence[str], screen: Screen) -> pl.DataFrame:
    """What a person fills in: the cells, where to find them, and what will tell them again."""
    contents = contents_of(screen, chosen.select(PLATE, WELL).unique().rows())
    own = [contents[well] for well in chosen.select(PLATE, WELL).rows()]
    places = [pl.col(name).cast(pl.Float64).round(1) for name in PLACE if name in chosen.columns]
    return chosen.select(
        *keys, *places, pl.Series(CONTENT, own, pl.String), pl.lit(None, pl.String).alias(LABEL)
    )


def _there(done: Labelled, screen: Screen) -> Followed:
    """Labelled cells of the run's plates; a table may have others, which pass by.

    Raises:
        BadLabelTable: The run does not have one, or it is not found again.
    """
    is_own = pl.col(PLATE).is_in(sorted(screen.runs[0].facts.plates))
    cells, noted = (each.filter(is_own) for each in done)
    found = follow(cells, noted, screen)
    if found.cells.height:
        places_of(found.cells, screen.cells.filter(is_own))
    return found


def _check_unlabelled(path: Path) -> None:
    """Refuse to write over what a person has said."""
    if path.is_file() and read_labelled(path).cells.height:
        raise BadRecipe(
            f"{path} has labels already, and a new list would replace them. Choose another --out, "
            "or move that file away; nothing was changed."
        )


def _tell(
    sample: _Sample, chosen: pl.DataFrame, strategy: str, pictures: Pictures
) -> Iterator[str]:
    yield (
        f"{chosen.height} of {sample.cells.height:,} cells looked at, of "
        f"{chosen.select(PLATE, WELL).unique().height} wells, by the strategy {strategy!r}."
    )
    hidden = chosen[LINE].null_count()
    if not pictures.views:
        yield "The run has no thumbnails that say what they show, so there are no pictures."
    elif hidden:
        yield f"{hidden} of the cells are in no thumbnail and have no picture."


def _write(
    out: Path,
    table: pl.DataFrame,
    chosen: pl.DataFrame,
    pictures: Pictures,
    *,
    why: Sequence[str],
    known: Model | None,
    about: str,
) -> None:
    found = crops(chosen, pictures)
    keys = table.select(key for key in KEYS if key in table.columns)
    rows = zip(keys.iter_rows(), table.drop(LABEL).iter_rows(), found, why, strict=True)
    entries = [Entry(_name(key), _line(row), as_url(crop), said) for key, row, crop, said in rows]
    classes = known.card.classes if known else []
    text = page(entries, classes=classes, header=_line(table.columns), about=about)
    with replacing(out / PAGE) as draft:
        draft.write_text(text, "utf-8")
    if any(found):
        with replacing(out / SHEET) as draft:
            contact_sheet(found).save(draft, format="PNG")
    else:
        (out / SHEET).unlink(missing_ok=True)
    with replacing(out / LIST) as draft:  # last: with it the suggestion is there
        table.write_csv(draft)


def _name(row: tuple) -> str:
    plate, well, site, *time, number = row
    return f"{plate} {well} site {site}{f' time {time[0]}' if time else ''} cell {number}"


def _line(values: Sequence) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(values)
    return text.getvalue()
