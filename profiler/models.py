"""The networks that ship, described from their cards."""

import json

from profiler.segment.catalogue import MODELS


def describe() -> str:
    """A paragraph for each model: name, hash, data, scores."""
    return "\n\n".join(
        _paragraph(json.loads(path.with_suffix(".json").read_text())) for path in MODELS.values()
    )


def _paragraph(card: dict) -> str:
    scores = card["about"].get("scores", {})
    lines = [f"{card['name']}  sha256 {card['sha256'][:16]}"]
    lines += [
        f"  {name}: {card['about'][name]}"
        for name in ("data", "split", "calibration")
        if name in card["about"]
    ]
    lines += [f"  {name}: {value}" for name, value in scores.items()]
    return "\n".join(lines)
