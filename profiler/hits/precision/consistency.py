"""Whether compounds of one mechanism or target look alike; each may have several."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Bool

from plates.errors import lookup
from profiler.hits.precision.activity import summary, with_verdicts
from profiler.hits.precision.average import features_of, in_order, with_precision
from profiler.hits.precision.exchange import Test, Verdict, exchange_tests, lay_out
from profiler.hits.precision.matching import Codes, Rows, codes, in_fixed_order
from profiler.hits.precision.retrieval import (
    IGNORED,
    MATCH,
    OTHER,
    Unit,
    has_profile,
    likeness,
    precision_of,
    rows_at_once,
    unit_profiles,
)
from profiler.hits.seeds import generator

SEPARATOR = "|"


class _Labelled(NamedTuple):
    """Rows that have labels and a profile."""

    unit: Unit
    apart: Codes
    has_label: Bool[np.ndarray, "row label"]
    names: list[str]

    def share(self, rows: Rows) -> Bool[np.ndarray, "some row"]:
        """Whether rows have a label in common with each row of the table."""
        has = self.has_label
        return np.stack([has[:, has[row]].any(axis=1) for row in rows.tolist()])

    def members(self) -> Iterator[tuple[str, Rows]]:
        """The rows of every label."""
        for i, name in enumerate(self.names):
            yield name, np.flatnonzero(self.has_label[:, i])


def consistency(
    profiles: pl.DataFrame,
    *,
    labels: str,
    apart: Sequence[str] = (),
    features: Sequence[str] | None = None,
    seed: int = 0,
) -> pl.DataFrame:
    """Test whether the compounds that share a label are more alike than chance.

    Each compound is ranked, for each of its labels, against those with which it shares none.

    Args:
        profiles: One row per compound, as consensus profiles are; 0 means no effect.
        labels: Column of mechanisms or targets: lists, or text separated by "|". Rows
            without a label take no part.
        apart: Columns in which rows must differ to be matched, as the compound if it has
            several rows; such rows are not independent, and the p-value then is too low.
        features: Columns that make a profile; all of a phenotype if not given.
        seed: As for `activity`.

    Returns:
        One row per label, best first, columns as in `activity` with `n_compounds` for
        `n_wells`. The p-value asks whether any other compounds, drawn from all that have some
        label, would be as alike.

    Raises:
        UnknownName: There is no such column.

    Source:
        copairs 0.5.5's multilabel average precision, equal to 1e-9 in
        tests/hits/precision/test_consistency.py.
    """
    table, labelled = _labelled(profiles, labels, apart, features_of(profiles, features))
    wells = _precision_of_labels(table, labelled, labels=labels)
    found = summary(wells, [labels]).rename({"n_wells": "n_compounds"})
    verdicts = dict(zip(labelled.names, _verdicts(labelled, seed=seed), strict=True))
    return in_order(with_verdicts(found, [verdicts[name] for name in found[labels]]), [labels])


def label_precision(
    profiles: pl.DataFrame,
    *,
    labels: str,
    apart: Sequence[str] = (),
    features: Sequence[str] | None = None,
) -> pl.DataFrame:
    """Rank, for every compound and each of its labels, those that share it among those that do not.

    Args:
        profiles: As for `consistency`.
        labels: As for `consistency`.
        apart: As for `consistency`.
        features: As for `consistency`.

    Returns:
        One row per compound and label, by label and name: its `Metadata_*` columns, with the
        label in place of all labels, and those that `average_precision` adds but the p-value.

    Raises:
        UnknownName: There is no such column.
    """
    table, labelled = _labelled(profiles, labels, apart, features_of(profiles, features))
    return _precision_of_labels(table, labelled, labels=labels)


def _labelled(
    profiles: pl.DataFrame, labels: str, apart: Sequence[str], features: Sequence[str]
) -> tuple[pl.DataFrame, _Labelled]:
    for name in (labels, *apart):
        lookup(dict.fromkeys(profiles.columns), kind="column", name=name)
    lists = pl.col(labels)
    if profiles.schema[labels] == pl.String:
        lists = lists.str.split(SEPARATOR)
    lists = lists.list.eval(pl.element().str.strip_chars()).list.drop_nulls()
    lists = lists.list.eval(pl.element().filter(pl.element() != "")).list.unique()
    rows = in_fixed_order(profiles).with_columns(lists).filter(pl.col(labels).list.len() > 0)
    unit = unit_profiles(rows, list(features))
    is_usable = has_profile(unit)
    rows, unit = rows.filter(pl.Series(is_usable)), unit[is_usable]
    long = rows.select(pl.row_index("row"), labels).explode(labels).drop_nulls()
    names = long[labels].unique().sort().to_list()
    has_label = np.zeros((rows.height, len(names)), dtype=bool)
    at = long[labels].replace_strict(names, range(len(names)))
    has_label[long["row"].to_numpy(), at.cast(pl.Int64).to_numpy()] = True
    alone = codes(rows, apart) if apart else np.arange(rows.height)
    return rows.select(pl.col("^Metadata_.*$")), _Labelled(unit, alone, has_label, names)


def _precision_of_labels(table: pl.DataFrame, labelled: _Labelled, *, labels: str) -> pl.DataFrame:
    names, rows = np.nonzero(labelled.has_label.T)
    precision, n_matches, n_others = np.full(len(rows), np.nan), *np.zeros((2, len(rows)), int)
    for i, (_, members) in enumerate(labelled.members()):
        found = _of_label(labelled, members)
        precision[names == i], n_matches[names == i], n_others[names == i] = found
    label = pl.Series(labels, [labelled.names[i] for i in names], dtype=pl.String)
    return with_precision(table[rows].with_columns(label), precision, n_matches, n_others)


def _of_label(labelled: _Labelled, members: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Average precision, matches and others of one label's rows."""
    is_member = np.zeros(len(labelled.unit), dtype=bool)
    is_member[members] = True
    found = []
    step = rows_at_once(len(labelled.unit))
    for first in range(0, len(members), step):
        some = members[first : first + step]
        is_apart = labelled.apart[some][:, None] != labelled.apart[None]
        is_other = ~labelled.share(some)
        relation = np.select([is_member & is_apart, is_other], [MATCH, OTHER], IGNORED)
        similarity = likeness(labelled.unit[some], labelled.unit)
        found.append(precision_of(similarity, relation.astype(np.int8)))
    precision, n_matches, n_others = (np.concatenate(column) for column in zip(*found, strict=True))
    return precision, n_matches, n_others


def _verdicts(labelled: _Labelled, *, seed: int) -> Iterator[Verdict]:
    def test(name: str, rows: Rows) -> Test:
        others = np.setdiff1d(np.arange(len(labelled.unit)), rows)
        return lay_out([rows], [others], apart=labelled.apart, random=generator(seed, name))

    return exchange_tests(labelled.unit, (test(*each) for each in labelled.members()))
