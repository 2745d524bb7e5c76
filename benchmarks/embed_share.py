"""What embedding adds to a run's field pass, and whether a cell's vector depends on its batch.

    python -m benchmarks.embed_share [--size 1080] [--cells 200] [--fields 4] [--repeats 3]
        [--model cells]

Draws synthetic five-channel fields, computes them with the full set of features, and the same with
the encoder, in turn in one run. Asserted first: features are the same with and without it, and a
cell's vector is the same, but for the last digits, whether its field is computed alone or not.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from benchmarks.fields import STAINS, drawn, five_stains
from plates.synthetic import Phenotype
from profiler.compute.field import FieldProgram, compile_recipe

EQUAL = 1e-4
GOAL = 0.25  # of the time without it


def programs(model: str) -> dict[str, FieldProgram]:
    """The same recipe without and with an encoder."""
    recipe = five_stains("embed_share")
    embed = recipe.embed.model_copy(update={"model": model})
    both = {"features": recipe, "features and vectors": recipe.model_copy(update={"embed": embed})}
    return {name: compile_recipe(each) for name, each in both.items()}


def check(compiled: dict[str, FieldProgram], raw: np.ndarray) -> int:
    """Assert what the docstring says; gives the cells in all fields."""
    plain, full = compiled.values()
    together = [full.run(raw[i : i + 2]) for i in range(0, len(raw), 2)]
    cells, first = 0, len(plain.columns) + 1  # the flag of padded crops comes before the vectors
    for one, field in zip(raw, (field for pair in together for field in pair), strict=True):
        (alone,), (without,) = full.run(one[None]), plain.run(one[None])
        count = alone.count
        np.testing.assert_array_equal(
            alone.features[:count, : len(plain.columns)], without.features[:count]
        )
        np.testing.assert_allclose(
            alone.features[:count, first:], field.features[:count, first:], rtol=EQUAL, atol=EQUAL
        )
        cells += count
    return cells


def seconds(program: FieldProgram, raw: np.ndarray) -> dict[str, float]:
    """Time of each stage and of all, for the fields one by one."""
    spent: dict[str, float] = defaultdict(float)

    @contextmanager
    def span(name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        spent[name] += time.perf_counter() - start

    with span("all"):
        for one in raw:
            program.compute(one[None], span=span)
    return spent


def main() -> None:
    """Check, then time both in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=1080)
    parser.add_argument("--cells", type=int, default=200)
    parser.add_argument("--fields", type=int, default=4, help="an even number")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--model", default="cells")
    args = parser.parse_args()
    look = Phenotype(n_cells=args.cells)
    cases = [drawn(look, size=args.size, seed=seed) for seed in range(args.fields)]
    raw = np.stack([np.round(case.image * 65535) for case in cases]).astype(np.uint16)
    compiled = programs(args.model)
    cells = check(compiled, raw)
    times: dict[str, list[dict[str, float]]] = defaultdict(list)
    for _ in range(args.repeats):
        for name, program in compiled.items():
            times[name].append(seconds(program, raw))
    wide = len(compiled["features and vectors"].columns) - len(compiled["features"].columns) - 1
    print(
        f"{args.fields} fields of {args.size} x {args.size} x {len(STAINS)}, {cells} cells; "
        f"{len(compiled['features'].columns)} features, {wide} numbers a vector\n"
    )
    print("| stage | features | features and vectors |\n|---|---|---|")
    middle = {
        name: {stage: float(np.median([each[stage] for each in some])) for stage in some[0]}
        for name, some in times.items()
    }
    base = middle["features"]["all"]
    for stage in middle["features and vectors"]:
        shares = [each[stage] / base if stage in each else None for each in middle.values()]
        print(f"| {stage} | {' | '.join('' if x is None else f'{x:.3f}' for x in shares)} |")
    added = middle["features and vectors"]["embed"] / base
    verdict = "reached" if added < GOAL else "missed"
    print(
        f"\nShares of the time without vectors. Embedding adds {added:.1%}, "
        f"{1000 * middle['features and vectors']['embed'] / cells:.2f} ms a cell (goal: less than "
        f"{GOAL:.0%}, {verdict})."
    )


if __name__ == "__main__":
    main()
