"""What the stage tells besides its tables: how it chose, and why a table is missing."""

from typing import NamedTuple

import polars as pl

from profiler.phenotype.choice import LEAST_STABILITY, Choice
from profiler.phenotype.cluster import Clusters
from profiler.phenotype.mechanism import Mechanisms
from profiler.phenotype.methods import METHODS
from profiler.phenotype.novelty import LEAST_KNOWN
from profiler.phenotype.subpopulations import Subpopulations


class Note(NamedTuple):
    """A sentence for the run's summary, and a code for programs."""

    code: str
    text: str


def few_wells(n: int, *, least: int) -> Note:
    """Say why there is no map."""
    return Note(
        "few_wells",
        f"No map and no clusters: {n} well{'s' * (n != 1)} with a profile, and {least} are needed.",
    )


def no_compounds() -> Note:
    """Say why treatments were not compared."""
    return Note(
        "no_compounds", "No neighbours and no mechanisms: no plate map says what a well was given."
    )


def few_compounds(n: int) -> Note:
    """Say why treatments were not compared, though there is a plate map."""
    return Note(
        "few_compounds",
        f"No neighbours and no mechanisms: {n} compound{'s' * (n != 1)} with a profile besides "
        "the negative controls, and two are needed.",
    )


def no_mechanisms() -> Note:
    """Say why no mechanism was predicted."""
    return Note(
        "no_mechanisms", "No mechanisms: the plate map has no column MOA that names known ones."
    )


def no_cells() -> Note:
    """Say why there are no subpopulations."""
    return Note("no_cells", "No subpopulations: the cells were not given.")


def of_choice(choice: Choice, *, what: str, method: str) -> Note:
    """Tell how many clusters were chosen, and by what."""
    best = choice.best
    if best.number is None:
        return Note(
            "one_cluster",
            f"One cluster of {what}: of no larger number does each cluster come back in "
            f"subsamples (mean Jaccard index at least {LEAST_STABILITY:g}).",
        )
    how = f"{method}, {METHODS[method].parameter} {best.number:g}, stability {best.stability:.2f}"
    if choice.is_stable:
        return Note(
            "stable",
            f"{best.n_clusters} clusters of {what} ({how}): the most of which each comes back "
            f"in subsamples (mean Jaccard index at least {LEAST_STABILITY:g}).",
        )
    return Note(
        "unstable",
        f"{best.n_clusters} clusters of {what} ({how}): the most stable, but below "
        f"{LEAST_STABILITY:g}, so their borders are arbitrary.",
    )


def of_clusters(found: Clusters, *, method: str, has_labels: bool) -> list[Note]:
    """Tell how wells were clustered."""
    notes = [of_choice(found.choice, what="wells", method=method)]
    if found.p_value is not None and found.p_value > 0.05:
        notes.append(
            Note(
                "no_structure",
                "The clusters of wells are no clearer than those of a single normal cloud "
                f"(p = {found.p_value:.2g}).",
            )
        )
    if not has_labels:
        notes.append(Note("no_labels", "No enrichment: no plate map names compounds."))
    return notes


def of_novelty(table: pl.DataFrame) -> list[Note]:
    """Tell how many wells are novel, or why that was not asked."""
    if not table["Novelty_p_value"].count():
        return [
            Note(
                "no_novelty",
                f"No novelty: fewer than {LEAST_KNOWN} wells show a known phenotype (controls, "
                "and treatments with a known mechanism).",
            )
        ]
    asked = table.filter(pl.col("Novelty_q_value").is_not_null())
    if not asked.height:
        return [Note("all_known", "Every well is a control or of a known mechanism: none is new.")]
    novel = asked.filter(pl.col("Novelty_q_value") <= 0.05).height
    return [
        Note(
            "novelty",
            f"{novel} of {asked.height} wells are unlike every known phenotype (q at most 0.05).",
        )
    ]


def of_mechanisms(found: Mechanisms) -> list[Note]:
    """Tell how often the nearest neighbour is right, beside the cell count and chance."""
    return [
        _of_rule(line) if line["n_treatments"] else _not_asked(line["rule"])
        for line in found.accuracy.iter_rows(named=True)
    ]


def _not_asked(rule: str) -> Note:
    return Note("not_asked", f"No accuracy ({rule}): no two that may be neighbours share one.")


def _of_rule(line: dict) -> Note:
    by_count = line["n_right_by_count"]
    beside = "" if by_count is None else f"by cell count alone {by_count}, "
    return Note(
        "accuracy",
        f"Mechanism by nearest neighbour ({line['rule']}): {line['n_right']} of "
        f"{line['n_treatments']} right; {beside}by chance "
        f"{line['chance'] * line['n_treatments']:.1f} (p = {line['p_value']:.2g}).",
    )


def of_subpopulations(found: Subpopulations) -> list[Note]:
    """Tell how cells were clustered, and which are in no subpopulation."""
    if found.choice is None:
        return [
            Note(
                "few_cells",
                "No subpopulations: too few cells with a profile, or no plate with cells in "
                "negative controls, which set the scale.",
            )
        ]
    notes = [of_choice(found.choice, what="cells", method=found.method)]
    if found.n_left_out:
        notes.append(
            Note(
                "cells_left_out",
                f"{found.n_left_out} cells are in no subpopulation: they lack half of the "
                "features, are noise, or lie on a plate without cells in negative controls.",
            )
        )
    if found.table["p_value"].null_count() == found.table.height:
        notes.append(
            Note(
                "few_controls",
                "Shares of subpopulations have no p-values: three negative control wells with "
                "cells are needed, on one plate.",
            )
        )
    return notes
