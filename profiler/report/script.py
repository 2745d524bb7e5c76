"""What the page's script knows of the wells: columns as JSON that no text can break out of."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from profiler.report.columns import Column
from profiler.report.draw.palette import LOOKS, OTHER
from profiler.report.draw.svg import Markup
from profiler.report.numbers import Number
from profiler.report.wells import treatment

DIGITS = 5  # significant ones of every number


def script_data(
    wells: pl.DataFrame, columns: Sequence[Column], *, cards: Mapping[str, str]
) -> Markup:
    """Write what the script needs to know as JSON.

    Args:
        wells: From `on_page`; those without an index are left out.
        columns: From `page_columns`, of the same wells.
        cards: Compounds that have a card, with the card's id.

    Returns:
        JSON with `wells` (arrays, one entry per well of the page), `columns` and `looks`,
        to be placed in a `script` element of type application/json.
    """
    rows = [i for i, index in enumerate(wells["index"]) if index is not None]
    shown = wells[rows]
    names = [treatment(well) for well in shown.iter_rows(named=True)]
    plates = list(dict.fromkeys(shown["plate"]))
    place = {plate: code for code, plate in enumerate(plates)}
    content = {
        "plates": plates,
        "wells": {
            "plate": [place[plate] for plate in shown["plate"]],
            "well": shown["well"].to_list(),
            "treatment": _coded(names),
            "card": _coded([cards.get(name or "", "") for name in shown["compound"]]),
        },
        "columns": [_column(column, rows) for column in columns],
        "looks": [[look.colour, look.is_ring] for look in LOOKS],
        "other": OTHER,
    }
    return script_json(content)


def script_json(content: object) -> Markup:
    r"""JSON that is safe inside a `script` element, whatever its texts hold.

    >>> script_json(["</script>"])
    Markup('["\\u003c/script\\u003e"]')
    """
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _column(column: Column, rows: Sequence[int]) -> dict[str, Any]:
    values = [_short(column.values[i]) for i in rows]
    about = {"key": column.key, "label": column.label, "values": values}
    if column.scale is None:
        return about | {"levels": list(column.levels)}
    low, high, anchors = column.scale
    return about | {"low": low, "high": high, "anchors": list(anchors)}


def _short(value: Number | None) -> Number | None:
    if value is None or value != value or value in (float("inf"), float("-inf")):
        return None
    short = float(f"{value:.{DIGITS}g}")
    return int(short) if short.is_integer() else short


def _coded(texts: Sequence[str]) -> dict[str, list]:
    """Texts that repeat, each written once."""
    levels = list(dict.fromkeys(texts))
    place = {text: code for code, text in enumerate(levels)}
    return {"levels": levels, "codes": [place[text] for text in texts]}
