"""What a classifier learns from: the labelled cells of runs, on their plates' scale."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from plates.errors import BadModel, UnknownName
from profiler.classify.content import follow
from profiler.classify.labels import BadLabelTable, Labels, name_cells, rows_of
from profiler.classify.parts import Examples
from profiler.classify.scale import Scale, on_scale, plate_scale
from profiler.profile.features import EMBEDDING, feature_columns, phenotype_features
from profiler.profile.stains import Stains, shared_stains
from profiler.store.cell_keys import KEYS
from profiler.store.columns import matching
from profiler.store.places import well_path
from profiler.store.screen import Screen
from profiler.store.tables import read_footers

PLATE, WELL = "Metadata_Plate", "Metadata_Well"
AROUND = 4_000  # cells of all plates together, labelled or not, that say how cells vary
LEAST_KNOWN = 0.5  # of a plate's cells; a feature defined in fewer is left out
MOST_NAMES = 5

Scales = Mapping[str, Scale]


class Gathered(NamedTuple):
    """Labelled cells, ready to learn from.

    Attributes:
        examples: Their vectors, classes and places.
        cells: Their keys, in the same order.
        features: The columns of the vectors.
        around: Vectors of other cells of the same plates.
        embedder: Hash of the network that some columns are of; None without such.
        stains: Those of its vectors, in their order; None without, or where the runs do not tell.
        notes: What was left out, in sentences.
    """

    examples: Examples
    cells: pl.DataFrame
    features: list[str]
    around: np.ndarray
    embedder: str | None
    stains: Stains | None
    notes: tuple[str, ...]


def chosen_features(columns: pl.LazyFrame, *, patterns: Sequence[str] = ()) -> list[str]:
    """Name the columns that a classifier may use.

    Args:
        columns: The cells.
        patterns: As `matching` takes them; without any, all features and embeddings that are no
            positions and no identities.

    Raises:
        UnknownName: A pattern matches no such column, or there is none.
    """
    usable = phenotype_features(feature_columns(columns))
    if not usable:
        raise UnknownName(
            "The cells have no features and no embeddings, so there is nothing to tell classes by. "
            "Run with a recipe that measures families or embeds."
        )
    return matching(usable, patterns, table="cells") if patterns else usable


def gather(
    screen: Screen, labels: Labels, *, patterns: Sequence[str] = (), seed: int = 0
) -> Gathered:
    """Read the labelled cells of runs, and put them on their plates' scale.

    Args:
        screen: The runs that the labels are of.
        labels: From `read_labels`.
        patterns: As for `chosen_features`.
        seed: Decides which other cells are drawn.

    Raises:
        BadLabelTable: There are labels for cells that no run has, that are not found again since
            they were computed anew, or without features.
        UnknownName: As `chosen_features`.
        BadModel: The runs' embeddings are of several networks, or of stains in several orders.
    """
    cells = screen.cells
    followed = follow(labels.cells, labels.noted, screen)
    labels = labels._replace(cells=followed.cells)
    rows_of(labels, cells)
    features = chosen_features(cells, patterns=patterns)
    plates = labels.cells[PLATE].unique().sort().to_list()
    has_vectors = any(name.startswith(EMBEDDING) for name in features)
    made_of = vectors_of(screen, labels) if has_vectors else (None, None)
    scales = {p: plate_scale(cells.filter(pl.col(PLATE) == p), features=features) for p in plates}
    kept, scales, lost = usable_features(features, scales)
    notes = (*followed.told, *lost)
    found = _labelled(cells, labels, features=kept)
    vectors, has_profile, gaps = by_plate(found, scales, features=kept)
    notes += tuple(_gap_notes(vectors, gaps))
    left, codes = _with_profile(found, labels, has_profile)
    notes += _lost_notes(found.filter(~has_profile))
    places = left[PLATE].to_numpy(), (left[PLATE] + " " + left[WELL]).to_numpy()
    examples = Examples(vectors[has_profile], codes, *places)
    around = _around(cells, scales, features=kept, seed=seed)
    return Gathered(examples, left.select(labels.cells.columns), kept, around, *made_of, notes)


def vectors_of(screen: Screen, labels: Labels) -> tuple[str | None, Stains | None]:
    """The network and the stains that the labelled cells' vectors are of.

    Raises:
        BadModel: They are of several networks, or of other stains or another order.
    """
    plates = set(labels.cells[PLATE])
    runs = {r.name: r.facts.settings for r in screen.runs if plates.intersection(r.facts.plates)}
    return _embedder_of(screen, labels), shared_stains(runs)


def _embedder_of(screen: Screen, labels: Labels) -> str | None:
    """The network, as the footers of the cells' files say."""
    wells = labels.cells.select(PLATE, WELL).unique().sort(PLATE, WELL).rows()
    paths = [
        path
        for run in screen.runs
        for well in wells
        if (path := well_path(run.folder, *well)).is_file()
    ]
    made = [footer.parameters.get("embedder") for footer in read_footers(paths)]
    by_network = dict(zip(made, paths, strict=True))
    if len(by_network) > 1:
        named = "; ".join(f"{(sha or 'none')[:12]} in {path}" for sha, path in by_network.items())
        raise BadModel(
            f"The labelled cells have embeddings of {len(by_network)} networks: {named}. Run all "
            "plates with the same one, or leave embeddings out with --features."
        )
    return made[0] if made else None


