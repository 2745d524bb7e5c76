"""`profiler explain`: how a treatment's cells are found, explained, drawn and written, in order."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from plates.errors import BadRecipe
from profiler.compute.devices import keep_compiled_programs
from profiler.compute.reread import Source, field_reader
from profiler.embed.explain.explainer import Explained, Reference, make_explainer
from profiler.embed.explain.line import direction_line
from profiler.explain.beside import find_beside
from profiler.explain.candidates import TREATED, Candidates, find_cells, with_features
from profiler.explain.choose import choose_cells, reference_cells
from profiler.explain.crops import Crops, gather_crops
from profiler.explain.events import Event, Told, Written
from profiler.explain.given import Given, check_network, given_direction, given_sides
from profiler.explain.labelled import LABEL, Labels, Marked, find_labelled, place_labelled
from profiler.explain.listed import Listed
from profiler.explain.network import Network, load_network
from profiler.explain.pages import draw_pages, gather_shown
from profiler.explain.sentences import of_cells, of_direction, of_given, of_labelled, of_mask
from profiler.explain.sides import TwoSides, compound_sides, listed_sides
from profiler.explain.tables import cell_table, feature_table
from profiler.explain.vectors import embedder
from profiler.phenotype.directions import Direction, Sides, along, find_direction
from profiler.recipe import parse_recipe
from profiler.store.places import safe_name
from profiler.store.run import FACTS, RunFacts, read_facts
from profiler.store.screen import Screen
from profiler.store.screen import open as open_screen
from profiler.store.tables import made_with, write_table

FOLDER = "explain"
REFERENCES = 3  # control cells that others are held against
DARK = 5  # percentile of the crops' pixels that is a stain's background


@dataclass(frozen=True)
class Wanted:
    """What to explain.

    Attributes:
        compound: As in the plate map; or None, and `listed` says which cells.
        listed: Cells of a table, from `listed.read_listed`.
        concentration: Of the compound; by default the one that speaks most for it.
        timepoint: In a run over time; by default that of the hits.
        model: Encoder; the run's own by default.
        pixel_size_um: Of the images, where the encoder's crops are of a stated one; by default the
            recipe's, or else what the microscope said.
        cells: How many treated cells to show.
        seed: Decides which cells and fields are looked at, where there are many.
        given: A line to explain instead, such as a class of a classifier.
        labels: Labelled cells, of which the nearest are shown beside each cell.
    """

    compound: str | None = None
    listed: Listed | None = None
    concentration: float | None = None
    timepoint: int | None = None
    model: str | None = None
    pixel_size_um: float | None = None
    cells: int = 12
    seed: int = 0
    given: Given | None = None
    labels: Labels | None = None


def explain(out: Path, wanted: Wanted) -> Iterator[Event]:
    """Explain by which pixels, stains and features a network tells a treatment from controls.

    Or cells that are listed, or those of a class, along the line that its classifier goes by.

    Args:
        out: The run folder; the images must still be where the run read them.
        wanted: What to explain, and by which network.

    Yields:
        Fields as they are read, what a person should know, and at the end `Written`:
        RUN/explain/NAME with sheets (cells.png), explain.parquet and features.parquet, see
        `tables.py`; those of an earlier time are replaced.

    Raises:
        UnknownName: There is no such compound, dose, time point or model.
        NoControls: There are no negative controls, or no direction from them.
        BadLayout: There is no plate map.
        BadModel: The encoder is of other stains or not the one that a class goes by, or its files
            are damaged.
        BadPlate: Images are gone or changed.
        BadRun: Listed or labelled cells are not there, none lies whole within its field, or the
            run's images give other cells now.
        BadRecipe: No encoder is named, the crops' pixel size is needed, or what is wanted
            contradicts itself.
    """
    keep_compiled_programs()
    facts, screen = read_facts(out), open_screen(out)
    recipe = parse_recipe(dict(facts.settings), where=str(out / FACTS))
    _check(wanted)
    sides = _sides(screen, wanted, usual=recipe.hits.timepoint)
    marked = _marked(screen, wanted.labels, sides)
    size = wanted.pixel_size_um or recipe.embed.pixel_size_um
    sizes = _pixel_sizes(facts, [sides.treated, *([] if marked is None else [marked.table])], size)
    network = load_network(recipe, model=wanted.model, embedder=facts.embedder, pixel_sizes=sizes)
    if wanted.given is not None:
        check_network(wanted.given, network)
    read = field_reader(Source(out, recipe, network.stains, network.config.crops, sizes))
    embed = embedder(screen, network, read=read, seed=wanted.seed)
    cells = with_features(screen, (yield from embed(find_cells(screen, sides), TREATED)))
    direction, of_line = _direction(cells, wanted.given)
    labelled = None
    if marked is not None:
        origins = direction.origins
        labelled = yield from place_labelled(marked, screen, origins=origins, embed=embed)
    known = () if wanted.listed is None else wanted.listed.told
    told = [*known, *of_cells(cells, sides, wanted.cells), *of_line]
    yield from map(Told, told)

    place = along(direction, cells.vectors, plate=cells.plate)
    rows, reference = _chosen(cells, direction, place, wanted)
    order = np.concatenate(list(rows.values()))
    beside = find_beside(cells, order, direction, labelled)
    every = np.concatenate([order, reference, beside.rows])
    crops = yield from gather_crops(beside.keys, every, read=read)
    found = _explained(network, direction, crops, order=order, reference=reference)
    table = cell_table(cells, rows, found, stains=network.stains, place=place, beside=beside)
    last = of_mask(found, kinds=table["kind"].to_list())
    if labelled is not None:
        last += [*labelled.told, *of_labelled(labelled.table[LABEL].to_list(), table)]
    yield from map(Told, last)

    folder = out / FOLDER / safe_name(sides.folder)
    shown = gather_shown(crops, order, beside)
    sheets = draw_pages(folder, table, found, shown, title=sides.name, network=network)
    about = _about(sides, network, direction, [*told, *last])
    about |= {"computed_by": made_with(screen.runs[0].folder)}
    write_table(folder / "explain.parquet", table, level="explain", parameters=about)
    features = feature_table(cells, place, seed=wanted.seed)
    write_table(folder / "features.parquet", features, level="explain_features", parameters=about)
    yield Written(folder, sheets)


def _check(wanted: Wanted) -> None:
    """Refuse what contradicts itself, or would be misread."""
    if sum(each is not None for each in (wanted.compound, wanted.listed, wanted.given)) != 1:
        raise BadRecipe("Name a compound, give a list of cells, or name a class: one of the three.")
    if wanted.concentration is not None and wanted.compound is None:
        raise BadRecipe(
            f"A concentration ({wanted.concentration:g}) is one of a compound, and none is named. "
            "Leave --concentration out, or give --compound."
        )
    size = wanted.pixel_size_um
    if size is not None and not 0 < size < math.inf:
        raise BadRecipe(f"A pixel is {size:g} um wide: expected --pixel-size above 0, in um.")


def _sides(screen: Screen, wanted: Wanted, *, usual: int | None) -> TwoSides:
    """Find both sides.

    Args:
        screen: Of one run.
        wanted: What to explain.
        usual: Time point of the hits, where the recipe names one.
    """
    if wanted.given is not None:
        return given_sides(screen, wanted.given)
    if wanted.listed is not None:
        return listed_sides(screen, wanted.listed)
    compound, dose, time = str(wanted.compound), wanted.concentration, wanted.timepoint
    return compound_sides(screen, compound, concentration=dose, timepoint=time or usual)


def _marked(screen: Screen, labels: Labels | None, sides: TwoSides) -> Marked | None:
    return None if labels is None else find_labelled(screen, labels, timepoint=sides.timepoint)


def _pixel_sizes(
    facts: RunFacts, cells: Sequence[pl.DataFrame], told: float | None
) -> dict[str, float | None]:
    """Micrometres per pixel of the plates that are looked at: as told, or as the run knew them."""
    plates = sorted({plate for each in cells for plate in each["Metadata_Plate"]})
    return {plate: told or facts.pixel_sizes.get(plate) for plate in plates}


def _direction(cells: Candidates, given: Given | None) -> tuple[Direction, list[str]]:
    """The direction that is explained, and what to say of it."""
    if given is not None:
        line = given_direction(given, cells)
        return line, [*given.told, *of_given(line)]
    found = find_direction(cells.vectors, Sides(cells.is_treated, cells.well, cells.plate))
    return found, of_direction(found)


def _chosen(
    cells: Candidates, direction: Direction, place: np.ndarray, wanted: Wanted
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Rows of the cells to show by kind, and of those they are held against."""
    well, is_treated = cells.well, cells.is_treated
    chosen = choose_cells(place, is_treated=is_treated, well=well, cells=wanted.cells)
    rows = {"typical": chosen.typical, "extreme": chosen.extreme, "control": chosen.controls}
    centred = cells.vectors - np.stack([direction.origins[name] for name in cells.plate])
    controls = np.flatnonzero(~is_treated)
    usual = reference_cells(centred[controls], well=well[controls], cells=REFERENCES)
    return rows, controls[usual]


def _explained(
    network: Network,
    direction: Direction,
    crops: Crops,
    *,
    order: np.ndarray,
    reference: np.ndarray,
) -> Explained:
    origin = float(np.mean([each @ direction.unit for each in direction.origins.values()]))
    line = direction_line(direction.unit, origin=origin, scale=direction.spread)
    dark = np.percentile(crops.pixels, DARK, axis=(0, 1, 2)).astype(np.float32)
    if network.config.crops.is_masked:
        dark = np.zeros_like(dark)
    held = Reference(*crops.of(reference), dark)
    return make_explainer(network.model, line, held)(*crops.of(order))


def _about(sides: TwoSides, network: Network, direction: Direction, told: Sequence[str]) -> dict:
    """What the tables say of themselves."""
    return {
        "name": sides.name,
        "compound": None if sides.listed is not None else sides.folder,
        "wells": [" ".join(row) for row in sides.treated.iter_rows()],
        "controls": [" ".join(row) for row in sides.controls.iter_rows()],
        "network": network.card.name,
        "sha256": network.card.sha256,
        "stains": list(network.stains),
        "length": direction.length,
        "auroc": direction.auroc,
        "told": list(told),
    }
