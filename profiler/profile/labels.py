"""Which columns of a plate map label compounds with what is known of them."""

from collections.abc import Mapping

import polars as pl

from plates.errors import lookup

COMPOUND, MECHANISM, TARGET = "compound", "MOA", "target"
USUAL_NAMES = {  # kind of label -> how plate maps call its column, after `Metadata_`, in any case
    COMPOUND: ("compound",),
    MECHANISM: ("moa", "mechanism", "mechanism_of_action", "moas"),
    TARGET: ("target", "targets", "gene", "gene_target", "target_gene"),
}


def find_labels(wells: pl.DataFrame, asked: Mapping[str, str] | None = None) -> dict[str, str]:
    """Find the columns that label wells with compounds, mechanisms and targets.

    Args:
        wells: Annotated wells.
        asked: From the kind to its column; by default the usual names are looked for.

    Returns:
        From the kind to its column, without columns that hold nothing.

    Raises:
        UnknownName: A column that was asked for is not there.
    """
    if asked is not None:
        for name in asked.values():
            lookup(wells.schema, kind="column", name=name)
        found = dict(asked)
    else:
        plain = {name.removeprefix("Metadata_").lower(): name for name in reversed(wells.columns)}
        found = {
            kind: next(plain[name] for name in names if name in plain)
            for kind, names in USUAL_NAMES.items()
            if any(name in plain for name in names)
        }
    return {kind: name for kind, name in found.items() if wells[name].null_count() < wells.height}