def drawn(cells: pl.LazyFrame, *, count: int, seed: int) -> pl.LazyFrame:
    """Draw cells by their hashed names: about as many as asked for, the same whatever the order."""
    rows = int(cells.select(pl.len()).collect(engine="streaming").item())
    draw = pl.struct(list(KEYS)).hash(seed).cast(pl.Float64) / 2.0**64
    return cells.filter(draw < count / max(rows, 1))


def _around(
    cells: pl.LazyFrame, scales: Scales, *, features: Sequence[str], seed: int
) -> np.ndarray:
    count = AROUND // len(scales)
    parts = []
    for plate, scale in scales.items():
        some = drawn(cells.filter(pl.col(PLATE) == plate), count=count, seed=seed)
        held = some.select(*KEYS, *features).collect(engine="streaming").sort(*KEYS)
        scaled = on_scale(held, scale, features=features)
        parts.append(scaled.vectors[scaled.has_profile])
    return np.concatenate(parts)


def usable_features(
    features: Sequence[str], scales: Scales
) -> tuple[list[str], dict[str, Scale], tuple[str, ...]]:
    """Choose the features that vary among most cells of every plate.

    Args:
        features: Columns.
        scales: Of these columns, by plate.

    Returns:
        The features, their scales, and what to say of the others.

    Raises:
        BadLabelTable: None does.
    """
    varies = np.all([scale.spread > 0 for scale in scales.values()], axis=0)
    known = np.all([scale.known >= LEAST_KNOWN for scale in scales.values()], axis=0)
    kept = [name for name, good in zip(features, varies & known, strict=True) if good]
    if not kept:
        raise BadLabelTable(
            f"None of the {len(features)} features varies among the cells of every labelled plate "
            f"({', '.join(list(scales)[:MOST_NAMES])}), so there is nothing to tell classes by."
        )
    is_kept = np.isin(features, kept)
    scales = {plate: _some(scale, is_kept) for plate, scale in scales.items()}
    lost = [name for name, good in zip(features, is_kept, strict=True) if not good]
    if not lost:
        return kept, scales, ()
    said = (
        f"{len(lost)} of {len(features)} features are left out, as they do not vary among most "
        f"cells of a plate or are undefined in most: {_listed(lost)}."
    )
    return kept, scales, (said,)


def _some(scale: Scale, is_kept: np.ndarray) -> Scale:
    kept = (scale.centre[is_kept], scale.spread[is_kept], scale.known[is_kept])
    return Scale(*kept, scale.cells)


def _labelled(cells: pl.LazyFrame, labels: Labels, *, features: Sequence[str]) -> pl.DataFrame:
    """The labelled cells in the labels' order; files of other wells are not opened."""
    place = [PLATE, WELL]
    wells = labels.cells.select(pl.struct(place)).to_series().unique().implode()
    keys = labels.cells.columns
    held = (
        cells.filter(pl.struct(place).is_in(wells))
        .join(labels.cells.lazy(), on=keys, how="semi")
        .select(*keys, *features)
        .collect(engine="streaming")
    )
    return labels.cells.join(held, on=keys, how="left", maintain_order="left")


def by_plate(
    found: pl.DataFrame, scales: Scales, *, features: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, int]:
    """Put cells of several plates on their plates' scale.

    Returns:
        Vectors, which cells have a profile, and how many values were undefined; see `on_scale`.
    """
    vectors = np.zeros((found.height, len(features)))
    has_profile, gaps = np.zeros(found.height, bool), 0
    for plate, scale in scales.items():
        rows = (found[PLATE] == plate).to_numpy()
        scaled = on_scale(found.filter(pl.Series(rows)), scale, features=features)
        vectors[rows], has_profile[rows] = scaled.vectors, scaled.has_profile
        gaps += scaled.gaps
    return vectors, has_profile, gaps


def _with_profile(
    found: pl.DataFrame, labels: Labels, has_profile: np.ndarray
) -> tuple[pl.DataFrame, np.ndarray]:
    codes = labels.codes[has_profile]
    counts = np.bincount(codes, minlength=len(labels.classes))
    if counts.min() < 2:
        name = labels.classes[int(counts.argmin())]
        raise BadLabelTable(
            f"{int((~has_profile).sum())} of {found.height} labelled cells have fewer than half of "
            f"their features, and without them class {name!r} has {counts.min()} cells. Label more "
            "of it."
        )
    return found.filter(pl.Series(has_profile)), codes


def _gap_notes(vectors: np.ndarray, gaps: int) -> Iterator[str]:
    if gaps:
        yield (
            f"{gaps:,} of {vectors.size:,} values of the labelled cells are undefined; their "
            "plate's median stands for them."
        )


def _lost_notes(lost: pl.DataFrame) -> tuple[str, ...]:
    if not lost.height:
        return ()
    few = "fewer than half of their features"
    return (f"{lost.height} labelled cells have {few} and are left out: {name_cells(lost)}.",)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more
