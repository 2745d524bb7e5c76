"""BBBC013 by embeddings alone: controls told apart, doses ordered, without being told the readout.

    python -m benchmarks.embed_bbbc013 ../shared --model NAME [--work runs/embed_bbbc013]

Runs `profiler run --recipe translocation` with `[embed] model` (going on with what is in --work):
the shipped segmenter finds the nuclei, and crops of both stains around them pass the encoder in the
same pass. A well's profile is the median of its cells. Nothing of the assay is told but which wells
are controls: the first discriminant axis of positive against negative controls (linear
discriminant analysis of the wells, with Ledoit and Wolf's shrinkage, as features are many times
more than wells). Eight folds by well: each leaves out one positive and two negative controls,
which the axis, and the controls' median and MAD that features are put on, then do not know; a
fold's axis is 0 at its negative and 1 at its positive controls. Z' is of the scores of the wells
left out, 8 positive and 16 negative. Treated wells are never learnt from: they are scored by the
mean of the folds' axes, and Spearman is of their dose (36 wells of each compound). Features and
embeddings are fused in two ways: in one profile, in which both blocks weigh the same
(`profiler.profile.blocks`), and by an axis of each, whose scores are averaged.
`--model untrained` takes a network with random weights, to see how much the teaching brought.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from flax import nnx
from scipy import stats
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

import profiler
from profiler.embed.network.build import build
from profiler.embed.network.config import ModelConfig
from profiler.embed.weights import save_model
from profiler.pipeline import run
from profiler.profile.blocks import block_weights
from profiler.profile.features import (
    EMBEDDING,
    feature_columns,
    feature_matrix,
    named_features,
    phenotype_features,
)
from profiler.progress import draw
from profiler.recipe import Embed, load_recipe
from profiler.request import Request

FOLDS = 8
UNTRAINED = "untrained"
Z_PRIME, SPEARMAN = 0.6, 0.85
COMPOUNDS = ("wortmannin", "LY294002")
DRAWS = 2_000  # of wells, with replacement
COMPRESSED = 5.0  # robust sds from which values are brought near: 5 asinh(z / 5)


class Found(NamedTuple):
    """What one kind of profile gives.

    Attributes:
        z_prime: Of the controls left out.
        spearman: Of dose, for each of `COMPOUNDS`.
        positive: Scores of the positive controls, each by the axis that has not seen it.
        negative: Of the negative ones.
    """

    z_prime: float
    spearman: tuple[float, ...]
    positive: np.ndarray
    negative: np.ndarray

    @property
    def is_apart(self) -> bool:
        """Whether every positive control left out scores above every negative one."""
        return bool(self.positive.min() > self.negative.max())


class Axis(NamedTuple):
    """From the wells' features to one number, 0 at negative and 1 at positive controls."""

    centre: np.ndarray
    spread: np.ndarray
    direction: np.ndarray
    offset: float

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Score wells."""
        return _scaled(values, self.centre, self.spread) @ self.direction + self.offset


def untrained(path: Path) -> str:
    """Write an encoder with random weights: what one that was taught must beat."""
    config = ModelConfig()
    save_model(path, build(config, rngs=nnx.Rngs(0)), config, about={"data": "none"})
    return str(path)


def folds(roles: Sequence[str]) -> Iterator[np.ndarray]:
    """Wells left out in turn: an eighth of the positive and of the negative controls."""
    numbered = np.full(len(roles), -1)
    for role in ("positive", "negative"):
        wells = np.flatnonzero(np.array(roles) == role)
        numbered[wells] = np.arange(len(wells)) % FOLDS
    for fold in range(FOLDS):
        yield numbered == fold


def fit_axis(
    values: np.ndarray, positive: np.ndarray, negative: np.ndarray, weights: np.ndarray
) -> Axis:
    """Learn the discriminant axis of some controls."""
    centre = np.median(values[negative], axis=0)
    spread = 1.4826 * np.median(np.abs(values[negative] - centre), axis=0)
    spread = np.where(spread > 1e-9 * np.abs(centre), spread, np.inf)  # what does not vary is 0
    controls = np.flatnonzero(positive | negative)
    scaled = _scaled(values[controls], centre, spread) * np.sqrt(weights)
    lda = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    direction = lda.fit(scaled, positive[controls]).coef_[0] * np.sqrt(weights)
    scores = _scaled(values, centre, spread) @ direction
    low, high = scores[negative].mean(), scores[positive].mean()
    return Axis(centre, spread, direction / (high - low), -low / (high - low))


def _scaled(values: np.ndarray, centre: np.ndarray, spread: np.ndarray) -> np.ndarray:
    return COMPRESSED * np.arcsinh((values - centre) / spread / COMPRESSED)


def judged(wells: pl.DataFrame, *profiles: Sequence[str]) -> Found:
    """Ask what these features say of the plate, by the mean of an axis for each profile."""
    parts = [(feature_matrix(wells, names), block_weights(names)) for names in profiles]
    roles = wells["Metadata_Role"].to_list()
    is_positive, is_negative = (np.array(roles) == role for role in ("positive", "negative"))
    scores, left_out = [], np.full(len(roles), np.nan)
    for fold in folds(roles):
        taught = is_positive & ~fold, is_negative & ~fold
        each = [fit_axis(values, *taught, weights)(values) for values, weights in parts]
        scores.append(np.mean(each, axis=0))
        left_out[fold] = scores[-1][fold]
    controls = left_out[is_positive], left_out[is_negative]
    score = pl.Series("score", np.mean(scores, axis=0))
    table = wells.with_columns(score).filter(pl.col("Metadata_Role") == "treatment")
    return Found(z_prime(*controls), _dose_order(table), *controls)


def z_prime(positive: np.ndarray, negative: np.ndarray) -> float:
    """Of controls' scores."""
    window = abs(positive.mean() - negative.mean())
    return float(1 - 3 * (positive.std(ddof=1) + negative.std(ddof=1)) / window)


