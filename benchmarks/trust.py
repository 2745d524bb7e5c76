"""What can be believed of classes: wrong labels, new phenotypes, coverage, calibration, few labels.

    python -m benchmarks.trust ../shared [--cache FOLDER] [--vectors FILE] [--seeds 3] [--only PART]

Data: MitoCheck's 2,616 nuclei of 16 expert classes from 60 movies (CC BY 4.0), as vectors the
features of `benchmarks.mitocheck_features`, or those of `--vectors`: a Parquet file with
Metadata_Movie, Metadata_Phenotype and one number per column. Classifier: logistic regression on
200 main axes; for novelty, on the discriminant axes. Scores, axes and strategies were chosen on the
development half of the movies; every number is of cells of the other half, in three parts of which
each is judged by what was learned from the rest, movies never on both sides but where it is said;
intervals are 95% over seeds (t). A new class is never labelled; "at hand" means that its cells are
among those, without labels, that say how vectors vary, as the cells of a run are; "known alone",
that they are not.
"""

import argparse
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from scipy import stats
from scipy.special import softmax
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from threadpoolctl import threadpool_limits

from benchmarks.mitocheck_features import CROPS, features_of
from profiler.classify.trust import acquire, few, label_errors, novelty, outliers
from profiler.classify.trust.calibration import at_temperature, calibration, fit_temperature
from profiler.classify.trust.conformal import coverage_table, fit_conformal, prediction_sets
from profiler.classify.trust.folds import group_folds

AXES = 200
PARTS = 3
NOISE = (0.1, 0.2, 0.4)
LEARNERS = {
    "plain": None,
    "pruned": label_errors.pruned_weights,
    "soft": label_errors.soft_weights,
}
COVERAGES = (0.8, 0.9)
FIRST, MOST, GROWTH = 32, 1400, 1.35  # labels: at first, at last, and by how much a round grows
LEAST_CELLS = 5  # of a movie that is tested as a well


class Cells(NamedTuple):
    """Everything at hand: vectors, classes as codes, their names, and movies."""

    vectors: np.ndarray
    labels: np.ndarray
    classes: np.ndarray
    movies: np.ndarray


class Parts(NamedTuple):
    """Rows to train on, to calibrate with, and to judge by: movies of their own each."""

    train: np.ndarray
    apart: np.ndarray
    test: np.ndarray


def read_cells(table: pl.DataFrame) -> Cells:
    """Leave out columns that are undefined in every tenth cell; medians stand for other gaps."""
    numbers = table.select(pl.exclude("^Metadata_.*$"))
    kept = [x for x in numbers.columns if numbers[x].null_count() < table.height / 10]
    filled = numbers.select(pl.col(kept).fill_null(pl.col(kept).median()))
    classes, labels = np.unique(table["Metadata_Phenotype"].to_numpy(), return_inverse=True)
    return Cells(
        filled.to_numpy().astype(np.float64), labels, classes, table["Metadata_Movie"].to_numpy()
    )


def halves(cells: Cells) -> np.ndarray:
    """Which cells are of the movies that nothing was chosen on."""
    split = StratifiedGroupKFold(2, shuffle=True, random_state=0)
    is_judged = np.zeros(len(cells.labels), bool)
    is_judged[next(split.split(cells.vectors, cells.labels, cells.movies))[1]] = True
    return is_judged


def splits(cells: Cells, seed: int, *, by_movie: bool = True) -> Iterator[Parts]:
    """Judge every cell of the validation movies once."""
    groups = cells.movies if by_movie else np.arange(len(cells.labels))
    judged = np.flatnonzero(halves(cells))
    for _, part in group_folds(cells.labels[judged], groups[judged], parts=PARTS, seed=seed):
        test = judged[part]
        rest = np.setdiff1d(np.arange(len(cells.labels)), test)
        own = few.split_by_group(cells.labels[rest], groups[rest], parts=4, seed=seed)
        yield Parts(rest[own.train], rest[own.test], test)


