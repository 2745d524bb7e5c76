"""Say in sentences what profiles lost on the way, for the summary of a run."""

from collections.abc import Iterator, Sequence

import polars as pl

from profiler.profile.outcome import REASONS

MOST_NAMES = 3
MOST_GROUPS = 5


def tell_lost(lost: pl.DataFrame) -> Iterator[str]:
    """Tell of lost values: one line for each reason and each set of features, groups together.

    Args:
        lost: Columns group, feature, reason, wells, as in `Processed.lost`.

    Yields:
        The end of a sentence, from the groups on, after the name of the step.
    """
    per_group = lost.group_by("reason", "group", maintain_order=True).agg(
        pl.col("feature").sort(), pl.col("wells").sum()
    )
    alike = per_group.group_by("reason", "feature", maintain_order=True).agg(
        "group", pl.col("wells").sum()
    )
    for reason, features, groups, n_values in alike.iter_rows():
        where = f", {_listed(groups, most=MOST_GROUPS)}" if groups != [None] else ""
        names, values = _listed(features), _count(n_values, "value")
        if reason == "incomplete":
            yield f"{where}: {values} missing of {names}: such a row has no place in a joint step."
        else:
            of = _count(len(features), "feature")
            yield f"{where}: {of} lost {values}, as {REASONS[reason]}: {names}."


def tell_dropped(report: pl.DataFrame, *, n_features: int) -> str:
    """Tell what a selection left and which steps took the rest.

    Args:
        report: As in `Selection.report`.
        n_features: How many there were before.
    """
    taken = report.group_by("step", maintain_order=True).len()
    by = ", ".join(f"{step} took {n:,}" for step, n in taken.iter_rows()) or "nothing was dropped"
    left = n_features - report.height
    return f"{left:,} of {_count(n_features, 'feature')} {'is' if left == 1 else 'are'} left; {by}."


def _count(n: int, thing: str) -> str:
    return f"{n:,} {thing}{'s' * (n != 1)}"


def _listed(names: Sequence[str], *, most: int = MOST_NAMES) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + more