def gained(found: Found, other: Found, *, seed: int = 0) -> tuple[float, float]:
    """95% interval of how much better a Z' is, the same control wells drawn again for both."""
    random = np.random.default_rng(seed)
    differences = []
    for _ in range(DRAWS):
        drawn = [
            random.integers(len(each), size=len(each)) for each in (found.positive, found.negative)
        ]
        ours, theirs = (
            z_prime(each.positive[drawn[0]], each.negative[drawn[1]]) for each in (found, other)
        )
        differences.append(ours - theirs)
    low, high = np.quantile(differences, (0.025, 0.975))
    return float(low), float(high)


def _dose_order(table: pl.DataFrame) -> tuple[float, ...]:
    rows = (table.filter(pl.col("Metadata_Compound") == name) for name in COMPOUNDS)
    pairs = ((each["Metadata_Concentration"], each["score"]) for each in rows)
    return tuple(float(stats.spearmanr(*pair).statistic) for pair in pairs)


def kinds(wells: pl.DataFrame) -> dict[str, tuple[list[str], ...]]:
    """What to compare: the features of each profile. All without a gap in any well."""
    every = phenotype_features(feature_columns(wells))
    gaps = wells.select(pl.col(every).is_null().any() | ~pl.col(every).is_finite().all())
    whole = [name for name, has_gap in zip(every, gaps.row(0), strict=True) if not has_gap]
    measured = named_features(whole)
    vectors = [name for name in whole if name.startswith(EMBEDDING)]
    return {
        "embeddings alone": (vectors,),
        "features alone": (measured,),
        "features + embeddings": ([*measured, *vectors],),
        "features + embeddings, an axis of each": (measured, vectors),
    }


def lines(found: dict[str, Found], sizes: dict[str, int]) -> Iterator[str]:
    """The table, and whether the goals are reached."""
    yield "| profile | numbers | Z', controls left out | Spearman of dose: wortmannin | LY294002 |"
    yield "|---|---|---|---|---|"
    for name, one in found.items():
        numbers = " | ".join(f"{rho:.3f}" for rho in one.spearman)
        apart = "" if one.is_apart else " (overlap)"
        yield f"| {name} | {sizes[name]:,} | {one.z_prime:.3f}{apart} | {numbers} |"
    alone, features, *_ = found.values()
    goals = {
        f"embeddings alone: Z' at least {Z_PRIME}": alone.z_prime >= Z_PRIME,
        f"embeddings alone: Spearman at least {SPEARMAN} for both": min(alone.spearman) >= SPEARMAN,
    }
    for name, fused in list(found.items())[2:]:
        best = max(alone, features, key=lambda one: one.z_prime)
        low, high = gained(fused, best)
        told = f"{fused.z_prime - best.z_prime:+.3f}; 95% of drawn wells {low:+.3f} to {high:+.3f}"
        goals[f"{name}: at least as good a Z' as either ({told})"] = fused.z_prime >= best.z_prime
        rhos = zip(fused.spearman, alone.spearman, features.spearman, strict=True)
        as_well = all(rho >= max(pair) for rho, *pair in rhos)
        goals[f"{name}: order doses at least as well as either"] = as_well
    for goal, is_reached in goals.items():
        yield f"\n{goal}: {'reached' if is_reached else 'MISSED'}."


def main() -> None:
    """Run the plate, print the table, and say what was missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shared", type=Path)
    parser.add_argument("--model", required=True, help="Shipped encoder, a file, or untrained.")
    parser.add_argument("--channels", nargs="*", default=[], help="Stains it sees; all by default.")
    parser.add_argument("--work", type=Path, default=Path("runs/embed_bbbc013"))
    args = parser.parse_args()
    plate = args.shared / "data" / "bbbc013"
    if not plate.is_dir():
        print(f"{plate} is not there: give the folder that holds data/bbbc013.")
        return
    recipe = load_recipe("translocation")
    model = args.model
    if model == UNTRAINED:
        model = untrained(args.work.with_name(f"{args.work.name}_{UNTRAINED}.safetensors"))
    embed = Embed(model=model, channels=tuple(args.channels))
    recipe = recipe.model_copy(update={"embed": embed})
    start = time.perf_counter()
    draw(run(Request(
        plates=(plate / "images",), out=args.work, layout=plate / "platemap.csv", recipe=recipe,
    )))  # fmt: skip
    seconds = time.perf_counter() - start
    screen = profiler.open(args.work)
    wells = screen.wells.collect()
    chosen = kinds(wells)
    found = {name: judged(wells, *profiles) for name, profiles in chosen.items()}
    cells = screen.cells.select(pl.len()).collect().item()
    print(f"{args.model}, {cells:,} cells, {seconds:.0f} s for what was not there yet\n")
    print("\n".join(lines(found, {name: sum(map(len, each)) for name, each in chosen.items()})))


if __name__ == "__main__":
    main()