def main_axes(vectors: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Scale by the training cells, and keep their main axes."""
    centre, scale = vectors[train].mean(axis=0), np.maximum(vectors[train].std(axis=0), 1e-9)
    scaled = np.clip((vectors - centre) / scale, -5, 5)
    count = min(AXES, len(train) - 1, vectors.shape[1])
    return PCA(count, svd_solver="randomized", random_state=0).fit(scaled[train]).transform(scaled)


def logits_of(
    vectors: np.ndarray,
    labels: np.ndarray,
    others: np.ndarray,
    *,
    weights: np.ndarray | None = None,
    strength: float = 0.1,
) -> np.ndarray:
    """Learn from some cells, judge others: one column per class."""
    model = LogisticRegression(C=strength, max_iter=100)
    found = model.fit(vectors, labels, sample_weight=weights).decision_function(others)
    return found if found.ndim == 2 else np.stack([-found, found], axis=1) / 2


def classify(vectors: np.ndarray, labels: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The same as probabilities."""
    return softmax(logits_of(vectors, labels, others), axis=1)


def doubtful(vectors: np.ndarray, labels: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The same for labels that may be wrong: less eager to learn each of them."""
    return softmax(logits_of(vectors, labels, others, strength=0.01), axis=1)


def interval(values: Sequence[float], *, digits: int = 3) -> str:
    """Mean and its 95% interval over seeds."""
    each = np.asarray(values, float)
    if len(each) < 2:
        return f"{each.mean():.{digits}f}"
    reach = stats.t.ppf(0.975, len(each) - 1) * stats.sem(each)
    return f"{each.mean():.{digits}f} ± {reach:.{digits}f}"


def row(*entries: object) -> str:
    """One line of a Markdown table."""
    return f"| {' | '.join(map(str, entries))} |"


def verdict(is_reached: bool) -> str:  # noqa: FBT001
    """How a goal is judged."""
    return "reached" if is_reached else "**miss**"


def wrong_labels(cells: Cells, seeds: Sequence[int]) -> Iterator[str]:
    """Flip labels to other classes, look for them, and learn in spite of them."""
    yield row("flipped", "found", "precision", "found at precision .8", "clean", *LEARNERS)
    yield row(*["---"] * 8)
    for share in NOISE:
        results = np.array([_one_noise(cells, share, seed) for seed in seeds]).T
        yield row(f"{share:.0%}", *(interval(each) for each in results))


def _one_noise(cells: Cells, share: float, seed: int) -> np.ndarray:
    random, count = np.random.default_rng([seed, int(share * 100)]), len(cells.classes)
    found = []
    for parts in splits(cells, seed):
        rows = np.concatenate([parts.train, parts.apart])
        places = main_axes(cells.vectors, rows)
        truth, test = cells.labels[rows], cells.labels[parts.test]
        is_wrong = random.random(len(rows)) < share
        given = np.where(is_wrong, (truth + random.integers(1, count, len(rows))) % count, truth)
        judged = label_errors.out_of_fold(
            places[rows], given, cells.movies[rows], classify=doubtful, folds=4
        )
        errors = label_errors.find_label_errors(judged, given)
        weights = [None, *(x(errors, given) for x in LEARNERS.values() if x)]
        scores = []
        for labels, weigh in [(truth, None), *((given, x) for x in weights)]:
            logits = logits_of(places[rows], labels, places[parts.test], weights=weigh)
            scores.append(f1_score(test, logits.argmax(axis=1), average="weighted"))
        hits = is_wrong[errors.cells].cumsum()
        precise = hits[hits / np.arange(1, len(hits) + 1) >= 0.8].max(initial=0)
        shares = np.array([hits[-1], precise]) / is_wrong.sum()
        found.append([shares[0], hits[-1] / len(hits), shares[1], *scores])
    return np.mean(found, axis=0)


COMBINED = ("mahalanobis", "angle", "energy")
SCORES = ("known alone", "at hand", *COMBINED, "relative", "nearest")


def new_phenotypes(cells: Cells, seeds: Sequence[int]) -> Iterator[str]:
    """Leave out each class in turn, and see whether its cells are found new."""
    found, wells = _left_out(cells, seeds, by_movie=True)
    yield row("class", *SCORES)
    yield row(*["---"] * (1 + len(SCORES)))
    for name, values in zip(cells.classes, found.mean(axis=0), strict=True):
        yield row(name, *(f"{value:.3f}" for value in values))
    means = found.mean(axis=1).T
    yield row("**mean**", *(interval(each) for each in means))
    yield ""
    for j in (0, 1):
        reached = verdict(means[j].mean() >= 0.85)
        yield f"mean AUROC, {SCORES[j]}, goal .85: {interval(means[j])} {reached}  "
    yield from _wells_told(wells)
    mixed = _left_out(cells, seeds, by_movie=False)[0].mean(axis=1).T
    for j in (0, 1):
        reached = verdict(mixed[j].mean() >= 0.85)
        yield f"the same, movies on both sides, {SCORES[j]}: {interval(mixed[j])} {reached}  "


def _left_out(
    cells: Cells, seeds: Sequence[int], *, by_movie: bool
) -> tuple[np.ndarray, pl.DataFrame]:
    """AUROC by seed, unknown class and score; what the tests of wells say."""
    found, wells = np.zeros((len(seeds), len(cells.classes), len(SCORES))), []
    for (i, seed), unknown in product(enumerate(seeds), range(len(cells.classes))):
        own = list(splits(cells, seed, by_movie=by_movie))
        parts = [_one_unknown(cells, x, unknown, seed) for x in own]
        is_new = np.concatenate([cells.labels[x.test] == unknown for x in own])
        for j, name in enumerate(SCORES):
            found[i, unknown, j] = roc_auc_score(
                is_new, np.concatenate([x[0][name] for x in parts])
            )
        wells += [x[1] for x in parts]
    return found, pl.concat(wells)


def _wells_told(wells: pl.DataFrame) -> Iterator[str]:
    for is_new, name in ((True, "of the unknown class"), (False, "of known classes")):
        tested = wells.filter((pl.col("New") == is_new) & (pl.col("Cells") >= LEAST_CELLS))
        cells, known = (
            (tested[x] <= 0.1).mean() for x in ("Novelty_p_value", "Novelty_p_value_by_well")
        )
        yield (
            f"{tested.height} movies {name}: {cells:.1%} called new at .1 by their cells, "
            f"{known:.1%} by known movies  "
        )


def _one_unknown(
    cells: Cells, parts: Parts, unknown: int, seed: int
) -> tuple[dict[str, np.ndarray], pl.DataFrame]:
    """Novelty by each score, as one less the p-value, and what the tests of wells say."""
    train, apart = (x[cells.labels[x] != unknown] for x in (parts.train, parts.apart))
    found = {}
    for name, around in (("known alone", None), ("at hand", cells.vectors)):
        known = outliers.learn_known(cells.vectors[train], cells.labels[train], around=around)
        reference, scores = (_scores_of(cells, train, x, known) for x in (apart, parts.test))
        three = {x: reference[x] for x in COMBINED}
        combined = novelty.cell_novelty({x: scores[x] for x in COMBINED}, three)
        found[name] = combined.score
    found |= {x: 1 - novelty.p_values(scores[x], reference[x]) for x in scores}
    is_new = cells.labels[parts.test] == unknown
    wells = novelty.well_novelty(
        combined,
        np.char.add(cells.movies[parts.test].astype(str), np.where(is_new, " new", "")),
        novelty.reference_score(three),
        reference_wells=cells.movies[apart],
        permutations=199,
        seed=seed,
    )
    return found, wells.with_columns(New=pl.col("Well").str.ends_with(" new"))


def _scores_of(
    cells: Cells, train: np.ndarray, rows: np.ndarray, known: outliers.Known
) -> dict[str, np.ndarray]:
    places = outliers.place(cells.vectors[rows], known)
    codes = np.unique(cells.labels[train], return_inverse=True)[1]
    logits = logits_of(known.places, codes, places, strength=0.005)
    return novelty.novelty_scores(cells.vectors[rows], logits, known) | {
        "relative": outliers.relative_mahalanobis(places, known),
        "nearest": outliers.nearest(places, known),
    }


def coverage(cells: Cells, seeds: Sequence[int]) -> Iterator[str]:
    """See whether sets hold the truth as often as stated, over movies and over cells."""
    yield row("split by", "sets", "stated", "covered", "worst class", "size", "empty", "goal")
    yield row(*["---"] * 8)
    for by_movie in (False, True):
        made = [
            [(_calibrated(cells, x), x) for x in splits(cells, seed, by_movie=by_movie)]
            for seed in seeds
        ]
        for per_class, stated in product((False, True), COVERAGES):
            tables = [_covered(cells, x, stated, per_class=per_class) for x in made]
            whole = [table["Covered"][0] for table in tables]
            by_class = np.mean([table["Covered"][1:].to_numpy() for table in tables], axis=0)
            size, empty = (np.mean([table[x][0] for table in tables]) for x in ("Size", "Empty"))
            names = ("movie" if by_movie else "cell", "per class" if per_class else "marginal")
            is_reached = abs(np.mean(whole) - stated) <= 0.02
            end = (f"{by_class.min():.3f}", f"{size:.2f}", f"{empty:.3f}", verdict(is_reached))
            yield row(*names, stated, interval(whole), *end)


def _covered(cells: Cells, made: list, stated: float, *, per_class: bool) -> pl.DataFrame:
    sets, truth = [], []
    for (_, apart, test), parts in made:
        labels = cells.labels[parts.apart]
        learned = fit_conformal(apart, labels, coverage=stated, per_class=per_class)
        sets.append(prediction_sets(test, learned))
        truth.append(cells.labels[parts.test])
    return coverage_table(np.concatenate(sets), np.concatenate(truth))


def _calibrated(cells: Cells, parts: Parts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities of test cells as they are, and of calibration and test cells at temperature."""
    places = main_axes(cells.vectors, parts.train)
    both = np.concatenate([parts.apart, parts.test])
    logits = logits_of(places[parts.train], cells.labels[parts.train], places[both])
    apart, test = np.split(logits, [len(parts.apart)])
    temperature = fit_temperature(apart, cells.labels[parts.apart])
    return (
        softmax(test, axis=1),
        at_temperature(apart, temperature),
        at_temperature(test, temperature),
    )


def calibrated(cells: Cells, seeds: Sequence[int]) -> Iterator[str]:
    """Calibration error before and after, beside what chance alone makes of perfect ones."""
    yield row("split by", "", "ECE", "Brier", "NLL")
    yield row(*["---"] * 5)
    for by_movie in (False, True):
        found: dict[str, list] = {"before": [], "after": [], "after, if perfect": []}
        for seed in seeds:
            made = [(_calibrated(cells, x), x.test) for x in splits(cells, seed, by_movie=by_movie)]
            truth = cells.labels[np.concatenate([test for _, test in made])]
            before, after = (np.concatenate([x[0][i] for x in made]) for i in (0, 2))
            drawn = (
                after.cumsum(axis=1) < np.random.default_rng(seed).random((len(after), 1))
            ).sum(1)
            found["before"].append(calibration(before, truth))
            found["after"].append(calibration(after, truth))
            perfect = np.minimum(drawn, after.shape[1] - 1)
            found["after, if perfect"].append(calibration(after, perfect))
        for name, values in found.items():
            columns = zip(*values, strict=True)
            yield row("movie" if by_movie else "cell", name, *(interval(each) for each in columns))


def active(cells: Cells, seeds: Sequence[int]) -> Iterator[str]:
    """Label step by step, and count the labels until 95% of what all of them give."""
    needed: dict[str, list[float]] = {}
    rounds = int(np.log(MOST / FIRST) / np.log(GROWTH)) + 1
    counts = [int(FIRST * GROWTH**i) for i in range(rounds)]
    for strategy, seed in product(acquire.STRATEGIES, seeds):
        curves = [_one_curve(cells, x, strategy, counts, seed) for x in splits(cells, seed)]
        sizes, curve = (
            np.mean([x[0] for x in curves], axis=0),
            np.mean([x[1] for x in curves], axis=0),
        )
        found = few.labels_needed(sizes, curve, goal=0.95 * curve[-1])
        needed.setdefault(strategy, []).append(found)
    random = np.array(needed["random"])
    yield row("strategy", "labels to 95%", "of random's")
    yield row(*["---"] * 3)
    for strategy, values in needed.items():
        yield row(
            strategy, interval(values, digits=0), interval(np.array(values) / random, digits=2)
        )


def _one_curve(
    cells: Cells, parts: Parts, strategy: str, counts: Sequence[int], seed: int
) -> tuple[list[int], list[float]]:
    """How many labels there were in each round, all of them in the last, and the scores."""
    pool = np.concatenate([parts.train, parts.apart])
    places = main_axes(cells.vectors, pool)
    truth = cells.labels[parts.test]

    def judged(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
        known, codes = np.unique(cells.labels[rows], return_inverse=True)
        probabilities = np.zeros((len(others), len(cells.classes)))
        probabilities[:, known] = classify(places[rows], codes, places[others])
        return probabilities

    def score(chance: np.ndarray) -> float:
        return float(f1_score(truth, chance.argmax(axis=1), average="weighted"))

    full = score(judged(pool, parts.test))
    labelled, curve = np.random.default_rng(seed).permutation(pool)[: counts[0]], []
    for following in [*counts[1:], None]:
        rest = np.setdiff1d(pool, labelled)
        chance = judged(labelled, np.concatenate([parts.test, rest]))
        curve.append(score(chance[: len(truth)]))
        if following is None:
            break
        strange = None
        if strategy in ("novelty", "mixed"):
            learned = outliers.learn_known(places[labelled], cells.labels[labelled])
            strange = outliers.mahalanobis(outliers.place(places[rest], learned), learned)
        candidates = acquire.Pool(places[rest], chance[len(truth) :], places[labelled], strange)
        new = acquire.choose(strategy, candidates, count=following - len(labelled), seed=seed)
        labelled = np.concatenate([labelled, rest[new]])
    return [*counts, len(pool)], [*curve, full]


PARTS_OF_IT = {
    "labels": (wrong_labels, "Wrong labels: share found, weighted F1 on clean cells"),
    "novelty": (new_phenotypes, "New phenotypes: AUROC with each class unknown in turn"),
    "coverage": (coverage, "Conformal sets: share of cells whose set holds the truth"),
    "calibration": (calibrated, "Calibration by temperature"),
    "active": (active, "Active learning: labels until 95% of the F1 that all labels give"),
}


def main() -> None:
    """Print one table per question."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shared", type=Path)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir(), "mitocheck"))
    parser.add_argument("--vectors", type=Path, help="Parquet of vectors to use instead")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", choices=PARTS_OF_IT, nargs="+", default=list(PARTS_OF_IT))
    args = parser.parse_args()
    if not args.vectors and not (args.shared / CROPS).is_dir():
        parser.exit(message=f"{args.shared} holds no {CROPS}; nothing to judge by.\n")
    table = pl.read_parquet(args.vectors) if args.vectors else features_of(args.shared, args.cache)
    cells = read_cells(table)
    print(
        f"{len(cells.labels)} cells, {cells.vectors.shape[1]} dimensions, {len(cells.classes)} "
        f"classes; validation on {halves(cells).sum()} cells of "
        f"{len(np.unique(cells.movies[halves(cells)]))} movies, {args.seeds} seeds\n"
    )
    # A hundred steps are enough: what is left moves no score in the second digit.
    warnings.simplefilter("ignore", ConvergenceWarning)
    with threadpool_limits(1):
        for name in args.only:
            ask, title = PARTS_OF_IT[name]
            print(f"### {title}\n", flush=True)
            for line in ask(cells, range(args.seeds)):
                print(line, flush=True)
            print()


if __name__ == "__main__":
    main()
