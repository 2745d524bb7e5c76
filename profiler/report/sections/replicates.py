"""How well replicates agree: of whole profiles, and of the readout."""

import polars as pl

from profiler.report.draw.bars import Stack, histogram
from profiler.report.draw.palette import OKABE_ITO, OTHER
from profiler.report.draw.scatter import Point, scatter
from profiler.report.figure import Figure
from profiler.report.numbers import count, number
from profiler.report.run import Run, table_file
from profiler.report.wells import IS_TREATED, treatment

BINS = 20
MAX_PAIRS = 2_000


def replicate_figures(run: Run, wells: pl.DataFrame) -> list[Figure]:
    """Draw what there is: the profiles' correlations, and pairs of wells by readout."""
    return [figure for figure in (_profiles(run), _pairs(run, wells)) if figure]


def _profiles(run: Run) -> Figure | None:
    table = run.table("replicates")
    known = None if table is None else table.drop_nulls("correlation")
    if known is None or not known.height:
        return None
    verdict = known["is_replicating"].fill_null(value=False)
    is_above, is_below = known.filter(verdict), known.filter(~verdict)
    low = min(-0.5, float(known["correlation"].min()))  # type: ignore[arg-type]
    edges = [low + (1 - low) * i / BINS for i in range(BINS + 1)]
    stacks = [
        Stack("that replicate", OKABE_ITO[0], bin_counts(is_above["correlation"], edges)),
        Stack("that do not", OTHER, bin_counts(is_below["correlation"], edges)),
    ]
    n, tested = is_above.height, known["is_replicating"].count()
    share = f"{n:,} of {tested:,} treatments replicate ({100 * n / max(tested, 1):.0f} %)"
    middle = known["threshold"].median()
    x_label = "Median correlation of replicates' profiles"
    svg = histogram(
        stacks, edges=edges, x_label=x_label, mark=_float(middle), label=f"{x_label}: {share}."
    )
    caption = (
        f"{share}, in blue: above 95 % of sets of as many wells that are no replicates. "
        f"The line is the median of these thresholds, {number(_float(middle))}."
    )
    return Figure("Profiles of replicates", svg, caption, [table_file("replicates")])


def bin_counts(values: pl.Series, edges: list[float]) -> list[int]:
    """How many values lie in each bin; its lower edge belongs to it, the last one's upper too."""
    width, last = edges[1] - edges[0], len(edges) - 2
    counts = [0] * (last + 1)
    for value in values:
        counts[min(max(int((value - edges[0]) / width), 0), last)] += 1
    return counts


def _float(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def replicate_pairs(wells: pl.DataFrame) -> pl.DataFrame:
    """Pair the first two wells of every treatment.

    Args:
        wells: From `on_page`.

    Returns:
        One row per compound and dose with two treated wells that have a response: the columns
        of the first well, and those of the second with the suffix `_2`.
    """
    key = ["compound", "concentration", "unit"]
    known = wells.filter(
        IS_TREATED & pl.col("compound").is_not_null() & pl.col("response").is_finite()
    )
    ordered = known.with_columns(copy=pl.int_range(pl.len()).over(key))
    second = ordered.filter(copy=1)
    return ordered.filter(copy=0).join(second, on=key, suffix="_2", nulls_equal=True)


def _pairs(run: Run, wells: pl.DataFrame) -> Figure | None:
    pairs = replicate_pairs(wells)
    if pairs.height < 3:
        return None
    shown = pairs.gather_every(max(1, -(-pairs.height // MAX_PAIRS)))
    points = [
        Point(p["response"], p["response_2"], _note(p), well=p["index"])
        for p in shown.iter_rows(named=True)
    ]
    r = pairs.select(pl.corr("response", "response_2")).item()
    label = f"{run.readout}, second replicate against the first"
    words = f"{count(pairs.height, 'treatment')} with replicates, Pearson r {number(_float(r))}."
    svg = scatter(points, x_label="First replicate", y_label="Second replicate", label=label)
    few = shown.height < pairs.height
    remark = f"{shown.height:,} of {pairs.height:,} pairs are drawn." if few else ""
    source = [table_file("hits" if run.table("hits") is not None else "wells")]
    return Figure(f"Readout of replicates: {run.readout or ''}", svg, words, source, remark)


def _note(pair: dict) -> str:
    values = f"{number(pair['response'])} and {number(pair['response_2'])}"
    wells = f"{pair['plate']} {pair['well']}, {pair['plate_2']} {pair['well_2']}"
    return f"{treatment(pair)}: {values} ({wells})"
